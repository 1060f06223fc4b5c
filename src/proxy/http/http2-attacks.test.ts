import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { codes, encodeFrame, encodeNumbers, encodeSettings, flags, frames, settings } from "../../base/http2/frames.ts";
import { startGateway, startProgram, until, type TestGateway } from "./testing/gateway.ts";
import { block, data, Frames, headers, request } from "./testing/http2-frames.ts";

/**
 * What HTTP/2 has been attacked with, by its names, in bare frames: the connection ends or the request is refused, the program
 * is spared, and others are served meanwhile. Floods are in steps, so that the answer can come between; `never` many would go on.
 */
const large = Buffer.alloc(4_000_000);
async function startBoth() {
  const seen: string[] = [];
  const program = await startProgram((asked, response) => {
    const { method, url, headers } = asked;
    void text(asked).then((body) => {
      seen.push(`${method} ${url} ${headers.host} ${body}`);
      if (url === "/large") response.end(large);
      else if (url !== "/silent") response.end("OK");
    }, () => {});
  });
  const gateway = startGateway([program.port]);
  return { seen, program, gateway, [Symbol.asyncDispose]: async () => (await gateway[Symbol.asyncDispose](), await program[Symbol.asyncDispose]()) };
}
async function servesOthers(gateway: TestGateway): Promise<void> {
  const client = await gateway.open();
  client.send("GET /other HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n");
  assert.equal((await client.answer()).status, 200);
}

// — one request that says two things —

const attempts: [what: string, sent: Buffer[], said: string][] = [
  ["a line end in a value", [headers(1, request([["x-a", "b\r\nTransfer-Encoding: chunked"]]))], "reset protocol #1"],
  ["a bare CR in a value", [headers(1, request([["x-a", "b\rX: y"]]))], "reset protocol #1"],
  ["NUL in a value", [headers(1, request([["x-a", "b\0c"]]))], "reset protocol #1"],
  ["a line end in :authority", [headers(1, request([], { authority: "web.example\r\nconnection: upgrade\r\nupgrade: websocket" }))], "reset protocol #1"],
  ["a line end in :path", [headers(1, request([], { path: "/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /smuggled" }))], "reset protocol #1"],
  ["a space in :path", [headers(1, request([], { path: "/ HTTP/1.1" }))], "reset protocol #1"],
  ["a line end in :method", [headers(1, request([], { method: "GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET" }))], "reset protocol #1"],
  ["a line end in a name", [headers(1, request([["x-a: b\r\nx-b", "c"]]))], "reset protocol #1"],
  ["a colon in a name", [headers(1, request([["x-a:b", "c"]]))], "reset protocol #1"],
  ["a name without a letter (CVE-2019-9516)", [headers(1, request([["", "c"]]))], "reset protocol #1"],
  ["a name in capitals", [headers(1, request([["X-A", "c"]]))], "reset protocol #1"],
  ["Transfer-Encoding", [headers(1, request([["transfer-encoding", "chunked"]]), false), data(1, "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n")], "reset protocol #1"],
  ["Connection", [headers(1, request([["connection", "x-forwarded-for"]]))], "reset protocol #1"],
  ["Upgrade", [headers(1, request([["upgrade", "h2c"]]))], "reset protocol #1"],
  ["TE beside trailers", [headers(1, request([["te", "chunked"]]))], "reset protocol #1"],
  ["a length that is shorter than the body (H2.CL)", [headers(1, request([["content-length", "0"]]), false), data(1, "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n")], "reset protocol #1"],
  ["a length that is longer", [headers(1, request([["content-length", "9"]]), false), data(1, "hello")], "reset protocol #1"],
  ["a length without a body", [headers(1, request([["content-length", "9"]]))], "reset protocol #1"],
  ["a length that is none", [headers(1, request([["content-length", "+5"]]), false), data(1, "hello")], "reset protocol #1"],
  ["two lengths", [headers(1, request([["content-length", "5"], ["content-length", "6"]]), false), data(1, "hello")], "reset protocol #1"],
  ["the same length twice", [headers(1, request([["content-length", "5"], ["content-length", "5"]]), false), data(1, "hello")], "400 #1"],
  ["a length with _", [headers(1, request([["content_length", "5"]]), false), data(1, "hello")], "400 #1"],
  ["two :path", [headers(1, [[":path", "/smuggled"], ...request()])], "reset protocol #1"],
  ["two :authority", [headers(1, [[":authority", "evil"], ...request()])], "reset protocol #1"],
  ["a pseudo header behind others", [headers(1, request([["x-a", "b"], [":path", "/smuggled"]]))], "reset protocol #1"],
  ["one that nobody knows", [headers(1, [[":protocol", "websocket"], ...request()])], "reset protocol #1"],
  [":authority against Host", [headers(1, request([["host", "evil"]]))], "400 #1"],
  [":authority with a user", [headers(1, request([], { authority: "web@evil" }))], "400 #1"],
  [":authority with a path", [headers(1, request([], { authority: "evil/web" }))], "400 #1"],
  ["neither :authority nor Host", [headers(1, request().filter(([name]) => name !== ":authority"))], "400 #1"],
  ["an empty :authority", [headers(1, request([], { authority: "" }))], "400 #1"],
  ["an absolute :path against :authority", [headers(1, request([], { path: "http://evil/a" }))], "reset protocol #1"],
  [":path without a slash", [headers(1, request([], { path: "a" }))], "reset protocol #1"],
  [":path out of the root", [headers(1, request([], { path: "/../a" }))], "400 #1"],
  ["no :path", [headers(1, request().filter(([name]) => name !== ":path"))], "reset protocol #1"],
  ["trailers that are pseudo headers", [headers(1, request([], { method: "POST" }), false), headers(1, [[":path", "/smuggled"]])], "reset protocol #1"],
];
test("HTTP/2 downgraded: nothing of a request becomes another one, or another line", async (t) => {
  await using both = await startBoth();
  for (const [what, sent, said] of attempts) {
    await t.test(what, async () => {
      both.seen.length = 0;
      using client = new Frames(both.gateway.port);
      await client.send(...sent);
      await client.until((words) => words.length > 0);
      assert.equal(client.said[0], said);
      await servesOthers(both.gateway);
      // A request whose body turns out to be too long may have been begun with, as what it said it was.
      assert.deepEqual(both.seen.filter((line) => line !== "GET / web.example "), ["GET /other web.example "]);
    });
  }
});

// — floods: so many as it takes —

const never = 400_000;
const burst = 500;
interface Flood {
  /** What comes first. */
  first?: Buffer[];
  /** Of the n-th step. */
  next: (n: number) => Buffer;
  /** How it ends. */
  goAway: string;
  /** So many requests may have reached the program before. */
  reaches?: number;
}
const id = (n: number) => 2 * n + 1;
const open = headers(1, request([], { method: "POST", path: "/silent" }), false);
const floods: Record<string, Flood> = {
  "rapid reset (CVE-2023-44487)": { next: (n) => Buffer.concat([headers(id(n), request()), encodeNumbers(frames.reset, id(n), codes.cancel)]), goAway: "calm", reaches: 2_000 },
  "MadeYouReset by windows (CVE-2025-8671)": { next: (n) => Buffer.concat([headers(id(n), request([], { method: "POST" }), false), encodeNumbers(frames.windowUpdate, id(n), 0)]), goAway: "calm", reaches: 2_000 },
  "MadeYouReset by priorities (CVE-2025-8671)": { next: (n) => Buffer.concat([headers(id(n), request([], { method: "POST" }), false), encodeFrame(frames.priority, 0, id(n), Buffer.alloc(4))]), goAway: "calm", reaches: 2_000 },
  "MadeYouReset by lengths (CVE-2025-8671)": { next: (n) => Buffer.concat([headers(id(n), request([["content-length", "1"]], { method: "POST" }), false), data(id(n), "")]), goAway: "calm", reaches: 2_000 },
  "requests that are refused, over and over": { next: (n) => headers(id(n), request([["connection", "close"]])), goAway: "calm" },
  "CONTINUATION flood (CVE-2024-27316 and its kin)": { first: [encodeFrame(frames.headers, flags.endStream, 1, block(request()))], next: (n) => encodeFrame(frames.continuation, 0, 1, block([[`x-${n}`, "y"]])), goAway: "calm" },
  "CONTINUATION flood of nothing": { first: [encodeFrame(frames.headers, flags.endStream, 1, block(request()))], next: () => encodeFrame(frames.continuation, 0, 1), goAway: "calm" },
  "settings flood (CVE-2019-9515)": { next: () => encodeSettings([[settings.maxFrameSize, 16_384]]), goAway: "calm" },
  "ping flood (CVE-2019-9512)": { next: () => encodeFrame(frames.ping, 0, 0, Buffer.alloc(8)), goAway: "calm" },
  "priority flood (CVE-2019-9513)": { next: (n) => encodeFrame(frames.priority, 0, id(n), Buffer.from([0, 0, 0, 0, n % 256])), goAway: "calm" },
  "window flood": { next: () => encodeNumbers(frames.windowUpdate, 0, 1), goAway: "calm" },
  "empty DATA flood (CVE-2019-9518)": { first: [open], next: () => data(1, "", false), goAway: "calm" },
  "padding and nothing else": { first: [open], next: () => encodeFrame(frames.data, flags.padded, 1, Buffer.concat([Buffer.from([255]), Buffer.alloc(255)])), goAway: "calm" },
  "empty HEADERS flood": { next: (n) => encodeFrame(frames.headers, flags.endHeaders | flags.endStream, id(n)), goAway: "calm" },
};
for (const [name, { first = [], next, goAway, reaches = 0 }] of Object.entries(floods)) {
  test(`HTTP/2 ${name}: the connection ends, the program is spared`, { timeout: 60_000 }, async () => {
    await using both = await startBoth();
    using client = new Frames(both.gateway.port);
    await client.send(...first);
    let n = 0;
    while (!client.isOver && n < never) {
      const step: Buffer[] = [];
      for (let i = 0; i < burst; i++) step.push(next(n++));
      await client.send(...step);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.until(() => client.isOver);
    assert.ok(n < never, "it was borne for ever");
    assert.ok(client.said.includes(`goAway ${goAway}`), client.said.slice(-3).join(", "));
    assert.ok(both.seen.length <= reaches, `${both.seen.length} reached the program`);
    await servesOthers(both.gateway);
    await until(() => both.gateway.policy.running === 0);
  });
}

test("HPACK bombs: a small block that is a large head ends the connection", async (t) => {
  const name = "x".repeat(4_000);
  const indexed = (index: number) => Buffer.from([0x80 | index]);
  const literal = Buffer.concat([Buffer.from([0x40, 0x7f, 0xa1, 0x1e]), Buffer.from(name), Buffer.from([0])]);
  const bombs: [string, Buffer, string][] = [
    ["one entry, again and again", Buffer.concat([block(request()), literal, ...Array.from({ length: 10_000 }, () => indexed(62))]), "goAway compression"],
    ["an entry that is not there", Buffer.concat([block(request()), indexed(70)]), "goAway compression"],
    ["a number without an end", Buffer.concat([block(request()), Buffer.from([0xff, ...Array.from({ length: 50 }, () => 0xff)])]), "goAway compression"],
    ["a table that is larger than allowed", Buffer.concat([Buffer.from([0x3f, 0xe1, 0xff, 0x03]), block(request())]), "goAway compression"],
    ["Huffman's end within a text", Buffer.concat([block(request()), Buffer.from([0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, 0x61])]), "goAway compression"],
    ["many fields", block(request(Array.from({ length: 101 }, () => ["a", "b"] as const))), "431 #1"],
  ];
  await using both = await startBoth();
  for (const [what, bytes, said] of bombs) {
    await t.test(what, async () => {
      using client = new Frames(both.gateway.port);
      await client.send(encodeFrame(frames.headers, flags.endHeaders | flags.endStream, 1, bytes.subarray(0, 16_384)));
      await client.until((words) => words.length > 0);
      assert.equal(client.said[0], said);
    });
  }
  await servesOthers(both.gateway);
  assert.deepEqual([...new Set(both.seen)], ["GET /other web.example "]);
});

test("window stalls and slow reading (CVE-2019-9511, CVE-2019-9517): answers wait where they are, their programs too, and not for ever", { timeout: 60_000 }, async () => {
  await using both = await startBoth();
  const { gateway } = both;
  const before = process.memoryUsage().arrayBuffers;
  const stalled = Array.from({ length: 2 }, () => new Frames(gateway.port, [[settings.initialWindowSize, 0]]));
  for (const client of stalled) await client.send(...Array.from({ length: 40 }, (_, n) => headers(id(n), request([], { path: "/large" }))));
  for (const client of stalled) await client.until((said) => said.filter((word) => word.startsWith("200")).length === 40);
  await servesOthers(gateway);
  // Eighty answers of four megabytes.
  const held = process.memoryUsage().arrayBuffers - before;
  assert.ok(held < 60e6, `${(held / 1e6).toFixed(0)} MB for them`);
  // One byte of the window now and then is no reading.
  let time = performance.now();
  for (let step = 0; step < 8 && gateway.policy.running > 0; step++) {
    for (const client of stalled) for (let n = 0; n < 40; n++) await client.send(encodeNumbers(frames.windowUpdate, id(n), 1));
    gateway.engine.sweeper.tick((time += 10_000));
    await servesOthers(gateway);
  }
  await until(() => gateway.policy.running === 0);
  gateway.engine.sweeper.tick((time += 120_000));
  gateway.engine.sweeper.tick((time += 120_000));
  await until(() => gateway.engine.counters.connections === 0);
  for (const client of stalled) client[Symbol.dispose]();
});
