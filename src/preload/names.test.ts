import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../tools/bundle-preload.mjs";

/** Answers A questions from a table, else NXDOMAIN: enough of RFC 1035 for a resolver. */
async function nameServer(records: Record<string, string>): Promise<{ port: number; asked: string[]; close(): void }> {
  const socket = dgram.createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (query, from) => {
    const labels: string[] = [];
    let at = 12;
    for (; query[at] !== 0; at += query[at]! + 1) labels.push(query.subarray(at + 1, at + 1 + query[at]!).toString());
    const name = labels.join(".");
    asked.push(name);
    const address = query.readUInt16BE(at + 1) === 1 ? records[name] : undefined;
    const question = query.subarray(12, at + 5);
    const head = Buffer.from([query[0]!, query[1]!, 0x81, address || records[name] ? 0x80 : 0x83, 0, 1, 0, address ? 1 : 0, 0, 0, 0, 0]);
    const answer = address ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, ...address.split(".").map(Number)]) : Buffer.alloc(0);
    socket.send(Buffer.concat([head, question, answer]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return { port: socket.address().port, asked, close: () => socket.close() };
}

const program = `
const dns = require("dns"), util = require("util");
(async () => {
  const out = {};
  out.callback = await new Promise((resolve) => dns.lookup("users", (error, address, family) => resolve(error ? error.code : [address, family])));
  out.all = await new Promise((resolve) => dns.lookup("users", { all: true }, (error, list) => resolve(error ? error.code : list)));
  out.promise = await dns.promises.lookup("users");
  out.promisified = await util.promisify(dns.lookup)("users");
  out.resolve = await dns.promises.resolve4("users.shop.svc.cluster.local");
  out.resolver = await new dns.promises.Resolver().resolve4("users.shop.svc.cluster.local");
  out.alias = (await dns.promises.lookup("legacy")).address;
  out.localhost = (await dns.promises.lookup("localhost")).address;
  out.literal = (await dns.promises.lookup("192.0.2.7")).address;
  out.qualified = (await dns.promises.lookup("users.other.svc.cluster.local.")).address;
  out.missing = await dns.promises.lookup("missing.invalid").then(String, (error) => error.code);
  const { get } = await import("node:dns/promises").then((m) => ({ get: m.lookup }));
  out.esm = (await get("users")).address;
  out.connect = await new Promise((resolve) => require("net").connect(1, "users").on("error", (error) => resolve(error.address)));
  console.log(JSON.stringify(out));
})();
`;

const preload = (await bundlePreload()) as string;
const olderNode = "/usr/bin/node";
for (const node of [process.execPath, ...(existsSync(olderNode) ? [olderNode] : [])]) {
  test(`names of the cluster by every door of node:dns (${node === process.execPath ? process.version : "the machine's Node"})`, async () => {
    const server = await nameServer({ "users.shop.svc.cluster.local": "127.96.1.1", "users.other.svc.cluster.local": "127.96.2.2" });
    try {
      const settings = { podIP: "127.97.9.9", dns: { address: "127.0.0.1", port: server.port }, searches: ["shop.svc.cluster.local", "svc.cluster.local"], ndots: 5, serviceNetwork: "127.96.", privilegedPortsBelow: 0, privilegedPortOffset: 40_000, hosts: { legacy: "10.1.2.3" } };
      const { stdout } = await promisify(execFile)(node, ["--require", preload, "-e", program], { env: { PATH: process.env["PATH"], WHERRY_POD: JSON.stringify(settings) }, timeout: 20_000 });
      const users = { address: "127.96.1.1", family: 4 };
      assert.deepEqual(JSON.parse(stdout), {
        callback: ["127.96.1.1", 4], all: [users], promise: users, promisified: users, resolve: ["127.96.1.1"], resolver: ["127.96.1.1"],
        alias: "10.1.2.3", localhost: "127.97.9.9", literal: "192.0.2.7", qualified: "127.96.2.2", missing: JSON.parse(stdout).missing, esm: "127.96.1.1", connect: "127.96.1.1",
      });
      assert.match(JSON.parse(stdout).missing, /^(ENOTFOUND|EAI_AGAIN)$/);
      assert.deepEqual(server.asked.filter((name) => name.startsWith("missing")).slice(0, 3), ["missing.invalid.shop.svc.cluster.local", "missing.invalid.svc.cluster.local", "missing.invalid"]);
    } finally {
      server.close();
    }
  });
}

const dialler = `
const net = require("net"), dgram = require("dgram"), http = require("http"), tls = require("tls");
const heard = (socket) => new Promise((resolve) => socket.on("data", (data) => resolve(String(data))).on("error", (error) => resolve(error.message)));
const datagram = (send) => new Promise((resolve) => {
  const socket = dgram.createSocket("udp4").on("message", (data) => { resolve(String(data)); socket.close(); });
  send(socket);
});
(async () => {
  const out = {};
  out.literal = await heard(net.connect(80, "127.96.77.1"));
  out.name = await heard(net.connect(80, "users"));
  out.alone = await heard(net.connect({ port: 80, host: "users", autoSelectFamily: false }));
  out.raced = await heard(net.connect({ port: 80, host: "users", autoSelectFamily: true }));
  out.looked = await heard(net.connect({ port: 80, host: "whatever", lookup: (name, options, done) => options.all ? done(null, [{ address: "127.96.77.1", family: 4 }]) : done(null, "127.96.77.1", 4) }));
  out.high = await heard(net.connect(8080, "127.96.77.1"));
  out.tls = await new Promise((resolve) => tls.connect(80, "users").on("error", (error) => resolve(error.code)));
  out.fetch = await fetch("http://users/").then((response) => response.text(), (error) => error.cause.message);
  out.datagram = await datagram((socket) => socket.send("hello", 80, "users"));
  out.connected = await datagram((socket) => socket.connect(80, "users", () => socket.send("hello")));
  console.log(JSON.stringify(out));
})();
`;
for (const node of [process.execPath, ...(existsSync(olderNode) ? [olderNode] : [])]) {
  test(`low ports of a Service that lie higher, by address and by name (${node === process.execPath ? process.version : "the machine's Node"})`, async () => {
    const names = await nameServer({ users: "127.96.77.1" });
    const answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nup";
    const service = createServer((socket) => socket.on("error", () => {}).end(answer)).listen(0, "127.96.77.1");
    await once(service, "listening");
    const { port } = service.address() as AddressInfo;
    const datagrams = dgram.createSocket("udp4").on("message", (_, from) => datagrams.send("up", from.port, from.address));
    datagrams.bind(port, "127.96.77.1");
    await once(datagrams, "listening");
    try {
      const settings = { podIP: "127.97.9.9", dns: { address: "127.0.0.1", port: names.port }, searches: [], ndots: 1, serviceNetwork: "127.96.", privilegedPortsBelow: 1024, privilegedPortOffset: port - 80, hosts: {} };
      const { stdout } = await promisify(execFile)(node, ["--require", preload, "-e", dialler], { env: { PATH: process.env["PATH"], WHERRY_POD: JSON.stringify(settings) }, timeout: 20_000 });
      const { high, tls, ...out } = JSON.parse(stdout) as Record<string, string>;
      assert.match(high!, /ECONNREFUSED 127\.96\.77\.1:8080/);
      assert.match(tls!, /SSL|PROTO/, "the server answered, though not with TLS");
      assert.deepEqual(out, { literal: answer, name: answer, alone: answer, raced: answer, looked: answer, fetch: "up", datagram: "up", connected: "up" });
    } finally {
      names.close();
      service.close();
      datagrams.close();
    }
  });
}

test("outside a pod the preload changes nothing", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--require", preload, "-e", "require('net').createServer().listen(0, function () { console.log(this.address().address); process.exit() })"], { env: { PATH: process.env["PATH"] } });
  assert.match(stdout, /^(::|0\.0\.0\.0)\n$/);
});
