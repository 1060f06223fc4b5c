import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { test } from "node:test";
import { load } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import { eventually, exchange, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";
import { Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

/** Answers with its name. */
async function web(name: string, ip: string): Promise<Server & AsyncDisposable & { endpoint: { ip: string; port: number } }> {
  const server = createServer((_request, response) => response.end(name)).listen(0, ip);
  await once(server, "listening");
  return Object.assign(server, {
    endpoint: { ip, port: (server.address() as { port: number }).port },
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  });
}

const object = (text: string): KubeObject => {
  const read = load(text) as KubeObject;
  return { ...read, metadata: Object.assign({ namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z" }, read.metadata) };
};

test("requests: to a subset's endpoints, beyond the cluster, and of a namespace that may not", async () => {
  await using net = await startSupervisor();
  await using a = await web("a", "127.0.0.2");
  await using b = await web("b", "127.0.0.3");
  await using beyond = await web("beyond", "127.0.0.4");
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", namespace: "shop", clusterIPs: [ip], ports: [port(7000, [a.endpoint, b.endpoint], { appProtocol: "http" })] }));
  const world = new ObjectWorld([
    object("{kind: Service, metadata: {name: web}, spec: {ports: [{name: http, port: 7000}]}}"),
    object("{kind: Pod, metadata: {name: a, labels: {version: v1}}, status: {podIP: 127.0.0.2}}"),
    object("{kind: Pod, metadata: {name: b, labels: {version: v2}}, status: {podIP: 127.0.0.3}}"),
    object("{kind: DestinationRule, metadata: {name: web}, spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]}}"),
    object(`{kind: ServiceEntry, metadata: {name: beyond}, spec: {hosts: [beyond.example.com], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: ${beyond.endpoint.ip}, ports: {http: ${beyond.endpoint.port}}}]}}`),
    object(`
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [web]
  http:
  - match: [{ uri: { prefix: /v2 } }]
    route: [{ destination: { host: web, subset: v2 } }]
  - match: [{ uri: { prefix: /v3 } }]
    route: [{ destination: { host: web, subset: v3 } }]
  - match: [{ uri: { prefix: /beyond } }]
    route: [{ destination: { host: beyond.example.com } }]
  - route: [{ destination: { host: web, subset: v1 } }]`),
    object("{kind: Sidecar, metadata: {name: closed, namespace: bank}, spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ['./*']}]}}"),
  ]);
  const translator = new Translator(world);
  const publish = () => {
    const { patch } = translator.flush();
    if (patch) net.publishTraffic(patch);
  };
  publish();
  const get = async (path: string): Promise<string> => {
    const answer = await exchange(ip, 7000, `GET ${path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n`);
    return `${answer.slice(9, 12)} ${answer.slice(answer.indexOf("\r\n\r\n") + 4).trim()}`;
  };
  const becomes = (path: string, expected: RegExp) => eventually(async () => expected.test(await get(path)));
  await becomes("/v2", /^200 .*b/s);
  for (let i = 0; i < 6; i++) assert.match(await get("/v2"), /^200 .*b/s);
  for (let i = 0; i < 6; i++) assert.match(await get("/"), /^200 .*a/s);
  assert.match(await get("/v3"), /^503 /);
  assert.match(await get("/beyond"), /^200 .*beyond/s);
  // Another label, another subset.
  world.put(object("{kind: Pod, metadata: {name: b, labels: {version: v3}}, status: {podIP: 127.0.0.3}}"));
  translator.changed("Pod", "shop/b");
  publish();
  await becomes("/v3", /^200 .*b/s);
  assert.match(await get("/v2"), /^503 /);
  net.setPod!("127.0.0.1", { namespace: "bank", name: "p", serviceAccount: "default" });
  await becomes("/", /^502 /);
  net.setPod!("127.0.0.1", { namespace: "shop", name: "p", serviceAccount: "default" });
  await becomes("/", /^200 .*a/s);
});
