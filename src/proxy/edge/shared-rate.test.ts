import assert from "node:assert/strict";
import { get } from "node:http";
import { test } from "node:test";
import type { HttpFilter } from "../../api/traffic.ts";
import { eventually, gatewayTo, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

test("a rate limit is one for all workers", async () => {
  await using net = await startSupervisor({ workers: 2 });
  await using pod = await listen((socket) => socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")));
  const [ip, address] = [nextAddress(), nextAddress()];
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(80, [{ ip: "127.0.0.1", port: pod.port }])] }));
  const route = (filters: HttpFilter[]) => ({ routes: gatewayTo(address, 80, filters).routes });
  net.publishTraffic({ revision: 1, put: gatewayTo(address, 80), remove: {} });
  /** The status; 0 for an answer of the route as it was: new connections meet either worker, and one may learn of the change later. */
  let isOld = (_mark: string | undefined): boolean => false;
  const ask = () => new Promise<number>((resolve, reject) => get({ host: address, port: 8080, agent: false }, (response) => resolve(isOld(response.resume().headers["x-rate"] as string | undefined) ? 0 : response.statusCode!)).on("error", reject));
  await eventually(async () => (await ask()) === 200);
  isOld = (mark) => mark !== "first";
  const mark: HttpFilter = { type: "responseHeaders", set: [{ name: "x-rate", value: "first" }] };
  net.publishTraffic({ revision: 2, put: route([mark, { type: "rateLimit", requests: 1, periodMs: 3_600_000, burst: 9, by: "route" }]), remove: {} });
  const answers: number[] = [];
  await eventually(async () => answers.push(...(await Promise.all(Array.from({ length: 10 }, ask)))) && answers.includes(429));
  answers.push(...(await Promise.all(Array.from({ length: 40 }, ask))));
  assert.equal(answers.filter((status) => status === 200).length, 10, answers.join(" "));
  isOld = () => false;
  net.publishTraffic({ revision: 3, put: route([{ type: "rateLimit", requests: 1, periodMs: 7_200_000, burst: 9, by: "route" }]), remove: {} });
  await eventually(async () => (await ask()) === 200);
  const more = await Promise.all(Array.from({ length: 60 }, ask));
  assert.equal(more.filter((status) => status === 200).length, 9, `another rate begins anew, and gives exactly its ten: ${more.join(" ")}`);
});
