import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { eventually, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

const ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** A worker, a listener, and a program that answers `/` when it is told to. */
async function start() {
  const net = await startSupervisor();
  const waiting: Socket[] = [];
  const pod = await listen((socket) => socket.on("data", () => waiting.push(socket)));
  const [ip, address] = [nextAddress(), nextAddress()];
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(80, [{ ip: "127.0.0.1", port: pod.port }])] }));
  net.publishTraffic({
    revision: 1,
    put: {
      listeners: [8080, 8081].map((at) => ({ id: String(at), address, port: at, protocol: "HTTP" as const })),
      upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "http1" }],
      routes: [{ id: "HTTPRoute/default/web", type: "http", createdAt: 0, attachments: [{ listener: "8080", hostnames: [""] }], rules: [{ name: "", matches: [{ path: { type: "prefix", value: "/" } }], filters: [], backends: [{ upstream: "default/web/80", weight: 1 }] }] }],
    },
    remove: {},
  });
  const open = async (at: number): Promise<Socket> => {
    for (;;) {
      const socket = connect(at, address);
      const came = await Promise.race([once(socket, "connect").then(() => true), once(socket, "error").then(() => false)]).catch(() => false);
      if (came) return socket;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  return { net, pod, waiting, open };
}
const answer = (socket: Socket): void => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");

for (const what of ["a route goes", "a listener goes", "the data plane stops"] as const) {
  test(`${what}: the request that runs is answered`, async () => {
    const { net, pod, waiting, open } = await start();
    await using _ = pod;
    try {
      const [socket, idle] = [await open(8080), await open(8081)];
      const closed = new Promise((resolve) => idle.on("error", () => {}).on("close", resolve).resume());
      socket.write(ask);
      await eventually(async () => waiting.length === 1);
      const stopped = what === "the data plane stops" ? net.stop(AbortSignal.timeout(30_000)) : undefined;
      // The other listener goes in any case: who is connected to it sees that the worker has been told.
      if (what === "a route goes") net.publishTraffic({ revision: 2, put: {}, remove: { listeners: ["8081"], routes: ["HTTPRoute/default/web"], upstreams: ["default/web/80"] } });
      if (what === "a listener goes") net.publishTraffic({ revision: 2, put: {}, remove: { listeners: ["8080", "8081"] } });
      await closed;
      answer(waiting.shift()!);
      if (what === "a route goes") {
        assert.match(String((await once(socket, "data"))[0]), /^HTTP\/1\.1 200 OK\r\n.*ok$/s);
        socket.write(ask);
        assert.match(String((await once(socket, "data"))[0]), /^HTTP\/1\.1 404 /);
        socket.destroy();
      } else {
        assert.match(await text(socket), /^HTTP\/1\.1 200 OK\r\n.*Connection: close\r\n.*ok$/s);
      }
      await stopped;
    } finally {
      await net.stop(AbortSignal.timeout(5_000));
    }
  });
}
