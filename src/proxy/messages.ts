import type { MeshIdentity } from "../api/mesh-identity.ts";
import type { NetSnapshot, PodIdentity, Readiness } from "../api/network.ts";
import type { TrafficSnapshot } from "../api/traffic.ts";
import type { Health } from "../api/traffic-health.ts";
import { hash } from "../policy/hash.ts";

/**
 * What `wherry` and a `wherry-net` worker say to each other.
 *
 *   wherry → worker    net/init  net/snapshot  net/traffic  net/ready  net/pod  net/give(handle)  net/probe  net/dial  net/listen  net/log  net/roots  net/purge  net/rule-counts  net/check  net/health  net/stop
 *   worker → wherry    net/started  net/keep(handle)  net/opened  net/release  net/bind  net/dial-outside  net/resolve-outside  net/lease  net/quotas  net/identity
 *
 * A *listener* is named by its key: `tcp/10.96.0.5:80`, `udp/10.96.0.10:53` in the pod network, `host/…` and
 * `egress/…` for those that `wherry` makes and gives.
 */
export interface WorkerInit {
  index: number;
  workers: number;
  mode: "isolated" | "plain";
  /** An address of the pods' /16. */
  gatewayIP: string;
  dnsIP: string;
  snapshot: NetSnapshot;
  traffic: TrafficSnapshot;
  /** What checks have found so far. */
  health: Health[];
  overrides: [ip: string, ready: Readiness][];
  pods: [ip: string, pod: PodIdentity][];
  /** Whether guards are heeded: only where an address proves who calls. */
  judges: boolean;
  /** See ServiceDoorOptions. */
  silentMs?: number;
  /** As whom its predecessor's listeners spoke TLS. */
  identities: MeshIdentity[];
  /** The inherited descriptor that the access log is written to; net/log names another. Absent: none is written. */
  accessLog?: number;
  hostListeners: HostListener[];
  /** Keys whose handles follow in net/give: not to be bound anew. */
  kept: string[];
}

/** A listener on the machine's side, made by `wherry`, served by a worker. */
export interface HostListener {
  key: string;
  serves: { type: "front-door" } | { type: "egress"; port: number } | { type: "edge"; protocol: "TCP" | "UDP"; address: string; port: number } | { type: "service"; namespace: string; service: string; protocol: "TCP" | "UDP"; port: number };
}

export interface Give {
  key: string;
  /** Somebody listened on it before: it must be closed, not only left alone, when it shall refuse. */
  listening: boolean;
}

/** The number that the first inherited descriptor has in a worker: after stdin, stdout, stderr, the channel and node itself. */
export const firstInherited = 5;

export const emptySnapshot: NetSnapshot = { revision: 0, services: [] };

/**
 * Plain mode: a port that an ordinary user may not bind is listened on this much higher; the preload of Node pods
 * dials it there.
 */
export const privilegedPortOffset = 40_000;

/**
 * Whether a worker serves this Service port: connections may meet any worker, datagrams of one client must meet one.
 * `key` is the port's; see `servicePortKey`.
 */
export function isServedBy(worker: { index: number; workers: number }, protocol: "TCP" | "UDP", key: string): boolean {
  return protocol === "TCP" || hash(key) % worker.workers === worker.index;
}
