import { writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { Channel, type Endpoint as ChannelEndpoint, type RawHandle } from "../base/channel.ts";
import { bindHandle, type TcpHandle, type UdpHandle } from "../base/handles.ts";
import { limits } from "../base/limits.ts";
import { createLog } from "../base/log.ts";
import type { MeshAccount, MeshIdentity } from "../api/mesh-identity.ts";
import type { NetSnapshot, PodIdentity, ProbeRequest, Readiness } from "../api/network.ts";
import type { TrafficPatch } from "../api/traffic.ts";
import type { Health } from "../api/traffic-health.ts";
import type { QuotaResult } from "../policy/exchange.ts";
import type { QuotaAsk } from "../policy/quotas/counters.ts";
import type { Lease, LeaseRequest } from "../policy/rate-leases.ts";
import { dialTcp } from "./dial.ts";
import type { OutsideAnswer } from "./dns/server.ts";
import type { CheckRequest } from "./health/checker.ts";
import type { Keeper } from "./listeners.ts";
import type { Give, HostListener, WorkerInit } from "./messages.ts";
import { Worker } from "./worker-core.ts";

/**
 * The entry of a `wherry-net` process: unprivileged, inside the pod network, told everything by `wherry` over the
 * process channel. It ends when the channel does.
 */
const channel = new Channel(process as unknown as ChannelEndpoint);
const log = createLog("net");
process.once("disconnect", () => process.exit(0));
channel.on("net/stop", () => void (worker?.drain(AbortSignal.timeout(limits.gatewayDrainMs)) ?? Promise.resolve()).finally(() => process.exit(0)));
// A terminal's Ctrl-C and a session's end are `wherry`'s business; it closes the channel when it is time.
for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => {});

const keeper: Keeper = {
  keep: (key, handle) => channel.notify("net/keep", key, handle),
  taken: (key) => channel.notify("net/taken", key),
  opened: (key) => channel.notify("net/opened", key),
  release: async (key) => void (await channel.request("net/release", key)),
  bind: async (protocol, ip, port) => (await channel.request("net/bind", { protocol, ip, port })).handle as TcpHandle | UdpHandle | undefined,
};
const outside = {
  dial: async (ip: string, port: number, podIP?: string) => (await channel.request("net/dial-outside", { ip, port, podIP })).handle as TcpHandle,
  resolve: async (name: string, type: string) => (await channel.request<OutsideAnswer>("net/resolve-outside", { name, type })).body,
  meshed: (program: { ip: string; node: string }) => channel.notify("net/meshed", program),
  identity: async (account: MeshAccount) => (await channel.request<MeshIdentity>("net/identity", account)).body,
  countQuotas: async (asks: QuotaAsk[]) => (await channel.request<QuotaResult[]>("net/quotas", asks)).body,
  lease: async (request: LeaseRequest) => (await channel.request<Lease>("net/lease", request)).body,
};

let accessLog: number | undefined;
/** As nginx does: the kernel takes it at once, and a full disk costs lines, not requests. */
const writeAccessLog = (lines: Buffer): void => {
  try {
    writeSync(accessLog!, lines);
  } catch (error) {
    log.debug("lines of the access log are lost", { error: (error as Error).message });
  }
};

let worker: Worker | undefined;
channel.on("net/init", (init: WorkerInit) => {
  ({ accessLog } = init);
  worker = new Worker(init, keeper, { ...outside, ...(accessLog !== undefined && { log: writeAccessLog }) }, log);
});
channel.on("net/roots", () => worker?.forgetIdentities());
channel.on("net/log", (descriptor: number) => void (accessLog = descriptor));
channel.on("net/snapshot", ({ snapshot, hostListeners }: { snapshot: NetSnapshot; hostListeners: HostListener[] }) => worker?.apply(snapshot, hostListeners));
channel.on("net/traffic", ({ patch, hostListeners }: { patch: TrafficPatch; hostListeners?: HostListener[] }) => worker?.applyTraffic(patch, hostListeners));
channel.on("net/ready", ({ ip, ready }: { ip: string; ready: Readiness | null }) => worker?.setReady(ip, ready ?? undefined));
channel.on("net/pod", ({ ip, pod }: { ip: string; pod: PodIdentity | null }) => worker?.setPod(ip, pod ?? undefined));
channel.on("net/purge", ({ name, prefix }: { name: string; prefix: string }) => ({ body: worker?.purge(name, prefix) ?? 0 }));
channel.on("net/health", (health: Health) => worker?.learnHealth(health));
channel.on("net/check", async (request: CheckRequest) => ({ body: (await worker?.check(request)) ?? null }));
channel.on("net/rule-counts", (share: string) => ({ body: worker?.ruleCounts(share) ?? [] }));
channel.on("net/settled", () => ({ body: null }));
channel.on("net/give", ({ key, listening }: Give, handle: RawHandle | undefined) => worker?.give(key, handle as TcpHandle, listening));
channel.on("net/probe", async (request: ProbeRequest) => ({ body: await (await import("./probes/probe.ts")).probe(request) }));
channel.on("net/dial", async ({ ip, port, timeoutMs }: { ip: string; port: number; timeoutMs: number }) => ({ body: null, handle: await dialTcp(ip, port, timeoutMs) }));
channel.on("net/listen", ({ ip, port }: { ip: string; port: number }) => {
  const { handle, code } = bindHandle(ip, port);
  if (!handle) throw new Error(`bind ${ip}:${port}: ${code}`);
  return { body: null, handle };
});
channel.notify("net/started");
// A worker that is killed writes nothing at its end, so its compile cache is written early.
setTimeout(flushCompileCache, 2_000).unref();
