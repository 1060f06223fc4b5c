import assert from "node:assert/strict";
import { createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import { createServer as createHttps } from "node:https";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import type { ProbeRequest } from "../../api/network.ts";
import { listen } from "../testing/network.ts";
import { HttpResponse } from "./http-response.ts";
import { probe } from "./probe.ts";

const closed = await (async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
})();

/** A server that answers every request with `reply(requestHead)`; undefined: says nothing. */
const raw = (reply: (head: string) => string | undefined) =>
  listen((socket: Socket) => {
    socket.once("data", (data: Buffer) => {
      const answer = reply(data.toString("latin1"));
      if (answer !== undefined) socket.end(answer, "latin1");
    });
  });
const http = (port: number, rest: Partial<Extract<ProbeRequest, { type: "http" }>> = {}): ProbeRequest => ({ type: "http", ip: "127.0.0.1", port, timeoutMs: 1_000, scheme: "HTTP", path: "/health", headers: [], ...rest });

test("HTTP: the answer decides, in kubelet's words", async (t) => {
  const cases: { what: string; reply: string; success: boolean; output: string | RegExp }[] = [
    { what: "200", reply: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", success: true, output: "ok" },
    { what: "399 is a success", reply: "HTTP/1.1 399 Odd\r\nContent-Length: 0\r\n\r\n", success: true, output: "Probe terminated redirects, Response body: " },
    { what: "400", reply: "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", success: false, output: "HTTP probe failed with statuscode: 400" },
    { what: "503", reply: "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nnot", success: false, output: "HTTP probe failed with statuscode: 503" },
    { what: "chunked", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", success: true, output: "abcde" },
    { what: "until the end of the connection", reply: "HTTP/1.0 200 OK\r\n\r\nall of it", success: true, output: "all of it" },
    { what: "after 100 Continue", reply: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", success: true, output: "" },
    { what: "a body of more than 10 KB is not read to its end", reply: `HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n${"x".repeat(20_000)}`, success: true, output: /^x{10240}$/ },
    { what: "a body that breaks off", reply: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", success: false, output: /^Get "http:\/\/127\.0\.0\.1:\d+\/health": unexpected EOF$/ },
    { what: "no HTTP at all", reply: "SSH-2.0-OpenSSH_9.2\r\n", success: false, output: /malformed HTTP response "SSH-2\.0-OpenSSH_9\.2"$/ },
    { what: "nothing", reply: "", success: false, output: /^Get "http:\/\/127\.0\.0\.1:\d+\/health": EOF$/ },
    { what: "a redirect to another host is a success", reply: "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", success: true, output: "Probe terminated redirects, Response body: " },
  ];
  for (const { what, reply, success, output } of cases) {
    await t.test(what, async () => {
      await using server = await raw(() => reply);
      const result = await probe(http(server.port));
      assert.equal(result.success, success, result.output);
      if (output instanceof RegExp) assert.match(result.output, output);
      else assert.equal(result.output, output);
    });
  }
});

test("HTTP: what the program is asked", async () => {
  let head = "";
  await using server = await raw((text) => {
    head = text;
    return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  });
  await probe(http(server.port, { path: "ready?deep=1", headers: [{ name: "X-Probe", value: "a" }, { name: "X-Probe", value: "b" }] }));
  assert.equal(head, `GET /ready?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nUser-Agent: kube-probe/1.35\r\nAccept: */*\r\nX-Probe: a\r\nX-Probe: b\r\nConnection: close\r\n\r\n`);
  await probe(http(server.port, { headers: [{ name: "Host", value: "shop.example" }, { name: "User-Agent", value: "mine" }, { name: "Accept", value: "" }] }));
  assert.equal(head, "GET /health HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: mine\r\nConnection: close\r\n\r\n");
});

test("HTTP: redirects to the same host are followed, ten of them at most", async () => {
  const paths: string[] = [];
  await using server = await raw((head) => {
    const path = head.split(" ")[1]!;
    paths.push(path);
    if (path === "/health") return "HTTP/1.1 301 Moved\r\nLocation: /health/\r\nContent-Length: 0\r\n\r\n";
    if (path === "/round") return "HTTP/1.1 302 Found\r\nLocation: round\r\nContent-Length: 0\r\n\r\n";
    return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  });
  assert.deepEqual(await probe(http(server.port)), { success: true, output: "" });
  assert.deepEqual(paths.splice(0), ["/health", "/health/"]);
  const round = await probe(http(server.port, { path: "/round" }));
  assert.deepEqual(round, { success: false, output: `Get "http://127.0.0.1:${server.port}/round": stopped after 10 redirects` });
  assert.equal(paths.length, 10);
});

test("what cannot be reached, and what does not answer", async () => {
  const refused = `dial tcp 127.0.0.1:${closed}: connect: connection refused`;
  assert.deepEqual(await probe(http(closed)), { success: false, output: `Get "http://127.0.0.1:${closed}/health": ${refused}` });
  assert.deepEqual(await probe({ type: "tcp", ip: "127.0.0.1", port: closed, timeoutMs: 500 }), { success: false, output: refused });
  const grpc = await probe({ type: "grpc", ip: "127.0.0.1", port: closed, timeoutMs: 500, service: "" });
  assert.deepEqual(grpc, { success: false, output: `error: failed to connect service at "127.0.0.1:${closed}": ${refused}` });
  assert.deepEqual(await probe({ type: "tcp", ip: "db.example.com", port: 1, timeoutMs: 500 }), { success: false, output: "dial tcp: lookup db.example.com: no such host" });
  await using silent = await raw(() => undefined);
  const late = await probe(http(silent.port, { timeoutMs: 50 }));
  assert.deepEqual(late, { success: false, output: `Get "http://127.0.0.1:${silent.port}/health": context deadline exceeded (Client.Timeout exceeded while awaiting headers)` });
  assert.deepEqual(await probe({ type: "tcp", ip: "127.0.0.1", port: silent.port, timeoutMs: 500 }), { success: true, output: "" });
});

test("HTTPS: any certificate will do", async () => {
  const { key, cert } = await selfSigned();
  const server = createHttps({ key, cert }, (request, response) => response.end(request.url)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  assert.deepEqual(await probe(http(port, { scheme: "HTTPS" })), { success: true, output: "/health" });
  await using plain = await raw(() => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  const wrong = await probe(http(plain.port, { scheme: "HTTPS" }));
  assert.equal(wrong.success, false);
  server.close();
});

test("gRPC health", async (t) => {
  const answer = (status: number) => Buffer.from([0, 0, 0, 0, 2, 0x08, status]);
  const cases: { what: string; service: string; success: boolean; output: string }[] = [
    { what: "serving", service: "", success: true, output: "service healthy" },
    { what: "not serving", service: "down", success: false, output: 'service unhealthy (responded with "NOT_SERVING")' },
    { what: "unknown service", service: "nobody", success: false, output: "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service" },
    { what: "no health service", service: "none", success: false, output: "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health" },
    { what: "silence", service: "silent", success: false, output: "timeout: health rpc did not complete within 200ms" },
  ];
  const server = createHttp2();
  server.on("stream", (stream: ServerHttp2Stream, headers: Record<string, unknown>) => {
    assert.equal(headers[":path"], "/grpc.health.v1.Health/Check");
    assert.equal(headers["user-agent"], "kube-probe/1.35");
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => {});
    stream.on("end", () => {
      const message = Buffer.concat(chunks).subarray(5);
      const service = message.length === 0 ? "" : message.subarray(2).toString();
      if (service === "silent") return;
      if (service === "nobody") return stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "5", "grpc-message": "unknown%20service" }, { endStream: true });
      if (service === "none") return stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "12", "grpc-message": "unknown service grpc.health.v1.Health" }, { endStream: true });
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(answer(service === "down" ? 2 : 1));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  for (const { what, service, success, output } of cases) {
    await t.test(what, async () => assert.deepEqual(await probe({ type: "grpc", ip: "127.0.0.1", port, timeoutMs: service === "silent" ? 200 : 2_000, service }), { success, output }));
  }
  await t.test("no HTTP/2", async () => {
    await using plain = await raw(() => "HTTP/1.1 400 Bad Request\r\n\r\n");
    assert.equal((await probe({ type: "grpc", ip: "127.0.0.1", port: plain.port, timeoutMs: 1_000, service: "" })).success, false);
  });
  server.close();
});

test("responses cut anywhere and bent anywhere never throw", () => {
  const good = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  let seed = 99;
  const random = (bound: number) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % bound;
  for (let i = 0; i < 20_000; i++) {
    const bytes = [...good];
    for (let changes = random(4); changes > 0; changes--) bytes[random(bytes.length)] = String.fromCharCode(random(256));
    const text = bytes.join("");
    const response = new HttpResponse();
    const at = random(text.length);
    response.push(text.slice(0, at));
    response.push(text.slice(at));
    response.end();
    assert.ok(response.body.length <= 10 * 1024);
  }
  // Cut at every place, the whole reads the same.
  for (let at = 0; at <= good.length; at++) {
    const response = new HttpResponse();
    response.push(good.slice(0, at));
    response.push(good.slice(at));
    assert.deepEqual([response.status, response.body, response.done], [200, "abc", true], `cut at ${at}`);
  }
});

async function selfSigned(): Promise<{ key: string; cert: string }> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const cert = await x509.X509CertificateGenerator.createSelfSigned({ name: "CN=pod", keys, signingAlgorithm: { name: "ECDSA", hash: "SHA-256" }, notBefore: new Date(0), notAfter: new Date(2e12) });
  const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return { cert: cert.toString("pem"), key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n` };
}
