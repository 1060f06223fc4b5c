import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { installDefinitions, shippedDefinitions, shippedNames } from "./api/definitions/definitions.ts";
import { strategies } from "./api/kinds/index.ts";
import type { KubeObject } from "./api/meta.ts";
import { createBuiltinRegistry } from "./api/registry.ts";
import { Aggregator } from "./apiserver/aggregation/aggregator.ts";
import { createApi } from "./apiserver/api.ts";
import { systemIdentity } from "./apiserver/rest/context.ts";
import { FakeClock } from "./base/clock.ts";
import { silentLog } from "./base/log.ts";
import { systemRandom } from "./base/random.ts";
import { createFirstObjects, fillFirstObjects, makeFirstObjects } from "./first-objects.ts";
import { createMemoryStore } from "./store/memory-store.ts";
import type { Store } from "./store/store.ts";

const nowMs = Date.UTC(2026, 6, 1, 12);

/** As wherry-api does it: what is missing is created. Gives how many writes that took. */
async function complete(store: Store): Promise<number> {
  const before = store.revision;
  const clock = new FakeClock(nowMs);
  const api = createApi({ store, registry: createBuiltinRegistry(strategies), clock, random: systemRandom, log: silentLog });
  const client = api.client(systemIdentity("controllers"), "kube-controller-manager");
  const aggregator = new Aggregator({ api, client, clock, random: systemRandom, log: silentLog, frontProxy: () => Promise.resolve({ ca: "CA", cert: "", key: "" }), clientCa: "CA" });
  await createFirstObjects(client, aggregator);
  assert.ok(api.registry.byKind("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler"), "definitions are served");
  await installDefinitions(client);
  await aggregator.registered();
  await store.flush();
  aggregator.close();
  api.close();
  return store.revision - before;
}
const contents = (store: Store) => Object.fromEntries(store.range("").map(({ key, object }) => [key, { ...object, metadata: { ...(object as KubeObject).metadata, uid: "", resourceVersion: "" } }]));

test("a store that is filled from the file holds what its makers make, and leaves them nothing to do", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-first-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "first-objects.txt");
  writeFileSync(file, await makeFirstObjects());
  const [made, filled, another] = [createMemoryStore(), createMemoryStore(), createMemoryStore()];
  await complete(made);
  for (const store of [filled, another]) await fillFirstObjects(store, nowMs, file);
  assert.equal(filled.count(""), made.count("") - 1, "the aggregator's ConfigMap has the stack's own authority in it");
  assert.equal(await complete(filled), 1);
  assert.deepEqual(contents(filled), contents(made));

  // Served at once, before anybody looks what is missing.
  const api = createApi({ store: another, registry: createBuiltinRegistry(strategies), clock: new FakeClock(nowMs), random: systemRandom, log: silentLog });
  for (const { metadata, spec } of shippedNames.flatMap(shippedDefinitions)) {
    const { status } = another.get(`/apiextensions.k8s.io/customresourcedefinitions/${metadata.name}`)!.object as KubeObject;
    assert.deepEqual(status.conditions.map(({ type, status }: { type: string; status: string }) => [type, status]).filter(([type]: string[]) => type !== "KubernetesAPIApprovalPolicyConformant"), [["NamesAccepted", "True"], ["Established", "True"]], metadata.name);
    for (const { name, served } of spec.versions) {
      assert.equal(api.registry.byKind(spec.group, name, spec.names.kind) !== undefined, served, `${spec.names.kind} ${name}`);
      if (served) assert.ok(another.get(`/apiregistration.k8s.io/apiservices/${name}.${spec.group}`), `${name}.${spec.group}`);
    }
  }
  api.close();

  for (const { key, bytes, object, revision } of another.range("")) {
    const { metadata } = object as KubeObject;
    assert.deepEqual(JSON.parse(bytes.toString()), object, key);
    assert.equal(metadata.resourceVersion, String(revision));
    assert.notEqual(metadata.uid, (filled.get(key)!.object as KubeObject).metadata.uid, "each stack's objects are its own");
    assert.ok(Object.isFrozen(metadata));
  }
  const uids = another.range("").map(({ object }) => (object as KubeObject).metadata.uid);
  assert.equal(new Set(uids).size, uids.length);
});

test("a store in which something is stays as it is, and without the file nothing is filled", async () => {
  const store = createMemoryStore();
  await fillFirstObjects(store, nowMs, join(tmpdir(), "wherry-no-such-file.txt"));
  assert.equal(store.count(""), 0);
  await store.put("/core/namespaces/mine", 0, (revision) => ({ bytes: Buffer.from("{}"), object: { revision } }));
  await fillFirstObjects(store, nowMs, import.meta.filename);
  assert.equal(store.count(""), 1);
});
