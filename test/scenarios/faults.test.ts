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

/** Calls the Service by its name, from a pod, until it is told to stop; then prints how each call ended. */
const caller = `
import collections, json, signal, socket, threading
ends, stopping = collections.Counter(), threading.Event()
def call():
    while not stopping.is_set():
        try:
            address = socket.getaddrinfo("web.default.svc.cluster.local", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        except OSError as error:
            ends[f"lookup: {error}"] += 1
            continue
        try:
            connection = socket.create_connection(address, 10)
        except OSError as error:
            ends[f"connect: {error}"] += 1
            continue
        try:
            with connection:
                connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                whole = b"".join(iter(lambda: connection.recv(65536), b""))
            ends["ok" if b" 200 OK" in whole and b"</html>" in whole else "cut"] += 1
        except OSError:
            ends["cut"] += 1
        stopping.wait(0.005)
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads: thread.start()
print("calling", flush=True)
for thread in threads:
    while thread.is_alive(): thread.join(0.1)
print(json.dumps(ends), flush=True)
`;

async function startCaller(wherry: TestWherry): Promise<{ stop(): Promise<Record<string, number>> }> {
  await wherry.client.create(resources.pods, "default", {
    metadata: { name: "caller" },
    spec: { restartPolicy: "Never", containers: [{ name: "caller", image: "python:3", command: ["python3", "-c", caller] }] },
  });
  const log = async () => (await wherry.kubectl("logs", "caller")).stdout.trim().split("\n");
  await until("the caller calls", async () => (await log())[0] === "calling", 30_000);
  return {
    async stop() {
      const { code, stderr } = await wherry.kubectl("exec", "caller", "--", "kill", "1");
      assert.equal(code, 0, stderr);
      await until("the caller has ended", async () => (await wherry.client.get<Pod>(resources.pods, "default", "caller")).status?.phase === "Succeeded", 30_000);
      return JSON.parse((await log()).at(-1)!) as Record<string, number>;
    },
  };
}

const containers = async (wherry: TestWherry): Promise<string[]> =>
  (await wherry.client.list<Pod>(resources.pods, { namespace: "default", labelSelector: "app=web" })).items.map(({ status }) => `${status?.containerStatuses?.[0]?.containerID} ${status?.containerStatuses?.[0]?.restartCount}`).sort();

test("wherry-net killed -9 under load, from the machine and from a pod by name: back at once, no connection refused, no lookup failed", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "python3", "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  const url = await web(wherry);
  const before = await containers(wherry);
  // In plain mode only Node programs have the cluster's names.
  const pod = wherry.mode === "isolated" ? await startCaller(wherry) : undefined;
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
  if (pod) {
    const { ok: served = 0, cut = 0, ...failed } = await pod.stop();
    t.diagnostic(`from the pod: ${served} served, ${cut} cut in flight`);
    assert.deepEqual(failed, {}, "a new connection waits, and so does a lookup");
    assert.ok(served > 20, `${served} calls from the pod`);
    assert.ok(cut <= 2 * 4, "only what was in flight through a killed worker is cut");
  }
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
