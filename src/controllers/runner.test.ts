import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";
import type { Client } from "../api/client.ts";
import { Informers } from "../api/informer.ts";
import type { KubeObject, WatchEvent } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import { conflictError, StatusError } from "../api/status.ts";
import { FakeClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { seededRandom } from "../base/random.ts";
import type { Action, Plan } from "./action.ts";
import { controller, Runner } from "./runner.ts";

const map = (name: string, revision: number, more: object = {}): KubeObject => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default", uid: name, resourceVersion: String(revision), creationTimestamp: "" }, ...more });

/** One controller over ConfigMaps, on a client whose watch the test feeds by hand: the cache is behind until it does. */
async function stage(plan: (object: KubeObject, call: number) => Plan, more: object = {}) {
  const clock = new FakeClock();
  const calls: string[] = [];
  const failures: (Error | undefined)[] = [];
  let queue: WatchEvent[] = [];
  let wake = () => {};
  let revision = 10;
  const write = (verb: string) => async (_of: unknown, _namespace: string, nameOrObject: unknown, object?: unknown) => {
    const name = typeof nameOrObject === "string" ? nameOrObject : (nameOrObject as KubeObject).metadata.name;
    calls.push(`${verb} ${name}`);
    await setImmediate();
    const failure = failures.shift();
    if (failure) throw failure;
    return map(name, ++revision, object as object);
  };
  const client = {
    list: async () => ({ apiVersion: "v1", kind: "ConfigMapList", metadata: { resourceVersion: "10" }, items: [map("a", 5)] }),
    async *watch(_of: unknown, { signal }: { signal: AbortSignal }) {
      signal.addEventListener("abort", () => wake());
      while (!signal.aborted) {
        const batch = queue;
        queue = [];
        yield* batch;
        if (queue.length === 0 && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    create: write("create"),
    update: write("update"),
    patch: write("patch"),
    delete: write("delete"),
  } as unknown as Client;
  const informers = new Informers({ client, clock });
  let plans = 0;
  const runner = new Runner(controller<KubeObject>({ name: "test", for: resources.configMaps, plan: ({ object }) => plan(object, plans++), ...more }), { client, informers, clock, random: seededRandom(1), log: silentLog });
  await informers.start();
  runner.start();
  const settle = async (ms = 0) => {
    for (let i = 0; i < 8; i++) await setImmediate();
    clock.advance(ms);
    for (let i = 0; i < 8; i++) await setImmediate();
  };
  await settle();
  const feed = async (type: WatchEvent["type"], object: KubeObject) => {
    queue.push({ type, object });
    wake();
    await settle();
  };
  return { clock, calls, failures, runner, settle, feed, plans: () => plans, stop: () => Promise.all([runner.stop(), informers.stop()]) };
}
const create = (name: string): Action => ({ do: "create", resource: resources.configMaps, object: { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } } });

test("after a write the key is not planned again before the cache shows it", async () => {
  const { calls, feed, runner, settle, plans, stop } = await stage((_, call) => ({ actions: call === 0 ? [create("child")] : [] }));
  assert.deepEqual(calls, ["create child"]);
  await feed("MODIFIED", map("a", 10, { data: {} }));
  assert.equal(plans(), 1, "the change of revision 10 is older than our write of 11");
  assert.equal(runner.counters.waits, 1);
  await feed("ADDED", map("child", 11));
  await settle(50);
  assert.ok(plans() > 1);
  await stop();
});

test("a cache that never shows the write does not block for ever", async () => {
  const { plans, runner, settle, stop } = await stage((_, call) => ({ actions: call === 0 ? [create("child")] : [] }));
  runner.enqueue("default/a");
  for (let second = 0; second < 14; second++) await settle(1_000);
  assert.equal(plans(), 1);
  for (let second = 0; second < 3; second++) await settle(1_000);
  assert.equal(plans(), 2);
  await stop();
});

test("which failures end a plan, and how", async (t) => {
  const of = { group: "", resource: "configmaps" };
  const notFound = new StatusError(404, "NotFound", "gone");
  const terminating = new StatusError(403, "Forbidden", "terminating", { causes: [{ reason: "NamespaceTerminating" }] });
  const existing = map("child", 7);
  const cases: { name: string; action: Action; failure: Error; goesOn: boolean; conflicts?: number }[] = [
    { name: "deleting what is gone", action: { do: "delete", resource: resources.configMaps, object: existing }, failure: notFound, goesOn: true },
    { name: "changing what is gone", action: { do: "update", resource: resources.configMaps, object: existing }, failure: notFound, goesOn: true },
    { name: "creating in a namespace that goes", action: create("child"), failure: terminating, goesOn: true },
    { name: "a conflict", action: { do: "update", resource: resources.configMaps, object: existing }, failure: conflictError(of, "child"), goesOn: false, conflicts: 1 },
    { name: "a refusal", action: create("child"), failure: new StatusError(403, "Forbidden", "no"), goesOn: false, conflicts: 0 },
    { name: "an API that is away", action: create("child"), failure: new Error("ECONNREFUSED"), goesOn: false, conflicts: 0 },
  ];
  for (const { name, action, failure, goesOn, conflicts = 0 } of cases) {
    await t.test(name, async () => {
      const { calls, failures, runner, feed, settle, plans, stop } = await stage((object) => ({ actions: object["go"] ? [action, create("after")] : [] }));
      failures.push(failure);
      await feed("MODIFIED", map("a", 11, { go: true }));
      assert.equal(calls.includes("create after"), goesOn);
      assert.deepEqual([runner.counters.retries, runner.counters.conflicts], [goesOn ? 0 : 1, conflicts]);
      const before = plans();
      await settle(5);
      assert.equal(plans() > before, !goesOn, "what failed is tried again after 5 ms");
      await stop();
    });
  }
});

test("slow start meets a refusal once, not a hundred times", async () => {
  const outcomes: string[] = [];
  const { calls, failures, feed, stop } = await stage((object) => ({
    actions: object["go"] ? [{ do: "batch", slowStart: true, actions: Array.from({ length: 100 }, (_, index) => create(`child-${index}`)), orElse: (error) => (outcomes.push(error.message), []) }] : [],
  }));
  failures.push(undefined, undefined, new Error("quota"));
  await feed("MODIFIED", map("a", 11, { go: true }));
  assert.equal(calls.length, 3, "one, then two of which one failed");
  assert.deepEqual(outcomes, ["quota"]);
  await stop();
});

test("status writes of one key are 30 ms apart, and the last one is not lost", async () => {
  const { calls, feed, settle, stop } = await stage((object) => ({ actions: object["want"] === object["status"] ? [] : [{ do: "status", resource: resources.configMaps, object: { ...object, status: object["want"] } as KubeObject }] }));
  await feed("MODIFIED", map("a", 11, { want: 1 }));
  await feed("MODIFIED", map("a", 12, { want: 2, status: 1 }));
  await feed("MODIFIED", map("a", 13, { want: 3, status: 1 }));
  assert.equal(calls.length, 1);
  await settle(30);
  assert.equal(calls.length, 2);
  await stop();
});

test("requeueAfterMs looks again though nothing changed; a key rests after a write", async () => {
  const requeued = await stage(() => ({ actions: [], requeueAfterMs: 500 }));
  await requeued.settle(499);
  assert.equal(requeued.plans(), 1);
  await requeued.settle(1);
  assert.equal(requeued.plans(), 2);
  await requeued.stop();

  const resting = await stage((object) => ({ actions: object["go"] ? [{ do: "patch", resource: resources.secrets, object, patch: {} }] : [] }), { restMs: 75 });
  await resting.feed("MODIFIED", map("a", 11, { go: 1 }));
  await resting.feed("MODIFIED", map("a", 12, { go: 2 }));
  await resting.feed("MODIFIED", map("a", 13, { go: 3 }));
  assert.equal(resting.calls.length, 1);
  await resting.settle(75);
  assert.equal(resting.calls.length, 2);
  await resting.stop();
});
