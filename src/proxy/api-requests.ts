import type { NetSnapshot } from "../api/network.ts";
import type { TrafficPatch } from "../api/traffic.ts";
import type { Channel } from "../base/channel.ts";
import type { NetSupervisor } from "./supervisor.ts";

/** What `wherry-api` tells the data plane, and asks of it; and what it hears. */
export function serveApiRequests(channel: Pick<Channel, "on">, net: NetSupervisor, api: { send(type: string, body: unknown): void }): void {
  net.health.onChange((reports) => api.send("net/health", reports));
  // What changed while it was away, nobody heard.
  channel.on("net/health-again", () => net.health.again());
  channel.on("net/snapshot", (snapshot: NetSnapshot) => net.publish(snapshot));
  channel.on("net/traffic", (patch: TrafficPatch) => net.publishTraffic(patch));
  // What was told before this is done, and nobody gets past it.
  channel.on("net/in-force", async () => {
    await net.settled?.();
    return { body: null };
  });
  channel.on("net/quota-counts", (prefix: string) => ({ body: net.quotaCounts(prefix) }));
  channel.on("net/empty-cache", async ({ cache, prefix }: { cache: string; prefix: string }) => ({ body: await net.purge(cache, prefix) }));
  channel.on("net/rule-counts", async (share: string) => ({ body: await net.ruleCounts(share) }));
  channel.on("mesh/roots", (roots: string) => net.trust(roots));
  channel.on("net/dial", async ({ ip, port }: { ip: string; port: number }) => ({ body: undefined, handle: await net.dialPod(ip, port) }));
}
