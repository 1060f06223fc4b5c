import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { test } from "node:test";
import { eventually, exchange, listen, nextAddress, port, snapshot, startSupervisor } from "./testing/network.ts";

const ip = "127.0.0.1";

/** As long as an answer would take at the most. */
const pause = () => new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 100));

test("a connection to a Service whose only pod is held waits until it is ready again", async () => {
  await using net = await startSupervisor();
  await using old = await listen((socket) => socket.end("old"));
  const address = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [address], ports: [port(7000, [{ ip, port: old.port }])] }));
  assert.equal(await eventually(() => exchange(address, 7000)), "old");
  net.setReady(ip, "held");
  // Told by message: a moment may pass until connections wait.
  let settled = 0;
  const waiting: Promise<string>[] = [];
  await eventually(async () => {
    const asked = exchange(address, 7000);
    void asked.then(() => settled++, () => settled++);
    const first = await Promise.race([asked, pause()]);
    if (first !== undefined) return false;
    waiting.push(asked);
    return true;
  });
  for (let n = 0; n < 20; n++) waiting.push(exchange(address, 7000));
  // The API's view changes meanwhile, and changes nothing.
  net.publish(snapshot(2, { name: "web", clusterIPs: [address], ports: [port(7000, [{ ip, port: old.port, ready: false }])] }));
  net.setReady(ip, true);
  assert.deepEqual(await Promise.all(waiting), Array.from({ length: waiting.length }, () => "old"));
});

test("those who wait are refused when nothing came of it, and the address refuses from then on", async () => {
  await using net = await startSupervisor();
  await using server = await listen((socket) => socket.end("here"));
  const address = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [address], ports: [port(7000, [{ ip, port: server.port }])] }));
  await eventually(() => exchange(address, 7000));
  net.setReady(ip, "held");
  const failed: string[] = [];
  await eventually(async () => {
    const asked = exchange(address, 7000);
    const first = await Promise.race([asked.catch(() => "refused"), pause()]);
    asked.catch((error: Error) => failed.push(error.message));
    return first === undefined;
  });
  net.setReady(ip, false);
  await eventually(async () => failed.includes("ECONNRESET"));
  await eventually(() => exchange(address, 7000).then(() => false, (error: Error) => error.message === "ECONNREFUSED"));
});

test("a held pod gets nothing while another is ready", async () => {
  await using net = await startSupervisor();
  await using one = await listen((socket) => socket.end("one"));
  await using two = await listen((socket) => socket.end("two"), "127.0.0.2");
  const address = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [address], ports: [port(7000, [{ ip, port: one.port }, { ip: "127.0.0.2", port: two.port }])] }));
  await eventually(() => exchange(address, 7000));
  net.setReady(ip, "held");
  await eventually(async () => new Set(await Promise.all(Array.from({ length: 10 }, () => exchange(address, 7000)))).size === 1);
  assert.equal(await exchange(address, 7000), "two");
});

test("the front door: requests wait, and no idle connection to the pod is kept meanwhile", async () => {
  await using net = await startSupervisor();
  let connections = 0;
  const server = createServer((_request, response) => response.end("well")).listen(0, ip);
  server.on("connection", (socket) => (connections++, socket.on("close", () => connections--)));
  await once(server, "listening");
  const target = (server.address() as { port: number }).port;
  const web = (ready: boolean) => ({ name: "web", namespace: "shop", clusterIPs: [], ports: [port(80, [{ ip, port: target, ready }], { name: "http", appProtocol: "http" })] });
  net.publish(snapshot(1, web(true)));
  const door = Number(new URL(net.hostAddresses()[0]!.url).port);
  const get = () =>
    new Promise<number>((resolve, reject) => {
      request({ host: ip, port: door, agent: false, headers: { Host: "web.shop.localhost" } }, (response) => (response.resume(), resolve(response.statusCode!))).on("error", reject).end();
    });
  try {
    await eventually(async () => (await get()) === 200);
    assert.equal(connections, 1, "kept for the next request");
    net.setReady(ip, "held");
    await eventually(async () => connections === 0);
    const waiting = [get(), get()];
    assert.equal(await Promise.race([...waiting, pause()]), undefined);
    net.publish(snapshot(2, web(false)));
    net.setReady(ip, true);
    assert.deepEqual(await Promise.all(waiting), [200, 200]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
