import type { GroupVersionResource } from "../meta.ts";
import { vpaGroup } from "./types.ts";

/**
 * The CustomResourceDefinitions of VerticalPodAutoscaler and its checkpoints: the same names, fields and columns as
 * kubernetes/autoscaler's own, which a user may apply over them.
 */
type Schema = Record<string, unknown>;
const text: Schema = { type: "string" };
const time: Schema = { type: "string", format: "date-time" };
const timeOrNull: Schema = { ...time, nullable: true };
const list = (items: Schema): Schema => ({ type: "array", items });
const oneOf = (...values: string[]): Schema => ({ type: "string", enum: values });
const struct = (properties: Record<string, Schema>, ...required: string[]): Schema => ({ type: "object", properties, ...(required.length > 0 && { required }) });
const about = (description: string, schema: Schema): Schema => ({ description, ...schema });
/** Upstream's has a pattern for what a quantity looks like; admission reads them anyway. */
const amounts: Schema = { type: "object", additionalProperties: { anyOf: [{ type: "integer" }, { type: "string" }], "x-kubernetes-int-or-string": true } };
const object = { apiVersion: text, kind: text, metadata: { type: "object" } };

const autoscaler = struct(
  {
    ...object,
    spec: struct(
      {
        targetRef: about("The topmost controller of the pods, such as a Deployment.", { ...struct({ apiVersion: text, kind: text, name: text }, "kind", "name"), "x-kubernetes-map-type": "atomic" }),
        updatePolicy: struct({
          updateMode: about("Off: only recommend. Initial: at the creation of pods. Recreate: by eviction. InPlaceOrRecreate: where they run, or by eviction. Auto: as Recreate.", oneOf("Off", "Initial", "Recreate", "InPlaceOrRecreate", "Auto")),
          minReplicas: about("Pods are only touched where at least so many live; 2 unless said otherwise.", { type: "integer", format: "int32" }),
          evictionRequirements: about("All must hold for a pod to be touched.", list(struct({ resources: list(text), changeRequirement: oneOf("TargetHigherThanRequests", "TargetLowerThanRequests") }, "resources", "changeRequirement"))),
        }),
        resourcePolicy: struct({
          containerPolicies: list(
            struct({
              containerName: about("* is every container without a policy of its own.", text),
              mode: oneOf("Auto", "Off"),
              minAllowed: amounts,
              maxAllowed: amounts,
              controlledResources: about("cpu, memory; both unless said otherwise.", list(text)),
              controlledValues: about("Whether limits follow requests in proportion; they do unless said otherwise.", oneOf("RequestsAndLimits", "RequestsOnly")),
            }),
          ),
        }),
        recommenders: about("At most one; without any, the cluster's own.", list(struct({ name: text }, "name"))),
      },
      "targetRef",
    ),
    status: struct({
      recommendation: struct({ containerRecommendations: list(struct({ containerName: text, target: amounts, lowerBound: amounts, upperBound: amounts, uncappedTarget: amounts }, "target")) }),
      conditions: list(struct({ type: text, status: text, reason: text, message: text, lastTransitionTime: time }, "type", "status")),
    }),
  },
  "spec",
);

const histogram = struct({ referenceTimestamp: timeOrNull, bucketWeights: { type: "object", "x-kubernetes-preserve-unknown-fields": true }, totalWeight: { type: "number" } });
const checkpoint = struct({
  ...object,
  spec: struct({ vpaObjectName: text, containerName: text }),
  status: struct({ version: text, lastUpdateTime: timeOrNull, firstSampleStart: timeOrNull, lastSampleStart: timeOrNull, totalSamplesCount: { type: "integer" }, cpuHistogram: histogram, memoryHistogram: histogram }),
});

const columns = [
  { name: "Mode", type: "string", jsonPath: ".spec.updatePolicy.updateMode" },
  { name: "CPU", type: "string", jsonPath: ".status.recommendation.containerRecommendations[0].target.cpu" },
  { name: "Mem", type: "string", jsonPath: ".status.recommendation.containerRecommendations[0].target.memory" },
  { name: "Provided", type: "string", jsonPath: ".status.conditions[?(@.type=='RecommendationProvided')].status" },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
];

const definition = (kind: string, shortName: string, openAPIV3Schema: Schema, more: object): object => {
  const singular = kind.toLowerCase();
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${singular}s.${vpaGroup}`, annotations: { "api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/63797" } },
    spec: { group: vpaGroup, scope: "Namespaced", names: { kind, listKind: `${kind}List`, plural: `${singular}s`, singular, shortNames: [shortName] }, versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema }, ...more }] },
  };
};

const customResourceDefinitions: GroupVersionResource = { group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" };

export const vpaDefinitions: readonly { resource: GroupVersionResource; object: object }[] = [
  definition("VerticalPodAutoscaler", "vpa", autoscaler, { subresources: { status: {} }, additionalPrinterColumns: columns }),
  definition("VerticalPodAutoscalerCheckpoint", "vpacheckpoint", checkpoint, {}),
].map((made) => ({ resource: customResourceDefinitions, object: made }));
