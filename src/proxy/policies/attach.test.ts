import assert from "node:assert/strict";
import { test } from "node:test";
import type { Policy } from "../../api/envoy/kinds.ts";
import type { KubeObject } from "../../api/meta.ts";
import { ObjectWorld } from "../gateway/world.ts";
import { Attachments } from "./attach.ts";

const meta = (name: string, labels: Record<string, string> = {}, namespace = "shop") => ({ name, namespace, uid: `${namespace}/${name}`, labels, creationTimestamp: "2026-01-01T00:00:00Z" });
const gateway = (name: string, namespace = "shop"): KubeObject => ({ apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata: meta(name, { tier: "edge" }, namespace), spec: { gatewayClassName: "wherry", listeners: [{ name: "http", port: 80, protocol: "HTTP" }, { name: "https", port: 443, protocol: "HTTPS" }] } }) as unknown as KubeObject;
const route = (name: string, namespace = "shop"): KubeObject => ({ apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: meta(name, { app: name }, namespace), spec: { rules: [{ name: "read" }, {}] } }) as unknown as KubeObject;
const grant = (namespace: string, from: string, kind: string): KubeObject => ({ apiVersion: "gateway.networking.k8s.io/v1beta1", kind: "ReferenceGrant", metadata: meta("lend", {}, namespace), spec: { from: [{ group: "gateway.envoyproxy.io", kind: "SecurityPolicy", namespace: from }], to: [{ group: "gateway.networking.k8s.io", kind }] } }) as unknown as KubeObject;
const world = new ObjectWorld([gateway("edge"), gateway("other", "ops"), route("users"), route("orders"), route("users", "ops"), { apiVersion: "v1", kind: "Namespace", metadata: { ...meta("ops", { team: "a" }), namespace: undefined } } as unknown as KubeObject, grant("ops", "shop", "Gateway"), grant("shop", "ops", "HTTPRoute")]);

/** One policy a line: NAME AGE TARGET… with more of its spec behind "|". A target is KIND/NAME#SECTION, or a selector as JSON. */
function policiesOf(text: string): Policy[] {
  return text.trim().split("\n").map((line) => {
    const [head, more] = line.split("|");
    const [name, age, ...targets] = head!.trim().split(/\s+/);
    const refs = targets.filter((target) => !target.startsWith("{"));
    const [namespace, short] = name!.includes("/") ? name!.split("/") as [string, string] : ["shop", name!];
    return {
      apiVersion: "gateway.envoyproxy.io/v1alpha1",
      kind: "SecurityPolicy",
      metadata: { ...meta(short, {}, namespace), creationTimestamp: `2026-01-0${age}T00:00:00Z` },
      spec: {
        ...(refs.length > 0 && { targetRefs: refs.map((target) => ({ group: "gateway.networking.k8s.io", kind: target.split("/")[0]!, name: target.split("/")[1]!.split("#")[0]!, ...(target.includes("#") && { sectionName: target.split("#")[1]! }) })) }),
        ...(targets.length > refs.length && { targetSelectors: targets.filter((target) => target.startsWith("{")).map((target) => JSON.parse(target) as never) }),
        name: short,
        ...(more ? (JSON.parse(more) as object) : {}),
      },
    } as unknown as Policy;
  });
}

/** At GATEWAY#LISTENER, or there for ROUTE#RULE: whose policies are in force. */
const cases: { name: string; policies: string; at: Record<string, string>; told?: Record<string, string> }[] = [
  {
    name: "the more specific one takes the place of the more general one: rule, route, listener, Gateway",
    policies: `
      wide 1 Gateway/edge
      tls 2 Gateway/edge#https
      all 3 HTTPRoute/users
      one 4 HTTPRoute/users#read`,
    at: { "shop/edge#http": "wide", "shop/edge#https": "tls", "shop/edge#http shop/orders": "wide", "shop/edge#https shop/orders": "tls", "shop/edge#https shop/users": "all", "shop/edge#http shop/users#read": "one", "ops/other#http shop/orders": "" },
  },
  {
    name: "of two at one place the older is in force, and the other is told whose it is; by age, then by name",
    policies: `
      b 2 HTTPRoute/users HTTPRoute/orders
      c 1 HTTPRoute/users
      a 2 HTTPRoute/orders`,
    at: { "shop/edge#http shop/users": "c", "shop/edge#http shop/orders": "a" },
    told: { b: "conflict HTTPRoute/shop/users shop/c; conflict HTTPRoute/shop/orders shop/a" },
  },
  {
    name: "what is named is in the policy's namespace; what is not there, or is no target of its kind, is told",
    policies: `
      ops/mine 1 HTTPRoute/orders
      far 2 HTTPRoute/nowhere Gateway/edge#smtp HTTPRoute/users#write Service/web`,
    at: { "shop/edge#http shop/orders": "" },
    told: {
      mine: "missing HTTPRoute ops/orders does not exist",
      far: "missing HTTPRoute shop/nowhere does not exist; missing No section name smtp found for Gateway shop/edge; missing No section name write found for HTTPRoute shop/users; invalid targetRefs[3]: a SecurityPolicy has no effect on gateway.networking.k8s.io/Service; Gateway, HTTPRoute, GRPCRoute may be named",
    },
  },
  {
    name: "selectors: by labels, in its own namespace unless it says otherwise, and where it is let",
    policies: `
      own 1 {"kind":"HTTPRoute","matchLabels":{"app":"users"}}
      ops/every 2 {"kind":"HTTPRoute","matchExpressions":[{"key":"app","operator":"Exists"}],"namespaces":{"from":"All"}}
      team 3 {"kind":"Gateway","namespaces":{"from":"Selector","selector":{"matchLabels":{"team":"a"}}}}
      alien 4 {"kind":"HTTPRoute","namespaces":{"from":"Selector","selector":{"matchLabels":{"team":"a"}}}}`,
    at: { "shop/edge#http shop/users": "own", "shop/edge#http shop/orders": "every", "ops/other#http ops/users": "every", "ops/other#https": "team", "shop/edge#http": "" },
    told: { every: "conflict HTTPRoute/shop/users shop/own" },
  },
  {
    name: "merged, what the route's says goes over what its Gateway's says, field by field",
    policies: `
      base 1 Gateway/edge | {"jwt":{"providers":["company"]},"cors":{"maxAge":"5s","allowOrigins":["a"]}}
      over 2 HTTPRoute/users | {"mergeType":"JSONMerge","cors":{"allowOrigins":["b"]}}
      alone 3 HTTPRoute/orders | {"cors":{"allowOrigins":["c"]}}`,
    at: { "shop/edge#http shop/users": 'over+base {"jwt":{"providers":["company"]},"cors":{"allowOrigins":["b"],"maxAge":"5s"}}', "shop/edge#http shop/orders": 'alone {"cors":{"allowOrigins":["c"]}}', "ops/other#http shop/users": 'over {"cors":{"allowOrigins":["b"]}}' },
  },
];

for (const { name, policies, at, told = {} } of cases) {
  test(name, () => {
    const attachments = new Attachments("SecurityPolicy", policiesOf(policies), world);
    for (const [position, expected] of Object.entries(at)) {
      const [place, target] = position.split(" ");
      const [key, listener] = place!.split("#") as [string, string];
      const [routeKey, rule] = target?.split("#") ?? [];
      const found = attachments.at({ gateway: key, listener, ...(routeKey !== undefined && { route: { kind: "HTTPRoute", key: routeKey, rule } }) });
      const { cors, jwt } = (found?.spec ?? {}) as { cors?: object; jwt?: object };
      const shown = found ? found.policies.map(({ metadata }) => metadata.name).join("+") : "";
      assert.equal(cors || jwt ? `${shown} ${JSON.stringify({ ...(jwt && { jwt }), ...(cors && { cors }) })}` : shown, expected, position);
    }
    for (const { policy, conflicts, missing, invalid } of attachments.policies) {
      const lines = [...conflicts.map(({ target, with: other }) => `conflict ${target} ${other}`), ...missing.map((text) => `missing ${text}`), ...invalid.map((text) => `invalid ${text}`)];
      assert.equal(lines.join("; "), told[policy.metadata.name] ?? "", policy.metadata.name);
    }
  });
}
