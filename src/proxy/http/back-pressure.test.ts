import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttp, request as requestHttp } from "node:http";
import { connect, createServer as createHttp2, type ClientHttp2Session } from "node:http2";
import { request as requestHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { Readable, Writable } from "node:stream";
import { authority, certificateFor } from "./testing/certificates.ts";
import { startGateway, until } from "./testing/gateway.ts";
import { startTls } from "./testing/tls-gateway.ts";
import { ListenerCertificates } from "./tls.ts";

/**
 * Whoever reads slowly stops who writes: what is between the two is what kernels hold for two connections, whatever the length. Nobody
 * but the test's own loop is waited for: it lets the others have so many turns for each piece that is read.
 */
const all = process.env["WHERRY_CONFORMANCE"] !== undefined;
const megabyte = 1024 * 1024;
const total = (all ? 1024 : 40) * megabyte;
/** Loopback's buffers grow to some 10 MB a connection; the gateway's own share is below one. */
const betweenMax = 26 * megabyte;
const turnsPerPiece = 6;
const pair = certificateFor(["web.example"]);
const certificates = new Map([["*", new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: pair.cert, key: pair.key }] })]]);

type Protocol = "HTTP/1.1" | "HTTP/2";
type Combination = [client: Protocol, secured: boolean, program: Protocol];
const combinations: Combination[] = [
  ["HTTP/1.1", false, "HTTP/1.1"],
  ["HTTP/2", true, "HTTP/2"],
  ["HTTP/1.1", true, "HTTP/1.1"],
  ...(all ? ([["HTTP/2", false, "HTTP/1.1"], ["HTTP/1.1", false, "HTTP/2"], ["HTTP/2", false, "HTTP/2"], ["HTTP/2", true, "HTTP/1.1"], ["HTTP/1.1", true, "HTTP/2"]] satisfies Combination[]) : []),
];

const count = { sent: 0, received: 0, between: 0 };
const piece = Buffer.alloc(64 * 1024, "x");
async function send(to: Writable): Promise<void> {
  while (count.sent < total) {
    count.sent += piece.length;
    if (!to.write(piece)) await once(to, "drain");
  }
  to.end();
}
async function receive(from: Readable): Promise<void> {
  let turns = 0;
  for await (const part of from as AsyncIterable<Buffer>) {
    count.received += part.length;
    count.between = Math.max(count.between, count.sent - count.received);
    for (; turns < (count.received / piece.length) * turnsPerPiece; turns++) await new Promise((resolve) => setImmediate(resolve));
  }
}

async function startProgram(protocol: Protocol, serve: (request: Readable, response: Writable) => void): Promise<{ port: number } & AsyncDisposable> {
  const server = protocol === "HTTP/2" ? createHttp2() : createHttp();
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket: { destroy(): void }) => void sockets.add(socket));
  server.on("request", (request: Readable, response: Writable) => serve(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
/** A request's body, and its answer. */
function open(protocol: Protocol, secured: boolean, port: number): { body: Writable; answer: Promise<Readable>; close(): void } {
  if (protocol === "HTTP/1.1") {
    const asked = (secured ? requestHttps : requestHttp)({ host: "127.0.0.1", port, method: "POST", ca: authority.cert, servername: "web.example", agent: false });
    return { body: asked, answer: once(asked, "response").then(([answer]) => answer as Readable), close: () => void asked.destroy() };
  }
  const session: ClientHttp2Session = connect(`${secured ? "https" : "http"}://127.0.0.1:${port}`, { ca: authority.cert, servername: "web.example" });
  const stream = session.request({ ":method": "POST", ":path": "/", ":authority": "web.example" }, { endStream: false });
  return { body: stream, answer: once(stream, "response").then(() => stream), close: () => session.destroy() };
}

for (const [client, secured, program] of combinations) {
  for (const direction of ["down", "up"] as const) {
    test(`${total / megabyte} MB ${direction}: a client of ${client}${secured ? " over TLS" : ""}, a program of ${program}`, async () => {
      Object.assign(count, { sent: 0, received: 0, between: 0 });
      await using server = await startProgram(program, (request, response) => {
        if (direction === "down") void send(response);
        else void receive(request).then(() => response.end("done"));
      });
      await using gateway = startGateway([server.port], { http2: program === "HTTP/2", bounds: { bodyBytesPerSecond: 1 } });
      await using tls = startTls(gateway, certificates, { bounds: { bodyBytesPerSecond: 1 } });
      const { body, answer, close } = open(client, secured, secured ? tls.port : gateway.port);
      if (direction === "down") {
        body.end();
        await receive(await answer);
      } else {
        await send(body);
        for await (const _ of await answer);
      }
      assert.equal(count.received, total);
      assert.ok(count.between <= betweenMax, `${(count.between / megabyte).toFixed(1)} MB were on their way`);
      close();
      await until(() => gateway.policy.running === 0);
    });
  }
}
