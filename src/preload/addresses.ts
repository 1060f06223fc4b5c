import { isIP } from "node:net";
import type { Settings } from "./settings.ts";

const everywhere = new Set(["", "0.0.0.0", "::", "*", "localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:0", "0:0:0:0:0:0:0:1"]);

/** Where a program that asked to listen on `host` listens: "all addresses" and loopback mean the pod's own. */
export function listenHost(host: string | undefined, podIP: string): string {
  return host === undefined || everywhere.has(host.toLowerCase()) ? podIP : host;
}

/** Whether a connection to `host` is meant for the pod itself. */
export function isOwn(host: string | undefined): boolean {
  return host === undefined || everywhere.has(host.toLowerCase().replace(/^\[|\]$/g, ""));
}

/** Services answer low ports higher up where Wherry may not bind them. */
export function dialPort(address: string, port: number, { serviceNetwork, privilegedPortsBelow, privilegedPortOffset }: Pick<Settings, "serviceNetwork" | "privilegedPortsBelow" | "privilegedPortOffset">): number {
  return port < privilegedPortsBelow && address.startsWith(serviceNetwork) ? port + privilegedPortOffset : port;
}

/**
 * The names to ask for in turn, as a resolver with a search list does: relative names with fewer dots than `ndots`
 * try the search list first.
 */
export function candidates(name: string, searches: readonly string[], ndots: number): string[] {
  if (name.endsWith(".")) return [name.slice(0, -1)];
  const listed = searches.map((domain) => `${name}.${domain}`);
  return name.split(".").length - 1 >= ndots ? [name, ...listed] : [...listed, name];
}

export function familyOf(address: string): 4 | 6 {
  return isIP(address) === 6 ? 6 : 4;
}
