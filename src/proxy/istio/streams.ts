import type { Backend, StreamRoute } from "../../api/traffic.ts";
import type { Destination, StreamMatch, StreamRoute as StreamEntry, VirtualService } from "../../api/istio/kinds.ts";
import { AddressRanges } from "../../policy/addresses.ts";
import { declaredBy, isOwnTls } from "../mesh/protocol.ts";
import type { MatchContext } from "./matches.ts";
import type { Merged } from "./policy.ts";
import type { Report } from "./report.ts";
import { unserved } from "./rules.ts";
import type { Port, Target } from "./targets.ts";

export interface StreamContext extends MatchContext {
  /** The address that is dialled. */
  address: string | undefined;
  resolve(destination: Destination, at: string): { upstream: string } | { error: { status: number; reason: string } };
}

type Compiled = Pick<StreamRoute, "type" | "backends" | "clients" | "priority"> & { hostnames: string[]; suffix: string };

/** The entries that a port's connections are led by, where nobody reads them as HTTP: those of `tls` where programs speak TLS, of `tcp` elsewhere. */
export function compileStreams({ spec }: VirtualService, { appProtocol }: Pick<Port, "appProtocol">, context: StreamContext): Compiled[] {
  const type = isOwnTls(appProtocol) ? "tls" : "tcp";
  const entries = spec[type] ?? [];
  return entries.flatMap((entry, i) => {
    const at = `${type}[${i}]`;
    const fitting = (entry.match?.length ? entry.match : [{}]).flatMap((match, k) => fit(match, context, `${at}.match[${k}]`) ?? []);
    if (fitting.length === 0) return [];
    const backends = backendsOf(entry, context, at);
    return fitting.map((matched, k): Compiled => ({ type, backends, ...matched, priority: entries.length - i, suffix: `${type}-${i}-${k}` }));
  });
}

function backendsOf({ route = [] }: StreamEntry, { resolve }: StreamContext, at: string): Backend[] {
  return route.map(({ destination, weight = 0 }, i) => {
    // One alone gets everything, whatever its weight.
    const share = route.length === 1 ? 1 : weight;
    return destination ? { ...resolve(destination, `${at}.route[${i}].destination`), weight: share } : { ...unserved("the route has no destination"), weight: share };
  });
}

/** For whom, and for which server names; undefined: it never fits a connection to this port. */
function fit({ sniHosts, destinationSubnets, sourceSubnet, port, sourceLabels, sourceNamespace, gateways }: StreamMatch, { address, port: dialled, clients, report }: StreamContext, at: string): Pick<Compiled, "hostnames" | "clients"> | undefined {
  if (gateways?.length && !gateways.includes("mesh")) return undefined;
  if (port !== undefined && port !== dialled) return undefined;
  if (sourceSubnet) {
    report.field(`${at}.sourceSubnet`, "nothing fits it, as in Istio: say it with sourceLabels");
    return undefined;
  }
  if (destinationSubnets?.length && !(address !== undefined && new AddressRanges(destinationSubnets, `${at}.destinationSubnets`).includes(address))) return undefined;
  const from = sourceNamespace || sourceLabels ? clients(sourceLabels ?? {}, sourceNamespace) : undefined;
  if (from?.length === 0) return undefined;
  return { hostnames: sniHosts?.length ? [...new Set(sniHosts.map((host) => (host === "*" ? "" : host.toLowerCase())))] : [""], ...(from && { clients: from }) };
}

/** Whether a DestinationRule alone changes anything for connections that nobody reads. */
export function holdsForStreams({ connectionPool, loadBalancer, tls }: Merged): boolean {
  const { maxConnections, connectTimeout } = connectionPool?.value.tcp ?? {};
  return Boolean(maxConnections ?? connectTimeout) || loadBalancer?.value.consistentHash?.useSourceIp === true || isBegun(tls);
}
const isBegun = (tls: Merged["tls"]): boolean => ["SIMPLE", "MUTUAL"].includes(tls?.value.mode ?? "");

/** What of it holds for HTTP alone, where a port says that it is something else. */
export function tellOpaque({ outlierDetection, tls, loadBalancer }: Merged, { entry, namespace, name }: Target, { port, appProtocol }: Port, report: Report): void {
  if (entry || declaredBy(appProtocol) !== "opaque") return;
  const which = `connections to port ${port} of Service ${namespace}/${name}, which says that it is ${appProtocol},`;
  if (outlierDetection) report.field(outlierDetection.at, `holds for HTTP, not for ${which.slice(0, -1)}`);
  if (isBegun(tls)) report.field(tls!.at, `TLS is begun for HTTP alone: ${which} are refused`);
  const { simple, consistentHash } = loadBalancer?.value ?? {};
  if (["LEAST_REQUEST", "LEAST_CONN", "RANDOM"].includes(simple ?? "") || (consistentHash && !consistentHash.useSourceIp)) report.field(loadBalancer!.at, `${which} are balanced in turn`);
}
