import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { test } from "node:test";
import { load } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import type { HttpRoute, Upstream } from "../../api/traffic.ts";
import { serviceListenerId } from "../mesh/listener-id.ts";
import { eventually, exchange, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";
import { Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

/** Answers with its name; at /held when it is told to. */
async function web(name: string, ip: string): Promise<Server & AsyncDisposable & { endpoint: { ip: string; port: number }; held: (() => void)[] }> {
  const held: (() => void)[] = [];
  const server = createServer((request, response) => {
    if (request.url === "/held") held.push(() => response.end(name));
    else response.end(name);
  }).listen(0, ip);
  await once(server, "listening");
  return Object.assign(server, {
    held,
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

test("a DestinationRule alone: its balancer and its breaker, for what goes to the Service as ever", async () => {
  await using net = await startSupervisor();
  await using a = await web("a", "127.0.0.5");
  await using b = await web("b", "127.0.0.6");
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", namespace: "shop", clusterIPs: [ip], ports: [port(7000, [a.endpoint, b.endpoint], { appProtocol: "http" })] }));
  const rule = (policy: string) => object(`{kind: DestinationRule, metadata: {name: web}, spec: {host: web, trafficPolicy: ${policy}}}`);
  const world = new ObjectWorld([object("{kind: Service, metadata: {name: web}, spec: {ports: [{name: http, port: 7000}]}}"), rule("{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}")]);
  const translator = new Translator(world);
  net.publishTraffic(translator.flush().patch!);
  const get = async (user: string, path = "/"): Promise<string> => {
    const response = await fetch(`http://${ip}:7000${path}`, { headers: { "x-user": user, connection: "close" } });
    const text = await response.text();
    return response.ok ? text : String(response.status);
  };
  const users = Array.from({ length: 12 }, (_, i) => `user-${i}`);
  const each = async () => Promise.all(users.map((user) => get(user)));
  // In turn, the second round would be another one; by user it is the same.
  await eventually(async () => {
    const [first, second] = [await each(), await each()];
    return new Set(first).size === 2 && JSON.stringify(first) === JSON.stringify(second);
  });
  world.put(rule("{connectionPool: {http: {http2MaxRequests: 1}}}"));
  translator.changed("DestinationRule", "shop/web");
  net.publishTraffic(translator.flush().patch!);
  // While one is under way any other is refused; afterwards none is.
  const held = get("ann", "/held");
  await eventually(async () => a.held.length + b.held.length === 1 && (await get("bob")) === "503");
  for (const go of [...a.held, ...b.held]) go();
  assert.match(await held, /^[ab]$/);
  for (const user of users) assert.match(await get(user), /^[ab]$/);
});

test("a DestinationRule holds for routes of Gateway API, where nothing of their own is said", async () => {
  await using net = await startSupervisor();
  await using a = await web("a", "127.0.0.7");
  await using b = await web("b", "127.0.0.8");
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", namespace: "shop", clusterIPs: [ip], ports: [port(7000, [a.endpoint, b.endpoint], { appProtocol: "http" })] }));
  const upstream: Upstream = { id: "shop/web/7000", namespace: "shop", service: "web", port: 7000, protocol: "http1" };
  const route: HttpRoute = { id: "HTTPRoute/shop/web@services", type: "http", createdAt: 1, attachments: [{ listener: serviceListenerId("shop", "web", 7000), hostnames: [""] }], rules: [{ name: "0", matches: [{ path: { type: "prefix", value: "/" } }], filters: [], backends: [{ upstream: upstream.id, weight: 1 }] }] };
  let revision = 0;
  const publish = (upstreams: Upstream[], remove: string[] = []) => {
    net.publishTraffic({ revision: ++revision, put: { routes: [route], upstreams }, remove: { upstreams: remove } });
    return net.settled!();
  };
  const policies = new Translator(new ObjectWorld([object("{kind: Service, metadata: {name: web}, spec: {ports: [{name: http, port: 7000}]}}"), object("{kind: DestinationRule, metadata: {name: web}, spec: {host: web, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}}}")])).flush().patch!.put.upstreams!.filter(({ isPolicy }) => isPolicy);
  assert.deepEqual(policies.map(({ id }) => id), ["istio:policy/shop/web/7000"]);
  /** How many endpoints four requests of one user meet. */
  const met = async (): Promise<number> => {
    const answers = new Set<string>();
    for (let i = 0; i < 4; i++) answers.add(await (await fetch(`http://${ip}:7000/`, { headers: { "x-user": "ann" } })).text());
    return answers.size;
  };
  await publish([upstream]);
  await eventually(async () => (await met()) === 2, 30_000);
  await publish([upstream, ...policies]);
  assert.equal(await met(), 1);
  await publish([{ ...upstream, balancer: { type: "roundRobin" } }]);
  assert.equal(await met(), 2, "what it says itself goes before");
  await publish([upstream]);
  assert.equal(await met(), 1);
  await publish([], policies.map(({ id }) => id));
  assert.equal(await met(), 2);
});
