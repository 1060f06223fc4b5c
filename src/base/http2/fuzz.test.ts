import { ok } from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { serveHttp2 } from "./connection.ts";
import { encodeFrame, encodeSettings, flags, frames, preface } from "./frames.ts";
import { encodeField } from "./hpack.ts";

const seed = Number(process.env["SEED"] ?? 20_261_121);
const connections = 300;

/** mulberry32: the same bytes for the same seed. */
function randomOf(state: number): (below: number) => number {
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const block = Buffer.from([[":method", "POST"], [":scheme", "http"], [":path", "/"], ["x-long", "y".repeat(300)]].map(([name, value]) => encodeField(name!, value!)).join(""), "latin1");

/** Frames that are mostly right, then bytes of them changed, taken out and put in. */
function conversation(random: (below: number) => number): Buffer {
  const parts = [preface, encodeSettings([[4, random(100_000)]])];
  for (let index = 0; index < 12; index++) {
    const id = random(4) === 0 ? random(40) : index * 2 + 1;
    const type = random(10) < 6 ? frames.headers : random(11);
    const flag = type === frames.headers ? flags.endHeaders | random(2) : random(256);
    parts.push(encodeFrame(type, flag, id, type === frames.headers ? block : Buffer.alloc(random(3) * random(20), random(256))));
  }
  const bytes = Buffer.concat(parts);
  for (let change = random(6); change > 0; change--) bytes[preface.length + random(bytes.length - preface.length)] = random(256);
  return random(5) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
}

test(`${connections} conversations of nonsense end or go on, and those beside them never notice (seed ${seed})`, { timeout: 30_000 }, async () => {
  const sockets = new Set<Socket>();
  const open = new Set<unknown>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    serveHttp2(socket, {
      streamsMax: 20,
      streamWindow: 10_000,
      connectionWindow: 70_000,
      headerBytesMax: 2_000,
      prefaceMs: 10_000,
      onRequest(request, response) {
        open.add(response);
        response.once("close", () => open.delete(response));
        request.on("data", () => {}).once("end", () => response.writeHead(200, { "x-seen": request.url.length }).end(Buffer.alloc(5_000)));
      },
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const steady = connectHttp2(`http://127.0.0.1:${port}`);
  const ask = async () => {
    const stream = steady.request({ ":path": "/steady" });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    await once(stream.resume(), "close");
    return headers[":status"];
  };
  for (let index = 0; index < connections; index++) {
    const random = randomOf(seed + index);
    const bytes = conversation(random);
    const socket = connect(port, "127.0.0.1").on("error", () => {});
    socket.resume();
    // In pieces that fall anywhere.
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + random(400));
      socket.write(bytes.subarray(at, end));
      at = end;
    }
    socket.end();
    await new Promise((resolve) => socket.once("close", resolve));
    if (index % 50 === 0) ok((await ask()) === 200);
  }
  ok((await ask()) === 200);
  steady.destroy();
  while (sockets.size > 0) await new Promise((resolve) => setImmediate(resolve));
  ok(open.size === 0, `${open.size} answers were left open`);
  server.close();
});
