import assert from "node:assert/strict";
import { test } from "node:test";
import type { Upstream } from "../../api/traffic.ts";
import { underPolicy } from "./under-policy.ts";

const base: Upstream = { id: "shop/web/80", namespace: "shop", service: "web", port: 80, protocol: "http1" };
const rule = (more: Partial<Upstream>): Upstream => ({ ...base, id: "istio:policy/shop/web/80", isPolicy: true, ...more });
const tls = { serverName: "web.shop.svc.cluster.local" };
const refused = { status: 503, reason: "no Secret" };

const cases: [title: string, own: Partial<Upstream>, of: Partial<Upstream> | undefined, more: Partial<Upstream>][] = [
  ["no rule", { idleMs: 1 }, undefined, { idleMs: 1 }],
  ["each part that is not said", { connectMs: 5 }, { connectMs: 9, idleMs: 7, balancer: { type: "random" } }, { connectMs: 5, idleMs: 7, balancer: { type: "random" } }],
  ["a part is one: bounds are not mixed", { breaker: { requestsMax: 1 } }, { breaker: { connectionsMax: 2 } }, { breaker: { requestsMax: 1 } }],
  ["subsets and endpoints are the route's own", { addresses: ["10.0.0.1"] }, { addresses: ["10.0.0.2"], endpoints: [] }, { addresses: ["10.0.0.1"] }],
  ["TLS", {}, { tls }, { tls }],
  ["TLS, with HTTP/2", { protocol: "h2c" }, { tls, protocol: "h2" }, { tls, protocol: "h2" }],
  ["an upgrade", {}, { protocol: "h2c" }, { protocol: "h2c" }],
  ["what the route says of its protocol stays", { protocol: "h2c" }, { protocol: "http1" }, { protocol: "h2c" }],
  ["a BackendTLSPolicy goes before", { tls: { serverName: "own" }, protocol: "h2" }, { tls, outlier: { consecutive5xx: 5, intervalMs: 1, baseEjectionMs: 1, maxEjectionPercent: 10 } }, { tls: { serverName: "own" }, protocol: "h2", outlier: { consecutive5xx: 5, intervalMs: 1, baseEjectionMs: 1, maxEjectionPercent: 10 } }],
  ["and so does one that cannot be had", { error: { status: 500, reason: "own" } }, { tls }, { error: { status: 500, reason: "own" } }],
  ["TLS that cannot be had is not left out", {}, { error: refused }, { error: refused }],
];
for (const [title, own, of, more] of cases) test(title, () => assert.deepEqual(underPolicy({ ...base, ...own }, of && rule(of)), { ...base, ...more }));
