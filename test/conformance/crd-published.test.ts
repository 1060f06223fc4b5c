import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { parseYaml } from "../../src/api/yaml.ts";
import { startApi } from "../harness-api.ts";
import { find, needs } from "../needs.ts";

/** Where definitions lie that projects have published. */
const folders = ["../shared/data/crds", "../shared/conformance/gateway-api/crds/experimental"];
const definitions = { group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" };

function published(): KubeObject[] {
  return folders.flatMap((folder) => {
    const path = find(folder)!;
    return readdirSync(path, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".yaml"))
      .flatMap((file) => parseYaml(readFileSync(join(path, file), "utf8")) as (KubeObject | null)[])
      .filter((object): object is KubeObject => object?.kind === "CustomResourceDefinition");
  });
}

const gateway = "gateway.networking.k8s.io/v1";
/** Objects that must be taken. */
const good: [resource: string, apiVersion: string, kind: string, spec: object][] = [
  ["gatewayclasses", gateway, "GatewayClass", { controllerName: "example.com/controller" }],
  ["gateways", gateway, "Gateway", { gatewayClassName: "one", listeners: [{ name: "http", protocol: "HTTP", port: 80, hostname: "*.example.com" }] }],
  ["httproutes", gateway, "HTTPRoute", { parentRefs: [{ name: "one" }], hostnames: ["a.example.com"], rules: [{ matches: [{ path: { type: "PathPrefix", value: "/x" } }], backendRefs: [{ name: "service", port: 80 }] }] }],
  ["grpcroutes", gateway, "GRPCRoute", { rules: [{ matches: [{ method: { service: "a.B", method: "C" } }], backendRefs: [{ name: "service", port: 80 }] }] }],
  ["referencegrants", "gateway.networking.k8s.io/v1beta1", "ReferenceGrant", { from: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: "a" }], to: [{ group: "", kind: "Service" }] }],
  ["certificates", "cert-manager.io/v1", "Certificate", { secretName: "tls", dnsNames: ["a.example.com"], issuerRef: { name: "ca", kind: "Issuer" } }],
  ["issuers", "cert-manager.io/v1", "Issuer", { selfSigned: {} }],
  ["virtualservices", "networking.istio.io/v1", "VirtualService", { hosts: ["reviews"], http: [{ route: [{ destination: { host: "reviews", subset: "v1" }, weight: 75 }, { destination: { host: "reviews" }, weight: 25 }], timeout: "5s" }] }],
  ["destinationrules", "networking.istio.io/v1", "DestinationRule", { host: "reviews", trafficPolicy: { loadBalancer: { simple: "RANDOM" } } }],
  ["peerauthentications", "security.istio.io/v1", "PeerAuthentication", { mtls: { mode: "STRICT" } }],
  ["backends", "gateway.envoyproxy.io/v1alpha1", "Backend", { endpoints: [{ fqdn: { hostname: "a.example.com", port: 443 } }] }],
];
/** Objects that must not, and why. */
const bad: [resource: string, apiVersion: string, kind: string, spec: object, why: RegExp][] = [
  ["gateways", gateway, "Gateway", { gatewayClassName: "one", listeners: [{ name: "http", protocol: "HTTP", port: 0 }] }, /spec\.listeners\[0\]\.port: Invalid value: 0: spec\.listeners\[0\]\.port in body should be greater than or equal to 1/],
  ["gateways", gateway, "Gateway", { gatewayClassName: "one", listeners: [{ name: "a", protocol: "HTTP", port: 80, tls: { mode: "Terminate", certificateRefs: [{ name: "x" }] } }] }, /spec\.listeners: Invalid value: tls must not be specified for protocols \['HTTP', 'TCP', 'UDP'\]/],
  ["httproutes", gateway, "HTTPRoute", { rules: [{ matches: [{ path: { type: "PathPrefix", value: "x" } }] }] }, /spec\.rules\[0\]\.matches\[0\]\.path: Invalid value: value must be an absolute path and start with '\/'/],
  ["httproutes", gateway, "HTTPRoute", { rules: [{ filters: [{ type: "RequestRedirect" }] }] }, /filter\.requestRedirect must be specified for RequestRedirect filter\.type/],
  ["httproutes", gateway, "HTTPRoute", { hostnames: ["UPPER"], rules: [] }, /spec\.hostnames\[0\]: Invalid value: "UPPER": spec\.hostnames\[0\] in body should match/],
  ["certificates", "cert-manager.io/v1", "Certificate", { dnsNames: ["a.example.com"] }, /spec\.issuerRef: Required value.*spec\.secretName: Required value/],
  ["virtualservices", "networking.istio.io/v1", "VirtualService", { http: [{ timeout: "soon" }] }, /spec\.http\[0\]\.timeout: Invalid value: "string": .* evaluating rule: must be a valid duration greater than 1ms/],
  ["peerauthentications", "security.istio.io/v1", "PeerAuthentication", { mtls: { mode: "LOOSE" } }, /spec\.mtls\.mode: Unsupported value: "LOOSE": supported values: "UNSET", "DISABLE", "PERMISSIVE", "STRICT"/],
  ["backends", "gateway.envoyproxy.io/v1alpha1", "Backend", { endpoints: [{}] }, /one of fqdn, ip, unix or hostname must be specified|fqdn/],
];

test("published definitions are served, and hold their objects to them", async (t) => {
  if (!needs(t, ...folders)) return;
  await using api = await startApi();
  const all = published();
  assert.ok(all.length >= 35, `${all.length} definitions`);
  for (const definition of all) await api.client.create(definitions, undefined, definition);
  for (const { metadata, spec } of all) {
    const served = (spec as { versions: { name: string; served: boolean }[] }).versions.filter((version) => version.served);
    for (const version of served) assert.ok(api.api.registry.byResource(spec.group as string, version.name, spec.names.plural as string), `${metadata.name} ${version.name}`);
  }
  await api.api.store.flush();
  for (const { metadata } of all) {
    const { status } = await api.client.get<{ status: { conditions: { type: string; status: string }[] } }>(definitions, undefined, metadata.name);
    assert.ok(status.conditions.some(({ type, status: value }) => type === "Established" && value === "True"), metadata.name);
  }
  const place = (resource: string, apiVersion: string) => {
    const [group, version] = apiVersion.split("/") as [string, string];
    return { resource: { group, version, resource }, namespace: api.api.registry.byResource(group, version, resource)!.scope === "Cluster" ? undefined : "default" };
  };
  for (const [name, apiVersion, kind, spec] of good) {
    await t.test(`${kind} is taken`, async () => {
      const { resource, namespace } = place(name, apiVersion);
      await api.client.create(resource, namespace, { apiVersion, kind, metadata: { name: "one" }, spec });
    });
  }
  for (const [name, apiVersion, kind, spec, why] of bad) {
    await t.test(`${kind} is refused: ${why.source.slice(0, 60)}`, async () => {
      const { resource, namespace } = place(name, apiVersion);
      await assert.rejects(api.client.create(resource, namespace, { apiVersion, kind, metadata: { name: "two" }, spec }), why);
    });
  }
  await t.test("the documents that clients read can be made", async () => {
    const http = api.http();
    const index = await http.raw("GET", "/openapi/v3");
    assert.ok(index.text.includes("apis/gateway.networking.k8s.io/v1"));
  });
});
