import assert from "node:assert/strict";
import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import { constants, createDeflate } from "node:zlib";
import { SpdyConnection, type SpdyStream } from "./spdy.ts";
import { dictionary, HeaderReader, HeaderWriter } from "./spdy-headers.ts";

/** A client of the test: frames by hand. */
class TestClient {
  readonly far: Duplex;
  readonly headers = new HeaderWriter();
  received = Buffer.alloc(0);
  constructor(far: Duplex) {
    this.far = far;
    far.on("data", (chunk: Buffer) => (this.received = Buffer.concat([this.received, chunk])));
  }
  control(type: number, flags: number, body: Buffer): Buffer {
    const head = Buffer.from([0x80, 3, 0, type, flags, 0, 0, 0]);
    head.writeUIntBE(body.length, 5, 3);
    return Buffer.concat([head, body]);
  }
  open(id: number, headers: Record<string, string>, flags = 0): Buffer {
    const fixed = Buffer.alloc(10);
    fixed.writeUInt32BE(id);
    return this.control(1, flags, Buffer.concat([fixed, this.headers.write(Object.entries(headers))]));
  }
  data(id: number, text: string | Buffer, flags = 0): Buffer {
    const body = Buffer.from(text as string);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(id);
    head[4] = flags;
    head.writeUIntBE(body.length, 5, 3);
    return Buffer.concat([head, body]);
  }
  /** Types of the control frames, and the data by stream, that came so far. */
  frames(): { control: number[]; data: Record<number, string>; ended: number[] } {
    const seen = { control: [] as number[], data: {} as Record<number, string>, ended: [] as number[] };
    for (let at = 0; at + 8 <= this.received.length; ) {
      const first = this.received.readUInt32BE(at);
      const length = this.received.readUIntBE(at + 5, 3);
      const body = this.received.subarray(at + 8, at + 8 + length);
      if (first >= 0x8000_0000) seen.control.push(first & 0xffff);
      else seen.data[first] = (seen.data[first] ?? "") + body.toString();
      if (first < 0x8000_0000 && this.received[at + 4]! & 1) seen.ended.push(first);
      at += 8 + length;
    }
    return seen;
  }
  async until(done: (frames: ReturnType<TestClient["frames"]>) => boolean): Promise<ReturnType<TestClient["frames"]>> {
    while (!done(this.frames())) await once(this.far, "data");
    return this.frames();
  }
}

function pair(): { client: TestClient; streams: SpdyStream[]; connection: SpdyConnection; opened: (count: number) => Promise<void>; closed: () => boolean } {
  const [near, far] = duplexPair();
  const streams: SpdyStream[] = [];
  let wake = () => {};
  let over = false;
  const connection = new SpdyConnection(near, (stream) => (streams.push(stream), wake()), () => (over = true));
  const opened = async (count: number) => {
    while (streams.length < count) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { client: new TestClient(far), streams, connection, opened, closed: () => over };
}

test("headers travel packed by zlib with the dictionary, one state a connection", async () => {
  const deflate = createDeflate({ dictionary });
  const pieces: Buffer[] = [];
  deflate.on("data", (piece: Buffer) => pieces.push(piece));
  const reader = new HeaderReader();
  for (const [name, value] of [["streamtype", "data"], ["Port", "8080"], ["streamtype", "error"]]) {
    const plain = new HeaderWriter().write([[name!, value!]]).subarray(11, -5);
    pieces.length = 0;
    deflate.write(plain);
    await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, resolve));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([...(await reader.read(Buffer.concat(pieces)))], [[name!.toLowerCase(), value]]);
  }
  reader.close();
  deflate.close();
});

test("a header bomb ends the connection", async () => {
  const { client, closed } = pair();
  const deflate = createDeflate({ dictionary });
  const pieces: Buffer[] = [];
  deflate.on("data", (piece: Buffer) => pieces.push(piece));
  deflate.write(Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 97, 0, 0x98, 0x96, 0x80]), Buffer.alloc(10_000_000)]));
  await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, resolve));
  await new Promise((resolve) => setImmediate(resolve));
  client.far.write(client.control(1, 0, Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Buffer.concat(pieces)])));
  client.far.on("error", () => {});
  while (!closed()) await new Promise((resolve) => setImmediate(resolve));
});

test("streams are told apart, cut anywhere, and each side ends by itself", async () => {
  const { client, streams, opened } = pair();
  const bytes = Buffer.concat([client.open(1, { streamtype: "error" }, 1), client.open(3, { streamtype: "data", port: "80" }), client.data(3, "hel"), client.data(3, "lo", 1)]);
  for (const byte of bytes) client.far.write(Buffer.from([byte]));
  await opened(2);
  assert.deepEqual(streams.map(({ headers }) => headers.get("streamtype")), ["error", "data"]);
  let text = "";
  for await (const chunk of streams[1]!.iterator({ destroyOnReturn: false })) text += String(chunk);
  assert.equal(text, "hello");
  streams[1]!.end("world");
  streams[0]!.end();
  const frames = await client.until(({ ended }) => ended.length === 2);
  assert.deepEqual(frames.control, [2, 2]);
  assert.equal(frames.data[3], "world");
});

test("a ping is answered, a reset ends one stream only, an even or reused id is refused", async () => {
  const { client, streams, opened } = pair();
  client.far.write(client.control(6, 0, Buffer.from([0, 0, 0, 9])));
  client.far.write(client.open(1, { a: "b" }));
  client.far.write(client.open(3, { a: "c" }));
  await opened(2);
  client.far.write(client.control(3, 0, Buffer.from([0, 0, 0, 1, 0, 0, 0, 5])));
  await once(streams[0]!, "close");
  assert.equal(streams[1]!.destroyed, false);
  client.far.write(client.open(2, {}));
  client.far.write(client.open(3, {}));
  const { control } = await client.until((frames) => frames.control.filter((type) => type === 3).length === 2);
  assert.deepEqual(control, [6, 2, 2, 3, 3]);
  assert.equal(streams.length, 2);
});

test("a stream that nobody reads stops the transport", async () => {
  const { client, streams, opened } = pair();
  client.far.write(client.open(1, {}));
  await opened(1);
  let room = true;
  for (let sent = 0; room && sent < 200; sent++) {
    room = client.far.write(client.data(1, Buffer.alloc(64 * 1024)));
    if (!room) room = await Promise.race([once(client.far, "drain").then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, 50, false))]);
  }
  assert.equal(room, false);
  assert.ok(streams[0]!.readableLength < 2 * 1024 * 1024, String(streams[0]!.readableLength));
  streams[0]!.resume();
  await once(client.far, "drain");
});

test("what is no SPDY ends the connection and its streams", async () => {
  const { client, streams, opened, closed } = pair();
  client.far.write(client.open(1, {}));
  await opened(1);
  client.far.on("error", () => {});
  client.far.write(Buffer.from([0x80, 2, 0, 1, 0, 0, 0, 0]));
  await once(streams[0]!, "close");
  assert.ok(closed());
});
