import assert from "node:assert/strict";
import { Agent } from "node:http";
import { test, type TestContext } from "node:test";
import { randomInt, seededRandom } from "../../src/base/random.ts";
import { gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import type { StartOptions } from "../../src/wherry.ts";
import { needs } from "../needs.ts";
import { killWorker } from "./gateway-kill.ts";
import { ask, gatewayLoad } from "./gateway-load.ts";
import { GatewayStack, route, rule, until } from "./gateway-stack.ts";

const whole = process.env["WHERRY_CONFORMANCE"] !== undefined;
const changes = whole ? 1_000 : 100;
const mixed = whole ? 200 : 20;
const socketCount = 20;
const tools = ["kubectl", "openssl"];

/** Each kind of change that a team makes all day to its routes; `n` grows. */
const kinds: readonly ((n: number) => { name: string; rules: unknown[] } | { gone: string } | { name: string; rules: unknown[]; fresh: true })[] = [
  (n) => ({ name: "shop", rules: [rule("echo", String(n))] }),
  (n) => ({ name: `extra-${n}`, rules: [rule("echo", String(n))], fresh: true }),
  (n) => ({ name: "sockets", rules: [rule("echo-v2", String(n))] }),
  (n) => ({ name: "shop", rules: [{ matches: [{ path: { value: "/rest" } }], ...rule("echo", String(n)) }, { backendRefs: [{ name: "echo", port: 80, weight: 1 }, { name: "echo-v2", port: 80, weight: n }] }] }),
  (n) => ({ gone: `extra-${n - 3}` }),
];

test("under load: more and fewer pods, roll-outs, routes, certificates, and killed workers", { timeout: 600_000 }, async (t) => {
  if (!needs(t, ...tools)) return;
  await using stack = await GatewayStack.start(t);
  await t.test(`${changes} changes of routes, beside those of pods and certificates: no request and no WebSocket is lost`, (t) => manyRoutes(t, stack));
  await t.test(`${mixed} changes of all sorts, wherry-net killed among them: nothing is lost but what the killed one held`, (t) => mixture(t, stack, mixed, 1));
});

/** The same on other machines: with cores for two workers, and where there are no namespaces. */
const variants: [name: string, options: StartOptions][] = [
  ["two workers", { netWorkers: 2 }],
  ["plain mode", { isolation: "plain" }],
  ["plain mode, two workers", { isolation: "plain", netWorkers: 2 }],
];
for (const [name, options] of variants) {
  test(`${name}: ${mixed} changes of all sorts, workers killed among them: nothing is lost but what the killed ones held`, { timeout: 600_000, skip: whole ? false : "minutes: npm run conformance" }, async (t) => {
    if (!needs(t, ...tools)) return;
    await using stack = await GatewayStack.start(t, options);
    assert.equal(stack.wherry.processes().net.length, options.netWorkers ?? stack.wherry.processes().net.length);
    if (options.isolation) assert.equal(stack.wherry.mode, options.isolation);
    await mixture(t, stack, mixed, 2);
  });
}

async function manyRoutes(t: TestContext, stack: GatewayStack): Promise<void> {
  const { client } = stack.wherry;
  await using load = await gatewayLoad({ address: stack.address, port: 8080, host: "shop.example.com", path: "/rest", clients: 6, secure: { serverName: "shop.example.com", port: 8443, clients: 2 }, sockets: { host: "sockets.example.com", count: socketCount, everyMs: 100 } });
  const began = performance.now();
  /** The rest of what happens, beside the routes' changes. */
  const events = (async () => {
    for (let round = 0; round < Math.max(1, changes / 500); round++) {
      await stack.scale(4);
      await stack.renew();
      await stack.scale(2);
      await stack.roll(String(round));
    }
  })();
  events.catch(() => {});
  let slowestMs = 0;
  for (let n = 1; n <= changes; n++) {
    const change = kinds[n % kinds.length]!(n);
    const before = performance.now();
    if ("gone" in change) await client.delete(gatewayResources.httpRoutes, "default", change.gone);
    else if ("fresh" in change) await client.create(gatewayResources.httpRoutes, "default", route(change.name, `${change.name}.example.com`, change.rules));
    else await stack.reroute(change.name, change.rules);
    slowestMs = Math.max(slowestMs, performance.now() - before);
    // Spread over what else happens, so that they meet each moment of it.
    await new Promise((resolve) => setTimeout(resolve, changes === 100 ? 40 : 30));
  }
  await events;
  const { ok, failures, lost, pings } = await load.stop();
  t.diagnostic(`${changes} changes in ${((performance.now() - began) / 1000).toFixed(1)} s (the slowest answer ${slowestMs.toFixed(0)} ms): ${ok} requests served, ${failures.length} failed; ${pings} pings over ${socketCount} WebSockets, ${lost.length} lost`);
  assert.deepEqual({ failures, lost }, { failures: [], lost: [] });
  assert.ok(ok > changes && pings > socketCount, `${ok} requests, ${pings} pings`);
}

/** What happens of twenty; in which order, the seed says. */
const deck = ["roll", "scale", "scale", "kill", "kill", "kill", "kill", "renew", "renew", "renew", ...Array.from({ length: 10 }, () => "reroute")];

/**
 * Every kind of client at once, and changes of every kind in a random order. Pods come and go beside the rest, as long as they
 * take; after each of the other changes its effect is awaited, and after a kill that every client is served again.
 */
async function mixture(t: TestContext, stack: GatewayStack, count: number, seed: number): Promise<void> {
  const { wherry } = stack;
  const random = seededRandom(seed);
  const began = performance.now();
  await using load = await gatewayLoad({ address: stack.address, port: 8080, host: "shop.example.com", path: "/rest", clients: 3, fresh: 2, secure: { serverName: "shop.example.com", port: 8443, clients: 1, http2: 1 }, sockets: { host: "sockets.example.com", count: 6, everyMs: 50 } });
  /** Each kind of connection has been served since. */
  const everybodyServed = async () => {
    const before = { ...load.result.served };
    const { pings } = load.result;
    await until("every client is served", () => ["kept", "fresh", "tls", "h2"].every((kind) => (load.result.served[kind] ?? 0) > (before[kind] ?? 0)) && load.result.pings > pings, 30_000);
  };
  await everybodyServed();
  let pods: Promise<void> = Promise.resolve();
  let killed = 0;
  let held = 0;
  const act: Record<string, (n: number) => Promise<void>> = {
    roll: (n) => stack.roll(`${seed}/${n}`),
    scale: () => stack.scale(1 + randomInt(random, 4)),
    renew: () => stack.renew(),
    reroute: async (n) => {
      const value = `${seed}-${n}`;
      const service = randomInt(random, 2) === 0 ? "echo" : "echo-v2";
      await stack.reroute("shop", randomInt(random, 2) === 0 ? [rule(service, value)] : [{ matches: [{ path: { value: "/rest" } }], ...rule(service, value) }, rule("echo", "other")]);
      await stack.reroute("sockets", [rule("echo-v2", value)]);
      await until("the new route", async () => (await changeSeen(stack.address)) === value, 30_000);
    },
    kill: async () => {
      const pids = wherry.processes().net;
      const pid = pids[randomInt(random, pids.length)]!;
      const kill = await killWorker(pid);
      load.killed(kill);
      killed++;
      held += kill.ports.size;
      await until("another worker", () => wherry.processes().net.length === pids.length && !wherry.processes().net.includes(pid), 30_000);
      await everybodyServed();
    },
  };
  let cards: string[] = [];
  for (let n = 0; n < count; n++) {
    if (cards.length === 0) cards = [...deck];
    const [kind] = cards.splice(randomInt(random, cards.length), 1);
    if (kind === "roll" || kind === "scale") {
      await pods;
      pods = act[kind]!(n);
      pods.catch(() => {});
    } else await act[kind!]!(n);
  }
  await pods;
  await everybodyServed();
  const { ok, failures, lost, cut, served } = await load.stop();
  t.diagnostic(`${count} changes in ${((performance.now() - began) / 1000).toFixed(1)} s, ${killed} workers killed with ${held} connections: ${ok} requests served (${JSON.stringify(served)}), ${cut.length} cut off in flight, ${failures.length} failed, ${lost.length} WebSockets lost`);
  assert.deepEqual({ failures, lost }, { failures: [], lost: [] });
  assert.ok(killed === count / 5 && held > 0, "the kernel says who was connected to the killed ones");
  assert.ok(cut.length <= held * 3, "a connection of HTTP/1.1 carries one request at a time, one of HTTP/2 three");
}

/** Which change the route of the shop says that it is. */
async function changeSeen(address: string): Promise<string | undefined> {
  const agent = new Agent();
  const { change } = await ask(agent, address, 8080, "shop.example.com", "/rest");
  agent.destroy();
  return change;
}
