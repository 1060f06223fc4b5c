import assert from "node:assert/strict";
import { test } from "node:test";
import { loadAll } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import { explainObjects } from "./cluster.ts";

const objects = loadAll(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: old
  namespace: shop
  uid: old
  creationTimestamp: "2026-01-01T00:00:00Z"
  annotations: { nginx.ingress.kubernetes.io/rewrite-target: /$1, nginx.ingress.kubernetes.io/force-ssl-redirect: "true", nginx.ingress.kubernetes.io/nonsense: "1" }
spec:
  rules:
    - host: old.example.com
      http: { paths: [{ path: "/v1/(.*)", pathType: ImplementationSpecific, backend: { service: { name: users, port: { number: 80 } } } }] }
status: { loadBalancer: { ingress: [{ ip: 127.0.0.1, ports: [{ port: 10080, protocol: TCP }, { port: 10443, protocol: TCP }] }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: users, namespace: shop }, spec: { ports: [{ port: 80 }] } }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: users-1, namespace: shop, labels: { kubernetes.io/service-name: users } }
ports: [{ name: "", port: 8080 }]
endpoints: [{ addresses: [10.244.0.5], conditions: { ready: true } }]
`) as KubeObject[];

test("Ingresses are explained at the ports that their statuses tell, with what they are told", () => {
  const ask = (url: string) => explainObjects(objects, { method: "GET", url, headers: [] });
  const served = ask("https://old.example.com:10443/V1/users");
  assert.equal(served.served, true);
  for (const line of [/^listener {2}ingress\/https at 127\.0\.0\.1:10443/m, /^route {5}Ingress\/shop\/old\/old\.example\.com$/m, /10\.244\.0\.5:8080/, /^ {2}Ingress\/shop\/old: UnknownAnnotation: nonsense is not known/m]) assert.match(served.text, line);
  assert.match(ask("http://old.example.com:10080/v1/users").text, /redirect: 308, scheme https, port 10443/);
  assert.match(ask("https://old.example.com:10443/v2").text, /^rule {6}default backend/m);
  assert.match(ask("http://old.example.com/v1/users").text, /nobody listens/);
});
