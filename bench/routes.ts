import { readFileSync } from "node:fs";
import { Agent } from "node:http";
import { type Gateway, gatewayResources, type HttpRouteRule, type RouteObject } from "../src/proxy/gateway/kinds.ts";
import type { Wherry } from "../src/wherry.ts";
import { ask } from "../test/scenarios/gateway-load.ts";
import { withWherry } from "./fixture.ts";
import { print, spread } from "./measure.ts";

/**
 * How soon does a changed route serve? From the API's 200 for an HTTPRoute to the first request that it answers as it says now,
 * beside few and many other routes, one change at a time and a hundred a second. No pod: the routes redirect, and where to says
 * which version of the route answered.
 */
const counts = (process.env["ROUTES"] ?? "10,5000").split(",").map(Number);
const alone = 50;
const perSecond = 100;
const seconds = 5;
const createdAtOnce = 16;
const giveUpMs = 10_000;
const { httpRoutes, gateways } = gatewayResources;

export async function run(): Promise<void> {
  const rows: string[][] = [];
  for (const count of counts) {
    await withWherry(async (wherry) => {
      const address = await gateway(wherry);
      const began = performance.now();
      let next = 0;
      const create = async () => {
        while (next < count) {
          const i = next++;
          await wherry.client.create(httpRoutes, "default", { metadata: { name: `r-${i}` }, spec: { parentRefs: [{ name: "edge" }], hostnames: [`r-${i}.example.com`], rules: rules(0) } });
        }
      };
      await Promise.all(Array.from({ length: createdAtOnce }, create));
      for (const i of [0, count - 1]) await visible(address, i, 0);
      await settled(wherry);
      const createdSeconds = (performance.now() - began) / 1000;
      const one: number[] = [];
      for (let i = 0; i < alone; i++) one.push(await change(wherry, address, i % count, i + 1));
      const many: number[] = [];
      const errors: string[] = [];
      const steady = load(address, count);
      const started = performance.now();
      /** A route's next change waits for the one before: of two at once nobody knows which is the last. */
      const pending = new Map<number, Promise<void>>();
      for (let i = 0; i < perSecond * seconds; i++) {
        const wait = started + (i * 1000) / perSecond - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        const work = () => change(wherry, address, i % count, alone + 1 + i).then((ms) => void many.push(ms), (error: Error) => void errors.push(error.message));
        pending.set(i % count, (pending.get(i % count) ?? Promise.resolve()).then(work));
      }
      await Promise.all(pending.values());
      const took = (performance.now() - started) / 1000;
      const { asked, failed } = await steady.stop();
      if (errors.length > 0) process.stdout.write(`${count} routes: ${errors.length} changes failed, the first: ${errors[0]}\n`);
      rows.push([String(count), createdSeconds.toFixed(1), spread(one, 1), spread(many, 1), (many.length / took).toFixed(0), `${failed} of ${asked}`, String(errors.length), megabytes(wherry.processes().net[0]!), megabytes(wherry.processes().api!)]);
    });
  }
  print(["routes", "created, statuses written, s", "one change → served, ms", `${perSecond} a second, ms`, "reached, a second", "failed requests", "failed changes", "wherry-net, MB", "wherry-api, MB"], rows);
}

const rules = (version: number) => [{ filters: [{ type: "RequestRedirect", requestRedirect: { path: { type: "ReplaceFullPath", replaceFullPath: `/${version}` }, statusCode: 302 } }] }];

async function gateway(wherry: Wherry): Promise<string> {
  await wherry.client.create(gateways, "default", { metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "http", port: 8080, protocol: "HTTP" }] } });
  for (const began = performance.now(); performance.now() - began < giveUpMs; ) {
    const { status } = await wherry.client.get<Gateway>(gateways, "default", "edge");
    if (status?.conditions?.some(({ type, status: is }) => type === "Programmed" && is === "True")) return status.addresses![0]!.value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("the Gateway is not programmed");
}

const agents: Agent[] = [];
const agentOf = (): Agent => agents.pop() ?? new Agent({ keepAlive: true, maxSockets: 1 });

/** Each route's status is written: what follows is measured beside nothing else. */
async function settled(wherry: Wherry): Promise<void> {
  for (;;) {
    const { items } = await wherry.client.list<RouteObject<HttpRouteRule>>(httpRoutes);
    if (items.every(({ status }) => status?.parents?.length)) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** One route's change, and the time from the API's answer. */
async function change(wherry: Wherry, address: string, index: number, version: number): Promise<number> {
  await wherry.client.patch(httpRoutes, "default", `r-${index}`, { spec: { rules: rules(version) } }, { type: "merge" });
  const answered = performance.now();
  await visible(address, index, version);
  return performance.now() - answered;
}

/** A later version does as well: it was said later still. */
async function visible(address: string, index: number, version: number): Promise<void> {
  const agent = agentOf();
  try {
    for (const began = performance.now(); performance.now() - began < giveUpMs; ) {
      const { status, location } = await ask(agent, address, 8080, `r-${index}.example.com`, "/");
      if (status === 302 && Number(new URL(location!).pathname.slice(1)) >= version) return;
    }
  } finally {
    agents.push(agent);
  }
  throw new Error(`version ${version} of r-${index} was not served within ${giveUpMs} ms`);
}

/** Any answer but the redirect is a failure. */
function load(address: string, count: number): { stop(): Promise<{ asked: number; failed: number }> } {
  const stopping = new AbortController();
  const result = { asked: 0, failed: 0 };
  const agent = agentOf();
  const done = (async () => {
    while (!stopping.signal.aborted) {
      const { status } = await ask(agent, address, 8080, `r-${result.asked++ % count}.example.com`, "/");
      if (status !== 302) result.failed++;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await done;
      agents.push(agent);
      return result;
    },
  };
}

const megabytes = (pid: number): string => (Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024).toFixed(0);
