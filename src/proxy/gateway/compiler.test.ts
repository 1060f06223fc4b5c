import assert from "node:assert/strict";
import { test } from "node:test";
import { startApi } from "../../../test/harness-api.ts";
import { envoyResources } from "../../api/envoy/kinds.ts";
import { Informer } from "../../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { type EdgeBinding } from "../../api/network.ts";
import type { TrafficPatch } from "../../api/traffic.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import type { CompilerOptions } from "../compiling.ts";
import { TrafficState } from "../traffic-state.ts";
import { gatewayResources } from "./kinds.ts";
import { startGateways } from "./start.ts";

test("classes are answered from the start, a Gateway starts the compiler, routes are published and statuses written", { timeout: 30_000 }, async () => {
  await using server = await startApi();
  const { client } = server;
  const common = { client, clock: systemClock, log: silentLog };
  const traffic = new TrafficState();
  const publish = (patch: TrafficPatch) => {
    traffic.apply(patch);
    gateways.bound([...traffic.listeners.values()].map(({ address, port }): EdgeBinding => ({ address, port, protocol: "TCP", boundPort: port })));
  };
  const gateways = startGateways({ ...common, publish });
  await until(common, gatewayResources.gatewayClasses, "wherry", ({ status }) => status?.conditions?.some(({ type, status: holds }: Condition) => type === "Accepted" && holds === "True"));

  await client.create(resources.services, "default", { metadata: { name: "users" }, spec: { ports: [{ port: 80 }] } });
  await client.create(gatewayResources.httpRoutes, "default", { metadata: { name: "users" }, spec: { parentRefs: [{ name: "edge" }], rules: [{ backendRefs: [{ name: "users", port: 80 }] }] } });
  await client.create(gatewayResources.gateways, "default", { metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] } });
  const gateway = await until(common, gatewayResources.gateways, "edge", ({ status }) => status?.listeners?.[0]?.attachedRoutes === 1 && status.conditions.some(({ reason }: Condition) => reason === "Programmed"));
  const { observedGeneration, lastTransitionTime, ...programmed } = gateway["status"].conditions.find(({ type }: Condition) => type === "Programmed");
  const address = gateway["status"].addresses[0].value as string;
  assert.deepEqual([programmed, observedGeneration, /^\d{4}-.*Z$/.test(lastTransitionTime)], [{ type: "Programmed", status: "True", reason: "Programmed", message: `served at ${address}` }, 1, true]);
  const route = await until(common, gatewayResources.httpRoutes, "users", ({ status }) => status?.parents?.length === 1);
  assert.deepEqual(route["status"].parents[0].parentRef, { group: "gateway.networking.k8s.io", kind: "Gateway", name: "edge" });
  const snapshot = traffic.snapshot();
  assert.deepEqual([snapshot.listeners[0]!.address, snapshot.routes[0]!.id, snapshot.upstreams[0]!.id], [address, "HTTPRoute/default/users", "default/users/80"]);

  // Another controller's entry stays when ours changes.
  const theirs = { parentRef: { group: "gateway.networking.k8s.io", kind: "Gateway", name: "theirs" }, controllerName: "example.com/other", conditions: [{ type: "Accepted", status: "True", reason: "Accepted", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" }] };
  await client.patch(gatewayResources.httpRoutes, "default", "users", { status: { parents: [...route["status"].parents, theirs] } }, { type: "merge", subresource: "status" });
  await client.delete(resources.services, "default", "users");
  const broken = await until(common, gatewayResources.httpRoutes, "users", ({ status }) => status?.parents?.some(({ conditions }: { conditions: Condition[] }) => conditions.some(({ reason }) => reason === "BackendNotFound")));
  assert.deepEqual(broken["status"].parents.map(({ controllerName }: { controllerName: string }) => controllerName).sort(), ["example.com/other", "wherry.dev/gateway-controller"]);

  await client.delete(gatewayResources.gateways, "default", "edge");
  await until(common, gatewayResources.httpRoutes, "users", ({ status }) => status?.parents?.length === 1);
  assert.deepEqual(traffic.snapshot(), { revision: traffic.snapshot().revision, listeners: [], routes: [], upstreams: [] });
  await gateways.stop();
});

test("a policy is called accepted once nobody is served without it, and not sooner", { timeout: 30_000 }, async () => {
  await using server = await startApi();
  const { client } = server;
  const common = { client, clock: systemClock, log: silentLog };
  const asked: PromiseWithResolvers<void>[] = [];
  const inForce = (): Promise<void> => {
    const answer = Promise.withResolvers<void>();
    asked.push(answer);
    return answer.promise;
  };
  const gateways = startGateways({ ...common, publish: (patch) => void traffic.apply(patch), inForce });
  const traffic = new TrafficState();
  const route = (name: string) => client.create(gatewayResources.httpRoutes, "default", { metadata: { name }, spec: { parentRefs: [{ name: "edge" }], hostnames: [`${name}.example.com`], rules: [{}] } });
  const isTold = ({ status }: KubeObject): boolean => status?.parents?.length === 1;
  await gateways.definitions;
  await client.create(gatewayResources.gateways, "default", { metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] } });
  await route("users");
  await until(common, gatewayResources.httpRoutes, "users", isTold);
  assert.equal(asked.length, 0, "nobody waits where there is no policy");

  const { securityPolicies } = envoyResources;
  await client.create(securityPolicies, "default", { metadata: { name: "browsers" }, spec: { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "users" }], cors: { allowOrigins: ["https://a.com"] } } });
  // What comes after it is told before it, as long as workers have not said that they know.
  await route("orders");
  await until(common, gatewayResources.httpRoutes, "orders", isTold);
  assert.deepEqual(traffic.snapshot().routes.flatMap((one) => (one.type === "http" ? one.rules.map(({ filters }) => filters.map(({ type }) => type)) : [])), [["cors"], []]);
  assert.ok(asked.length > 0);
  assert.equal((await client.get<KubeObject>(securityPolicies, "default", "browsers")).status, undefined);
  for (const { resolve } of asked) resolve();
  const { status } = await until(common, securityPolicies, "browsers", ({ status }) => status !== undefined);
  assert.equal(status.ancestors[0].conditions.find(({ type }: Condition) => type === "Accepted").status, "True");
  await gateways.stop();
});

type Common = Pick<CompilerOptions, "client" | "clock" | "log">;
/** The object once its status is so. */
async function until(common: Common, resource: GroupVersionResource, name: string, holds: (object: KubeObject) => unknown): Promise<KubeObject> {
  const informer = new Informer<KubeObject>({ ...common, resource });
  const found = await new Promise<KubeObject>((resolve) => {
    informer.onChange((_key, object) => object?.metadata.name === name && holds(object) && resolve(object));
    informer.start();
  });
  await informer.stop();
  return found;
}

interface Condition {
  type: string;
  status: string;
  reason: string;
}
