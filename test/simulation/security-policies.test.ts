import assert from "node:assert/strict";
import type { KubeObject } from "../../src/api/meta.ts";
import type { EdgeBinding } from "../../src/api/network.ts";
import type { EdgeListener, HttpRule } from "../../src/api/traffic.ts";
import { keyOf } from "../../src/api/informer.ts";
import { FakeClock } from "../../src/base/clock.ts";
import { type Random, randomInt } from "../../src/base/random.ts";
import { RouteTable } from "../../src/policy/route-table.ts";
import { requestView, toolsAt } from "../../src/policy/testing/request.ts";
import { LoopbackAddresses } from "../../src/proxy/gateway/addresses.ts";
import { Translator, type WantedStatus } from "../../src/proxy/gateway/translate.ts";
import { ObjectWorld } from "../../src/proxy/gateway/world.ts";
import { TrafficState } from "../../src/proxy/traffic-state.ts";
import { always, oneOf } from "./policy-world.ts";

/**
 * Policies, routes and Gateways come, change and go in any order; patches are applied as they come. At every moment each request
 * is served by the rule that the policies' own text says, worked out anew from the objects, or not at all; and what was told that
 * it is accepted is in force.
 */
const gatewayApi = "gateway.networking.k8s.io";
const listeners: Record<string, readonly string[]> = { edge: ["web", "inner"], other: ["web"] };
const routes = ["users", "orders", "mail"];
/** By their names; the second rule of a route has none. */
const paths = [["/read", "read"], ["/else", undefined]] as const;

/** What a policy says, with its own name in it; "bad" is what nobody honours. */
const specs: ((name: string) => object)[] = [
  (name) => ({ cors: { allowOrigins: [`https://${name}.example.com`] } }),
  (name) => ({ cors: { allowOrigins: [`https://${name}.example.com`] }, mergeType: "JSONMerge" }),
  () => ({ cors: { maxAge: "7s" }, mergeType: "StrategicMerge" }),
  () => ({ notThereYet: { bad: true } }),
  () => ({ notThereYet: { bad: true }, mergeType: "JSONMerge" }),
];

class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: EdgeListener): EdgeBinding {
    return { address, port, protocol: "TCP", boundPort: port };
  }
}

interface Target {
  kind: string;
  name: string;
  sectionName?: string;
}
interface Spec {
  targetRefs?: Target[];
  targetSelectors?: { kind: string; matchLabels: { tier: string } }[];
  mergeType?: string;
  cors?: { allowOrigins?: string[]; maxAge?: string };
  notThereYet?: object;
}
type Stored = KubeObject & { spec: Spec & { parentRefs?: { name: string; sectionName?: string }[] } };

const targets: readonly Target[] = [
  { kind: "Gateway", name: "edge" },
  { kind: "Gateway", name: "edge", sectionName: "inner" },
  { kind: "Gateway", name: "other" },
  ...routes.flatMap((name) => [{ kind: "HTTPRoute", name }, { kind: "HTTPRoute", name, sectionName: "read" }]),
];

let uid = 0;
function made(apiVersion: string, kind: string, name: string, spec: object, labels: Record<string, string>, day: number, generation: number): Stored {
  return { apiVersion, kind, metadata: { name, namespace: "p", uid: String(++uid), generation, labels, creationTimestamp: `2026-01-0${day}T00:00:00Z`, resourceVersion: "1" }, spec } as unknown as Stored;
}
function someGateway(name: string): Stored {
  return made(`${gatewayApi}/v1`, "Gateway", name, { gatewayClassName: "wherry", listeners: listeners[name]!.map((listener, i) => ({ name: listener, port: 8080 + i, protocol: "HTTP" })) }, { tier: name }, 1, 1);
}
function someRoute(random: Random, name: string, generation: number): Stored {
  const parents = [[{ name: "edge" }], [{ name: "edge", sectionName: "inner" }], [{ name: "edge" }, { name: "other" }], [{ name: "other" }]];
  const rules = [{ name: "read", matches: [{ path: { value: "/read" } }] }, {}];
  return made(`${gatewayApi}/v1`, "HTTPRoute", name, { parentRefs: oneOf(random, parents), hostnames: [`${name}.test`], rules }, { tier: oneOf(random, ["a", "b"]) }, 1, generation);
}
function somePolicy(random: Random, name: string, generation: number): Stored {
  const selects = randomInt(random, 4) === 0;
  const target = selects
    ? { targetSelectors: [{ kind: oneOf(random, ["HTTPRoute", "Gateway"]), matchLabels: { tier: oneOf(random, ["a", "b", "edge"]) } }] }
    : { targetRefs: Array.from({ length: 1 + randomInt(random, 2) }, () => ({ group: gatewayApi, ...oneOf(random, targets) })) };
  return made("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", name, { ...target, ...oneOf(random, specs)(`${name}-${generation}`) }, {}, 1 + randomInt(random, 3), generation);
}

/** Whether a policy names a place, or selects it by its labels. */
function isAt(policy: Stored, place: Target, labels: Record<string, string> | undefined): boolean {
  const { targetRefs = [], targetSelectors = [] } = policy.spec;
  if (targetRefs.some(({ kind, name, sectionName }) => kind === place.kind && name === place.name && sectionName === place.sectionName)) return true;
  return place.sectionName === undefined && targetSelectors.some(({ kind, matchLabels }) => kind === place.kind && labels?.["tier"] === matchLabels.tier);
}
const hasSeveral = ({ spec: { targetRefs, targetSelectors } }: Stored): boolean => targetSelectors !== undefined || (targetRefs?.length ?? 0) > 1;
const older = (a: Stored, b: Stored): number => (`${a.metadata.creationTimestamp} ${a.metadata.name}` < `${b.metadata.creationTimestamp} ${b.metadata.name}` ? -1 : 1);

/** The policies that are in force there, the most specific first, by looking at all of them. */
function winners(present: ReadonlyMap<string, Stored>, places: readonly Target[]): Stored[] {
  const policies = [...present.values()].filter(({ kind }) => kind === "SecurityPolicy").sort(older);
  const found = places.flatMap((place) => {
    const policy = policies.find((candidate) => isAt(candidate, place, present.get(`${place.kind}/${place.name}`)?.metadata.labels));
    return policy ? [{ policy, place }] : [];
  });
  const [first, ...others] = found;
  if (!first) return [];
  // A route's or a rule's is put over what is its listener's or else its Gateway's.
  const base = first.place.kind === "Gateway" ? undefined : others.find(({ place }) => place.kind === "Gateway");
  return [first, ...(base ? [base] : [])].map(({ policy }) => policy);
}
/** As one line: what a rule must be under them. */
function wanted([first, second]: readonly Stored[]): string {
  if (!first) return "open";
  const { notThereYet, cors } = first.spec.mergeType === undefined ? first.spec : { ...second?.spec, ...first.spec, ...((first.spec.cors ?? second?.spec.cors) && { cors: { ...second?.spec.cors, ...first.spec.cors } }) };
  if (notThereYet) return "500";
  return cors ? `${cors.allowOrigins?.join() ?? ""} ${cors.maxAge ?? "5s"}` : "open";
}
function shown({ filters, backends }: HttpRule): string {
  const cors = filters.find((filter) => filter.type === "cors");
  if (cors) return `${cors.origins.join()} ${cors.maxAgeSeconds}s`;
  // Routes here have no backend: of their own they are 500 for another reason.
  return backends.some(({ error }) => error?.reason.includes("SecurityPolicy")) ? "500" : "open";
}

always("no request is served without the SecurityPolicy that is in force for it", (random) => {
  const world = new ObjectWorld();
  const translator = new Translator(world, new FreeAddresses());
  const state = new TrafficState();
  const table = new RouteTable(toolsAt(new FakeClock()));
  const present = new Map<string, Stored>();
  const told = new Map<string, WantedStatus>();
  const policies = ["s0", "s1", "s2", "s3"];
  let [generation, judged, isProtected] = [0, 0, 0];
  const put = (object: Stored): void => {
    present.set(`${object.kind}/${object.metadata.name}`, object);
    world.put(object);
    translator.changed(object.kind, keyOf(object));
  };
  const remove = (kind: string, name: string): void => {
    if (!present.delete(`${kind}/${name}`)) return;
    world.remove(kind, `p/${name}`);
    told.delete(`${kind}/p/${name}`);
    translator.changed(kind, `p/${name}`);
  };
  world.put({ apiVersion: `${gatewayApi}/v1`, kind: "GatewayClass", metadata: { name: "wherry" }, spec: { controllerName: "wherry.dev/gateway-controller" } } as unknown as KubeObject);
  translator.changed("GatewayClass", "wherry");
  for (const name of Object.keys(listeners)) put(someGateway(name));
  for (const name of routes) put(someRoute(random, name, 1));

  for (let step = 0; step < 80; step++) {
    // Several changes may come in one patch.
    for (let changes = 1 + randomInt(random, 3); changes > 0; changes--) {
      const [kind, name] = oneOf(random, [...policies.map((policy) => ["SecurityPolicy", policy] as const), ...policies.map((policy) => ["SecurityPolicy", policy] as const), ...routes.map((route) => ["HTTPRoute", route] as const), ...Object.keys(listeners).map((gateway) => ["Gateway", gateway] as const)]);
      if (randomInt(random, 3) === 0) remove(kind, name);
      else put(kind === "SecurityPolicy" ? somePolicy(random, name, ++generation) : kind === "HTTPRoute" ? someRoute(random, name, ++generation) : someGateway(name));
    }
    const { patch, statuses } = translator.flush();
    if (patch) {
      const { put: fresh, remove: gone } = state.apply(patch);
      for (const id of gone.routes ?? []) table.remove(id);
      for (const route of fresh.routes ?? []) if (route.type === "http") table.put(route);
    }
    for (const status of statuses) told.set(`${status.kind}/${status.key}`, status);

    for (const [gateway, names] of Object.entries(listeners)) {
      for (const listener of names) {
        for (const route of routes) {
          const attached = present.has(`Gateway/${gateway}`) && present.get(`HTTPRoute/${route}`)?.spec.parentRefs!.some((parent) => parent.name === gateway && (parent.sectionName ?? listener) === listener);
          for (const [path, ruleName] of paths) {
            const where = `step ${step}: ${path} of ${route} at ${gateway}/${listener}`;
            const found = table.find(`p/${gateway}/${listener}`, requestView({ host: `${route}.test`, path }));
            assert.equal(found.rule !== undefined, attached === true, where);
            if (!found.rule) continue;
            const inForce = winners(present, [...(ruleName === undefined ? [] : [{ kind: "HTTPRoute", name: route, sectionName: ruleName }]), { kind: "HTTPRoute", name: route }, { kind: "Gateway", name: gateway, sectionName: listener }, { kind: "Gateway", name: gateway }]);
            assert.equal(shown(found.rule.rule), wanted(inForce), where);
            judged++;
            const [first] = inForce;
            if (!first) continue;
            isProtected++;
            // Whoever looks at the status is not told otherwise: of who is not served somebody is told, and of who is served everybody,
            // unless the policy is, or would be, in force elsewhere too: over something else, or where another one is.
            const status = told.get(`SecurityPolicy/p/${first.metadata.name}`);
            assert.ok(status && "ancestors" in status && status.ancestors.length > 0, where);
            const here = status.ancestors.filter(({ ancestorRef }) => ancestorRef.name === gateway && (ancestorRef.sectionName ?? listener) === listener);
            // Of a listener that it is merged at, an entry may say that alone.
            const accepted = here.flatMap(({ conditions }) => conditions.filter(({ type }) => type === "Accepted"));
            const closed = accepted.filter((condition) => condition.status === "False");
            if (wanted(inForce) === "500") assert.ok(closed.length > 0, where);
            else assert.ok(accepted.length > 0 && closed.every(({ reason, message }) => (first.spec.mergeType !== undefined && !first.spec.notThereYet && message.includes("merged with policy")) || (hasSeveral(first) && (reason === "Conflicted" || reason === "TargetNotFound"))), `${where}: ${closed[0]?.message}`);
          }
        }
      }
    }
  }
  assert.ok(judged > 80 && isProtected > 30, `${judged} and ${isProtected} are too few to mean anything`);
});
