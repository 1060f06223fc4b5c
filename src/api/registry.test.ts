import assert from "node:assert/strict";
import { test } from "node:test";
import type { Kind } from "./kind.ts";
import { createBuiltinRegistry, KindRegistry } from "./registry.ts";

test("createBuiltinRegistry() joins tables and code", () => {
  const defaults = () => {};
  const storedAs = { group: "", version: "v1", resource: "events", toStored: (object: never) => object, fromStored: (object: never) => object };
  const registry = createBuiltinRegistry([
    { group: "apps", resource: "deployments", strategy: { defaults } },
    { group: "events.k8s.io", resource: "events", version: "v1", strategy: {}, storedAs },
  ]);
  const deployment = registry.byResource("apps", "v1", "deployments")!;
  assert.equal(deployment.kind, "Deployment");
  assert.equal(deployment.defaults, defaults);
  assert.equal(deployment.hasStatus, true);
  assert.equal(deployment.schema.name, "io.k8s.api.apps.v1.Deployment");
  assert.equal(registry.byKind("apps", "v1", "Deployment"), deployment);
  assert.equal(registry.byResource("events.k8s.io", "v1", "events")!.storedAs, storedAs);
  assert.equal(registry.byResource("", "v1", "events")!.storedAs, undefined);
  assert.equal(registry.byResource("", "v1", "configmaps")!.hasStatus, false);
  assert.deepEqual(registry.versionsOf("autoscaling", "horizontalpodautoscalers").map(({ version }) => version), ["v2", "v1"]);
  assert.throws(() => createBuiltinRegistry([{ group: "apps", resource: "deployment", strategy: {} }]), /no table for the code of deployment.apps/);
});

test("kinds come and go, and listeners hear of it", () => {
  const registry = new KindRegistry();
  const heard: string[] = [];
  const stop = registry.onChange(({ type, kind }) => heard.push(`${type} ${kind.kind}`));
  const kind = (name: string): Kind => ({ group: "example.com", version: "v1", kind: name, resource: "widgets" }) as Kind;
  registry.add(kind("Widget"));
  registry.add(kind("Gadget"));
  assert.equal(registry.byKind("example.com", "v1", "Widget"), undefined, "the replaced kind is gone");
  assert.equal(registry.remove("example.com", "v1", "widgets")!.kind, "Gadget");
  assert.equal(registry.remove("example.com", "v1", "widgets"), undefined);
  stop();
  registry.add(kind("Widget"));
  assert.deepEqual(heard, ["added Widget", "added Gadget", "removed Gadget"]);
  assert.equal(registry.generation, 5);
});
