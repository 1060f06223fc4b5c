import type { Call } from "../../policy/authorise/authorise.ts";

/** Who calls, where that is proved. */
export type Caller = NonNullable<Call["caller"]>;

/**
 * As whom a Gateway or an Ingress calls pods: by the names that their proxies' service accounts have elsewhere, so that policies
 * say here what they say there. Undefined where Gateways that share a port would be taken for each other, and at the front door,
 * whose callers are programs of this machine.
 */
export function gatewayCaller(listener: string): Caller | undefined {
  let caller = known.get(listener);
  if (caller === undefined) {
    if (known.size >= knownMax) known.clear();
    known.set(listener, (caller = read(listener) ?? null));
  }
  return caller ?? undefined;
}
const known = new Map<string, Caller | null>();
const knownMax = 1_000;

function read(listener: string): Caller | undefined {
  if (listener === "ingress/http" || listener === "ingress/https") return { trustDomain: "cluster.local", namespace: "ingress-nginx", serviceAccount: "ingress-nginx" };
  const gateways = new Set(listener.split(",").map((id) => id.split("/").slice(0, 2).join("/")));
  const [namespace, name] = [...gateways][0]!.split("/");
  // Istio's name for what it starts for a Gateway.
  return gateways.size === 1 && name !== undefined ? { trustDomain: "cluster.local", namespace: namespace!, serviceAccount: `${name}-istio` } : undefined;
}
