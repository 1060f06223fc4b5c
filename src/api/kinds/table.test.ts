import assert from "node:assert/strict";
import { test } from "node:test";
import type { Schema } from "../schema.ts";
import { builtinResources, builtinSchema } from "./table.ts";

const at = (schema: Schema | undefined, path: string): Schema | undefined =>
  path.split(".").reduce<Schema | undefined>((node, part) => (part === "[]" ? node?.items : part === "*" ? node?.additionalProperties : node?.properties?.[part]), schema);

test("builtinResources() names what discovery needs", () => {
  const find = (group: string, resource: string, version = "v1") => builtinResources().find((table) => table.group === group && table.resource === resource && table.version === version)!;
  const pods = find("", "pods");
  assert.deepEqual({ ...pods, schema: undefined, subresources: pods.subresources.map(({ name }) => name) }, {
    group: "",
    version: "v1",
    kind: "Pod",
    listKind: "PodList",
    resource: "pods",
    singular: "pod",
    shortNames: ["po"],
    categories: ["all"],
    scope: "Namespaced",
    verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    subresources: ["attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize", "status"],
    returnsDeleted: true,
    schema: undefined,
  });
  assert.equal(find("", "namespaces").scope, "Cluster");
  assert.deepEqual(find("", "componentstatuses").verbs, ["get", "list"]);
  assert.deepEqual(find("authorization.k8s.io", "selfsubjectaccessreviews").verbs, ["create"]);
  assert.deepEqual(find("apps", "deployments").subresources[0], { name: "scale", kind: "Scale", group: "autoscaling", version: "v1", verbs: ["get", "patch", "update"] });
  assert.ok(find("autoscaling", "horizontalpodautoscalers", "v2"));
});

test("every definition that a kind reaches is in the tables", () => {
  const seen = new Set<Schema>();
  const walk = (node: Schema | undefined): void => {
    if (!node || seen.has(node)) return;
    seen.add(node);
    for (const property of Object.values(node.properties ?? {})) walk(property);
    walk(node.items);
    walk(node.additionalProperties);
  };
  for (const table of builtinResources()) walk(table.schema);
  assert.ok(seen.size > 900, String(seen.size));
});

test("schemas carry types, patch and apply metadata, and what only Go knows", () => {
  const deployment = builtinSchema("apps", "v1", "Deployment");
  const cases: [string, Partial<Schema>][] = [
    ["spec.replicas", { type: "integer", format: "int32" }],
    ["spec.minReadySeconds", { type: "integer", format: "int32", omitZero: true }],
    ["spec.strategy", { patchStrategy: "retainKeys" }],
    ["spec.template.spec.containers", { type: "array", patchStrategy: "merge", patchMergeKey: "name", listType: "map", listMapKeys: ["name"] }],
    ["spec.template.spec.containers.[].imagePullPolicy", { type: "string", goType: "v1.PullPolicy", omitZero: true }],
    ["spec.template.spec.containers.[].ports", { patchMergeKey: "containerPort", listMapKeys: ["containerPort", "protocol"] }],
    ["spec.template.spec.containers.[].ports.[].protocol", { type: "string", default: "TCP" }],
    ["spec.template.spec.containers.[].resources.limits.*", { format: "quantity" }],
    ["spec.template.spec.volumes.[].hostPath.path", { type: "string" }],
    ["spec.template.metadata.creationTimestamp", { type: "string", format: "date-time" }],
    ["spec.strategy.rollingUpdate.maxSurge", { format: "int-or-string" }],
    ["spec.selector", { type: "object", mapType: "atomic" }],
    ["apiVersion", { type: "string" }],
  ];
  for (const [path, expected] of cases) {
    const node = at(deployment, path)!;
    assert.ok(node, path);
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(node[key as keyof Schema], value, `${path} ${key}`);
  }
  assert.deepEqual(at(deployment, "spec.template.spec.volumes.[]")!.protobuf!.hostPath, { path: [2, 1], pointer: true, embedded: "VolumeSource" });
});

test("builtinSchema() knows kinds that are no resource", () => {
  for (const [group, version, kind] of [["autoscaling", "v1", "Scale"], ["policy", "v1", "Eviction"], ["", "v1", "DeleteOptions"], ["apps", "v1", "DeleteOptions"], ["", "v1", "Status"], ["", "v1", "PodList"], ["", "v1", "Binding"], ["authentication.k8s.io", "v1", "TokenRequest"]] as const) {
    assert.ok(builtinSchema(group, version, kind), `${group}/${version} ${kind}`);
  }
  for (const [group, version, kind] of [["", "v1", "Container"], ["apps", "v1", "Pod"], ["../..", "v1", "Pod"], ["", "v1", "constructor"]] as const) assert.equal(builtinSchema(group, version, kind), undefined, `${group}/${version} ${kind}`);
});
