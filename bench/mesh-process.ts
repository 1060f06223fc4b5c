import { silentLog } from "../src/base/log.ts";
import type { Guard } from "../src/api/guard.ts";
import type { HttpRoute, Upstream } from "../src/api/traffic.ts";
import { serviceListenerId } from "../src/proxy/mesh/listener-id.ts";
import { createNetSupervisor } from "../src/proxy/supervisor.ts";

/**
 * The data plane of a cluster, the very processes that `wherry up` has: `node mesh-process.ts SETUP`, JSON. Each Service leads to the
 * same pods; what stands before them is its own.
 */
export interface MeshSetup {
  dnsIP: string;
  gatewayIP: string;
  /** From where the load comes, as a pod. */
  clientIP: string;
  accessLog: string;
  pods: { ip: string; port: number }[];
  services: MeshService[];
}
export interface MeshService {
  name: string;
  ip: string;
  port: number;
  appProtocol: "tcp" | "http";
  hasRoute?: boolean;
  isJudged?: boolean;
}

const { dnsIP, gatewayIP, clientIP, accessLog, pods, services } = JSON.parse(process.argv[2]!) as MeshSetup;
const network = { mode: "isolated" as const, enter: [], gatewayIP, dnsIP, apiServiceIP: dnsIP.replace(/\d+$/, "1") };
const net = createNetSupervisor({ network, workers: 1, log: silentLog, private: true, accessLog });
await net.start();
net.setPod!(clientIP, { namespace: "bench", name: "client", serviceAccount: "client" });
const endpoints = pods.map((pod) => ({ ...pod, ready: true, terminating: false }));
net.publish({
  revision: 1,
  services: services.map(({ name, ip, port, appProtocol }) => ({ namespace: "bench", name, type: "ClusterIP", clusterIPs: [ip], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port, appProtocol, endpoints }] })),
});
const upstreams = services.flatMap(({ name, port, hasRoute }): Upstream[] => (hasRoute ? [{ id: `bench/${name}/${port}`, namespace: "bench", service: name, port, protocol: "http1" }] : []));
const routes = services.flatMap(({ name, port, hasRoute }): HttpRoute[] =>
  hasRoute ? [{ id: `HTTPRoute/bench/${name}@services`, type: "http", createdAt: 1, attachments: [{ listener: serviceListenerId("bench", name, port), hostnames: [""] }], rules: [{ name: "0", matches: [{ path: { type: "prefix", value: "/" } }], filters: [], backends: [{ upstream: `bench/${name}/${port}`, weight: 1 }] }] }] : [],
);
const guards = services.flatMap(({ name, isJudged }): Guard[] =>
  isJudged ? [{ id: `istio:AuthorizationPolicy/bench/${name}`, createdAt: 1, services: [`bench/${name}`], authorisation: { name: `bench/${name}`, action: "ALLOW", rules: [{ from: [{ principals: { any: ["cluster.local/ns/bench/sa/client"] } }], to: [{ methods: { any: ["GET", "POST"] }, paths: { any: ["/", "/files/*"] } }] }] } }] : [],
);
net.publishTraffic({ revision: 1, put: { upstreams, routes, guards }, remove: {} });
process.once("SIGTERM", () => void net.stop(AbortSignal.timeout(1_000)).then(() => process.exit(0)));
