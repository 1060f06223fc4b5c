import assert from "node:assert/strict";
import { createServer, get } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { eventually, gatewayTo, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

/** A program whose /health says what it is told to, and which says its name otherwise. */
async function pod(name: string): Promise<{ port: number; status: number; checks: number; asked: number } & AsyncDisposable> {
  const it = { port: 0, status: 200, checks: 0, asked: 0 };
  const server = createServer((request, response) => {
    if (request.url !== "/health") it.asked++;
    else it.checks++;
    response.writeHead(request.url === "/health" ? it.status : 200).end(name);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  it.port = (server.address() as AddressInfo).port;
  return Object.assign(it, {
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

const ask = (host: string): Promise<string> =>
  new Promise((resolve, reject) => {
    get({ host, port: 8080, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk)).on("end", () => resolve(response.statusCode === 200 ? body : `${response.statusCode}`));
    }).on("error", reject);
  });

test("two workers: one check an endpoint, both know, also one that was killed; all unwell is panic, or nobody", async () => {
  await using net = await startSupervisor({ workers: 2 });
  await using a = await pod("a");
  await using b = await pod("b");
  const address = nextAddress();
  const gateway = gatewayTo(address, 80);
  const check = { ask: { type: "http" as const, method: "GET", path: "/health", statuses: [200] }, intervalMs: 100, timeoutMs: 5_000, unhealthyThreshold: 1, healthyThreshold: 1 };
  const upstream = { ...gateway.upstreams[0]!, check, panicPercent: 50 };
  net.publish(snapshot(1, { name: "web", clusterIPs: [], ports: [port(80, [{ ip: "127.0.0.1", port: a.port }, { ip: "127.0.0.1", port: b.port }])] }));
  net.publishTraffic({ revision: 1, put: { ...gateway, upstreams: [upstream] }, remove: {} });
  /** Names that twenty new connections got, at whatever worker. */
  const answers = async () => [...new Set(await Promise.all(Array.from({ length: 20 }, () => ask(address))))].sort().join();
  const state = () => net.health.reports().map(({ key, isWell, reason }) => `${key === `127.0.0.1:${a.port}` ? "a" : "b"} ${isWell} ${reason}`).sort().join();
  await eventually(() => state() === "a true 200,b true 200");
  await eventually(async () => (await answers()) === "a,b");
  a.status = 503;
  await eventually(() => state() === "a false 503,b true 200");
  // Of both workers, either may be slow to hear it.
  await eventually(async () => (await net.settled?.(), await answers()) === "b");
  const before = a.asked;
  for (let i = 0; i < 3; i++) assert.equal(await answers(), "b");
  // The next worker knows before it is asked anything.
  for (const pid of net.pids()) {
    process.kill(pid, "SIGKILL");
    await eventually(() => net.pids().length === 2 && !net.pids().includes(pid));
    for (let i = 0; i < 3; i++) assert.equal(await eventually(answers), "b");
  }
  assert.equal(a.asked, before, "nobody went there");
  b.status = 500;
  await eventually(() => state() === "a false 503,b false 500");
  await eventually(async () => (await answers()) === "a,b");
  net.publishTraffic({ revision: 2, put: { upstreams: [{ ...upstream, panicPercent: 0 }] }, remove: {} });
  await eventually(async () => (await answers()) === "503");
  a.status = 200;
  await eventually(async () => (await answers()) === "a");
  // Who goes is forgotten, and nobody is asked whom no policy names.
  net.publish(snapshot(2, { name: "web", clusterIPs: [], ports: [port(80, [{ ip: "127.0.0.1", port: a.port }])] }));
  await eventually(() => state() === "a true 200");
  net.publishTraffic({ revision: 3, put: { upstreams: [gateway.upstreams[0]!] }, remove: {} });
  assert.deepEqual(net.health.reports(), []);
  assert.equal(await eventually(answers), "a");
});
