import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Session, connect, constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { startGateway, startProgram, until } from "./testing/gateway.ts";

/**
 * Who gives up takes the request along to the endpoint, at whatever point, by whatever protocol: a program of HTTP/2 hears CANCEL on
 * its stream, and the connection stays for the others; one of HTTP/1.1 sees its connection end.
 */
type Phase = { what: string; method: "GET" | "POST"; /** Of the request: more would come. */ isOpen?: boolean; /** The program has answered so far. */ answers?: "head" | "part" | "trailers wait" };
const phases: Phase[] = [
  { what: "before an answer", method: "GET" },
  { what: "before an answer, all of a body sent", method: "POST" },
  { what: "before an answer, within a body", method: "POST", isOpen: true },
  { what: "after the head", method: "GET", answers: "head" },
  { what: "after the head, within a body", method: "POST", isOpen: true, answers: "head" },
  { what: "within the answer", method: "GET", answers: "part" },
  { what: "within the answer and a body", method: "POST", isOpen: true, answers: "part" },
  { what: "before the trailers", method: "POST", answers: "trailers wait" },
];
const ways = ["HTTP/1.1", "HTTP/2 stream", "HTTP/2 connection"] as const;

async function ask(way: (typeof ways)[number], port: number, open: () => Promise<{ send(text: string): void; socket: { destroy(): void } }>, { method, isOpen }: Phase): Promise<() => void> {
  if (way === "HTTP/1.1") {
    const client = await open();
    client.send(`${method} / HTTP/1.1\r\nHost: web.example\r\n${method === "GET" ? "\r\n" : `Content-Length: ${isOpen ? 10 : 4}\r\n\r\nhalf`}`);
    return () => client.socket.destroy();
  }
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await once(session, "connect");
  const stream = session.request({ ":method": method, ":path": "/", ":authority": "web.example" }, { endStream: method === "GET" });
  stream.on("error", () => {}).resume();
  if (method === "POST") stream.write("half");
  if (method === "POST" && !isOpen) stream.end();
  return () => {
    if (way === "HTTP/2 stream") stream.close(constants.NGHTTP2_CANCEL);
    else session.destroy();
    if (way === "HTTP/2 stream") stream.once("close", () => session.destroy());
  };
}

for (const way of ways) {
  for (const phase of phases) {
    test(`${way}, ${phase.what}: a program of HTTP/2 hears CANCEL, and keeps its connection`, async () => {
      const sessions = new Set<ServerHttp2Session>();
      const heard = Promise.withResolvers<number>();
      const reached = Promise.withResolvers<void>();
      const server = createServer();
      server.on("session", (session) => void sessions.add(session));
      server.on("stream", (stream: ServerHttp2Stream) => {
        // Whoever listens for it decides when trailers come: never.
        stream.on("error", () => {}).on("wantTrailers", () => {}).on("close", () => heard.resolve(stream.rstCode));
        const answer = () => {
          if (phase.answers) stream.respond({ ":status": 200 }, { waitForTrailers: phase.answers === "trailers wait" });
          if (phase.answers === "part") stream.write("some");
          if (phase.answers === "trailers wait") stream.end("all");
          reached.resolve();
        };
        // The request is there as far as it will come.
        if (phase.method === "GET") answer();
        else stream.once("data", answer);
        stream.resume();
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      await using gateway = startGateway([(server.address() as AddressInfo).port], { http2: true });
      const leave = await ask(way, gateway.port, () => gateway.open(), phase);
      await reached.promise;
      await until(() => gateway.policy.running === 1);
      leave();
      assert.equal(await heard.promise, constants.NGHTTP2_CANCEL);
      await until(() => gateway.policy.running === 0);
      assert.equal(sessions.size, 1);
      assert.ok(![...sessions].some((session) => session.closed || session.destroyed), "others go on with it");
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
  }
  test(`${way}: a program of HTTP/1.1 sees its connection end`, async () => {
    const ended = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    await using program = await startProgram((request) => {
      request.socket.on("close", () => ended.resolve());
      reached.resolve();
    });
    await using gateway = startGateway([program.port]);
    const leave = await ask(way, gateway.port, () => gateway.open(), phases[0]!);
    await reached.promise;
    leave();
    await ended.promise;
    await until(() => gateway.policy.running === 0);
  });
}
