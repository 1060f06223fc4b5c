import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { test } from "node:test";
import { needs } from "../../../test/needs.ts";
import { authority, certificateFor } from "./testing/certificates.ts";
import { startGateway, startProgram, until } from "./testing/gateway.ts";
import { startTls } from "./testing/tls-gateway.ts";
import { ListenerCertificates } from "./tls.ts";

const pair = certificateFor(["web.example"]);
const certificates = new Map([["*", new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: pair.cert, key: pair.key }] })]]);
const openSocket = async (port: number, maxVersion: "TLSv1.2" | "TLSv1.3"): Promise<TLSSocket> => {
  const socket = connect({ port, host: "127.0.0.1", ca: authority.cert, servername: "web.example", maxVersion });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
};

test("TLS renegotiation (CVE-2011-1473): a client cannot have the server's work done again and again", { timeout: 30_000 }, async () => {
  await using program = await startProgram((_request, response) => response.end("OK"));
  await using gateway = startGateway([program.port]);
  await using tls = startTls(gateway, certificates);
  const socket = await openSocket(tls.port, "TLSv1.2");
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  let done = 0;
  for (let i = 0; i < 50 && !socket.destroyed; i++) {
    const result = await Promise.race([
      new Promise<"done" | "failed">((resolve) => {
        if (socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error ? "failed" : "done")) === undefined) resolve("failed");
      }),
      closed.then(() => "failed" as const),
    ]);
    if (result === "failed") break;
    done++;
  }
  assert.ok(done <= 3, `${done} handshakes more on one connection`);
  socket.destroy();
  // And nobody else is worse off.
  const other = await openSocket(tls.port, "TLSv1.2");
  other.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n");
  assert.match(String((await once(other, "data"))[0]), /^HTTP\/1\.1 200/);
  other.destroy();
});

test("TLS 0-RTT (RFC 8470): no ticket allows data that might be a replay", { timeout: 30_000 }, async (t) => {
  if (!needs(t, "openssl")) return;
  await using program = await startProgram((_request, response) => response.end("OK"));
  await using gateway = startGateway([program.port]);
  await using tls = startTls(gateway, certificates);
  const client = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${tls.port}`, "-servername", "web.example", "-tls1_3", "-msg"], { stdio: ["pipe", "pipe", "ignore"] });
  let said = "";
  client.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
  client.stdin.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n");
  await until(() => said.includes("Max Early Data:") && said.includes("HTTP/1.1 200"));
  client.kill();
  await once(client, "close");
  assert.deepEqual([...said.matchAll(/Max Early Data: (\d+)/g)].map(([, bytes]) => bytes).filter((bytes) => bytes !== "0"), []);
});

test("a client whose versions or ciphers are none of ours gets an alert, and the worker goes on", { timeout: 30_000 }, async () => {
  await using gateway = startGateway([]);
  await using tls = startTls(gateway, certificates);
  for (const [options, code] of [
    [{ minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }, "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION"],
    [{ maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-CHACHA20-POLY1305", sigalgs: "rsa_pss_rsae_sha256" }, "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE"],
  ] as const) {
    const socket = connect({ port: tls.port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    const [error] = (await once(socket, "error").catch((caught: unknown) => [caught])) as [NodeJS.ErrnoException];
    assert.equal(error.code, code);
  }
  assert.equal(tls.failures.length, 2);
});

test("a flood of handshakes that are begun and left costs nothing for long", { timeout: 30_000 }, async () => {
  await using gateway = startGateway([]);
  await using tls = startTls(gateway, certificates);
  for (let i = 0; i < 50; i++) {
    const socket = connect({ port: tls.port, host: "127.0.0.1", servername: "web.example", ca: authority.cert });
    socket.on("error", () => {});
    // Gone in the middle of it.
    socket.once("connect", () => setImmediate(() => socket.destroy()));
    await once(socket, "close");
  }
  const socket = await openSocket(tls.port, "TLSv1.3");
  await until(() => gateway.engine.counters.connections === 1);
  socket.destroy();
  await until(() => gateway.engine.counters.connections === 0);
});
