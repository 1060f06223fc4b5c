import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import type { KubeObject } from "../../../src/api/meta.ts";

const gatewayApi = "gateway.networking.k8s.io";
/** Where objects are whose name has no namespace before it. */
const home = "p";

/** A policy of a world: `{SecurityPolicy: NAME, at: "TARGET …", …spec}`. All are of one age: egctl reads neither ages nor labels. */
interface ShortPolicy {
  at?: string;
  [field: string]: unknown;
}
interface ShortRoute {
  at: string;
  rules?: (string | object)[];
  hostnames?: string[];
}
/** What a document of worlds/*.yaml may say; README.md tells what it stands for. */
interface ShortWorld {
  world: string;
  gateways?: Record<string, string | { listeners: (string | object)[]; class?: string }>;
  routes?: Record<string, string | ShortRoute>;
  policies?: ShortPolicy[];
  /** Policies of one kind by their names, each for a route or Gateway of its own that is called the same. */
  each?: { kind: string; specs: Record<string, object> };
  objects?: KubeObject[];
}
export interface JudgedWorld {
  name: string;
  objects: KubeObject[];
}

export function readWorlds(folder: string, file: string): JudgedWorld[] {
  return (loadAll(readFileSync(join(folder, file), "utf8")) as unknown as ShortWorld[]).map((short) => ({ name: short.world, objects: objectsOf(short) }));
}
export const worldFiles = (folder: string): string[] => readdirSync(folder).filter((file) => file.endsWith(".yaml") && !file.endsWith(".status.yaml")).sort();

export function objectsOf({ gateways = { edge: "web:80 inner:8080" }, routes = {}, policies = [], each, objects = [] }: Omit<ShortWorld, "world">): KubeObject[] {
  if (each) {
    const { kind, specs } = each;
    const isOfGateways = kind === "ClientTrafficPolicy";
    const own = Object.keys(specs);
    const secure = { name: "secure", port: 443, protocol: "HTTPS", tls: { certificateRefs: [{ name: "certificate" }] } };
    return objectsOf({
      ...(isOfGateways ? { gateways: Object.fromEntries(own.map((name) => [name, { listeners: ["web:80", secure] }])) } : { routes: Object.fromEntries(own.map((name) => [name, "edge"])) }),
      policies: Object.entries(specs).map(([name, spec]) => ({ [kind]: name, at: isOfGateways ? name : `HTTPRoute/${name}`, ...spec })),
      objects,
    });
  }
  const made: KubeObject[] = [object("v1", "Service", "users", { clusterIP: "10.96.0.1", ports: [{ port: 80 }] })];
  for (const [name, short] of Object.entries(gateways)) {
    const { listeners, class: gatewayClassName = "wherry" } = typeof short === "string" ? { listeners: short.split(" ") } : short;
    const written = listeners.map((listener) => (typeof listener === "string" ? listenerOf(listener) : listener));
    made.push(object(`${gatewayApi}/v1`, "Gateway", name, { gatewayClassName, listeners: written }));
  }
  for (const [name, short] of Object.entries(routes)) {
    const { at, rules = [""], hostnames = [`${name.replace(/^.*[:/]/, "")}.example.com`] } = typeof short === "string" ? { at: short } : short;
    const [kind, own] = name.includes(":") ? (name.split(":") as [string, string]) : ["HTTPRoute", name];
    const isHttp = kind === "HTTPRoute" || kind === "GRPCRoute";
    const written = rules.map((rule) => (typeof rule === "object" ? { backendRefs: [{ name: "users", port: 80 }], ...rule } : { ...(rule !== "" && { name: rule, ...(kind === "HTTPRoute" && { matches: [{ path: { type: "PathPrefix", value: `/${rule}` } }] }) }), backendRefs: [{ name: "users", port: 80 }] }));
    made.push(object(`${gatewayApi}/v1`, kind, own, { parentRefs: at.split(" ").map(referenceOf), ...(isHttp && { hostnames }), rules: written }));
  }
  for (const short of policies) {
    const [kind, name] = Object.entries(short)[0] as [string, string];
    const { at, [kind]: _, ...spec } = short;
    const targetRefs = at?.split(" ").map((target) => {
      const [, targetKind = "Gateway", targetName, sectionName] = /^(?:(\w+)\/)?([^#]+)(?:#(.+))?$/.exec(target)!;
      return { group: gatewayApi, kind: targetKind, name: targetName, ...(sectionName !== undefined && { sectionName }) };
    });
    made.push(object("gateway.envoyproxy.io/v1alpha1", kind, name, { ...(targetRefs && { targetRefs }), ...spec }));
  }
  made.push(...objects.map((one) => ({ ...one, metadata: { namespace: home, ...one.metadata } })));
  const all = new Set([home, ...made.flatMap(({ metadata }) => metadata.namespace ?? [])]);
  const around = [...all].sort().map((name) => object("v1", "Namespace", name, undefined, { namespace: undefined }));
  const complete = (one: KubeObject, index: number): KubeObject => ({ ...one, metadata: Object.assign({ uid: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`, generation: 1, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, one.metadata) });
  return [object(`${gatewayApi}/v1`, "GatewayClass", "wherry", { controllerName: "wherry.dev/gateway-controller" }, { namespace: undefined }), ...around, ...made].map(complete);
}

/** "NAMESPACE/NAME" or "NAME". */
function object(apiVersion: string, kind: string, named: string, spec: object | undefined, metadata: Record<string, unknown> = {}): KubeObject {
  const [namespace, name] = named.includes("/") ? (named.split("/") as [string, string]) : [home, named];
  return JSON.parse(JSON.stringify({ apiVersion, kind, metadata: { name, namespace, ...metadata }, spec })) as KubeObject;
}
/** "NAME:PORT" or "NAME:PORT:PROTOCOL". */
function listenerOf(text: string): object {
  const [name, port, protocol = "HTTP"] = text.split(":") as [string, string, string?];
  return { name, port: Number(port), protocol, allowedRoutes: { namespaces: { from: "All" } } };
}
/** "[KIND:][NAMESPACE/]NAME[#SECTION]". */
function referenceOf(text: string): object {
  const [, kind = "Gateway", namespace, name, sectionName] = /^(?:(\w+):)?(?:([^/]+)\/)?([^#]+)(?:#(.+))?$/.exec(text)!;
  return { group: gatewayApi, kind, name, ...(namespace && { namespace }), ...(sectionName && { sectionName }) };
}
