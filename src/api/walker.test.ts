import assert from "node:assert/strict";
import { test } from "node:test";
import { builtinSchema } from "./kinds/table.ts";
import { cannotBeHandled, DecodeError, strictDecodingText, walk, type WalkOptions } from "./walker.ts";

const deployment = builtinSchema("apps", "v1", "Deployment")!;
/** `spec.template.x` = value, with the parents made. */
function at(path: string, value: unknown): Record<string, unknown> {
  return path.split(".").reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as Record<string, unknown>;
}
const pod = "spec.template.spec";

test("walk() brings values to the form in which upstream keeps them", () => {
  const cases: [why: string, path: string, given: unknown, kept: unknown, options?: WalkOptions][] = [
    ["a null is an absent field", "metadata.creationTimestamp", null, undefined],
    ["Go's omitempty drops zero", "spec.minReadySeconds", 0, undefined],
    ["but not behind a pointer", "spec.replicas", 0, 0],
    ["nor in a partial object", "spec.minReadySeconds", 0, 0, { partial: true }],
    ["empty maps go", "metadata.labels", {}, undefined],
    ["empty lists go", `${pod}.tolerations`, [], undefined],
    ["Go writes a required list as null", `${pod}.containers`, [], null],
    ["empty structs behind pointers stay", `${pod}.securityContext`, {}, {}],
    ["false goes", `${pod}.hostNetwork`, false, undefined],
    ["false behind a pointer stays", `${pod}.hostUsers`, false, false],
    ["the empty storage medium goes", `${pod}.volumes`, [{ name: "v", emptyDir: { medium: "" } }], [{ name: "v", emptyDir: {} }]],
    ["null in a map of strings is the empty string", "metadata.labels", { a: null }, { a: "" }],
    ["a null in a list of structs is one with what it states when it is empty", `${pod}.containers`, [null], [{ name: "", resources: {} }]],
    ["null in a list is the zero value", `${pod}.containers`, [{ name: "c", args: ["a", null] }], [{ name: "c", args: ["a", ""], resources: {} }]],
    ["quantities are canonical", `${pod}.containers`, [{ name: "c", resources: { limits: { cpu: "1000m", memory: "1024Mi" } } }], [{ name: "c", resources: { limits: { cpu: "1", memory: "1Gi" } } }]],
    ["numbers are quantities", `${pod}.containers`, [{ name: "c", resources: { limits: { cpu: 0.5, memory: 1048576 } } }], [{ name: "c", resources: { limits: { cpu: "500m", memory: "1048576" } } }]],
    ["resource lists are rounded up to thousandths", `${pod}.overhead`, { cpu: "0.1m" }, { cpu: "1m" }],
    ["other quantities are not", `${pod}.volumes`, [{ name: "v", emptyDir: { sizeLimit: "0.1m" } }], [{ name: "v", emptyDir: { sizeLimit: "100u" } }]],
    ["times are UTC in seconds", "metadata.deletionTimestamp", "2026-03-01T12:00:00.75+02:00", "2026-03-01T10:00:00Z"],
    ["int-or-string keeps an int", "spec.strategy.rollingUpdate.maxSurge", 1, 1],
    ["int-or-string keeps a string", "spec.strategy.rollingUpdate.maxSurge", "25%", "25%"],
    ["the default of a marker is set", `${pod}.containers`, [{ name: "c", ports: [{ containerPort: 80 }] }], [{ name: "c", ports: [{ containerPort: 80, protocol: "TCP" }], resources: {} }]],
    ["but not in a partial object", `${pod}.containers`, [{ name: "c", ports: [{ containerPort: 80 }] }], [{ name: "c", ports: [{ containerPort: 80 }] }], { partial: true }],
    ["fieldsV1 is not looked into", "metadata.managedFields", [{ fieldsV1: { "f:spec": { "f:x": {} } } }], [{ fieldsV1: { "f:spec": { "f:x": {} } } }]],
  ];
  for (const [why, path, given, kept, options] of cases) {
    const { value, unknownFields } = walk(deployment, at(path, given), options);
    assert.deepEqual(
      path.split(".").reduce<unknown>((object, name) => (object as Record<string, unknown> | undefined)?.[name], value),
      kept,
      why,
    );
    assert.deepEqual(unknownFields, [], why);
  }
});

test("walk() writes the zeros that typed clients need", () => {
  const replicaSet = builtinSchema("apps", "v1", "ReplicaSet")!;
  const of = (group: string, version: string, kind: string) => builtinSchema(group, version, kind)!;
  const cases: [schema: typeof replicaSet, given: Record<string, unknown>, field: string, kept: unknown][] = [
    [replicaSet, at("status.observedGeneration", 1), "status", { observedGeneration: 1, replicas: 0 }],
    [replicaSet, {}, "spec", { selector: null, template: { metadata: {}, spec: { containers: null } } }],
    [replicaSet, {}, "metadata", {}],
    [of("", "v1", "Pod"), at("status.containerStatuses", [{ name: "c" }]), "status", { containerStatuses: [{ name: "c", ready: false, restartCount: 0, image: "", imageID: "", state: {}, lastState: {} }] }],
    [of("batch", "v1", "Job"), at("status.conditions", [{}]), "status", { conditions: [{ type: "", status: "", lastProbeTime: null, lastTransitionTime: null }] }],
    [of("discovery.k8s.io", "v1", "EndpointSlice"), {}, "endpoints", null],
    [of("rbac.authorization.k8s.io", "v1", "Role"), { rules: [] }, "rules", null],
    [of("networking.k8s.io", "v1", "Ingress"), {}, "status", { loadBalancer: {} }],
    [of("", "v1", "PersistentVolumeClaim"), at("spec.dataSource", { kind: "Snapshot", name: "s" }), "spec", { dataSource: { apiGroup: null, kind: "Snapshot", name: "s" }, resources: {} }],
  ];
  for (const [schema, given, field, kept] of cases) assert.deepEqual(walk(schema, given).value[field], kept);
  assert.deepEqual(walk(replicaSet, at("status.observedGeneration", 1), { partial: true }).value, at("status.observedGeneration", 1));
});

test("walk() names unknown fields and drops them", () => {
  const cases: [path: string, given: unknown, names: string[]][] = [
    ["foo", 1, ["foo"]],
    ["spec.foo", null, ["spec.foo"]],
    [`${pod}.containers`, [{ name: "a", foo: 1, env: [{ name: "x" }, { name: "y", Value: "" }] }], [`${pod}.containers[0].foo`, `${pod}.containers[0].env[1].Value`]],
    ["metadata.constructor", 1, ["metadata.constructor"]],
    ["metadata.annotations", { any: "thing" }, []],
  ];
  for (const [path, given, names] of cases) {
    const { unknownFields, value } = walk(deployment, at(path, given));
    assert.deepEqual(unknownFields, names.map((name) => `unknown field ${JSON.stringify(name)}`), path);
    assert.deepEqual(walk(deployment, value).unknownFields, [], "a second walk finds nothing");
  }
  const own = JSON.parse('{"metadata":{"__proto__":{"polluted":true}}}') as Record<string, unknown>;
  assert.deepEqual(walk(deployment, own).unknownFields, ['unknown field "metadata.__proto__"']);
});

test("walk() refuses wrong types with Go's text", () => {
  const field = (name: string, given: string, type: string) => `json: cannot unmarshal ${given} into Go struct field ${name} of type ${type}`;
  const cases: [path: string, given: unknown, message: string][] = [
    ["spec.replicas", "3", field("DeploymentSpec.spec.replicas", "string", "int32")],
    ["spec.replicas", 1.5, field("DeploymentSpec.spec.replicas", "number 1.5", "int32")],
    ["spec.replicas", 2147483648, field("DeploymentSpec.spec.replicas", "number 2147483648", "int32")],
    ["spec.paused", "true", field("DeploymentSpec.spec.paused", "string", "bool")],
    ["spec", [], field("Deployment.spec", "array", "v1.DeploymentSpec")],
    ["metadata.labels", { a: 1 }, field("ObjectMeta.metadata.labels", "number", "string")],
    ["metadata.labels", "a=b", field("ObjectMeta.metadata.labels", "string", "map[string]string")],
    [`${pod}.containers`, { name: "c" }, field(`PodSpec.${pod}.containers`, "object", "[]v1.Container")],
    [`${pod}.containers`, [{ name: "c", env: [{ name: "A", value: 1 }] }], field(`EnvVar.${pod}.containers.env.value`, "number", "string")],
    [`${pod}.containers`, [{ name: "c", env: [{ name: "A", value: true }] }], field(`EnvVar.${pod}.containers.env.value`, "bool", "string")],
    [`${pod}.containers`, [{ name: "c", imagePullPolicy: 1 }], field(`Container.${pod}.containers.imagePullPolicy`, "number", "v1.PullPolicy")],
    ["spec.strategy.rollingUpdate.maxSurge", true, field("RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge", "bool", "int32")],
    [`${pod}.overhead`, { cpu: "1cpu" }, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"],
    ["metadata.creationTimestamp", "yesterday", 'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'],
    ["metadata.creationTimestamp", "2026-02-29T00:00:00Z", 'parsing time "2026-02-29T00:00:00Z": day out of range'],
    ["metadata.creationTimestamp", "2026-01-01", 'parsing time "2026-01-01" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'],
    ["metadata.creationTimestamp", 1, field("ObjectMeta.metadata.creationTimestamp", "number", "string")],
    ["metadata.uid", 1, field("ObjectMeta.metadata.uid", "number", "types.UID")],
    [`${pod}.volumes`, [{ name: "v", hostPath: "x" }], field(`Volume.${pod}.volumes.VolumeSource.hostPath`, "string", "v1.HostPathVolumeSource")],
    [`${pod}.containers`, [{ name: "c", livenessProbe: { httpGet: { port: 80, path: 1 } } }], field(`HTTPGetAction.${pod}.containers.livenessProbe.ProbeHandler.httpGet.path`, "number", "string")],
    [`${pod}.containers`, [{ name: "c", securityContext: { capabilities: { drop: [1] } } }], field(`Capabilities.${pod}.containers.securityContext.capabilities.drop`, "number", "v1.Capability")],
    ["spec", { replicas: "x", paused: 1 }, field("DeploymentSpec.spec.replicas", "string", "int32")],
    ["spec", { replicas: "x", template: { metadata: { creationTimestamp: "x" } } }, 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'],
  ];
  for (const [path, given, message] of cases) assert.throws(() => walk(deployment, at(path, given)), (error) => error instanceof DecodeError && (assert.equal(error.message, message), true));
  const hpa = builtinSchema("autoscaling", "v2", "HorizontalPodAutoscaler")!;
  assert.throws(() => walk(hpa, at("spec.behavior.scaleDown.selectPolicy", 1)), { message: field("HPAScalingRules.spec.behavior.scaleDown.selectPolicy", "number", "v2.ScalingPolicySelect") });
  const secret = builtinSchema("", "v1", "Secret")!;
  assert.throws(() => walk(secret, at("data.a", "x!")), { message: "illegal base64 data at input byte 1" });
  assert.throws(() => walk(secret, at("data.a", "abc")), { message: "illegal base64 data at input byte 0" });
  assert.deepEqual(walk(secret, at("data.a", "YW\nJj")).value["data"], { a: "YWJj" });
  const lease = builtinSchema("coordination.k8s.io", "v1", "Lease")!;
  assert.deepEqual(walk(lease, at("spec.renewTime", "2026-01-01T01:00:00.000123+01:00")).value["spec"], { renewTime: "2026-01-01T00:00:00.000123Z" });
  assert.throws(() => walk(lease, at("spec.renewTime", "2026-01-01T01:00:00Z")), DecodeError);
});

test("walk() changes nothing that is shared", () => {
  const freeze = (value: unknown): unknown => (typeof value === "object" && value !== null ? (Object.values(value).forEach(freeze), Object.freeze(value)) : value);
  const given = freeze(at(pod, { foo: 1, containers: [{ name: "c", resources: { limits: { cpu: "1000m" } }, ports: [{ containerPort: 1, name: null }] }] })) as Record<string, unknown>;
  const { value } = walk(deployment, given, { shared: true });
  const { spec } = (value["spec"] as { template: { spec: unknown } }).template;
  assert.deepEqual(spec, { containers: [{ name: "c", resources: { limits: { cpu: "1" } }, ports: [{ containerPort: 1, protocol: "TCP" }] }] });
});

test("walk() bounds depth and the number of problems", () => {
  let schema: Record<string, unknown> = { type: "object" };
  for (let depth = 0; depth < 2000; depth++) schema = { properties: { a: schema } };
  const crd = at("spec.versions", [{ name: "v1", schema: { openAPIV3Schema: schema } }]);
  assert.throws(() => walk(builtinSchema("apiextensions.k8s.io", "v1", "CustomResourceDefinition")!, crd), { message: "exceeded max depth" });
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`x${index}`, 1]));
  assert.equal(walk(deployment, many).unknownFields.length, 100);
});

test("errors become upstream's 400", () => {
  assert.equal(
    cannotBeHandled("v1", "Deployment", strictDecodingText(['unknown field "spec.foo"', 'duplicate field "spec.replicas"'])).message,
    'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo", duplicate field "spec.replicas"',
  );
  assert.equal(new DecodeError("why").toStatusError("v1", "Pod").code, 400);
});

test("walk() as upstream's converter: fields as Go declares them, the first mistake of any sort", () => {
  const given = () => ({ spec: { template: { metadata: { creationTimestamp: "x" } }, replicas: "3", paused: 1 } });
  assert.throws(() => walk(deployment, given()), /parsing time "x"/);
  assert.throws(() => walk(deployment, given(), { declared: true }), { message: "unrecognized type: int32" });
  const cases: [path: string, given: unknown, message: string][] = [
    ["spec.replicas", 1.5, "cannot convert float64 to int32"],
    ["spec.replicas", 2 ** 31, "json: cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32"],
    ["spec.paused", "x", "unrecognized type: bool"],
    ["spec", [], "cannot restore struct from: slice"],
    ["metadata.labels", [], "cannot restore map from slice"],
    ["metadata.finalizers", 1.5, "cannot restore slice from float64"],
    [`${pod}.containers`, [{ name: "c", imagePullPolicy: 1 }], "cannot convert int64 to v1.PullPolicy"],
    [`${pod}.containers`, [{ name: "c", imagePullPolicy: {} }], "unrecognized type: string"],
    ["spec.strategy.rollingUpdate.maxSurge", true, "json: cannot unmarshal bool into Go value of type int32"],
  ];
  for (const [path, given, message] of cases) assert.throws(() => walk(deployment, at(path, given), { declared: true }), { message }, path);
});

test("walk() reads a list of numbers as bytes", () => {
  const secret = builtinSchema("", "v1", "Secret")!;
  assert.deepEqual(walk(secret, at("data.a", [104, 105])).value["data"], { a: "aGk=" });
  for (const [given, text] of [[["x"], "string into Go struct field Secret.data of type uint8"], [[300], "number 300 into"], [[1, -1], "number -1 into"]] as const) assert.throws(() => walk(secret, at("data.a", [...given])), (error) => error instanceof DecodeError && error.message.includes(text));
});
