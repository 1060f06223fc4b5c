import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import { compileGuard } from "./guards.ts";
import { Report } from "./report.ts";

/** Kind, its spec, and whether addresses prove who calls; whom it is before, and what is told of it. What it then does: test/conformance/mesh. */
const cases: [kind: string, spec: string, isEnforced: boolean, aim: object | undefined, told: string[], place?: string][] = [
  ["AuthorizationPolicy", "{}", true, { namespace: "shop" }, [], "pods of namespace shop"],
  ["AuthorizationPolicy", "{selector: {matchLabels: {app: web}}}", true, { namespace: "shop", labels: { app: "web" } }, [], "pods of namespace shop with app=web"],
  ["AuthorizationPolicy", "{}", false, { namespace: "shop" }, ["AuthorizationPolicy: is NOT enforced in plain mode: anybody may have any address there, and dial pods past their Services; isolated mode enforces it"]],
  ["AuthorizationPolicy", "{targetRefs: [{kind: Service, name: web}, {group: gateway.networking.k8s.io, kind: Gateway, name: edge}]}", true, { services: ["shop/web"] }, ["targetRefs: Gateway edge: it is in force at Services and before pods alone"], "Service shop/web"],
  ["AuthorizationPolicy", "{targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: edge}}", true, undefined, ["targetRefs: Gateway edge: it is in force at Services and before pods alone"]],
  ["AuthorizationPolicy", "{action: CUSTOM, provider: {name: ask}, rules: [{}]}", true, { namespace: "shop" }, ["provider: there is nobody to ask: whoever its rules are about is kept out"], "pods of namespace shop"],
  ["AuthorizationPolicy", "{action: DENY, rules: [{when: [{key: experimental.x, values: [a]}]}]}", true, { namespace: "shop" }, ['rules: when[0].key: Invalid value: "experimental.x": is nothing that is known of a call: it is about everybody'], "pods of namespace shop"],
  ["PeerAuthentication", "{mtls: {mode: STRICT}, portLevelMtls: {'80': {mode: DISABLE}}}", true, { namespace: "shop", peer: { mode: "STRICT" } }, ["portLevelMtls: needs a selector: no port is treated otherwise"], "pods of namespace shop; pods are known by their addresses, and need not encrypt within this machine; others by a certificate of the mesh"],
  ["PeerAuthentication", "{selector: {matchLabels: {app: web}}, mtls: {mode: UNSET}, portLevelMtls: {'80': {mode: DISABLE}, '81': {mode: UNSET}}}", true, { namespace: "shop", labels: { app: "web" }, peer: { ports: { 80: "DISABLE" } } }, [], "pods of namespace shop with app=web; TLS is left to the programs"],
  ["RequestAuthentication", "{}", true, undefined, []],
  ["RequestAuthentication", "{jwtRules: [{issuer: me, jwksUri: 'https://issuer.example.com/keys', timeout: 1s}]}", true, { namespace: "shop", tokens: [{ issuer: "me", jwksUri: "https://issuer.example.com/keys" }] }, ["jwtRules[0].jwksUri: https://issuer.example.com/keys is not within the cluster (http://SERVICE.NAMESPACE/…): all tokens of me are refused", "jwtRules[0].timeout: keys are waited for for five seconds"], "pods of namespace shop"],
  ["RequestAuthentication", "{jwtRules: [{issuer: me, jwks: '{}', fromHeaders: [{name: X-Token, prefix: 'T '}]}]}", true, { namespace: "shop", tokens: [{ issuer: "me", jwks: "{}", headers: [{ name: "x-token", prefix: "T " }] }] }, ["jwtRules[0].jwks: is no JSON Web Key Set: all tokens of me are refused"], "pods of namespace shop"],
];

for (const [kind, spec, isEnforced, aim, told, place] of cases) {
  test(`${kind} ${spec}${isEnforced ? "" : ", where addresses prove nothing"}`, () => {
    const report = new Report();
    const guard = compileGuard({ kind, metadata: { name: "x", namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z" }, spec: load(spec) } as unknown as KubeObject, report, isEnforced);
    const { id, createdAt, authorisation, ...rest } = guard ?? {};
    assert.deepEqual(guard && rest, aim);
    if (guard) assert.deepEqual([id, createdAt, authorisation?.name], [`istio:${kind}/shop/x`, 1_767_225_600, kind === "AuthorizationPolicy" ? "shop/x" : undefined]);
    assert.deepEqual([...report.fields], told);
    assert.deepEqual([...report.places], place === undefined ? [] : [place]);
  });
}
