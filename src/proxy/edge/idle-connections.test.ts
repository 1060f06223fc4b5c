import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { eventually, gatewayTo, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

/** In `npm run conformance` ten thousand; before each commit few. */
const count = process.env["WHERRY_CONFORMANCE"] ? 10_000 : 500;
/** Bytes of the worker's memory, measured at 1.3 KiB; and what its heap may grow by for other reasons between two looks. */
const perConnectionMax = 4 * 1024;
const noise = 30e6;
/** One address may have so many (`gatewayConnectionsPerClient`); clients come from several. */
const perAddress = 2_500;
const atOnce = 200;

const descriptorsMax = () => Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 0);
const rssOf = (pid: number) => 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
const descriptorsOf = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

test(`${count} idle connections: what each takes of a worker, and that it is given back`, { timeout: 300_000, skip: process.platform === "linux" ? false : "reads /proc" }, async (t) => {
  if (descriptorsMax() < count + 500) return t.skip(`needs ${count + 500} descriptors: ulimit -n says ${descriptorsMax()}`);
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")));
  const [ip, address] = [nextAddress(), nextAddress()];
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(80, [{ ip: "127.0.0.1", port: pod.port }])] }));
  net.publishTraffic({ revision: 1, put: gatewayTo(address, 80), remove: {} });
  /** Served once, and then silent. */
  const openOne = (n: number) =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect({ host: address, port: 8080, localAddress: `127.0.77.${1 + Math.floor(n / perAddress)}` });
      socket.on("error", reject);
      socket.once("connect", () => socket.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n"));
      socket.once("data", (bytes: Buffer) => (bytes.toString().startsWith("HTTP/1.1 200") ? resolve(socket) : reject(new Error(bytes.toString()))));
    });
  const open = async (wanted: number): Promise<Socket[]> => {
    const sockets: Socket[] = [];
    while (sockets.length < wanted) sockets.push(...(await Promise.all(Array.from({ length: Math.min(atOnce, wanted - sockets.length) }, (_, n) => openOne(sockets.length + n)))));
    return sockets;
  };
  await eventually(async () => (await openOne(0)).destroy(), 20_000);
  const [pid] = net.pids();
  const close = async (sockets: Socket[], descriptors: number) => {
    for (const socket of sockets) socket.destroy();
    // Those to the program are kept, as many as there were requests at once.
    await eventually(() => descriptorsOf(pid!) <= descriptors + atOnce, 60_000);
  };
  // Code and buffers that the first clients bring along are nobody's share.
  const none = descriptorsOf(pid!);
  await close(await open(Math.min(count, 500)), none);
  const before = rssOf(pid!);
  const sockets = await open(count);
  const held = rssOf(pid!);
  assert.ok(descriptorsOf(pid!) >= none + count, "all are open in this worker");
  assert.equal(sockets.filter(({ destroyed }) => destroyed).length, 0);
  // Whoever comes now is served at once, and they, too, are served when they speak again.
  (await openOne(count)).destroy();
  const again = new Promise((resolve) => sockets[count >> 1]!.once("data", resolve));
  sockets[count >> 1]!.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
  assert.match(String(await again), /^HTTP\/1\.1 200/);
  await close(sockets, none);
  const after = rssOf(pid!);
  await close(await open(count), none);
  const twice = rssOf(pid!);
  const perConnection = (held - before) / count;
  const mega = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  t.diagnostic(`${count} idle connections: ${mega(before)} before, ${mega(held)} with them (${(perConnection / 1024).toFixed(2)} KiB each), ${mega(after)} when they are gone, ${mega(twice)} after as many again`);
  assert.ok(held - before < count * perConnectionMax + noise, `${perConnection.toFixed(0)} bytes each`);
  assert.ok(twice - held < count * 1024 + noise, "as many again take the same place");
});
