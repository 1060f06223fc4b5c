import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { silentLog } from "../base/log.ts";
import { HostPlan } from "./host-listeners.ts";
import { eventually, exchange, listen, port, snapshot, startSupervisor } from "./testing/network.ts";

const plan = (numbers: Record<string, number> = {}) => new HostPlan({ numbers, private: true, log: silentLog });
const endpoint = { ip: "127.0.0.1", port: 9 };

test("addresses that are promised, by kind of Service", () => {
  const numbers: Record<string, number> = {};
  const hosts = plan(numbers);
  hosts.apply(
    snapshot(
      1,
      { name: "web", namespace: "shop", clusterIPs: ["10.96.0.5"], ports: [port(80, [endpoint], { name: "web", appProtocol: "http" })] },
      { name: "db", namespace: "shop", clusterIPs: ["10.96.0.6"], ports: [port(5432, [endpoint])] },
      { name: "edge", namespace: "shop", type: "LoadBalancer", clusterIPs: ["10.96.0.7"], ports: [port(21080, [endpoint], { nodePort: 30_987 }), port(8080, [endpoint], { name: "dev" })] },
      { name: "kubernetes", clusterIPs: ["10.96.0.1"], reserved: true, ports: [port(443, [endpoint])] },
      { name: "peers", headless: true, ports: [port(1, [endpoint])] },
      { name: "far", type: "ExternalName", externalName: "x.example" },
    ),
  );
  const [web, db, edge, dev, ...rest] = hosts.addresses;
  assert.deepEqual(rest, []);
  assert.equal(web!.url, `http://web.shop.localhost:${numbers["front-door"]}`);
  assert.equal(web!.address, `127.0.0.1:${numbers["shop/web/80"]}`);
  assert.equal(db!.url, `tcp://127.0.0.1:${numbers["shop/db/5432"]}`);
  assert.deepEqual([edge!.url, edge!.loadBalancerIP, edge!.nodePort], ["tcp://127.98.0.1:21080", "127.98.0.1", 30_987]);
  // 8080 is where people's own programs listen.
  assert.equal(dev!.loadBalancerIP, "127.0.0.1");
  assert.ok(!hosts.listeners.some(({ key }) => key.endsWith(":8080")));
  hosts.close();
});

test("ports are the same the next time, unless another program has taken one", async () => {
  const numbers: Record<string, number> = {};
  const world = snapshot(1, { name: "db", clusterIPs: ["10.96.0.6"], ports: [port(5432, [endpoint])] });
  const first = plan(numbers);
  first.apply(world);
  const before = first.addresses;
  assert.equal(first.changed, true);
  first.close();
  const second = plan(numbers);
  second.apply(world);
  assert.deepEqual(second.addresses, before);
  assert.equal(second.changed, false);
  second.close();
  const foreign = createServer().listen(numbers["default/db/5432"], "127.0.0.1");
  await once(foreign, "listening");
  const third = plan(numbers);
  third.apply(world);
  assert.notDeepEqual(third.addresses, before);
  assert.equal(third.changed, true);
  third.close();
  foreign.close();
});

test("the host reaches a Service while it has endpoints, by its own port and its NodePort", async () => {
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.end("pod"));
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const nodePort = (free.address() as { port: number }).port;
  free.close();
  await once(free, "close");
  let revision = 0;
  const publish = (ready: boolean) => net.publish(snapshot(++revision, { name: "db", type: "NodePort", clusterIPs: [], ports: [port(5432, [{ ip: "127.0.0.1", port: pod.port, ready }], { nodePort })] }));
  const refused = (number: number) => eventually(() => exchange("127.0.0.1", number).then(() => false, (error: Error) => error.message === "ECONNREFUSED"));
  publish(true);
  const own = Number(net.hostAddresses()[0]!.address!.split(":")[1]);
  for (const number of [own, nodePort]) assert.equal(await eventually(() => exchange("127.0.0.1", number)), "pod");
  publish(false);
  for (const number of [own, nodePort]) await refused(number);
  publish(true);
  for (const number of [own, nodePort]) assert.equal(await eventually(() => exchange("127.0.0.1", number)), "pod");
  net.publish(snapshot(++revision));
  for (const number of [own, nodePort]) await refused(number);
  assert.deepEqual(net.hostAddresses(), []);
});

test("a port that was taken before it was needed is exchanged for another, and everybody is told", async () => {
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.end("pod"));
  const world = (revision: number, ready: boolean) => snapshot(revision, { name: "db", clusterIPs: [], ports: [port(5432, [{ ip: "127.0.0.1", port: pod.port, ready }])] });
  net.publish(world(1, false));
  const told: string[] = [];
  net.onHostAddresses((addresses) => told.push(...addresses.map(({ address }) => address!)));
  const [before] = told;
  // Bound and not listening is no claim that the kernel defends.
  const foreign = createServer((socket) => socket.end("foreign")).listen(Number(before!.split(":")[1]), "127.0.0.1");
  await once(foreign, "listening");
  net.publish(world(2, true));
  const after = await eventually(() => told.find((address) => address !== before));
  assert.equal(await eventually(() => exchange("127.0.0.1", Number(after!.split(":")[1]))), "pod");
  assert.equal(await exchange("127.0.0.1", Number(before!.split(":")[1])), "foreign");
  foreign.close();
});

test("two workers serve the host's listeners too", async () => {
  await using net = await startSupervisor({ workers: 2 });
  await using pod = await listen((socket) => socket.end("pod"));
  net.publish(snapshot(1, { name: "db", clusterIPs: [], ports: [port(5432, [{ ip: "127.0.0.1", port: pod.port }])] }));
  const own = Number(net.hostAddresses()[0]!.address!.split(":")[1]);
  await eventually(async () => (await Promise.all(Array.from({ length: 20 }, () => exchange("127.0.0.1", own)))).every((answer) => answer === "pod"));
});

test("with two workers each UDP Service has one, on the host too", async () => {
  await using net = await startSupervisor({ workers: 2 });
  const pods = await Promise.all([1, 2, 3, 4].map(async (n) => {
    const socket = createSocket("udp4", (message, from) => socket.send(`${n}:${message}`, from.port, from.address)).bind(0, "127.0.0.1");
    await once(socket, "listening");
    return socket;
  }));
  net.publish(snapshot(1, ...pods.map((pod, n) => ({ name: `echo-${n}`, clusterIPs: [], ports: [port(7007, [{ ip: "127.0.0.1", port: pod.address().port }], { protocol: "UDP" })] }))));
  const client = createSocket("udp4").bind(0, "127.0.0.1");
  await once(client, "listening");
  const heard = new Set<string>();
  client.on("message", (message) => heard.add(message.toString()));
  await eventually(() => {
    for (const { address } of net.hostAddresses()) client.send("x", Number(address!.split(":")[1]), "127.0.0.1");
    return heard.size === 4;
  });
  for (const socket of [client, ...pods]) socket.close();
});

test("Ingresses' ports: another program's give way to ports 10000 higher, and a test's are any", async () => {
  let taken = await listen(() => {});
  // Room above it must be.
  while (taken.port > 55_000) {
    await taken[Symbol.asyncDispose]();
    taken = await listen(() => {});
  }
  await using _ = taken;
  const bound = (hosts: HostPlan, ports: number[]) => {
    hosts.edges = ports.map((number) => ({ address: "127.0.0.1", port: number, protocol: "TCP" }));
    hosts.apply(snapshot(1));
    return hosts.edgeBindings.map(({ boundPort, code }) => boundPort ?? code);
  };
  // Any free port for the front door, which is not what is looked at.
  const real = new HostPlan({ numbers: { "front-door": 0 }, private: false, log: silentLog });
  assert.deepEqual(bound(real, [taken.port]), [taken.port + 10_000]);
  real.close();
  const own = plan();
  const [first, second] = bound(own, [80, 443]);
  assert.ok(typeof first === "number" && typeof second === "number" && first > 1023 && second > 1023 && first !== second, `${first} ${second}`);
  assert.deepEqual(bound(own, [80, 443]), [first, second], "they stay");
  own.close();
});
