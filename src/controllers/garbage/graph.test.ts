import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { OwnerGraph } from "./graph.ts";

const object = (uid: string, owners: string[] = [], metadata: object = {}): KubeObject =>
  ({ apiVersion: "v1", kind: "ConfigMap", metadata: { uid, name: uid, namespace: "n", ownerReferences: owners.map((owner) => ({ apiVersion: "v1", kind: "ConfigMap", name: owner, uid: owner })), ...metadata } }) as unknown as KubeObject;

for (const finalizer of ["foregroundDeletion", "orphan"]) {
  test(`an owner that waits with ${finalizer} is looked at again when a dependent lets go of it`, () => {
    const graph = new OwnerGraph();
    graph.observe(resources.configMaps, object("owner", [], { deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [finalizer] }), undefined);
    graph.observe(resources.configMaps, object("child", ["owner"]), undefined);
    assert.ok(graph.observe(resources.configMaps, object("child"), object("child", ["owner"])).includes("owner"));
  });
}
