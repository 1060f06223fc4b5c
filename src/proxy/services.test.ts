import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";
import type { Client } from "../api/client.ts";
import type { NetSnapshot } from "../api/network.ts";
import { resources } from "../api/resources.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import { FakeClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { MemoryClient } from "../node/testing/memory-client.ts";
import { loadBalancerIngress, startLoadBalancerStatus } from "./load-balancer-status.ts";
import { compileServices, startServiceCompiler } from "./services.ts";

const meta = (name: string, labels?: Record<string, string>) => ({ name, namespace: "shop", uid: name, resourceVersion: "1", creationTimestamp: "", ...(labels && { labels }) });
const service = (name: string, spec: Service["spec"]): Service => ({ apiVersion: "v1", kind: "Service", metadata: meta(name), spec });
const slice = (name: string, of: string, ports: EndpointSlice["ports"], endpoints: EndpointSlice["endpoints"], addressType: EndpointSlice["addressType"] = "IPv4"): EndpointSlice => ({
  apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: meta(name, { "kubernetes.io/service-name": of }), addressType, ports, endpoints,
});
const at = (ip: string, conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean }, hostname?: string) => ({ addresses: [ip], ...(conditions && { conditions }), ...(hostname && { hostname }) });
const compile = (one: Service, ...slices: EndpointSlice[]) => compileServices([one], () => slices, new Set(["10.96.0.1"]))[0]!;

test("ports meet their endpoints by name and protocol", () => {
  const web = service("web", { clusterIP: "10.96.0.5", clusterIPs: ["10.96.0.5", "fd00::5"], ports: [{ name: "http", port: 80 }, { name: "dns", port: 53, protocol: "UDP", nodePort: 30053 }, { name: "sctp", port: 9, protocol: "SCTP" }] });
  const compiled = compile(
    web,
    slice("web-b", "web", [{ name: "http", port: 8080 }, { name: "dns", port: 5353, protocol: "UDP" }], [at("10.244.0.3", { ready: false, serving: true, terminating: true }), at("10.244.0.2")]),
    slice("web-a", "web", [{ name: "http", port: 8081 }], [at("10.244.0.4", { ready: false })]),
    slice("web-6", "web", [{ name: "http", port: 8080 }], [at("fd00::9")], "IPv6"),
  );
  assert.deepEqual(compiled.clusterIPs, ["10.96.0.5"]);
  assert.deepEqual(compiled.ports, [
    {
      name: "http",
      protocol: "TCP",
      port: 80,
      appProtocol: "http",
      endpoints: [
        { ip: "10.244.0.4", port: 8081, ready: false, terminating: false },
        { ip: "10.244.0.3", port: 8080, ready: true, terminating: true },
        { ip: "10.244.0.2", port: 8080, ready: true, terminating: false },
      ],
    },
    { name: "dns", protocol: "UDP", port: 53, nodePort: 30053, endpoints: [{ ip: "10.244.0.3", port: 5353, ready: true, terminating: true }, { ip: "10.244.0.2", port: 5353, ready: true, terminating: false }] },
  ]);
});

test("kinds of Services", async (t) => {
  const cases: { what: string; spec: Service["spec"]; expect: Partial<ReturnType<typeof compile>> }[] = [
    { what: "headless", spec: { clusterIP: "None", clusterIPs: ["None"], ports: [] }, expect: { headless: true, clusterIPs: [], hostnames: [{ hostname: "db-0", ip: "10.244.0.2", ready: true }, { hostname: "10-244-0-3", ip: "10.244.0.3", ready: false, terminating: true }] } },
    { what: "ExternalName", spec: { type: "ExternalName", externalName: "db.example.com" }, expect: { type: "ExternalName", externalName: "db.example.com", clusterIPs: [], headless: false } },
    { what: "affinity", spec: { clusterIP: "10.96.0.9", sessionAffinity: "ClientIP" }, expect: { affinitySeconds: 10_800 } },
    { what: "affinity with its own time", spec: { clusterIP: "10.96.0.9", sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } }, expect: { affinitySeconds: 60 } },
    { what: "the API server's address", spec: { clusterIP: "10.96.0.1", ports: [{ name: "https", port: 443 }] }, expect: { reserved: true, clusterIPs: ["10.96.0.1"] } },
    { what: "publishNotReadyAddresses", spec: { clusterIP: "10.96.0.9", publishNotReadyAddresses: true }, expect: { publishNotReadyAddresses: true } },
  ];
  for (const { what, spec, expect } of cases) {
    await t.test(what, () => {
      const compiled = compile(service("x", spec), slice("x-1", "x", [], [at("10.244.0.2", { ready: true }, "db-0"), at("10.244.0.3", { ready: false, serving: true, terminating: true })]));
      for (const [field, value] of Object.entries(expect)) assert.deepEqual(compiled[field as keyof typeof compiled], value, field);
    });
  }
});

const settle = async () => {
  for (let i = 0; i < 8; i++) await setImmediate();
};

test("the first change is published at once, those that follow are gathered, and nothing is published for nothing", async () => {
  const client = new MemoryClient();
  const clock = new FakeClock();
  const published: NetSnapshot[] = [];
  await client.create(resources.services, "shop", service("web", { clusterIP: "10.96.0.5", ports: [{ port: 80 }] }));
  const compiler = startServiceCompiler({ client, clock, log: silentLog, publish: (snapshot) => published.push(snapshot) });
  await compiler.synced;
  await settle();
  assert.deepEqual(published.map(({ services }) => services.map(({ name }) => name)), [["web"]]);
  clock.advance(20);

  await client.create(resources.endpointSlices, "shop", slice("web-1", "web", [{ port: 8080 }], [at("10.244.0.2")]));
  await settle();
  assert.equal(published.length, 2, "at once");
  assert.equal(published[1]!.services[0]!.ports[0]!.endpoints.length, 1);
  for (const n of [2, 3, 4]) await client.create(resources.endpointSlices, "shop", slice(`web-${n}`, "web", [{ port: 8080 }], [at(`10.244.0.${n + 1}`)]));
  await settle();
  assert.equal(published.length, 2, "gathered");
  clock.advance(20);
  assert.equal(published.length, 3);
  assert.equal(published[2]!.services[0]!.ports[0]!.endpoints.length, 4);
  assert.ok(published[2]!.revision > published[1]!.revision && published[1]!.revision > published[0]!.revision);
  clock.advance(20);

  await (client as Client).patch(resources.services, "shop", "web", { metadata: { annotations: { note: "x" } } }, { type: "merge" });
  await settle();
  clock.advance(100);
  assert.equal(published.length, 3, "an annotation is no traffic");
  await compiler.stop();
});

test("what a load balancer's status says", () => {
  const balancer = service("edge", { type: "LoadBalancer" });
  const address = { namespace: "shop", service: "edge", port: 80, protocol: "TCP" as const, url: "tcp://127.98.0.1:80", loadBalancerIP: "127.98.0.1" };
  assert.deepEqual(loadBalancerIngress(balancer, [address, { ...address, port: 443 }]), [{ ip: "127.98.0.1", ipMode: "VIP" }]);
  assert.equal(loadBalancerIngress(balancer, [{ ...address, service: "other" }]), undefined);
  assert.deepEqual(loadBalancerIngress(service("edge", { type: "ClusterIP" }), [address]), []);
});

test("the status is written when the address is known, and taken back when the type changes", async () => {
  const client = new MemoryClient();
  await client.create(resources.services, "shop", service("edge", { type: "LoadBalancer" }));
  const status = startLoadBalancerStatus({ client, clock: new FakeClock(), log: silentLog });
  await settle();
  const written = () => client.writes.filter(({ verb }) => verb === "patch").map(({ body }) => (body as { status: unknown }).status);
  assert.deepEqual(written(), []);
  status.report([{ namespace: "shop", service: "edge", port: 80, protocol: "TCP", url: "", loadBalancerIP: "127.98.0.1" }]);
  await settle();
  assert.deepEqual(written(), [{ loadBalancer: { ingress: [{ ip: "127.98.0.1", ipMode: "VIP" }] } }]);
  await (client as Client).patch(resources.services, "shop", "edge", { spec: { type: "ClusterIP" } }, { type: "merge" });
  await settle();
  assert.deepEqual(written().at(-1), { loadBalancer: { ingress: null } });
  await status.stop();
});
