import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";
import { FakeClock } from "../base/clock.ts";
import { seededRandom } from "../base/random.ts";
import type { Client } from "./client.ts";
import { createEventRecorder } from "./events.ts";
import { alreadyExistsError, forbiddenError, notFoundError, StatusError } from "./status.ts";

const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "web-0", namespace: "shop", uid: "u1", resourceVersion: "7" } };

function stage() {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  const events = new Map<string, any>();
  const failures: Error[] = [];
  let calls = 0;
  const of = { group: "", resource: "events" };
  const client = {
    async create(_of: unknown, namespace: string, object: any) {
      calls++;
      await setImmediate();
      const failure = failures.shift();
      if (failure) throw failure;
      events.set(`${namespace}/${object.metadata.name}`, object);
      return object;
    },
    async patch(_of: unknown, namespace: string, name: string, patch: object) {
      calls++;
      const old = events.get(`${namespace}/${name}`);
      if (!old) throw notFoundError(of, name);
      events.set(`${namespace}/${name}`, { ...old, ...patch });
    },
  } as unknown as Client;
  const recorder = createEventRecorder(client, { component: "kubelet", host: "wherry", clock, random: seededRandom(1) });
  return { clock, recorder, failures, events, all: () => [...events.values()], calls: () => calls };
}

test("an event carries what kubectl describe looks for", async () => {
  const { recorder, all } = stage();
  recorder.event(pod, "Normal", "Started", "Started container app", { fieldPath: "spec.containers{app}" });
  await recorder.flush();
  const [event] = all();
  assert.match(event.metadata.name, /^web-0\.[0-9a-f]{16}$/);
  delete event.metadata.name;
  assert.deepEqual(event, {
    apiVersion: "v1", kind: "Event", metadata: { namespace: "shop" },
    involvedObject: { kind: "Pod", namespace: "shop", name: "web-0", uid: "u1", apiVersion: "v1", resourceVersion: "7", fieldPath: "spec.containers{app}" },
    reason: "Started", message: "Started container app", type: "Normal", source: { component: "kubelet", host: "wherry" },
    reportingComponent: "kubelet", reportingInstance: "wherry", firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-01T00:00:00Z", count: 1,
  });
});

test("names fit, whatever the object is called", async () => {
  const { recorder, all } = stage();
  const names = ["a".repeat(253), `${"b".repeat(235)}.c`, "system:node", "UPPER"];
  for (const name of names) recorder.event({ ...pod, metadata: { ...pod.metadata, name, uid: name } }, "Normal", "Pulled", "x");
  await recorder.flush();
  assert.deepEqual(all().map(({ metadata }) => metadata.name.replace(/\.[0-9a-f]{16}$/, "")), ["a".repeat(236), "b".repeat(235), "event", "event"]);
  assert.deepEqual(all().map(({ involvedObject }) => involvedObject.name), names);
});

test("the same event again is counted, in memory and in the store", async () => {
  const { recorder, clock, all, calls } = stage();
  for (let i = 0; i < 3; i++) recorder.event(pod, "Warning", "BackOff", "Back-off restarting");
  await recorder.flush();
  assert.equal(calls(), 1, "what is not written yet needs no write of its own");
  clock.advance(90_000);
  recorder.event(pod, "Warning", "BackOff", "Back-off restarting");
  await recorder.flush();
  assert.deepEqual(all().map(({ count, firstTimestamp, lastTimestamp }) => ({ count, firstTimestamp, lastTimestamp })), [{ count: 4, firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-01T00:01:30Z" }]);
});

test("an expired event begins anew", async () => {
  const { recorder, clock, events, all } = stage();
  recorder.event(pod, "Normal", "Pulled", "x");
  await recorder.flush();
  events.clear();
  recorder.event(pod, "Normal", "Pulled", "x");
  await recorder.flush();
  clock.advance(500);
  await recorder.flush();
  assert.deepEqual(all().map(({ count }) => count), [1]);
});

test("many that differ only in their message become one; too many are cut off", async () => {
  const { recorder, all } = stage();
  for (let i = 0; i < 40; i++) recorder.event(pod, "Warning", "Unhealthy", `probe failed ${i}`);
  await recorder.flush();
  assert.equal(all().length, 10);
  const last = all().at(-1);
  assert.match(last.message, /^\(combined from similar events\): probe failed 24$/);
  assert.equal(last.count, 16);
});

test("which failures are tried again", async (t) => {
  const of = { group: "", resource: "events" };
  const terminating = new StatusError(403, "Forbidden", "being terminated", { causes: [{ reason: "NamespaceTerminating" }] });
  const cases: { name: string; failure: Error; written: number }[] = [
    { name: "the API is away", failure: new Error("ECONNREFUSED"), written: 1 },
    { name: "an overloaded API", failure: new StatusError(429, "TooManyRequests", "slow down"), written: 1 },
    { name: "the name is taken", failure: alreadyExistsError(of, "web-0.1"), written: 1 },
    { name: "the namespace goes", failure: terminating, written: 0 },
    { name: "not allowed", failure: forbiddenError(of, "x", "no"), written: 0 },
  ];
  for (const { name, failure, written } of cases) {
    await t.test(name, async () => {
      const { recorder, clock, failures, all } = stage();
      failures.push(failure);
      recorder.event(pod, "Normal", "Pulled", "x");
      await recorder.flush();
      assert.equal(all().length, 0);
      clock.advance(500);
      await recorder.flush();
      assert.equal(all().length, written);
    });
  }
});
