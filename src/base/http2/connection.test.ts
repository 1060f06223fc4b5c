import { deepEqual, equal, ok } from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { type Http2Options, serveHttp2 } from "./connection.ts";
import { codes, encodeFrame, encodeNumbers, encodeSettings, flags, frames, headBytes, preface, settings } from "./frames.ts";
import { encodeField } from "./hpack.ts";
import type { Http2Request, Http2Response } from "./messages.ts";

/** What the server does is in the path. */
const paths: Record<string, (request: Http2Request, response: Http2Response) => void> = {
  "/hello": (_, response) => void response.writeHead(200, { "content-type": "text/plain" }).end("hello"),
  "/headers": (request, response) => void response.writeHead(200, { "x-list": ["a", "b"] }).end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, raw: request.rawHeaders })),
  "/echo": (request, response) => {
    request.on("data", (chunk: Buffer) => {
      if (response.write(chunk)) return;
      request.pause();
      response.once("drain", () => request.resume());
    });
    request.once("end", () => response.end());
  },
  "/early": (_, response) => void response.writeHead(413).end("no"),
  "/never": () => {},
  "/break": (_, response) => {
    response.write("half");
    response.destroy();
  },
};
let server: ReturnType<typeof createServer>;
let port = 0;
const sockets = new Set<Socket>();
const closes: string[] = [];
const options: Http2Options = {
  streamsMax: 10,
  streamWindow: 100_000,
  connectionWindow: 200_000,
  headerBytesMax: 8_000,
  prefaceMs: 20_000,
  onRequest(request, response) {
    response.once("close", () => closes.push(request.url));
    paths[request.url.split("?")[0]!]!(request, response);
  },
};
let served = options;
before(async () => {
  server = createServer((socket) => {
    sockets.add(socket);
    serveHttp2(socket, served);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  port = (server.address() as AddressInfo).port;
});
after(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

async function withSession<T>(use: (session: ClientHttp2Session) => Promise<T>, settings: { initialWindowSize?: number } = {}): Promise<T> {
  const session = connect(`http://127.0.0.1:${port}`, { settings });
  try {
    return await use(session);
  } finally {
    session.destroy();
  }
}

function ask(session: ClientHttp2Session, path: string, { body, ...headers }: Record<string, string | string[] | Buffer | undefined> = {}): Promise<{ headers: Record<string, unknown>; text: string }> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path, ...(body !== undefined && { ":method": "POST" }), ...(headers as Record<string, string>) });
    let answer: Record<string, unknown> = {};
    const chunks: Buffer[] = [];
    stream.on("response", (received) => (answer = received)).on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject);
    stream.on("end", () => resolve({ headers: answer, text: Buffer.concat(chunks).toString() }));
    stream.end(body);
  });
}

test("an answer, its headers and its end; HEAD has no body", () =>
  withSession(async (session) => {
    const { headers, text } = await ask(session, "/hello");
    equal(text, "hello");
    equal(headers[":status"], 200);
    equal(headers["content-type"], "text/plain");
    ok(Math.abs(Date.parse(String(headers["date"])) - Date.now()) < 5_000);
    equal((await ask(session, "/hello", { ":method": "HEAD" })).text, "");
  }));

test("headers come as Node has them: joined, the first of those that are one, cookies by semicolons", () =>
  withSession(async (session) => {
    const { headers, text } = await ask(session, "/headers?a=1", { "x-many": ["1", "2"], cookie: ["a=b", "c=d"], "user-agent": "test" });
    const seen = JSON.parse(text) as { method: string; url: string; headers: Record<string, string>; raw: string[] };
    deepEqual([seen.method, seen.url], ["GET", "/headers?a=1"]);
    deepEqual(seen.headers, { "x-many": "1, 2", cookie: "a=b; c=d", "user-agent": "test", host: `127.0.0.1:${port}` });
    deepEqual(seen.raw, ["x-many", "1", "x-many", "2", "cookie", "a=b", "cookie", "c=d", "user-agent", "test"]);
    equal(headers["x-list"], "a, b");
  }));

for (const window of [100, 16_384, 1_000_000])
  test(`megabytes both ways through windows of ${window} bytes, several at once`, { timeout: 30_000 }, () =>
    withSession(async (session) => {
      const bodies = Array.from({ length: 4 }, (_, index) => Buffer.alloc(window === 100 ? 20_000 : 1_500_000, `${index}-body `));
      for (const [index, { text }] of (await Promise.all(bodies.map((body) => ask(session, "/echo", { body })))).entries()) ok(text === bodies[index]!.toString());
    }, { initialWindowSize: window }));

test("an answer before the body's end is whole; what comes later of the body does not matter", () =>
  withSession(async (session) => {
    const stream = session.request({ ":path": "/early", ":method": "POST" });
    stream.on("error", () => {});
    stream.write(Buffer.alloc(90_000));
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    equal(headers[":status"], 413);
    await once(stream.resume(), "close");
    // The connection's window was not lost with it.
    for (let round = 0; round < 5; round++) ok((await ask(session, "/echo", { body: Buffer.alloc(150_000, "x") })).text.length === 150_000);
  }));

test("one that its client leaves is over", () =>
  withSession(async (session) => {
    closes.length = 0;
    await ask(session, "/hello");
    const waiting = session.request({ ":path": "/never" });
    await ask(session, "/hello");
    waiting.close(codes.cancel);
    await once(waiting, "close");
    equal((await ask(session, "/hello")).text, "hello");
    deepEqual(closes, ["/hello", "/hello", "/never", "/hello"]);
  }));

test("an answer that is cut off is no answer", () =>
  withSession(async (session) => {
    const stream = session.request({ ":path": "/break" });
    const [error] = (await once(stream.resume(), "error")) as [Error];
    ok(/INTERNAL_ERROR/.test(error.message), error.message);
  }));

// — what a client must not do: frames as they are, and what they bring —

const head = (path: string, method = "GET", ...more: [string, string][]): Buffer => Buffer.from([[":method", method], [":scheme", "http"], [":path", path], ...more].map(([name, value]) => encodeField(name!, value!)).join(""), "latin1");
const get = (id: number, path = "/hello", flag: number = flags.endHeaders | flags.endStream): Buffer => encodeFrame(frames.headers, flag, id, head(path));
const post = (id: number, ...more: [string, string][]): Buffer => encodeFrame(frames.headers, flags.endHeaders, id, head("/never", "POST", ...more));
const fields = (...list: [string, string][]): Buffer => encodeFrame(frames.headers, flags.endHeaders | flags.endStream, 1, Buffer.from(list.map(([name, value]) => encodeField(name, value)).join(""), "latin1"));
const [method, scheme, path] = [[":method", "GET"], [":scheme", "http"], [":path", "/hello"]] as [string, string][] as [[string, string], [string, string], [string, string]];

/** `stream` and `connection`: whose error, with which code. `fine`: the request on stream 1 is answered. */
const conduct: [what: string, sent: Buffer[], outcome: string][] = [
  ["a request", [get(1)], "fine"],
  ["a padded request with a priority", [encodeFrame(frames.headers, flags.endHeaders | flags.endStream | flags.padded | flags.priority, 1, Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 9]), head("/hello"), Buffer.alloc(3)]))], "fine"],
  ["headers in two parts", [encodeFrame(frames.headers, flags.endStream, 1, head("/hello").subarray(0, 2)), encodeFrame(frames.continuation, flags.endHeaders, 1, head("/hello").subarray(2))], "fine"],
  ["a frame of a type that nobody knows", [encodeFrame(77, 0, 0, Buffer.alloc(5)), get(1)], "fine"],
  ["a setting that nobody knows", [encodeSettings([[99, 1]]), get(1)], "fine"],
  ["something between the parts of headers", [encodeFrame(frames.headers, flags.endStream, 1, head("/hello")), encodeFrame(frames.ping, 0, 0, Buffer.alloc(8))], "connection protocol"],
  ["headers in too many parts", [encodeFrame(frames.headers, flags.endStream, 1, head("/hello")), ...Array.from({ length: 70 }, () => encodeFrame(frames.continuation, 0, 1))], "connection calm"],
  ["headers that are too many", [encodeFrame(frames.headers, flags.endStream, 1, head("/hello")), encodeFrame(frames.continuation, 0, 1, Buffer.alloc(9_000))], "connection calm"],
  ["a continuation of nothing", [encodeFrame(frames.continuation, flags.endHeaders, 1)], "connection protocol"],
  ["headers that cannot be decoded", [encodeFrame(frames.headers, flags.endHeaders, 1, Buffer.from([0x80]))], "connection compression"],
  ["a stream of even number", [get(2)], "connection protocol"],
  ["a stream of a number that was passed", [get(5, "/never"), get(3)], "connection streamClosed"],
  ["more streams than there may be", Array.from({ length: 11 }, (_, index) => get(index * 2 + 1, "/never")), "stream refused"],
  ["a frame that is too large", [encodeFrame(frames.data, 0, 1, Buffer.alloc(16_385))], "connection frameSize"],
  ["data of no stream", [encodeFrame(frames.data, 0, 0)], "connection protocol"],
  ["data of a stream that was never opened", [encodeFrame(frames.data, 0, 1)], "connection protocol"],
  ["data after the end", [get(1, "/never"), encodeFrame(frames.data, 0, 1, Buffer.alloc(1))], "connection streamClosed"],
  ["more padding than there is", [post(1), encodeFrame(frames.data, flags.padded, 1, Buffer.from([5, 0]))], "connection protocol"],
  ["more data than the stream's window", [post(1), ...Array.from({ length: 7 }, () => encodeFrame(frames.data, 0, 1, Buffer.alloc(16_000)))], "stream flowControl"],
  ["more data than was promised", [post(1, ["content-length", "1"]), encodeFrame(frames.data, 0, 1, Buffer.alloc(2))], "stream protocol"],
  ["less data than was promised", [post(1, ["content-length", "3"]), encodeFrame(frames.data, flags.endStream, 1, Buffer.alloc(2))], "stream protocol"],
  ["no path", [fields(method, scheme)], "stream protocol"],
  ["two methods", [fields(method, method, scheme, path)], "stream protocol"],
  ["a pseudo header that is none", [fields(method, scheme, path, [":own", "1"])], "stream protocol"],
  ["a pseudo header after others", [fields(method, scheme, ["accept", "*/*"], path)], "stream protocol"],
  ["a name in upper case", [fields(method, scheme, path, ["Accept", "*/*"])], "stream protocol"],
  ["a value with a line's end", [fields(method, scheme, path, ["accept", "a\r\nb: c"])], "stream protocol"],
  ["an authority with a line's end", [fields(method, scheme, path, [":authority", "a\r\nb: c"])], "stream protocol"],
  ["a header of a connection of HTTP/1.1", [fields(method, scheme, path, ["transfer-encoding", "chunked"])], "stream protocol"],
  ["a reset of a stream that is not", [encodeNumbers(frames.reset, 1, 0)], "connection protocol"],
  ["a reset of the wrong size", [get(1, "/never"), encodeFrame(frames.reset, 0, 1, Buffer.alloc(3))], "connection frameSize"],
  ["settings of a stream", [encodeFrame(frames.settings, 0, 1)], "connection protocol"],
  ["settings of the wrong size", [encodeFrame(frames.settings, 0, 0, Buffer.alloc(5))], "connection frameSize"],
  ["settings that are acknowledged with something", [encodeFrame(frames.settings, flags.ack, 0, Buffer.alloc(6))], "connection frameSize"],
  ["a window that cannot be", [encodeSettings([[settings.initialWindowSize, 2 ** 31]])], "connection flowControl"],
  ["a frame size that cannot be", [encodeSettings([[settings.maxFrameSize, 100]])], "connection protocol"],
  ["pushing neither on nor off", [encodeSettings([[settings.enablePush, 2]])], "connection protocol"],
  ["a promise", [encodeFrame(frames.pushPromise, flags.endHeaders, 1, Buffer.alloc(8))], "connection protocol"],
  ["a ping of the wrong size", [encodeFrame(frames.ping, 0, 0, Buffer.alloc(7))], "connection frameSize"],
  ["a window that grows by nothing", [encodeNumbers(frames.windowUpdate, 0, 0)], "connection protocol"],
  ["a stream's window that grows by nothing", [get(1, "/never"), encodeNumbers(frames.windowUpdate, 1, 0)], "stream protocol"],
  ["a window that grows too large", [encodeNumbers(frames.windowUpdate, 0, 2 ** 31 - 1)], "connection flowControl"],
  ["a stream's window that grows too large", [get(1, "/never"), encodeNumbers(frames.windowUpdate, 1, 2 ** 31 - 1)], "stream flowControl"],
  ["a priority upon itself", [get(1, "/never"), encodeFrame(frames.priority, 0, 1, Buffer.from([0, 0, 0, 1, 0]))], "stream protocol"],
  ["streams that are opened and left, over and over", Array.from({ length: 1_200 }, (_, index) => Buffer.concat([get(index * 2 + 1, "/never"), encodeNumbers(frames.reset, index * 2 + 1, codes.cancel)])), "connection calm"],
  ["streams that we are made to reset, over and over (MadeYouReset)", Array.from({ length: 1_200 }, (_, index) => Buffer.concat([get(index * 2 + 1, "/never"), encodeNumbers(frames.windowUpdate, index * 2 + 1, 0)])), "connection calm"],
  ["pings for nothing", Array.from({ length: 1_100 }, () => encodeFrame(frames.ping, 0, 0, Buffer.alloc(8))), "connection calm"],
  ["settings for nothing", Array.from({ length: 1_100 }, () => encodeSettings([[settings.initialWindowSize, 65_535]])), "connection calm"],
  ["windows for nothing", Array.from({ length: 1_100 }, () => encodeNumbers(frames.windowUpdate, 0, 1)), "connection calm"],
  ["data of nothing, over and over", [post(1), ...Array.from({ length: 1_200 }, () => encodeFrame(frames.data, 0, 1))], "connection calm"],
];
for (const [what, sent, outcome] of conduct) {
  test(`${what}: ${outcome}`, async () => {
    equal(await outcomeOf(Buffer.concat([preface, encodeSettings([]), ...sent]), sent.length > 1_000), outcome);
  });
}

/** Sends this, and says what became of it. */
async function outcomeOf(bytes: Buffer, isFlood = false): Promise<string> {
  const socket = connectTcp(port, "127.0.0.1");
  socket.write(bytes);
  const named = (code: number) => Object.entries(codes).find(([, value]) => value === code)![0];
  try {
    let rest = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= headBytes && rest.length >= headBytes + rest.readUIntBE(0, 3)) {
        const payload = rest.subarray(headBytes, headBytes + rest.readUIntBE(0, 3));
        const type = rest[3]!;
        const flag = rest[4]!;
        rest = rest.subarray(headBytes + payload.length);
        if (type === frames.goAway) return `connection ${named(payload.readUInt32BE(4))}`;
        // Of floods the end counts, not what went before it.
        if (type === frames.reset && !isFlood) return `stream ${named(payload.readUInt32BE(0))}`;
        if (type === frames.data && flag & flags.endStream) return payload.toString() === "hello" ? "fine" : "something else";
      }
    }
    return "closed";
  } finally {
    socket.destroy();
  }
}

test("who says nothing, or something else, is cut off", { timeout: 5_000 }, async (t) => {
  served = { ...options, prefaceMs: 50 };
  t.after(() => (served = options));
  equal(await outcomeOf(Buffer.alloc(0)), "closed");
  equal(await outcomeOf(preface), "closed");
  equal(await outcomeOf(Buffer.from("GET / HTTP/1.1\r\nhost: a\r\n\r\n")), "closed");
});

test("who asks and never reads does not fill our memory", { timeout: 20_000 }, async () => {
  const socket = connectTcp(port, "127.0.0.1");
  socket.on("error", () => {}).pause();
  socket.write(Buffer.concat([preface, encodeSettings([])]));
  const ping = Buffer.concat(Array.from({ length: 10_000 }, () => encodeFrame(frames.ping, 0, 0, Buffer.alloc(8))));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const more = (): void => {
    while (!socket.destroyed && socket.write(ping));
  };
  socket.on("drain", more);
  more();
  await closed;
});
