import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { Endpoints, EndpointSlice, Pod, Service } from "../../api/types.ts";
import type { Action } from "../action.ts";
import { SnapshotCache } from "../cache.ts";
import { planEndpoints } from "./endpoints.ts";
import { planEndpointSlices } from "./endpointslice.ts";

const service = (spec: object = {}, more: object = {}): Service =>
  ({ apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "default", uid: "s", ...more }, spec: { selector: { app: "web" }, clusterIP: "10.96.0.5", ports: [{ name: "http", port: 80, targetPort: "http", appProtocol: "http" }, { name: "metrics", port: 9090 }], ...spec } }) as unknown as Service;
interface Traits {
  ready?: boolean;
  terminating?: boolean;
  phase?: string;
  ip?: string | undefined;
  port?: number;
}
const pod = (number: number, { ready = true, terminating = false, phase = "Running", ip = `10.244.0.${number}`, port = 8080 }: Traits = {}, spec: object = {}): Pod =>
  ({
    metadata: { name: `web-${String(number).padStart(3, "0")}`, namespace: "default", uid: `u${number}`, labels: { app: "web" }, ...(terminating && { deletionTimestamp: "2026-01-01T00:00:00Z" }) },
    spec: { nodeName: "wherry", containers: [{ name: "c", ports: [{ name: "http", containerPort: port, protocol: "TCP" }] }], ...spec },
    status: { phase, podIP: ip, conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  }) as unknown as Pod;
const cacheOf = (pods: Pod[], slices: EndpointSlice[] = [], endpoints: Endpoints[] = []) => new SnapshotCache([[resources.pods, pods], [resources.endpointSlices, slices], [resources.endpoints, endpoints]]);
/** Plays the actions on the slices that exist. */
function apply(slices: EndpointSlice[], actions: Action[]): EndpointSlice[] {
  let result = [...slices];
  for (const action of actions) {
    if (action.do === "create") result.push({ ...action.object, metadata: { ...action.object.metadata, name: `web-${result.length + 1}`, uid: `slice-${result.length + 1}` } } as unknown as EndpointSlice);
    if (action.do === "update") result = result.map((slice) => (slice.metadata.uid === action.object.metadata.uid ? (action.object as EndpointSlice) : slice));
    if (action.do === "delete") result = result.filter((slice) => slice.metadata.uid !== action.object.metadata.uid);
  }
  return result;
}
const plan = (pods: Pod[], slices: EndpointSlice[] = [], of = service()) => planEndpointSlices(of, cacheOf(pods, slices)).actions;

test("an endpoint's conditions", () => {
  const cases: [why: string, traits: Traits, publish: boolean, expected: object | undefined][] = [
    ["ready", {}, false, { ready: true, serving: true, terminating: false }],
    ["not ready", { ready: false }, false, { ready: false, serving: false, terminating: false }],
    ["going, still serving", { terminating: true }, false, { ready: false, serving: true, terminating: true }],
    ["going, done", { terminating: true, ready: false }, false, { ready: false, serving: false, terminating: true }],
    ["published although not ready", { ready: false }, true, { ready: true, serving: false, terminating: false }],
    ["finished", { phase: "Succeeded" }, false, undefined],
    ["without an address", { ip: "" }, false, undefined],
  ];
  for (const [why, traits, publish, expected] of cases) {
    const [slice] = apply([], plan([pod(1, traits)], [], service({ publishNotReadyAddresses: publish })));
    assert.deepEqual(slice!.endpoints![0]?.conditions, expected, why);
  }
});

test("ports: named ones per pod, numbers as they are, pods without the port left out of it", () => {
  const slices = apply([], plan([pod(1), pod(2, { port: 3000 }), pod(3)]));
  assert.deepEqual(slices.map(({ ports, endpoints }) => [ports!.map(({ name, port, appProtocol }) => [name, port, appProtocol]), endpoints!.length]), [
    [[["http", 8080, "http"], ["metrics", 9090, undefined]], 2],
    [[["http", 3000, "http"], ["metrics", 9090, undefined]], 1],
  ]);
  const onlyNamed = service({ ports: [{ name: "grpc", port: 1, targetPort: "grpc" }] });
  assert.deepEqual(apply([], plan([pod(1)], [], onlyNamed)).map(({ endpoints }) => endpoints), [[]]);
  assert.equal(plan([pod(1)], [], service({ selector: undefined })).length, 0, "others write these");
});

test("slices hold 100, keep their endpoints, and a change rewrites one", () => {
  const pods = Array.from({ length: 205 }, (_, index) => pod(index));
  let slices = apply([], plan(pods));
  assert.deepEqual(slices.map(({ endpoints }) => endpoints!.length), [100, 100, 5]);
  assert.deepEqual(plan(pods, slices), [], "nothing changed, nothing to write");
  const changed = pods.map((one, index) => (index === 150 ? pod(150, { ready: false }) : one));
  const actions = plan(changed, slices);
  assert.deepEqual(actions.map((action) => [action.do, (action as unknown as { object: EndpointSlice }).object.metadata.name]), [["update", "web-2"]]);
  slices = apply(slices, plan([...changed.filter((_, index) => index < 100 || index >= 200), pod(300)], slices));
  assert.deepEqual(slices.map(({ endpoints }) => endpoints!.length), [100, 1, 5], "the newcomer fills a gap");
  slices = apply(slices, plan([], slices));
  assert.deepEqual(slices.map(({ endpoints }) => endpoints), [[]], "one empty slice stays");
});

test("headless: hostnames, and the label", () => {
  const headless = service({ clusterIP: "None", ports: [] });
  const [slice] = apply([], plan([pod(1, {}, { hostname: "web-1", subdomain: "web" }), pod(2, {}, { hostname: "web-2", subdomain: "other" })], [], headless));
  assert.deepEqual(slice!.endpoints!.map(({ hostname }) => hostname), ["web-1", undefined]);
  assert.equal(slice!.metadata.labels!["service.kubernetes.io/headless"], "");
  assert.equal(slice!.ports, undefined);
});

test("Endpoints: the older form", () => {
  const subsets = (pods: Pod[], of = service()) => {
    const [action] = planEndpoints("default/web", of, cacheOf(pods)).actions;
    return (action as unknown as { object: Endpoints }).object.subsets;
  };
  const [subset] = subsets([pod(2), pod(1, { ready: false }), pod(3, { terminating: true })])!;
  assert.deepEqual([subset!.addresses!.map(({ ip }) => ip), subset!.notReadyAddresses!.map(({ ip }) => ip)], [["10.244.0.2"], ["10.244.0.1"]]);
  assert.deepEqual(subset!.ports, [{ name: "http", protocol: "TCP", port: 8080, appProtocol: "http" }, { name: "metrics", protocol: "TCP", port: 9090 }]);
  assert.deepEqual(subsets([pod(3, { terminating: true })]), undefined);
  const existing = { apiVersion: "v1", kind: "Endpoints", metadata: { name: "web", namespace: "default", uid: "e", labels: { "endpoints.kubernetes.io/managed-by": "endpoint-controller" } }, subsets: subsets([pod(1)]) } as unknown as Endpoints;
  assert.deepEqual(planEndpoints("default/web", service(), cacheOf([pod(1)], [], [existing])).actions, []);
  assert.deepEqual(planEndpoints("default/web", undefined, cacheOf([], [], [existing])).actions.map((action) => action.do), ["delete"]);
  const foreign = { ...existing, metadata: { ...existing.metadata, labels: {} } };
  assert.deepEqual(planEndpoints("default/web", undefined, cacheOf([], [], [foreign])).actions, [], "somebody else's");
});
