import assert from "node:assert/strict";
import { get } from "node:http";
import { test } from "node:test";
import type { HttpFilter, TrafficPatch } from "../../api/traffic.ts";
import { eventually, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

test("a rate limit is one for all workers", async () => {
  await using net = await startSupervisor({ workers: 2 });
  await using pod = await listen((socket) => socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")));
  const [ip, address] = [nextAddress(), nextAddress()];
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(80, [{ ip: "127.0.0.1", port: pod.port }])] }));
  const route = (filters: HttpFilter[]): TrafficPatch["put"] => ({
    routes: [{ id: "HTTPRoute/default/web", type: "http", createdAt: 0, attachments: [{ listener: "l", hostnames: [""] }], rules: [{ name: "", matches: [{ path: { type: "prefix", value: "/" } }], filters, backends: [{ upstream: "default/web/80", weight: 1 }] }] }],
  });
  net.publishTraffic({
    revision: 1,
    put: { listeners: [{ id: "l", address, port: 8080, protocol: "HTTP" }], upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "http1" }], ...route([]) },
    remove: {},
  });
  const ask = () => new Promise<number>((resolve, reject) => get({ host: address, port: 8080, agent: false }, (response) => resolve(response.resume().statusCode!)).on("error", reject));
  await eventually(async () => (await ask()) === 200);
  net.publishTraffic({ revision: 2, put: route([{ type: "rateLimit", requests: 1, periodMs: 3_600_000, burst: 9, by: "route" }]), remove: {} });
  // New connections meet either worker; the first requests may still find the route as it was.
  const answers: number[] = [];
  await eventually(async () => answers.push(...(await Promise.all(Array.from({ length: 10 }, ask)))) && answers.includes(429));
  answers.push(...(await Promise.all(Array.from({ length: 40 }, ask))));
  assert.deepEqual([...new Set(answers)].sort(), [200, 429]);
  const limited = answers.slice(answers.indexOf(429));
  assert.ok(limited.filter((status) => status === 200).length <= 10, answers.join(" "));
  net.publishTraffic({ revision: 3, put: route([{ type: "rateLimit", requests: 1, periodMs: 7_200_000, burst: 9, by: "route" }]), remove: {} });
  await eventually(async () => (await ask()) === 200);
  const more = await Promise.all(Array.from({ length: 60 }, ask));
  assert.equal(more.filter((status) => status === 200).length, 9, `another rate begins anew, and gives exactly its ten: ${more.join(" ")}`);
});
