import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
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
  aggregator.close();
  api.close();
  return store.revision - before;
}
const contents = (store: Store) => Object.fromEntries(store.range("").map(({ key, object }) => [key, { ...object, metadata: { ...(object as KubeObject).metadata, uid: "", resourceVersion: "" } }]));

test("a store that is filled from the file holds what its makers make, and leaves them nothing to do", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-first-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "first-objects.json");
  writeFileSync(file, await makeFirstObjects());
  const [made, filled, another] = [createMemoryStore(), createMemoryStore(), createMemoryStore()];
  await complete(made);
  for (const store of [filled, another]) await fillFirstObjects(store, nowMs, file);
  assert.equal(filled.count(""), made.count("") - 1, "the aggregator's ConfigMap has the stack's own authority in it");
  assert.equal(await complete(filled), 1);
  assert.deepEqual(contents(filled), contents(made));

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
  await fillFirstObjects(store, nowMs, join(tmpdir(), "wherry-no-such-file.json"));
  assert.equal(store.count(""), 0);
  await store.put("/core/namespaces/mine", 0, (revision) => ({ bytes: Buffer.from("{}"), object: { revision } }));
  await fillFirstObjects(store, nowMs, import.meta.filename);
  assert.equal(store.count(""), 1);
});
