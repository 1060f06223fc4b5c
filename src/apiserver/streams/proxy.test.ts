import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { createServer as createSecureServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer, text } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { WebSocket, WebSocketServer } from "ws";
import { resources } from "../../api/resources.ts";
import { fakeNode } from "../../../test/fake-node.ts";
import { startApi, type TestApi } from "../../../test/harness-api.ts";

const page = '<a href="/next">next</a><script>"<a href=\'/no\'>"</script>';

/** Says what it was asked; some paths have answers of their own. */
const backend: RequestListener = (request, response) => {
  const answers: Record<string, () => void> = {
    "/page": () => response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-length": page.length }).end(page),
    "/packed": () => response.writeHead(200, { "content-type": "text/html", "content-encoding": "gzip" }).end(gzipSync(page)),
    "/moved": () => response.writeHead(302, { location: "/to?a=b" }).end(),
    "/cut": () => {
      response.writeHead(200, { "content-length": 100 }).write("begun");
      setImmediate(() => request.socket.destroy());
    },
    "/large": () => response.writeHead(200).end(Buffer.alloc(5_000_000, "x")),
  };
  const answer = answers[request.url!];
  if (answer) return answer();
  void text(request).then((body) => response.writeHead(418, { "x-mine": "yes" }).end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body })));
};

async function listening(t: TestContext, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (server.closeAllConnections(), server.close()));
  return (server.address() as AddressInfo).port;
}

async function cluster(t: TestContext, port: number): Promise<TestApi> {
  const server = await startApi({ node: fakeNode() });
  t.after(() => server[Symbol.asyncDispose]());
  const { client } = server;
  await client.create(resources.pods, "default", { metadata: { name: "web", labels: { app: "web" } }, spec: { nodeName: "wherry", containers: [{ name: "c", image: "a", ports: [{ containerPort: port }] }] } });
  await client.patch(resources.pods, "default", "web", { status: { phase: "Running", podIP: "10.244.0.7", podIPs: [{ ip: "10.244.0.7" }] } }, { subresource: "status" });
  await client.create(resources.pods, "default", { metadata: { name: "new" }, spec: { containers: [{ name: "c", image: "a" }] } });
  for (const name of ["web", "empty", "other"]) await client.create(resources.services, "default", { metadata: { name }, spec: { ports: [{ name: "http", port: 80, targetPort: port }] } });
  const slice = (name: string, targetRef: object | undefined) => client.create(resources.endpointSlices, "default", { metadata: { name, labels: { "kubernetes.io/service-name": name } }, addressType: "IPv4", ports: [{ name: "http", port }], endpoints: [{ addresses: ["10.244.0.7"], conditions: { ready: true }, ...(targetRef && { targetRef }) }] });
  await slice("web", { kind: "Pod", name: "web", namespace: "default" });
  await slice("other", undefined);
  return server;
}

interface Answer {
  code: number;
  headers: Record<string, unknown>;
  body: Buffer;
}
type Ask = (server: TestApi, path: string, options?: { method?: string; headers?: Record<string, string>; body?: string }) => Promise<Answer>;

const http1: Ask = ({ url, pki }, path, { method = "GET", headers, body } = {}) =>
  new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { method, ca: pki.ca, cert: pki.admin.cert, key: pki.admin.key, agent: false, ...(headers && { headers }) }, (answer: IncomingMessage) => {
      buffer(answer).then((body) => resolve({ code: answer.statusCode!, headers: answer.headers, body }), reject);
    });
    sent.once("error", reject);
    sent.end(body);
  });
const http2: Ask = async ({ url, pki }, path, { method = "GET", headers, body } = {}) => {
  const session = connectHttp2(url, { ca: pki.ca, cert: pki.admin.cert, key: pki.admin.key });
  try {
    const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    const [answered] = (await once(stream, "response")) as [Record<string, unknown>];
    return { code: Number(answered[":status"]), headers: answered, body: await buffer(stream) };
  } finally {
    session.destroy();
  }
};

const base = "/api/v1/namespaces/default";

for (const [name, ask] of [["HTTP/1.1", http1], ["HTTP/2", http2]] as const) {
  test(`${name}: a request is passed on to a pod or Service, without the caller's credentials, and so is the answer`, async (t) => {
    const port = await listening(t, createServer(backend));
    const server = await cluster(t, port);
    const token = await ask(server, `${base}/serviceaccounts/default/token`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
    assert.equal(token.code, 201, token.body.toString());

    const got = await ask(server, `${base}/services/web:80/proxy/a%2Fb/c?d=e&f`, { method: "PUT", headers: { "content-type": "text/plain", "x-own": "1", "x-remote-user": "me" }, body: "words" });
    assert.equal(got.code, 418, got.body.toString());
    assert.equal(got.headers["x-mine"], "yes");
    const seen = JSON.parse(got.body.toString()) as { method: string; url: string; headers: Record<string, string>; body: string };
    assert.deepEqual([seen.method, seen.url, seen.body], ["PUT", "/a%2Fb/c?d=e&f", "words"]);
    assert.equal(seen.headers["x-own"], "1");
    assert.equal(seen.headers["x-forwarded-uri"], `${base}/services/web:80/proxy/a%2Fb/c`);
    assert.equal(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert.equal(seen.headers["host"], new URL(server.url).host);
    assert.equal(seen.headers["x-remote-user"], undefined);

    const whom = ["services/web:http", "services/web:80", "services/http:web:80", "pods/web", `pods/web:${port}`, `pods/http:web:${port}`];
    for (const id of whom) assert.equal(JSON.parse((await ask(server, `${base}/${id}/proxy/x`)).body.toString()).url, "/x", id);
    for (const method of ["POST", "DELETE", "PATCH", "OPTIONS"]) {
      // Over HTTP/1.1 Node's client does not say for each method where a body ends.
      const { body } = await ask(server, `${base}/pods/web/proxy/m`, { method, body: "some", ...(ask === http1 && { headers: { "transfer-encoding": "chunked" } }) });
      assert.deepEqual((({ method, body }) => [method, body])(JSON.parse(body.toString())), [method, "some"]);
    }
    assert.equal((await ask(server, `${base}/pods/web/proxy/large`)).body.length, 5_000_000);

    const bare = await ask(server, `${base}/services/web:80/proxy?a=b`);
    assert.deepEqual([bare.code, bare.headers["location"]], [301, `${base}/services/web:80/proxy/?a=b`]);
    const moved = await ask(server, `${base}/services/web:80/proxy/moved`);
    assert.deepEqual([moved.code, moved.headers["location"]], [302, `${base}/services/web:80/proxy/to?a=b`]);
    const rewritten = page.replace("/next", `${base}/services/web:80/proxy/next`);
    assert.equal((await ask(server, `${base}/services/web:80/proxy/page`)).body.toString(), rewritten);
    assert.equal(gunzipSync((await ask(server, `${base}/services/web:80/proxy/packed`)).body).toString(), rewritten);
    await assert.rejects(ask(server, `${base}/pods/web/proxy/cut`), "an answer without its end is no answer");
  });

  test(`${name}: what cannot be passed on is a Status in upstream's words`, async (t) => {
    const closed = createServer();
    const port = await listening(t, closed);
    const server = await cluster(t, port);
    await new Promise((resolve) => closed.close(resolve));
    const cases = [
      ["services/nope/proxy/", 404, 'endpoints "nope" not found'],
      ["services/nope:80/proxy/", 404, 'services "nope" not found'],
      ["services/web:81/proxy/", 503, 'no service port 81 found for service "web"'],
      ["services/web/proxy/", 503, 'no endpoints available for service "web"'],
      ["services/web:other/proxy/", 503, 'no endpoints available for service "web:other"'],
      ["services/empty:80/proxy/", 503, 'no endpoints available for service "empty"'],
      ["services/other:80/proxy/", 503, 'no endpoints available for service "other:80"'],
      ["services/ftp:web:80/proxy/", 400, 'invalid service request "ftp:web:80"'],
      ["pods/a:b:c:d/proxy/", 400, 'invalid pod request "a:b:c:d"'],
      ["pods/nope/proxy/", 404, 'pods "nope" not found'],
      ["pods/new/proxy/", 400, "address not allowed"],
      ["pods/web/proxy/", 503, /^error trying to reach service: .*ECONNREFUSED/],
    ] as const;
    for (const [path, code, message] of cases) {
      const { body, code: came } = await ask(server, `${base}/${path}`);
      const status = JSON.parse(body.toString()) as { message: string };
      assert.equal(came, code, path);
      if (typeof message === "string") assert.equal(status.message, message, path);
      else assert.match(status.message, message, path);
    }
  });
}

test("a proxied port may speak TLS, with whatever certificate", async (t) => {
  let server: TestApi | undefined;
  const pki = await startApi();
  t.after(() => pki[Symbol.asyncDispose]());
  const port = await listening(t, createSecureServer({ cert: pki.pki.server.cert, key: pki.pki.server.key }, backend) as unknown as Server);
  server = await cluster(t, port);
  assert.equal((await http1(server, `${base}/services/https:web:80/proxy/x`)).code, 418);
  assert.equal((await http1(server, `${base}/services/web:80/proxy/x`)).code, 503);
});

test("WebSocket passes through a proxied port, for who may get it", async (t) => {
  const http = createServer(backend);
  const port = await listening(t, http);
  const sockets = new WebSocketServer({ server: http, path: "/echo" });
  sockets.on("connection", (socket) => socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })));
  t.after(() => sockets.close());
  const server = await cluster(t, port);
  await server.client.create(resources.roles, "default", { metadata: { name: "asks" }, rules: [{ apiGroups: [""], resources: ["services/proxy"], resourceNames: ["web:80"], verbs: ["get"] }] });
  await server.client.create(resources.roleBindings, "default", { metadata: { name: "asks" }, subjects: [{ kind: "ServiceAccount", name: "default", namespace: "default" }], roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "asks" } });
  const issued = await http1(server, `${base}/serviceaccounts/default/token`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  const { token } = (JSON.parse(issued.body.toString()) as { status: { token: string } }).status;
  const open = (path: string) => new WebSocket(`${server.url.replace("https", "wss")}${base}/${path}`, { ca: server.pki.ca, headers: { authorization: `Bearer ${token}` } });
  const socket = open("services/web:80/proxy/echo");
  await once(socket, "open");
  socket.send("hello");
  assert.equal(String((await once(socket, "message"))[0]), "hello");
  socket.terminate();
  const [refused] = (await once(open("pods/web/proxy/echo"), "error")) as [Error];
  assert.match(refused.message, /403/);
});
