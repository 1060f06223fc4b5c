import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer } from "node:https";
import { type AddressInfo, connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { silentLog } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import { limits } from "../../base/limits.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { openPki, type Pki } from "../pki.ts";
import { createWebhookClient, type WebhookClientConfig } from "./call.ts";

const folder = mkdtempSync(join(tmpdir(), "wherry-webhook-"));
const other = mkdtempSync(join(tmpdir(), "wherry-webhook-"));
const store = createMemoryStore();
let pki: Pki;
let strangers: Pki;
const servers: Server[] = [];

/** What the server does, by path. */
const answers: Record<string, (request: IncomingMessage, body: string, response: ServerResponse) => void> = {
  "/echo": (request, body, response) => response.end(JSON.stringify({ body: JSON.parse(body) as unknown, host: request.headers.host, url: request.url, port: request.socket.remotePort })),
  "/silent": () => {},
  "/text": (_request, _body, response) => response.end("hello"),
  "/huge": (_request, _body, response) => void response.end(Buffer.alloc(limits.webhookResponseBytesMax + 1, 0x20)),
  "/cut": (request, _body, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("{");
    setImmediate(() => request.socket.destroy());
  },
  "/gone": (request) => request.socket.destroy(),
};

async function serve(certificates: { cert: string; key: string } | undefined): Promise<number> {
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const path = request.url!.split("?")[0]!;
      const code = /^\/status\/(\d+)$/.exec(path)?.[1];
      if (code) response.writeHead(Number(code)).end("the reason");
      else answers[path]!(request, body, response);
    });
  };
  const server = certificates ? createServer(certificates, listener) : createPlainServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const dialled: string[] = [];
let servicePort = 0;
const client = createWebhookClient({
  store,
  random: seededRandom(1),
  log: silentLog,
  dialPod: async ({ name }, port) => {
    dialled.push(`${name}:${port}`);
    if (name === "dead") throw new Error("dial tcp 10.244.0.9:8443: connect: connection refused");
    return connect({ host: "127.0.0.1", port: servicePort });
  },
});
const bundle = (pem: string) => Buffer.from(pem).toString("base64");
let port = 0;
let plainPort = 0;

before(async () => {
  pki = await openPki(folder, { names: ["hook.shop.svc"] });
  strangers = await openPki(other);
  servicePort = port = await serve(pki.server);
  plainPort = await serve(undefined);
  const put = (key: string, object: object) => store.put(key, 0, () => ({ bytes: Buffer.from(JSON.stringify(object)), object }));
  const service = (name: string, spec: object) => put(`/core/services/shop/${name}`, { metadata: { name, namespace: "shop" }, spec });
  const slice = (name: string, pods: { name: string; ready: boolean }[]) =>
    put(`/discovery.k8s.io/endpointslices/shop/${name}-1`, {
      metadata: { name: `${name}-1`, namespace: "shop", labels: { "kubernetes.io/service-name": name } },
      ports: [{ name: "https", port: 8443 }],
      endpoints: pods.map((pod) => ({ addresses: ["10.244.0.9"], conditions: { ready: pod.ready }, targetRef: { kind: "Pod", name: pod.name, namespace: "shop" } })),
    });
  const ports = [{ name: "https", port: 443, targetPort: 8443 }];
  await service("hook", { type: "ClusterIP", clusterIP: "10.96.1.1", ports });
  await slice("hook", [{ name: "dead", ready: true }, { name: "starting", ready: false }, { name: "alive", ready: true }]);
  await service("empty", { type: "ClusterIP", clusterIP: "10.96.1.2", ports });
  await slice("empty", [{ name: "starting", ready: false }]);
  await service("dead", { type: "ClusterIP", clusterIP: "10.96.1.3", ports });
  await slice("dead", [{ name: "dead", ready: true }]);
  await service("headless", { type: "ClusterIP", clusterIP: "None", ports });
  await service("elsewhere", { type: "ClusterIP", clusterIP: "10.96.1.4", ports });
  await slice("elsewhere", [{ name: "alive", ready: true }]);
});
after(async () => {
  client.close();
  for (const server of servers) server.close();
  await store.close();
  for (const made of [folder, other]) rmSync(made, { recursive: true, force: true });
});

const call = (config: WebhookClientConfig, timeoutSeconds = 5) => client.call({ caBundle: bundle(pki.ca), ...config }, { hello: "world" }, { timeoutSeconds, purpose: "test" }) as Promise<Record<string, unknown>>;

test("a URL is called with the time-out in its query, and the connection is kept", async () => {
  const first = await call({ url: `https://127.0.0.1:${port}/echo` });
  assert.deepEqual({ ...first, port: 0 }, { body: { hello: "world" }, host: `127.0.0.1:${port}`, url: "/echo?timeout=5s", port: 0 });
  assert.equal((await call({ url: `https://127.0.0.1:${port}/echo` }))["port"], first["port"]);
});

test("a Service is called at an endpoint that is ready, past one that does not accept", async () => {
  dialled.length = 0;
  const answer = await call({ service: { namespace: "shop", name: "hook", path: "/echo" } });
  assert.equal(answer["host"], "hook.shop.svc:443");
  assert.equal(dialled.at(-1), "alive:8443");
  assert.ok(!dialled.includes("starting:8443"));
  assert.equal((await call({ service: { namespace: "shop", name: "hook", path: "/echo" } }))["port"], answer["port"]);
});

// Who trusts other authorities must not get a connection that was opened under these.
test("a kept connection is not given to a configuration with another caBundle", async () => {
  await call({ url: `https://127.0.0.1:${port}/echo` });
  await assert.rejects(call({ url: `https://127.0.0.1:${port}/echo`, caBundle: bundle(strangers.ca) }), /unknown authority/);
});

const post = (path: string) => `Post "https://${path}?timeout=5s": `;
const failures: [what: string, config: () => WebhookClientConfig, message: () => string][] = [
  ["a stranger's certificate", () => ({ url: `https://127.0.0.1:${port}/echo`, caBundle: bundle(strangers.ca) }), () => `${post(`127.0.0.1:${port}/echo`)}tls: failed to verify certificate: x509: certificate signed by unknown authority`],
  ["another name", () => ({ service: { namespace: "shop", name: "elsewhere", path: "/echo" } }), () => `${post("elsewhere.shop.svc:443/echo")}tls: failed to verify certificate: x509: certificate is valid for localhost, kubernetes, kubernetes.default, kubernetes.default.svc, kubernetes.default.svc.cluster.local, wherry, hook.shop.svc, 127.0.0.1, 0:0:0:0:0:0:0:1, 10.96.0.1, not elsewhere.shop.svc`],
  ["a bundle without a certificate", () => ({ url: `https://127.0.0.1:${port}/echo`, caBundle: bundle("nothing") }), () => "unable to load root certificates: unable to parse bytes as PEM block"],
  ["plain HTTP", () => ({ url: `https://127.0.0.1:${plainPort}/echo` }), () => `${post(`127.0.0.1:${plainPort}/echo`)}http: server gave HTTP response to HTTPS client`],
  ["nobody listens", () => ({ url: "https://127.0.0.1:1/echo" }), () => `${post("127.0.0.1:1/echo")}dial tcp 127.0.0.1:1: connect: connection refused`],
  ["no Service", () => ({ service: { namespace: "shop", name: "none" } }), () => `${post("none.shop.svc:443/")}service "none" not found`],
  ["no such port", () => ({ service: { namespace: "shop", name: "hook", port: 444 } }), () => `${post("hook.shop.svc:444/")}no service port 444 found for service "hook"`],
  ["a headless Service", () => ({ service: { namespace: "shop", name: "headless" } }), () => `${post("headless.shop.svc:443/")}cannot route to service with ClusterIP "None"`],
  ["no endpoint ready", () => ({ service: { namespace: "shop", name: "empty" } }), () => `${post("empty.shop.svc:443/")}no endpoints available for service "empty"`],
  ["no endpoint accepts", () => ({ service: { namespace: "shop", name: "dead" } }), () => `${post("dead.shop.svc:443/")}dial tcp 10.244.0.9:8443: connect: connection refused`],
  ["no JSON", () => ({ url: `https://127.0.0.1:${port}/text` }), () => `couldn't get version/kind; json parse error: `],
  ["too much", () => ({ url: `https://127.0.0.1:${port}/huge` }), () => `${post(`127.0.0.1:${port}/huge`)}the response is larger than ${limits.webhookResponseBytesMax} bytes`],
  ["half an answer", () => ({ url: `https://127.0.0.1:${port}/cut` }), () => `${post(`127.0.0.1:${port}/cut`)}unexpected EOF`],
  ["404", () => ({ url: `https://127.0.0.1:${port}/status/404` }), () => "the server could not find the requested resource"],
  ["500", () => ({ url: `https://127.0.0.1:${port}/status/500` }), () => `an error on the server ("the reason") has prevented the request from succeeding`],
  ["a redirect", () => ({ url: `https://127.0.0.1:${port}/status/302` }), () => "the server responded with the status code 302 but did not return more information"],
];
for (const [what, config, message] of failures) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(call(config()), (error: Error) => {
      assert.ok(error.message.startsWith(message()), `${error.message}\nshould begin with\n${message()}`);
      return true;
    });
  });
}

test("a server that says nothing is given up at the time-out; one that closes is said to have", async () => {
  await assert.rejects(call({ url: `https://127.0.0.1:${port}/silent` }, 0.05), /Post ".*\/silent\?timeout=0.05s": context deadline exceeded$/);
  await assert.rejects(call({ url: `https://127.0.0.1:${port}/gone` }), /: EOF$/);
});

test("an aborted call ends at once", async () => {
  const controller = new AbortController();
  const calling = client.call({ url: `https://127.0.0.1:${port}/silent`, caBundle: bundle(pki.ca) }, {}, { timeoutSeconds: 5, purpose: "test", signal: controller.signal });
  controller.abort();
  await assert.rejects(calling, /context canceled$/);
});
