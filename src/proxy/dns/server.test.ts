import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { test } from "node:test";
import type { TcpHandle } from "../../base/handles.ts";
import { silentLog } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import { ServiceTable } from "../service-table.ts";
import { snapshot } from "../testing/network.ts";
import { DnsServer } from "./server.ts";
import { Zone } from "./zone.ts";

/** The name server behind a real TCP listener, as a worker's slot feeds it. */
async function overTcp(outside = async (): Promise<never> => Promise.reject(new Error("nobody is asked"))) {
  const table = new ServiceTable(snapshot(1, { name: "web", clusterIPs: ["10.96.0.5"] }), seededRandom(1));
  const dns = new DnsServer(new Zone(table), outside, silentLog);
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  (listener as unknown as { _handle: TcpHandle })._handle.onconnection = (_status, client) => dns.accept(client);
  const { port } = listener.address() as { port: number };
  return { connect: () => createConnection(port, "127.0.0.1").on("error", () => {}), [Symbol.asyncDispose]: async () => void listener.close() };
}

function question(id: number, name: string): Buffer {
  const message = Buffer.concat([Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...name.split(".").map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, "latin1")), Buffer.from([0, 0, 1, 0, 1])]);
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
}

async function read(socket: Socket, count: number): Promise<{ id: number; rcode: number; tail: number[] }[]> {
  const answers = [];
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of socket) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const message = rest.subarray(2, 2 + rest.readUInt16BE(0));
      rest = rest.subarray(2 + message.length);
      answers.push({ id: message.readUInt16BE(0), rcode: message[3]! & 15, tail: [...message.subarray(-4)] });
    }
    if (answers.length >= count) break;
  }
  return answers;
}

test("questions one after the other on one connection, in pieces of any size", async () => {
  await using server = await overTcp();
  const socket = server.connect();
  const bytes = Buffer.concat([question(1, "web.default.svc.cluster.local"), question(2, "nobody.default.svc.cluster.local"), question(3, "web.default.svc.cluster.local")]);
  for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7));
  const answers = await read(socket, 3);
  assert.deepEqual(answers.map(({ id, rcode }) => [id, rcode]), [[1, 0], [2, 3], [3, 0]]);
  assert.deepEqual(answers[0]!.tail, [10, 96, 0, 5]);
});

test("what is no question ends the connection, and others go on", async () => {
  await using server = await overTcp();
  const other = server.connect();
  const rude = server.connect();
  rude.resume();
  rude.write(Buffer.from([0, 3, 1, 2, 3]));
  await once(rude, "close");
  other.write(question(9, "web.default.svc.cluster.local"));
  assert.deepEqual((await read(other, 1)).map(({ id }) => id), [9]);
});

test("questions that wait for the outside are limited in number", async () => {
  let asked = 0;
  await using server = await overTcp(() => {
    asked++;
    return new Promise<never>(() => {});
  });
  const socket = server.connect();
  socket.resume();
  for (let i = 0; i < 200; i++) socket.write(question(i, `n${i}.example.com`));
  await once(socket, "close");
  assert.ok(asked <= 65, `${asked} were asked`);
});
