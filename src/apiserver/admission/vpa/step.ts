import type { KubeObject } from "../../../api/meta.ts";
import type { KindRegistry } from "../../../api/registry.ts";
import { StatusError } from "../../../api/status.ts";
import type { Pod } from "../../../api/types.ts";
import { boundsOf, sizesFor } from "../../../api/vpa/fit.ts";
import { controllerOfPod, type FindOwner, rulingAutoscaler } from "../../../api/vpa/target.ts";
import { modeOf, type VerticalPodAutoscaler, vpaGroup } from "../../../api/vpa/types.ts";
import type { Store } from "../../../store/store.ts";
import type { ApiOptions } from "../../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../../rest/context.ts";
import { keyOf, objectOf } from "../../rest/keys.ts";
import { autoDeprecated, problemOf } from "./check.ts";

/** What upstream does by a webhook of this name. */
const webhook = "vpa.k8s.io";

/**
 * Pods begin with the requests that their VerticalPodAutoscaler recommends, and limits in proportion; autoscalers
 * themselves are judged. Source: k8s.io/autoscaler/vertical-pod-autoscaler/pkg/admission-controller.
 */
export function verticalPodAutoscalers({ store, registry }: Pick<ApiOptions, "store" | "registry">): AdmissionStep {
  const find = findOwner(store, registry);
  return {
    name: "VerticalPodAutoscaler",
    mutate(request) {
      if (isAutoscaler(request)) return completeAutoscaler(request);
      const { operation, kind, subresource, namespace, object } = request;
      if (operation !== "CREATE" || subresource !== undefined || kind.group !== "" || kind.resource !== "pods" || namespace === undefined || !object?.["spec"]) return;
      const pod = object as unknown as Pod;
      const autoscalers = store.range(`/${vpaGroup}/verticalpodautoscalers/${namespace}/`).map((entry) => entry.object as unknown as VerticalPodAutoscaler).filter((vpa) => modeOf(vpa) !== "Off");
      const controller = autoscalers.length > 0 ? controllerOfPod(find, { ...pod, metadata: { ...pod.metadata, namespace } }) : undefined;
      const vpa = controller && rulingAutoscaler(autoscalers, controller);
      if (vpa) resize(pod, vpa, boundsOf(store.range(`/core/limitranges/${namespace}/`).map((entry) => entry.object as object)));
    },
  };
}

const isAutoscaler = ({ kind, subresource, object }: AdmissionRequest): boolean => kind.group === vpaGroup && kind.resource === "verticalpodautoscalers" && subresource === undefined && object?.["spec"] !== undefined;

function completeAutoscaler({ operation, object, warnings }: AdmissionRequest): void {
  const vpa = object as unknown as VerticalPodAutoscaler;
  const problem = problemOf(vpa, operation === "CREATE");
  if (problem) throw new StatusError(400, "", `admission webhook ${JSON.stringify(webhook)} denied the request: ${problem}`);
  vpa.spec.updatePolicy ??= { updateMode: "Recreate" };
  if (vpa.spec.updatePolicy.updateMode === "Auto") warnings.push(autoDeprecated);
}

function resize(pod: Pod, vpa: VerticalPodAutoscaler, bounds: ReturnType<typeof boundsOf>): void {
  const containers = pod.spec!.containers;
  const said: string[] = containers.map((_, index) => `container ${index}: `);
  for (const { index, requests, limits, notes } of sizesFor(vpa, pod, bounds)) {
    const container = containers[index]!;
    const { resources } = container;
    container.resources = {
      ...resources,
      ...(Object.keys(requests).length > 0 && { requests: { ...resources?.requests, ...requests } }),
      ...(Object.keys(limits).length > 0 && { limits: { ...resources?.limits, ...limits } }),
    };
    said[index] += [...notes, ...Object.keys(requests).map((name) => `${name} request`), ...Object.keys(limits).map((name) => `${name} limit`)].join(", ");
  }
  pod.metadata.annotations = { ...pod.metadata.annotations, vpaUpdates: `Pod resources updated by ${vpa.metadata.name}: ${said.join("; ")}`, vpaObservedContainers: containers.map(({ name }) => name).join(", ") };
}

function findOwner(store: Pick<Store, "get">, registry: KindRegistry): FindOwner {
  return (apiVersion, name, namespace, object) => {
    const [group, version] = apiVersion.includes("/") ? (apiVersion.split("/") as [string, string]) : ["", apiVersion];
    const kind = registry.byKind(group, version, name);
    const entry = kind && store.get(keyOf(kind, namespace, object));
    return entry && { object: objectOf(kind, entry) as KubeObject, scalable: kind.scale !== undefined };
  };
}
