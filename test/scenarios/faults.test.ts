import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import type { Deployment, Pod } from "../../src/api/types.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { directUrl, load } from "./stack.ts";

/** The mark for being back is a second; a deadline in a test is five times the mark. */
const deadlineMs = 5_000;

const deployment = {
  metadata: { name: "web" },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: { containers: [{ name: "web", image: "python:3", command: ["python3", "-m", "http.server", "8080"], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }] },
    },
  },
};

/** Asks until it holds; gives how long that took. */
async function until(what: string, holds: () => Promise<boolean> | boolean, withinMs: number): Promise<number> {
  const began = performance.now();
  for (;;) {
    if (await (async () => holds())().catch(() => false)) return performance.now() - began;
    assert.ok(performance.now() - began < withinMs, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function web(wherry: TestWherry): Promise<string> {
  await wherry.client.create(resources.deployments, "default", deployment);
  await wherry.client.create(resources.services, "default", { metadata: { name: "web" }, spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] } });
  await until("two replicas", async () => (await wherry.client.get<Deployment>(resources.deployments, "default", "web")).status?.readyReplicas === 2, 30_000);
  await until("an address", () => wherry.hostAddresses().some(({ service }) => service === "web"), deadlineMs);
  return directUrl(wherry, "default", "web");
}

const containers = async (wherry: TestWherry): Promise<string[]> =>
  (await wherry.client.list<Pod>(resources.pods, { namespace: "default", labelSelector: "app=web" })).items.map(({ status }) => `${status?.containerStatuses?.[0]?.containerID} ${status?.containerStatuses?.[0]?.restartCount}`).sort();

test("wherry-net killed -9 under load: back at once, and no connection is refused", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "python3")) return;
  await using wherry = await startWherry({ test: t });
  const url = await web(wherry);
  const before = await containers(wherry);
  const traffic = load(url, { concurrency: 4, pauseMs: 2 });
  for (let round = 0; round < 2; round++) {
    const [old] = wherry.processes().net;
    process.kill(old!, "SIGKILL");
    const ms = await until("a new worker that answers", async () => wherry.processes().net[0] !== old && (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok, deadlineMs);
    t.diagnostic(`back after ${ms.toFixed(0)} ms`);
    for (let request = 0; request < 20; request++) assert.ok((await fetch(url)).ok);
  }
  const { ok, failures } = await traffic.stop();
  assert.deepEqual(failures.filter((failure) => failure.includes("ECONNREFUSED")), []);
  assert.ok(ok > 20, `${ok} requests`);
  assert.deepEqual(await containers(wherry), before, "the pods never noticed");
});

test("wherry-api killed -9 under load: back at once with every object; pods, traffic and the API's port go on", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "python3")) return;
  await using wherry = await startWherry({ test: t });
  const url = await web(wherry);
  const before = await containers(wherry);
  const traffic = load(url, { concurrency: 4, pauseMs: 2 });
  const port = Number(new URL(wherry.apiUrl).port);
  const knocks = { made: 0, refused: 0 };
  let knocking = true;
  const knocker = (async () => {
    while (knocking) {
      await new Promise<void>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => {
          knocks.made++;
          socket.destroy();
          resolve();
        });
        socket.on("error", (error: NodeJS.ErrnoException) => {
          if (error.code === "ECONNREFUSED") knocks.refused++;
          resolve();
        });
      });
    }
  })();
  for (let round = 0; round < 2; round++) {
    const name = `kept-${round}`;
    await wherry.client.create(resources.configMaps, "default", { metadata: { name }, data: { round: String(round) } });
    const old = wherry.processes().api;
    process.kill(old!, "SIGKILL");
    const ms = await until("a new API that answers", async () => {
      await wherry.client.get(resources.configMaps, "default", name);
      return wherry.processes().api !== old;
    }, deadlineMs);
    t.diagnostic(`back after ${ms.toFixed(0)} ms`);
  }
  knocking = false;
  await knocker;
  const { ok, failures } = await traffic.stop();
  assert.deepEqual(failures, []);
  assert.ok(ok > 100, `${ok} requests`);
  assert.equal(knocks.refused, 0, `${knocks.made} connections to the API were taken, these were refused`);
  assert.deepEqual(await containers(wherry), before, "the pods never noticed");
  await wherry.client.patch(resources.deployments, "default", "web", { spec: { replicas: 3 } });
  await until("the new API's controllers work", async () => (await wherry.client.get<Deployment>(resources.deployments, "default", "web")).status?.readyReplicas === 3, 30_000);
});
