import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { Client } from "../api/client.ts";
import { FakeClock } from "../base/clock.ts";
import type { Endpoint } from "../policy/upstream.ts";
import { startApi } from "../../test/harness-api.ts";
import { discover, NoInstanceError, slices } from "./discovery.ts";
import { createHttpClient } from "./http-client.ts";
import { findCluster } from "./kubernetes.ts";
import { listInstances, register } from "./registration.ts";
import { Watched } from "./watched.ts";

/** Lets one sign of life go out, and waits until the next is planned. */
async function round(clock: FakeClock, ms = 10_000): Promise<void> {
  clock.advance(ms);
  while (clock.nextDueMs() === undefined) await settled();
}
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a program outside registers, is found, is seen, and goes", async () => {
  await using api = await startApi();
  const { client, namespace } = await findCluster({ kubeconfig: api.kubeconfig("registrar", api.pki.admin) });
  const service = "billing";
  const found = await discover({ client, namespace, service });
  assert.throws(() => found.pick(), NoInstanceError);
  const next = () => new Promise<string[]>((resolve) => found.onChange((endpoints) => resolve(endpoints.map(({ key }) => key))));

  const clock = new FakeClock();
  const base = { client, namespace, service, port: 8080, portName: "http", servicePort: 80, clock };
  let change = next();
  const one = await register({ ...base, instance: "one", address: "192.0.2.1" });
  assert.deepEqual(await change, ["192.0.2.1:8080"]);
  assert.equal(found.pick().ip, "192.0.2.1");
  const made = await client.get<{ spec: { selector?: object; ports: { port: number; targetPort: number }[] } }>({ group: "", version: "v1", resource: "services" }, namespace, service);
  assert.deepEqual([made.spec.selector, made.spec.ports[0]!.port, made.spec.ports[0]!.targetPort], [undefined, 80, 8080]);
  assert.deepEqual(await listInstances({ client, namespace, service }), [{ instance: "one", address: "192.0.2.1", port: 8080, healthy: true, lastSeen: "2026-01-01T00:00:00.000000Z" }]);

  change = next();
  await one.setReady(false);
  assert.deepEqual(await change, []);
  change = next();
  await one.setReady(true);
  await change;

  change = next();
  const two = await register({ ...base, instance: "two", address: "192.0.2.2" });
  assert.deepEqual(await change, ["192.0.2.1:8080", "192.0.2.2:8080"]);
  assert.deepEqual(new Set([found.pick().ip, found.pick().ip]), new Set(["192.0.2.1", "192.0.2.2"]));
  change = next();
  await two.deregister();
  assert.deepEqual(await change, ["192.0.2.1:8080"]);
  change = next();
  await one.deregister();
  assert.deepEqual(await change, []);
  assert.deepEqual(await listInstances({ client, namespace, service }), []);
  await found.stop();
  client.close();
});

test("an instance that gives no sign of life is set aside by the others, comes back, and is removed when it stays away", async () => {
  await using api = await startApi();
  const { client } = api;
  const [service, namespace] = ["billing", "default"];
  const [clock, other] = [new FakeClock(), new FakeClock()];
  const errors: unknown[] = [];
  const base = { client, namespace, service, port: 8080, onError: (error: unknown) => errors.push(error) };
  // Its own clock stands still: no sign of life goes out.
  const dead = await register({ ...base, instance: "dead", address: "192.0.2.1", clock: other });
  const alive = await register({ ...base, instance: "alive", address: "192.0.2.2", clock });
  const healthy = async () => (await listInstances(base)).filter((one) => one.healthy).map(({ instance }) => instance).toSorted();
  /** Moves time on, until the rounds it begins have led there. */
  const advanceTo = async (is: () => Promise<boolean>, most: number) => {
    for (let step = 0; step < most; step++) {
      if (await is()) return;
      await round(clock);
    }
    assert.ok(await is(), `not within ${most} rounds: ${JSON.stringify(await listInstances(base))}`);
  };
  assert.deepEqual(await healthy(), ["alive", "dead"]);
  await advanceTo(async () => (await healthy()).join() === "alive", 20);
  // It only slept.
  other.advance(10_000);
  for (let turn = 0; turn < 2_000 && (await healthy()).length < 2; turn++) await settled();
  assert.deepEqual(await healthy(), ["alive", "dead"]);
  await advanceTo(async () => (await listInstances(base)).length === 1, 100);
  assert.deepEqual(errors, []);
  await alive.deregister();
  await dead.deregister();
});

test("who was away itself for long takes nobody for dead: it has not seen that the others were silent", async () => {
  await using api = await startApi();
  const [service, namespace] = ["billing", "default"];
  const [clock, other] = [new FakeClock(), new FakeClock()];
  const base = { client: api.client, namespace, service, port: 8080 };
  const one = await register({ ...base, instance: "one", address: "192.0.2.1", clock });
  const two = await register({ ...base, instance: "two", address: "192.0.2.2", clock: other });
  await round(clock);
  // Both machines, or the API, were away for an hour; the first is back a moment before the other.
  await round(clock, 3_600_000);
  await round(clock);
  assert.deepEqual((await listInstances(base)).map(({ instance, healthy }) => [instance, healthy]).toSorted(), [["one", true], ["two", true]]);
  // But who stays silent from now on is noticed.
  for (let i = 0; i < 4; i++) await round(clock);
  assert.deepEqual((await listInstances(base)).map(({ instance, healthy }) => [instance, healthy]).toSorted(), [["one", true], ["two", false]]);
  await one.deregister();
  await two.deregister();
});

test("a watch that falls silent is begun anew, from where it was: its connection may have died while the machine slept", async () => {
  const clock = new FakeClock();
  const watches: (string | undefined)[] = [];
  const again = Promise.withResolvers<void>();
  const item = (name: string, resourceVersion: string) => ({ metadata: { name, resourceVersion } });
  const client = {
    list: async () => ({ items: [item("a", "1")], metadata: { resourceVersion: "1" } }),
    async *watch(_: unknown, { resourceVersion, signal }: { resourceVersion?: string; signal: AbortSignal }) {
      watches.push(resourceVersion);
      if (watches.length > 1) again.resolve();
      else yield { type: "ADDED", object: item("b", "7") };
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    },
  } as unknown as Client;
  const seen: string[][] = [];
  const errors: unknown[] = [];
  const watched = new Watched({ client, resource: slices, namespace: "default", labelSelector: "", clock, onChange: (objects) => seen.push(objects.map(({ metadata }) => metadata.name)), onError: (error) => errors.push(error) });
  while (seen.length < 2) await settled();
  clock.advance(60_000);
  await settled();
  assert.equal(watches.length, 1);
  clock.advance(30_000);
  await again.promise;
  assert.deepEqual([watches, seen, errors], [["1", "7"], [["a"], ["a", "b"]], []]);
  await watched.stop();
});

test("a client of HTTP follows a Service whose endpoints come and go", async (t) => {
  await using api = await startApi();
  const { client } = api;
  const server = createServer((_, response) => void response.end("found")).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => (server.closeAllConnections(), server.close()));
  const { port } = server.address() as AddressInfo;
  const found = await discover({ client, namespace: "default", service: "web", port: "http" });
  // The API refuses loopback addresses in slices: one that is registered stands for the server's.
  const here = (endpoints: readonly Endpoint[]) => endpoints.map((endpoint) => ({ ...endpoint, ip: "127.0.0.1" }));
  const http = createHttpClient({ url: "http://web", endpoints: { current: () => here(found.current()), onChange: (listener) => found.onChange((endpoints) => listener(here(endpoints))) } });
  await assert.rejects(http.request("GET", "/"), { code: "unavailable" });
  const change = new Promise((resolve) => found.onChange(resolve));
  const registration = await register({ client, namespace: "default", service: "web", instance: "x", address: "192.0.2.1", port, portName: "http" });
  await change;
  assert.equal((await http.request("GET", "/")).text(), "found");
  await registration.deregister();
  http.close();
  await found.stop();
});

test("what cannot be registered is refused", async () => {
  await using api = await startApi();
  const base = { client: api.client, namespace: "default", service: "x", instance: "y", port: 1, address: "192.0.2.1" };
  await assert.rejects(register({ ...base, address: "example.com" }), /must be an IP address/);
  await assert.rejects(register({ ...base, port: 0 }), /must be between 1 and 65535/);
  await assert.rejects(register({ ...base, everyMs: 5_000, expiresMs: 4_000 }), /whole seconds, and more than everyMs/);
  await api.client.create({ group: "", version: "v1", resource: "services" }, "default", { metadata: { name: "x" }, spec: { selector: { app: "x" }, ports: [{ port: 80 }] } });
  await assert.rejects(register(base), /Service default\/x has a selector/);
});
