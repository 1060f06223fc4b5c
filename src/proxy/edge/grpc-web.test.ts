import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { test } from "node:test";
import type { EdgeListener, HttpFilter } from "../../api/traffic.ts";
import { type EdgeWorld, startEdge } from "./testing/edge-world.ts";

const message = (text: string, kind = 0): Buffer => Buffer.concat([Buffer.from([kind, 0, 0, 0, text.length]), Buffer.from(text)]);
const trailers = (...lines: string[]): Buffer => message(lines.map((line) => `${line}\r\n`).join(""), 0x80);

interface World extends AsyncDisposable {
  edge: EdgeWorld;
  heard: IncomingHttpHeaders[];
}

/** A server of gRPC behind a listener. */
async function start(serve: (stream: ServerHttp2Stream, body: Buffer) => void, { listener = { manners: { grpcWeb: true } }, filters = [] }: { listener?: Partial<EdgeListener>; filters?: HttpFilter[] } = {}): Promise<World> {
  const heard: IncomingHttpHeaders[] = [];
  const server: Http2Server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    heard.push(headers);
    const pieces: Buffer[] = [];
    stream.on("error", () => {}).on("data", (piece: Buffer) => pieces.push(piece)).on("end", () => serve(stream, Buffer.concat(pieces)));
  });
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const edge = await startEdge(listener, { filters });
  const { port } = server.address() as { port: number };
  edge.edge.apply({ revision: 2, put: { upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "h2c", endpoints: [{ ip: "127.0.0.1", port }] }] }, remove: {} });
  return {
    edge,
    heard,
    async [Symbol.asyncDispose]() {
      await edge[Symbol.asyncDispose]();
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
/** Answers with the request's messages, and a trailer. */
const echo = (stream: ServerHttp2Stream, body: Buffer): void => {
  stream.respond({ ":status": 200, "content-type": "application/grpc+proto", "x-server": "echo" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "grpc-message": "fine", "X-Late": "yes" }));
  stream.end(body);
};

/** As a browser calls: a fetch over HTTP/1.1, and nothing is known of its trailers. */
async function call(world: World, type: string, body: Buffer | string, headers: Record<string, string> = {}): Promise<{ status: number; type: string; body: Buffer; server: string | null }> {
  const answer = await fetch(`http://127.0.0.1:${world.edge.port}/shop.Cart/Add`, { method: "POST", headers: { "content-type": type, "x-grpc-web": "1", connection: "close", ...headers }, body });
  return { status: answer.status, type: answer.headers.get("content-type") ?? "", body: Buffer.from(await answer.arrayBuffer()), server: answer.headers.get("x-server") };
}
const fromText = (body: Buffer): Buffer => Buffer.concat(String(body).match(/[^=]+={0,2}/g)!.map((piece) => Buffer.from(piece, "base64")));

const ending = trailers("grpc-status: 0", "grpc-message: fine", "x-late: yes");
const text = { accept: "application/grpc-web-text" };
/** What is sent and how, what the server hears that it is, and what comes back. */
const calls: [why: string, type: string, body: Buffer | string, headers: Record<string, string>, heard: string, answered: string][] = [
  ["in bytes", "application/grpc-web+proto", message("hello"), {}, "application/grpc+proto", "application/grpc-web+proto"],
  ["in bytes, of no format that is said", "application/grpc-web", message("hello"), {}, "application/grpc", "application/grpc-web+proto"],
  ["in text", "application/grpc-web-text", message("hello").toString("base64"), text, "application/grpc", "application/grpc-web-text+proto"],
  ["in text, in several pieces", "application/grpc-web-text+proto", message("hello").subarray(0, 4).toString("base64") + message("hello").subarray(4).toString("base64"), text, "application/grpc+proto", "application/grpc-web-text+proto"],
  ["in text, answered in bytes", "application/grpc-web-text", message("hello").toString("base64"), {}, "application/grpc", "application/grpc-web+proto"],
  ["in bytes, answered in text", "application/grpc-web", message("hello"), text, "application/grpc", "application/grpc-web-text+proto"],
];
for (const [why, type, body, headers, heard, answered] of calls) {
  test(`a call of gRPC-Web: ${why}`, async () => {
    await using world = await start(echo);
    const answer = await call(world, type, body, headers);
    assert.deepEqual([answer.status, answer.type, answer.server], [200, answered, "echo"]);
    assert.deepEqual(answered.includes("text") ? fromText(answer.body) : answer.body, Buffer.concat([message("hello"), ending]));
    assert.deepEqual([world.heard[0]!["content-type"], world.heard[0]!["te"]], [heard, "trailers"]);
  });
}

test("a call of gRPC-Web: messages come when they are sent, each for itself", async () => {
  let stream: ServerHttp2Stream | undefined;
  await using world = await start((opened) => {
    stream = opened;
    opened.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    opened.on("wantTrailers", () => opened.sendTrailers({ "grpc-status": "0" }));
    opened.write(message("0"));
  });
  const answer = await fetch(`http://127.0.0.1:${world.edge.port}/`, { method: "POST", headers: { "content-type": "application/grpc-web-text", connection: "close", ...text }, body: message("x").toString("base64") });
  const reader = answer.body!.getReader();
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(fromText(Buffer.from((await reader.read()).value!)), message(`${i}`));
    if (i < 2) stream!.write(message(`${i + 1}`));
  }
  stream!.end();
  assert.deepEqual(fromText(Buffer.from((await reader.read()).value!)), trailers("grpc-status: 0"));
  assert.ok((await reader.read()).done);
});

const denied: HttpFilter = { type: "sourceRanges", allow: ["192.0.2.1"] };
/** What goes wrong, and what a browser then knows of it: the last frame. */
const failures: [why: string, serve: (stream: ServerHttp2Stream) => void, options: { filters?: HttpFilter[]; body?: string }, status: number, frame: Buffer][] = [
  ["the server says it in its head", (stream) => stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "5", "grpc-message": "no such cart" }, { endStream: true }), {}, 200, trailers("grpc-status: 5", "grpc-message: no such cart")],
  ["the gateway refuses it", () => {}, { filters: [denied] }, 200, trailers("grpc-status: 7", "grpc-message: access denied to 127.0.0.1")],
  ["the body is no text", () => {}, { body: "aGVsbG8=\n\n\n\n" }, 200, trailers("grpc-status: 13", "grpc-message: the body of a call of gRPC-Web is not base64")],
  ["the server breaks off", (stream) => stream.close(8), {}, 200, Buffer.alloc(0)],
  ["another gateway says no, in words of its own", (stream) => stream.respond({ ":status": 403, "content-type": "text/plain" }, { endStream: true }), {}, 403, Buffer.alloc(0)],
];
for (const [why, serve, { filters = [], body }, status, frame] of failures) {
  test(`a call of gRPC-Web fails: ${why}`, async () => {
    await using world = await start(serve, { filters });
    const answer = await call(world, body === undefined ? "application/grpc-web" : "application/grpc-web-text", body ?? message("hello"));
    assert.equal(answer.status, status, String(answer.body));
    if (why === "the server breaks off") assert.match(answer.body.subarray(5).toString(), /^grpc-status: 14\r\n/);
    else assert.equal(answer.body.toString("latin1"), frame.toString("latin1"));
  });
}

test("what is no call of gRPC-Web goes on as it came, and so does all where nobody asked for it", async () => {
  await using world = await start(echo);
  for (const type of ["application/grpc", "application/grpc-webby", "application/json"]) {
    const answer = await call(world, type, message("hello"), { te: "trailers" });
    assert.deepEqual([answer.type, answer.body], ["application/grpc+proto", message("hello")]);
    assert.equal(world.heard.at(-1)!["content-type"], type);
  }
  await using other = await start(echo, { listener: {} });
  assert.equal((await call(other, "application/grpc-web", message("hello"))).type, "application/grpc+proto");
  assert.equal(other.heard[0]!["content-type"], "application/grpc-web");
});
