import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client } from "../api/client.ts";
import { resources } from "../api/resources.ts";
import { followUntilReady } from "./progress.ts";

const startedMs = Date.parse("2026-11-21T10:00:00.700Z");
const pod = (name: string, startedAt: string, isReady = true) => ({
  metadata: { name, namespace: "default", labels: { app: "web" } },
  spec: { containers: [] },
  status: { phase: "Running", conditions: [{ type: "Ready", status: isReady ? "True" : "False" }], containerStatuses: [{ name: "app", state: { running: { startedAt } } }] },
});
const [before, since] = ["2026-11-21T09:59:59Z", "2026-11-21T10:00:00Z"];

test("what the store says of an earlier run's programs is no Ready: only those that started since count", async () => {
  // Each look finds the next state; the last one stays.
  const states = [[pod("a", before), pod("b", before)], [pod("a", since, false), pod("b", before)], [pod("a", since), pod("b", before)], [pod("a", since), pod("b", since)]];
  const deployment = { metadata: { name: "web", generation: 1 }, spec: { replicas: 2, selector: { matchLabels: { app: "web" } } }, status: { observedGeneration: 1, readyReplicas: 2 } };
  let looks = 0;
  const client = {
    get: async () => deployment,
    list: async (resource: unknown) => ({ items: resource === resources.pods ? states[Math.min(looks++, states.length - 1)] : [] }),
  } as unknown as Client;
  let output = "";
  const follow = (sinceMs?: number) => followUntilReady(client, [{ resource: resources.deployments, namespace: "default", name: "web", kind: "Deployment" }], { write: (text: string) => ((output += text), true) } as never, { ...(sinceMs !== undefined && { sinceMs }) });
  assert.equal(await follow(startedMs), true);
  assert.deepEqual(output.replace(/\d+\.\d s/, "TIME").split("\n"), ["  … web  0/2  starting again", "  … web  1/2  started, not Ready yet", "  … web  1/2  starting again", "  ✓ web  2/2  Ready  TIME", ""]);
  output = "";
  looks = 0;
  await follow();
  assert.match(output, /✓ web {2}2\/2 {2}Ready {2}0\.0 s/, "to whoever did not start it, it is Ready");
});
