import assert from "node:assert/strict";
import { test } from "node:test";
import type { HealthReport } from "../../api/traffic-health.ts";
import { FakeClock } from "../../base/clock.ts";
import type { Handler } from "../../base/channel.ts";
import { seededRandom } from "../../base/random.ts";
import { serveApiRequests } from "../api-requests.ts";
import type { NetSupervisor } from "../supervisor.ts";
import { HealthOwner } from "./owner.ts";

const upstream = { id: "shop/web/80", namespace: "shop", service: "web", port: 80, protocol: "http1" as const, endpoints: [{ ip: "10.0.0.1", port: 80 }], check: { ask: { type: "http" as const, method: "GET", path: "/", statuses: [200] }, intervalMs: 10_000, timeoutMs: 1_000, unhealthyThreshold: 1, healthyThreshold: 1 } };

test("a wherry-api that begins hears what was found while there was none", async () => {
  const clock = new FakeClock();
  let isWell = true;
  const health = new HealthOwner({ snapshot: () => ({ revision: 1, services: [] }), overrides: new Map() }, { clock, random: seededRandom(1), check: async () => ({ finding: isWell ? "well" : "unwell", reason: "" }), tell() {} });
  const handlers = new Map<string, Handler>();
  /** What the process that lives now was told last. */
  let told: string[] = [];
  let isThere = true;
  const send = (type: string, reports: unknown): void => {
    if (isThere && type === "net/health") told = (reports as HealthReport[]).map(({ key, isWell: found }) => `${key} ${found}`);
  };
  serveApiRequests({ on: (type, handler) => void handlers.set(type, handler) }, { health } as Partial<NetSupervisor> as NetSupervisor, { send });
  const passes = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 500) {
      clock.advance(500);
      await new Promise(setImmediate);
    }
  };
  handlers.get("net/health-again")!(undefined as never, undefined);
  assert.deepEqual(told, [], "nobody is checked: there is nothing to write down");
  health.applyTraffic({ revision: 1, put: { upstreams: [upstream] }, remove: {} });
  await passes(15_000);
  assert.deepEqual(told, ["10.0.0.1:80 true"]);
  isThere = false;
  isWell = false;
  await passes(15_000);
  [told, isThere] = [[], true];
  await passes(15_000);
  assert.deepEqual(told, [], "it is no news to who found it");
  handlers.get("net/health-again")!(undefined as never, undefined);
  assert.deepEqual(told, ["10.0.0.1:80 false"]);
  health.close();
});
