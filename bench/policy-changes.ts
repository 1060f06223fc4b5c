import { keyOf } from "../src/api/informer.ts";
import type { KubeObject } from "../src/api/meta.ts";
import type { EdgeBinding } from "../src/api/network.ts";
import type { EdgeListener } from "../src/api/traffic.ts";
import { LoopbackAddresses } from "../src/proxy/gateway/addresses.ts";
import { Translator } from "../src/proxy/gateway/translate.ts";
import { ObjectWorld } from "../src/proxy/gateway/world.ts";
import { print, spread } from "./measure.ts";

/** What does one change cost the compiler beside 2,000 routes that have a policy each? Every other one is merged over its Gateway's. */
const count = Number(process.env["POLICIES"] ?? 2_000);
const group = "gateway.networking.k8s.io";
const changes = 40;

class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: EdgeListener): EdgeBinding {
    return { address, port, protocol: "TCP", boundPort: port };
  }
}

export function run(): Promise<void> {
  const world = new ObjectWorld();
  const translator = new Translator(world, new FreeAddresses());
  const put = (kind: string, name: string, generation: number, spec: object): void => {
    const object: KubeObject = { apiVersion: `${group}/v1`, kind, metadata: { name, namespace: "p", uid: `${kind}/${name}`, generation, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, spec };
    world.put(object);
    translator.changed(kind, keyOf(object));
  };
  const target = (kind: string, name: string) => ({ targetRefs: [{ group, kind, name }] });
  const route = (i: number, generation = 1): void => put("HTTPRoute", `route${i}`, generation, { parentRefs: [{ name: "edge" }], hostnames: [`${i}.example.com`], rules: [{ matches: [{ path: { value: `/${generation}` } }], backendRefs: [{ name: "web", port: 80 }] }] });
  const policy = (i: number, generation = 1): void => put("SecurityPolicy", `policy${i}`, generation, { ...target("HTTPRoute", `route${i}`), ...(i % 2 === 0 && { mergeType: "StrategicMerge" }), authorization: { defaultAction: "Allow", rules: [{ action: "Deny", principal: { clientCIDRs: [`10.0.${generation}.0/24`] } }] } });
  const wide = (generation: number): void => put("SecurityPolicy", "wide", generation, { ...target("Gateway", "edge"), cors: { allowOrigins: [`https://${generation}.example.com`] } });
  world.put({ apiVersion: `${group}/v1`, kind: "GatewayClass", metadata: { name: "wherry", uid: "class", creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, spec: { controllerName: "wherry.dev/gateway-controller" } });
  put("Gateway", "edge", 1, { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }, { name: "inner", port: 81, protocol: "HTTP" }] });
  put("Service", "web", 1, { ports: [{ port: 80 }] });
  for (let i = 0; i < count; i++) {
    route(i);
    policy(i);
  }
  wide(1);
  const began = process.threadCpuUsage();
  translator.flush();
  const { user, system } = process.threadCpuUsage(began);
  const rows = [["all at once", ((user + system) / 1000).toFixed(0)]];
  const one = (name: string, change: (i: number, generation: number) => void): void => {
    const took = Array.from({ length: changes }, (_, i) => {
      const start = process.threadCpuUsage();
      change(i % count, i + 2);
      translator.flush();
      const { user, system } = process.threadCpuUsage(start);
      return (user + system) / 1000;
    });
    rows.push([name, spread(took, 1)]);
  };
  one("one route", route);
  one("one route's policy", policy);
  one("the Gateway's policy, which is about all routes", (_, generation) => wide(generation));
  print([`a change beside ${count} routes and policies`, "processor time, ms"], rows);
  return Promise.resolve();
}
