import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, request as httpsRequest } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import { hasKubectl, startApi } from "../../../test/harness-api.ts";
import type { Client } from "../../api/client.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { NodeAccess } from "../../api/node.ts";
import { resources } from "../../api/resources.ts";
import { serveMetrics } from "../metrics/metrics.ts";
import { openFrontProxy, openPki } from "../pki.ts";
import { dialHost } from "../webhooks/service-target.ts";

const apiServices = { group: "apiregistration.k8s.io", version: "v1", resource: "apiservices" };
const flunders = { group: "wardle.example.com", version: "v1alpha1", resource: "flunders" };

/** Pods of this node listen on loopback. */
const node = { dial: async (_pod: unknown, port: number) => dialHost("127.0.0.1", port) } as Partial<NodeAccess> as NodeAccess;

/** A small API server of somebody else's, on loopback: real TLS, believes only the front proxy's authority. */
async function startForeign(frontProxyCa: () => Promise<string>) {
  const folder = mkdtempSync(join(tmpdir(), "wherry-foreign-"));
  const pki = await openPki(folder, { names: ["wardle.default.svc"] });
  const asked: { path: string; user: string; groups: string; certificate: string }[] = [];
  const watching = new Set<ServerResponse>();
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const socket = request.socket as TLSSocket;
    asked.push({ path: request.url!, user: String(request.headers["x-remote-user"]), groups: String(request.headers["x-remote-group"]), certificate: socket.authorized ? String(socket.getPeerCertificate().subject.CN) : "none" });
    const json = (code: number, body: object) => void response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(body));
    const path = request.url!.split("?")[0]!;
    if (path === "/apis/wardle.example.com/v1alpha1") return json(200, { kind: "APIResourceList", apiVersion: "v1", groupVersion: "wardle.example.com/v1alpha1", resources: [{ name: "flunders", singularName: "flunder", namespaced: true, kind: "Flunder", verbs: ["get", "list", "watch", "create"], shortNames: ["fl"] }] });
    if (path === "/openapi/v3/apis/wardle.example.com/v1alpha1") {
      const kind = [{ group: "wardle.example.com", version: "v1alpha1", kind: "Flunder" }];
      return json(200, { openapi: "3.0.0", info: { title: "x", version: "1" }, paths: { "/apis/wardle.example.com/v1alpha1/flunders": { get: { "x-kubernetes-group-version-kind": kind[0] } } }, components: { schemas: { Flunder: { type: "object", description: "a thing that flunders", "x-kubernetes-group-version-kind": kind } } } });
    }
    if (request.url!.includes("watch=")) {
      response.writeHead(200, { "content-type": "application/json" });
      response.flushHeaders();
      watching.add(response);
      return;
    }
    if (request.method === "POST") {
      let body = "";
      for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString();
      return json(201, JSON.parse(body));
    }
    if (path.endsWith("/flunders")) return json(200, { kind: "FlunderList", apiVersion: "wardle.example.com/v1alpha1", metadata: { resourceVersion: "1" }, items: [{ metadata: { name: "one", namespace: "default" } }] });
    return json(404, { kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", code: 404, message: "flunders not found", metadata: {} });
  };
  const server = createServer({ ...pki.server, ca: await frontProxyCa(), requestCert: true, rejectUnauthorized: false }, (request, response) => void answer(request, response));
  server.on("upgrade", (request: IncomingMessage, socket) => {
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n`);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    caBundle: Buffer.from(pki.ca).toString("base64"),
    asked,
    watching,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function register(client: Client, { port, caBundle }: { port: number; caBundle?: string }): Promise<void> {
  await client.create(resources.services, "default", { metadata: { name: "wardle" }, spec: { ports: [{ name: "https", port: 443 }] } });
  await client.create(resources.endpointSlices, "default", { metadata: { name: "wardle", labels: { "kubernetes.io/service-name": "wardle" } }, addressType: "IPv4", endpoints: [{ addresses: ["10.244.0.9"], targetRef: { kind: "Pod", name: "wardle", namespace: "default" } }], ports: [{ name: "https", port, protocol: "TCP" }] });
  await client.create(apiServices, undefined, { metadata: { name: "v1alpha1.wardle.example.com" }, spec: { group: flunders.group, version: flunders.version, groupPriorityMinimum: 2000, versionPriority: 15, service: { namespace: "default", name: "wardle" }, ...(caBundle ? { caBundle } : { insecureSkipTLSVerify: true }) } });
}

/** Follows one APIService until its availability says this. */
async function availability(client: Client, wanted: RegExp): Promise<string> {
  let last = "";
  for await (const { object } of client.watch(apiServices, { fieldSelector: "metadata.name=v1alpha1.wardle.example.com", signal: AbortSignal.timeout(15_000) })) {
    const condition = (object as KubeObject).status?.conditions?.find(({ type }: { type: string }) => type === "Available");
    last = `${condition?.status} ${condition?.reason}: ${condition?.message}`;
    if (wanted.test(last)) return last;
  }
  throw new Error(`it stayed ${last}`);
}

test("a foreign API server registers, is called in its callers' names, streams, upgrades and goes away", async () => {
  await using server = await startApi({ aggregation: true, node });
  const foreign = await startForeign(async () => (await openFrontProxy(server.folder)).ca);
  try {
    const { client } = server;
    await register(client, foreign);
    assert.match(await availability(client, /^True/), /^True Passed: all checks passed$/);

    const admin = server.http();
    assert.deepEqual((await admin.list(flunders, { namespace: "default" })).items.map(({ metadata }) => metadata.name), ["one"]);
    const call = foreign.asked.at(-1)!;
    assert.deepEqual(call, { path: "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders", user: "kubernetes-admin", groups: "system:masters, system:authenticated", certificate: "front-proxy-client" });
    assert.equal((await admin.create(flunders, "default", { metadata: { name: "two" } })).metadata.name, "two");
    await assert.rejects(admin.get(flunders, "default", "none"), { code: 404, message: "flunders not found" });

    const nobody = server.http(await server.pki.issueClient("eve", []));
    const before = foreign.asked.length;
    await assert.rejects(nobody.list(flunders, { namespace: "default" }), { code: 403 });
    assert.equal(foreign.asked.length, before, "what is not allowed is not passed on");

    const spoof = await new Promise<number>((resolve, reject) => {
      httpsRequest(`${server.url}/apis/wardle.example.com/v1alpha1/flunders`, { ca: server.pki.ca, ...server.pki.admin, headers: { "x-remote-user": "somebody", "x-remote-group": "any", authorization: "Bearer x" } }, (response) => (response.resume(), resolve(response.statusCode!))).on("error", reject).end();
    });
    assert.ok(spoof === 200 || spoof === 401);
    assert.ok(foreign.asked.every(({ user }) => user !== "somebody"), "nobody says by a header who he is");

    const events: string[] = [];
    for await (const { type, object } of (setTimeout(() => foreign.watching.forEach((response) => response.write(`${JSON.stringify({ type: "ADDED", object: { metadata: { name: "late" } } })}\n`)), 200), admin.watch(flunders, { signal: AbortSignal.timeout(10_000) }))) {
      events.push(`${type} ${object.metadata.name}`);
      break;
    }
    assert.deepEqual(events, ["ADDED late"]);

    const echoed = await new Promise<string>((resolve, reject) => {
      const upgrading = httpsRequest(`${server.url}/apis/wardle.example.com/v1alpha1/namespaces/default/flunders/one/echo`, { ca: server.pki.ca, ...server.pki.admin, agent: false, headers: { connection: "Upgrade", upgrade: "websocket" } });
      upgrading.on("upgrade", (_, socket) => {
        socket.on("data", (chunk: Buffer) => (resolve(chunk.toString()), socket.destroy()));
        socket.write("hello");
      });
      upgrading.on("response", (response) => reject(new Error(`not upgraded: ${response.statusCode}`)));
      upgrading.on("error", reject).end();
    });
    assert.equal(echoed, "hello");
  } finally {
    await foreign.close();
  }
});

for (const [name, spec, wanted] of [
  ["whose certificate nobody believes", { caBundle: true }, /^False FailedDiscoveryCheck: .*x509: certificate/],
  ["that does not listen", { closed: true }, /^False FailedDiscoveryCheck: .*connection refused/],
] as const) {
  test(`a server ${name} is not available, and its requests are answered 503`, async () => {
    await using server = await startApi({ aggregation: true, node });
    const foreign = await startForeign(async () => (await openFrontProxy(server.folder)).ca);
    if ("closed" in spec) await foreign.close();
    try {
      await register(server.client, { port: foreign.port, ...("caBundle" in spec && { caBundle: Buffer.from(server.pki.ca).toString("base64") }) });
      assert.match(await availability(server.client, /^False/), wanted);
      await assert.rejects(server.http().list(flunders), { code: 503 });
    } finally {
      if (!("closed" in spec)) await foreign.close();
    }
  });
}

test("kubectl: every group has its APIService, and foreign kinds are found by their short names", async (t) => {
  if (!(await hasKubectl(t, "1.33"))) return;
  await using server = await startApi({ aggregation: true, node });
  const foreign = await startForeign(async () => (await openFrontProxy(server.folder)).ca);
  try {
    const run = async (...args: string[]) => (await server.kubectl("1.33", args)).stdout.replace(/ +/g, " ");
    const listed = await run("get", "apiservices");
    assert.match(listed, /^NAME SERVICE AVAILABLE AGE\n/);
    for (const name of ["v1.", "v1.apps", "v2.autoscaling", "v1.rbac.authorization.k8s.io"]) assert.match(listed, new RegExp(`^${name.replaceAll(".", "\\.")} Local True `, "m"));
    await register(server.client, foreign);
    await availability(server.client, /^True/);
    assert.match(await run("get", "apiservices", "v1alpha1.wardle.example.com"), /default\/wardle True/);
    assert.match(await run("api-resources"), /^flunders fl wardle\.example\.com\/v1alpha1 true Flunder$/m);
    assert.match(await run("get", "fl", "-o", "name"), /flunder\.wardle\.example\.com\/one/);
    assert.match((await run("get", "--raw", "/apis")), /"name":"wardle\.example\.com"/);
    assert.match(await run("explain", "flunders"), /KIND: Flunder[^]*a thing that flunders/);
    const config = await run("get", "configmap", "-n", "kube-system", "extension-apiserver-authentication", "-o", "jsonpath={.data.requestheader-allowed-names}");
    assert.equal(config, '["front-proxy-client"]');
  } finally {
    await foreign.close();
  }
});

test("a group that is ours can be taken over by a server of the user's, and comes back when that is deleted", async () => {
  await using server = await startApi({ aggregation: true, node });
  const { client } = server;
  const metrics = { group: "metrics.k8s.io", version: "v1beta1", resource: "nodes" };
  serveMetrics(server.api, async () => ({ node: { atMs: 0, cpuNs: 0, memoryBytes: 0 }, pods: [] }));
  const name = "v1beta1.metrics.k8s.io";
  const service = async (): Promise<object | undefined> => (await client.get(apiServices, undefined, name))["spec"].service;
  while (!(await service().then(() => true, () => false))) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await service(), undefined, "local at first");
  assert.deepEqual((await server.http().list(metrics)).items, []);
  await client.patch(apiServices, undefined, name, { spec: { service: { namespace: "default", name: "metrics-server" }, insecureSkipTLSVerify: true } });
  await assert.rejects(server.http().list(metrics), { code: 503 });
  await client.delete(apiServices, undefined, name);
  while (!(await service().then((found) => found === undefined, () => false))) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual((await server.http().list(metrics)).items, []);
});
