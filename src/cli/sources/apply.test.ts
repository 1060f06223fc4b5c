import assert from "node:assert/strict";
import { test } from "node:test";
import { builtinResources } from "../../api/kinds/table.ts";
import type { KubeObject } from "../../api/meta.ts";
import { lastApplied, threeWay } from "./apply.ts";

test("lastApplied() is what kubectl writes, to the byte", () => {
  const object = { kind: "ConfigMap", apiVersion: "v1", metadata: { name: "a" }, data: { b: "<x> & y", a: "1" } } as unknown as KubeObject;
  assert.equal(lastApplied(object, "default"), '{"apiVersion":"v1","data":{"a":"1","b":"\\u003cx\\u003e \\u0026 y"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"a","namespace":"default"}}\n');
});

test("threeWay() removes what only the last file named and keeps what others set", () => {
  const cases: [string, unknown, unknown, unknown, unknown][] = [
    ["nothing to do", { a: 1 }, { a: 1 }, { a: 1, b: 2 }, undefined],
    ["changed", { a: 1 }, { a: 2 }, { a: 1, b: 2 }, { a: 2 }],
    ["removed from the file", { a: 1, c: { d: 1, e: 2 } }, { c: { e: 2 } }, { a: 1, b: 2, c: { d: 1, e: 2, f: 3 } }, { a: null, c: { d: null } }],
    ["set by others, never in the file", {}, { a: 1 }, { a: 1, z: 1 }, undefined],
    ["already gone", { a: 1 }, {}, {}, undefined],
    ["lists of no known kind are replaced whole", { l: [1] }, { l: [1, 2] }, { l: [1] }, { l: [1, 2] }],
  ];
  for (const [name, original, wanted, present, patch] of cases) assert.deepEqual(threeWay(original, wanted, present), patch, name);
});

test("threeWay() merges lists as the schema says: by key, as a set, whole", () => {
  const { schema } = builtinResources().find(({ resource, group }) => resource === "deployments" && group === "apps")!;
  const spec = schema.properties!["spec"]!.properties!["template"]!.properties!["spec"]!;
  const app = (more: object = {}) => ({ name: "app", image: "a:1", ...more });
  const cases: [string, unknown, unknown, unknown, unknown][] = [
    ["what others put into an element stays", { containers: [app()] }, { containers: [app({ image: "a:2" })] }, { containers: [app({ env: [{ name: "A", value: "1" }] })] }, { containers: [app({ image: "a:2", env: [{ name: "A", value: "1" }] })] }],
    ["an element of others stays", { containers: [app()] }, { containers: [app()] }, { containers: [app(), { name: "sidecar" }] }, undefined],
    ["an element that left the file goes", { containers: [app(), { name: "old" }] }, { containers: [app()] }, { containers: [app(), { name: "old" }, { name: "sidecar" }] }, { containers: [app(), { name: "sidecar" }] }],
    ["lists inside elements too", { containers: [app({ env: [{ name: "A", value: "1" }] })] }, { containers: [app({ env: [{ name: "A", value: "2" }] })] }, { containers: [app({ env: [{ name: "A", value: "1" }, { name: "B", value: "9" }] })] }, { containers: [app({ env: [{ name: "A", value: "2" }, { name: "B", value: "9" }] })] }],
    ["a list without a key is the file's", { containers: [app({ args: ["a"] })] }, { containers: [app({ args: ["b"] })] }, { containers: [app({ args: ["a", "z"] })] }, { containers: [app({ args: ["b"] })] }],
    ["of a union only what is wanted stays", { volumes: [{ name: "v", emptyDir: {} }] }, { volumes: [{ name: "v", configMap: { name: "c" } }] }, { volumes: [{ name: "v", emptyDir: { sizeLimit: "1Gi" } }] }, { volumes: [{ name: "v", configMap: { name: "c" } }] }],
    ["a key that two elements share tells nothing", { containers: [app({ ports: [{ containerPort: 53 }] })] }, { containers: [app({ ports: [{ containerPort: 53 }, { containerPort: 53, protocol: "UDP" }] })] }, { containers: [app({ ports: [{ containerPort: 53 }, { containerPort: 80 }] })] }, { containers: [app({ ports: [{ containerPort: 53 }, { containerPort: 53, protocol: "UDP" }] })] }],
  ];
  for (const [name, original, wanted, present, patch] of cases) assert.deepEqual(threeWay(original, wanted, present, spec), patch, name);
});
