import assert from "node:assert/strict";
import { test } from "node:test";
import { loadAll } from "js-yaml";
import { startApi } from "../../../test/harness-api.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import { resources } from "../../api/resources.ts";
import { trafficOf } from "./cluster.ts";
import { doorsOf, readDoors } from "./doors.ts";

const ingress = (name: string, more: string): string => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: ${name}, namespace: shop, uid: ${name}, creationTimestamp: "2026-01-01T00:00:00Z"${more}
  rules: [{ host: ${name}.io, http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] } }]
status: { loadBalancer: { ingress: [{ ip: 127.0.0.1, ports: [{ port: 10080, protocol: TCP }, { port: 10443, protocol: TCP }] }] } }
---`;
const objects = loadAll(`${ingress("plain", " }\nspec:")}${ingress("secure", " }\nspec:\n  tls: [{ hosts: [secure.io], secretName: tls }]")}${ingress("alias", ", annotations: { nginx.ingress.kubernetes.io/server-alias: other.io } }\nspec:")}
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: wherry }, spec: { controllerName: wherry.dev/gateway-controller } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z" }
spec:
  gatewayClassName: wherry
  listeners: [{ name: web, port: 80, protocol: HTTP }, { name: alt, port: 8080, protocol: HTTP, hostname: "*.alt.io" }, { name: raw, port: 5432, protocol: TCP }]
  allowedListeners: { namespaces: { from: Same } }
status: { addresses: [{ type: IPAddress, value: 127.99.0.1 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z" }
spec: { parentRef: { name: edge }, listeners: [{ name: late, port: 9000, protocol: HTTP, hostname: late.io }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z" }
spec: { parentRefs: [{ name: edge }], hostnames: [shop.io, a.alt.io], rules: [{ backendRefs: [{ name: web, port: 80 }] }] }
---
{ apiVersion: v1, kind: Service, metadata: { name: web, namespace: shop }, spec: { ports: [{ port: 80 }] } }
---
{ apiVersion: v1, kind: Namespace, metadata: { name: shop } }
`) as KubeObject[];

const edge = (address: string, port: number, boundPort?: number, code?: string): EdgeBinding => ({ address, port, protocol: "TCP", ...(boundPort !== undefined && { boundPort }), ...(code !== undefined && { code }) });
const edges = [edge("127.0.0.1", 80, 10080, "EACCES"), edge("127.0.0.1", 443, 10443, "EACCES"), edge("127.99.0.1", 80, 10080, "EACCES"), edge("127.99.0.1", 8080, 8080), edge("127.99.0.1", 5432, undefined, "EADDRINUSE")];

test("where each name is reached: as its object has it, and at the port that is bound", () => {
  const doors = doorsOf(trafficOf(objects).traffic, edges).map(({ object, url, address, port, boundPort, code, isEmpty }) => `${object} ${url} ${address}:${port} ${boundPort ?? "-"} ${code ?? "-"}${isEmpty ? " empty" : ""}`);
  assert.deepEqual(doors.sort(), [
    "Gateway/shop/edge http://a.alt.io:10080 127.99.0.1:80 10080 EACCES",
    "Gateway/shop/edge http://a.alt.io:8080 127.99.0.1:8080 8080 -",
    "Gateway/shop/edge http://shop.io:10080 127.99.0.1:80 10080 EACCES",
    "Gateway/shop/edge tcp://127.99.0.1:5432 127.99.0.1:5432 - EADDRINUSE empty",
    "Ingress/shop/alias http://alias.io:10080 127.0.0.1:80 10080 EACCES",
    "Ingress/shop/alias http://other.io:10080 127.0.0.1:80 10080 EACCES",
    "Ingress/shop/plain http://plain.io:10080 127.0.0.1:80 10080 EACCES",
    "Ingress/shop/secure https://secure.io:10443 127.0.0.1:443 10443 EACCES",
    "ListenerSet/shop/more http://late.io:9000 127.99.0.1:9000 - - empty",
  ]);
});

test("where Gateway API is not served, yet or any more, an Ingress still has its door, and nobody is told of an error", { timeout: 30_000 }, async () => {
  await using server = await startApi();
  const clients = [server.client, server.http()];
  for (const client of clients) assert.deepEqual(await readDoors(client), []);
  await server.client.create(resources.services, "default", { metadata: { name: "shop" }, spec: { ports: [{ port: 80 }] } });
  await server.client.create(resources.ingresses, "default", { metadata: { name: "shop" }, spec: { rules: [{ host: "shop.example", http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "shop", port: { number: 80 } } } }] } }] } });
  for (const client of clients) assert.deepEqual((await readDoors(client)).map(({ name, object }) => [name, object]), [["shop.example", "Ingress/default/shop"]]);
});
