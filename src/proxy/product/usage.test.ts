import assert from "node:assert/strict";
import { test } from "node:test";
import { parseYaml } from "../../api/yaml.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { ApiObject } from "../../api/product/kinds.ts";
import { ObjectWorld } from "../gateway/world.ts";
import { usageOf, usageSources } from "./usage.ts";

const quota = "rateLimit: {global: {rules: [{limit: {requests: 9, unit: Month}}]}}";
const target = (kind: string, name: string, section?: string): string => `{group: gateway.networking.k8s.io, kind: ${kind}, name: ${name}${section === undefined ? "" : `, sectionName: ${section}`}}`;
const policy = (name: string, spec: string, namespace = "shop"): string => `{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: BackendTrafficPolicy, metadata: {name: ${name}, namespace: ${namespace}, creationTimestamp: "2026-01-01T00:00:00Z"}, spec: {${spec}}}`;
const common = `
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: edges}, spec: {gatewayClassName: wherry, listeners: [{name: web, port: 80, protocol: HTTP}, {name: other, port: 81, protocol: HTTP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: pets.prod, namespace: shop, labels: {team: a}}, spec: {rules: [{name: list-pets}, {name: add-pet}]}}
`;
const api = { metadata: { name: "pets", namespace: "shop" }, spec: {} } as unknown as ApiObject;
const stage = { name: "prod", parentRefs: [{ name: "edge", namespace: "edges", sectionName: "web" }] };

/** What stages are told of, by what is there. */
const table: [what: string, policies: string[], expected: string[]][] = [
  ["nobody counts", [policy("retries", `targetRefs: [${target("HTTPRoute", "pets.prod")}]`)], []],
  ["the route's own, an operation's", [policy("own", `targetRefs: [${target("HTTPRoute", "pets.prod")}], ${quota}`), policy("list", `targetRef: ${target("HTTPRoute", "pets.prod", "list-pets")}, ${quota}`)], ["list", "own"]],
  ["another stage's", [policy("dev", `targetRefs: [${target("HTTPRoute", "pets.dev")}], ${quota}`)], []],
  ["one that selects the route by its labels", [policy("selecting", `targetSelectors: [{group: gateway.networking.k8s.io, kind: HTTPRoute, matchLabels: {team: a}}], ${quota}`), policy("elsewhere", `targetSelectors: [{group: gateway.networking.k8s.io, kind: HTTPRoute, matchLabels: {team: b}}], ${quota}`)], ["selecting"]],
  ["the Gateway's, and not that of a listener where the stage is not", [policy("all", `targetRefs: [${target("Gateway", "edge")}], ${quota}`, "edges"), policy("there", `targetRefs: [${target("Gateway", "edge", "other")}], ${quota}`, "edges")], ["edges/all"]],
  ["the Gateway's where the route's takes its place", [policy("all", `targetRefs: [${target("Gateway", "edge")}], ${quota}`, "edges"), policy("own", `targetRefs: [${target("HTTPRoute", "pets.prod")}], timeout: {tcp: {connectTimeout: 1s}}`)], []],
  ["the Gateway's where the route's is merged with it", [policy("all", `targetRefs: [${target("Gateway", "edge")}], ${quota}`, "edges"), policy("own", `mergeType: StrategicMerge, targetRefs: [${target("HTTPRoute", "pets.prod")}]`)], ["edges/all"]],
];
test("a stage is told of quotas wherever they are said, where they are in force for it", () => {
  for (const [what, policies, expected] of table) {
    const world = new ObjectWorld(parseYaml([common, ...policies].join("\n---\n")) as KubeObject[]);
    assert.deepEqual(usageSources(world, api, stage).map(({ named }) => named.policy), expected, what);
  }
});

test("of a policy for many routes what is counted for this one, or for all together; of plans by their operations", () => {
  const world = new ObjectWorld(parseYaml([common, policy("all", `targetRefs: [${target("Gateway", "edge")}], ${quota}`, "edges")].join("\n---\n")) as KubeObject[]);
  const plans = [{ name: "gold", secretRef: { name: "gold" }, quota: { requests: 9, unit: "Month" as const }, operations: [{ operation: "GET /pets/{id}", quota: { requests: 3, unit: "Month" as const } }] }, { name: "free", secretRef: { name: "free" }, throttle: { requestsPerSecond: 1 } }];
  const [gold, all, more] = usageSources(world, api, { ...stage, plans });
  assert.equal(more, undefined, "a plan without a quota counts nothing");
  const count = (id: string, key: string, n: number) => ({ id, unit: "month" as const, key, startMs: 0, endMs: 1000, count: n });
  const told = (source: NonNullable<typeof all>, ...ids: string[]) => usageOf(source, ids.map((id, i) => count(`${source.prefix}${id}`, `k${i}`, i)));
  assert.deepEqual(told(all!, "global/0", "global/1 HTTPRoute/shop/pets.prod", "global/1 HTTPRoute/shop/pets.production", "global/1 HTTPRoute/other/pets.prod").map(({ key, limit }) => [key, limit]), [["k1", undefined], ["k0", 9]]);
  assert.deepEqual(told(gold!, "", "listPets", "GET /pets/{id}"), [
    { plan: "gold", operation: "GET /pets/{id}", limit: 3, unit: "month", key: "k2", count: 2, until: "1970-01-01T00:00:01Z" },
    { plan: "gold", operation: "listPets", unit: "month", key: "k1", count: 1, until: "1970-01-01T00:00:01Z" },
    { plan: "gold", limit: 9, unit: "month", key: "k0", count: 0, until: "1970-01-01T00:00:01Z" },
  ]);
});
