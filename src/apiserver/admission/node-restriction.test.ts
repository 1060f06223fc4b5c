import assert from "node:assert/strict";
import { test } from "node:test";
import { strategies } from "../../api/kinds/index.ts";
import { createBuiltinRegistry } from "../../api/registry.ts";
import type { StatusError } from "../../api/status.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import type { AdmissionRequest } from "../rest/context.ts";
import { nodeRestriction } from "./node-restriction.ts";

test("a node is held to itself; the whole table is compared with the real server in test/conformance", async (t) => {
  const store = createMemoryStore();
  t.after(() => store.close());
  const registry = createBuiltinRegistry(strategies);
  const step = nodeRestriction({ store });
  const node = (labels: object = {}, more: object = {}): object => ({ metadata: { name: "one", labels }, ...more });
  const pod = (nodeName: string): object => ({ metadata: { name: "p" }, spec: { nodeName } });
  const table: [user: string, resource: string, request: object, why: RegExp | undefined][] = [
    ["system:node:one", "nodes", { operation: "UPDATE", name: "one", object: node({ "example.com/a": "b" }), old: node() }, undefined],
    ["system:node:one", "nodes", { operation: "UPDATE", name: "two", object: node(), old: node() }, /node "one" is not allowed to modify node "two"$/],
    ["system:node:one", "nodes", { operation: "UPDATE", name: "one", object: node({ "node-restriction.kubernetes.io/a": "b" }), old: node() }, /is not allowed to modify labels: node-restriction\.kubernetes\.io\/a$/],
    ["system:node:one", "nodes", { operation: "UPDATE", name: "one", object: node(), old: node({}, { spec: { taints: [{ key: "a" }] } }) }, /is not allowed to modify taints$/],
    ["system:node:one", "pods", { operation: "DELETE", name: "p", old: pod("one") }, undefined],
    ["system:node:one", "pods", { operation: "DELETE", name: "p", old: pod("two") }, /can only delete pods with spec\.nodeName set to itself$/],
    ["system:node:one", "pods", { operation: "UPDATE", name: "p", subresource: "status", old: pod("two"), object: pod("two") }, /can only update pod status for pods/],
    ["system:node:one", "configmaps", { operation: "DELETE", name: "c", old: {} }, undefined],
    ["system:node:", "pods", { operation: "DELETE", name: "p", old: pod("two") }, /could not determine node from user "system:node:"$/],
    ["ann", "pods", { operation: "DELETE", name: "p", old: pod("two") }, undefined],
  ];
  for (const [name, resource, request, why] of table) {
    const asked = { kind: registry.byResource("", "v1", resource)!, namespace: "default", user: { name, groups: ["system:nodes"] }, ...request } as unknown as AdmissionRequest;
    if (why) assert.throws(() => void step.mutate!(asked), (error: StatusError) => error.code === 403 && why.test(error.message), why.source);
    else await step.mutate!(asked);
  }
});
