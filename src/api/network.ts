import type { TrafficPatch } from "./traffic.ts";

/**
 * The data plane as the rest of Wherry sees it. `controllers/` publish snapshots, the agent asks for probes and
 * tells readiness, `apiserver/` dials pods; `proxy/` does the work in `wherry-net`. Joined in `wherry.ts`.
 */

/**
 * Everything the service listeners, DNS and the front door need, compiled from Services, EndpointSlices, Pods
 * (and later routes). Immutable; a new one replaces the old one whole. Plain JSON: it crosses process borders.
 */
export interface NetSnapshot {
  /** The store's revision it was compiled from; grows. */
  revision: number;
  services: ServiceSnapshot[];
}

export interface ServiceSnapshot {
  namespace: string;
  name: string;
  type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
  /** Empty for headless ("None") and ExternalName. */
  clusterIPs: string[];
  headless: boolean;
  externalName?: string;
  publishNotReadyAddresses: boolean;
  /** Seconds of ClientIP affinity; 0 for none. */
  affinitySeconds: number;
  ports: ServicePortSnapshot[];
  /** Somebody else listens at its address (the API server): it has names, and no listener. */
  reserved?: boolean;
  /**
   * All endpoints of a headless Service: A records of `svc.ns.svc.cluster.local` and of `hostname.svc.ns.svc…`.
   * An endpoint without a hostname goes by its address with dashes, as CoreDNS has it.
   */
  hostnames: { hostname: string; ip: string; ready: boolean; terminating?: boolean }[];
}

export interface ServicePortSnapshot {
  /** "" when the Service has one unnamed port. */
  name: string;
  protocol: "TCP" | "UDP";
  port: number;
  nodePort?: number;
  /** From `appProtocol` or the port's name ("http", "http-web", "grpc"): what the front door may route by name. */
  appProtocol?: string;
  /**
   * All endpoints, ready or not: readiness may change by a probe before the next snapshot. `ready` is the pod's
   * own (an EndpointSlice's "serving"); a terminating one gets connections only when no other is ready.
   */
  endpoints: { ip: string; port: number; ready: boolean; terminating: boolean }[];
}

export type ProbeRequest = { ip: string; port: number; timeoutMs: number } & (
  | { type: "http"; scheme: "HTTP" | "HTTPS"; host?: string; path: string; headers: { name: string; value: string }[] }
  | { type: "tcp" }
  | { type: "grpc"; service: string }
);
export interface ProbeResult {
  success: boolean;
  /** As kubelet says it: `HTTP probe failed with statuscode: 503`, `dial tcp 10.244.0.5:8080: connect: connection refused`. */
  output: string;
}

/** Where the host reaches a Service: printed by `status`, written into LoadBalancer status. */
export interface HostAddress {
  namespace: string;
  service: string;
  port: number;
  protocol: "TCP" | "UDP";
  /** "http://user-service.ecommerce.localhost:8088" or "tcp://127.0.0.1:40001". */
  url: string;
  /** The port of its own that every TCP Service has on the host: "127.0.0.1:20001". */
  address?: string;
  /** Set for type LoadBalancer: its address on the host. */
  loadBalancerIP?: string;
  nodePort?: number;
}

/** What became of an address that a Gateway's listener asks for. */
export interface EdgeBinding {
  address: string;
  port: number;
  protocol: "TCP" | "UDP";
  /** Where it is bound; differs from `port` where an ordinary user may not bind that. Absent when it cannot be. */
  boundPort?: number;
  /** Why not at `port`: "EADDRINUSE", "EACCES". */
  code?: string;
}

/**
 * Whether a pod may get connections. `held`: not now, but in a moment (its program is being restarted in place): a
 * connection for which nobody else is there waits, instead of being refused.
 */
export type Readiness = boolean | "held";

/** Who calls, by the address that a connection comes from: no pod of an isolated network can have another's. */
export interface PodIdentity {
  namespace: string;
  name: string;
  serviceAccount: string;
  /** What guards it goes by. */
  labels?: Record<string, string>;
}

/** A pod that other pods must not reach by its own address: all ports that programs listen at, and these beyond. */
export interface GuardedPod {
  ip: string;
  ports: number[];
}

export { directFeedPort } from "../base/direct-feed-port.ts";

/** The side of the data plane that lives in `wherry` and owns handles and workers. */
export interface PodNetwork {
  probe(request: ProbeRequest): Promise<ProbeResult>;
  /** Overrides an endpoint's readiness at once, ahead of the next snapshot. Undefined forgets the override. */
  setReady(ip: string, ready: Readiness | undefined): void;
  /** Resolves when that is so everywhere: nobody dials who was told not to. Soon, whatever happens. */
  settled?(): Promise<void>;
  /** Which pod has an address: told before its first program runs. Undefined: it has ended. */
  setPod?(ip: string, pod: PodIdentity | undefined): void;
  /** Told at once and at each change: whom only the data plane may reach, since it asks who calls. Where it asks at all. */
  onGuarded?(listener: (pods: GuardedPod[]) => unknown): void;
  publish(snapshot: NetSnapshot): void;
  /** Changes what Gateways serve; see api/traffic.ts. */
  publishTraffic(patch: TrafficPatch): void;
  hostAddresses(): HostAddress[];
  /** Told when a Node program of a pod has said that it dials by itself; `node`: its version. */
  onMeshed?(listener: (program: { ip: string; node: string }) => void): void;
  /** Told when a pod was not let out: `message` is for an Event on the pod with this address. Already limited in number. */
  onEgressRefused?(listener: (refusal: { podIP: string; message: string }) => void): void;
}

/** How the pod network is entered and shaped; provided by the agent's sandbox. */
export interface NetworkNamespace {
  mode: "isolated" | "plain";
  /**
   * The command prefix that starts a program inside the pod network as the data plane's unprivileged user:
   * empty in plain mode, `["nsenter", "-t", …, "setpriv", …]` in isolated mode.
   */
  enter: readonly string[];
  /** As `enter`, for the second namespace behind the default route where egress listeners live. */
  enterEgress?: readonly string[];
  /** Isolated: "10.244.0.1" (the gateway) etc. Plain: 127.97/16 and 127.96/16, or the next two that no other stack has. */
  gatewayIP: string;
  dnsIP: string;
  apiServiceIP: string;
}
