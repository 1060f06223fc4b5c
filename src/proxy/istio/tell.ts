import { rootNamespace, type ServiceEntry, type Sidecar } from "../../api/istio/kinds.ts";
import type { Report } from "./report.ts";

/** What is not honoured of them, wherever they are in force. */
export function tellServiceEntry({ spec }: ServiceEntry, report: Report): void {
  if (spec.addresses?.length) report.field("addresses", "nobody listens there: the names that pods call beyond the cluster are answered by the machine's own resolver");
  if (spec.subjectAltNames?.length) report.field("subjectAltNames", "say so in a DestinationRule's tls");
  for (const [index, { network, locality, serviceAccount }] of (spec.endpoints ?? []).entries()) {
    if (network) report.field(`endpoints[${index}].network`, "there is one network");
    if (locality) report.field(`endpoints[${index}].locality`, "one machine is one locality");
    if (serviceAccount) report.field(`endpoints[${index}].serviceAccount`, "who answers beyond the cluster is not asked");
  }
  if (report.places.size === 0) report.field("hosts", "no route leads there; what pods call beyond the cluster goes there directly, as far as the stack lets them out");
}

export function tellSidecar({ spec, metadata }: Sidecar, report: Report, isInForce: boolean): void {
  if (metadata.namespace === rootNamespace) report.field("egress", "a Sidecar for all namespaces is not in force; write one in each");
  else if (spec.workloadSelector) report.field("workloadSelector", "the Sidecar is not in force: it is for some pods of its namespace alone");
  else if (!isInForce) report.field("egress", "an older Sidecar of this namespace is in force");
  else report.place(`calls of pods in ${metadata.namespace}`);
  if (spec.ingress?.length) report.field("ingress", "pods are called at the ports that they listen at");
  if (spec.inboundConnectionPool) report.field("inboundConnectionPool", "say so in a DestinationRule of the Service");
  for (const [index, egress] of (spec.egress ?? []).entries()) for (const field of ["port", "bind", "captureMode"] as const) if (egress[field] && egress[field] !== "DEFAULT") report.field(`egress[${index}].${field}`, "its hosts are seen on all ports of their own");
  if (spec.outboundTrafficPolicy?.egressProxy) report.field("outboundTrafficPolicy.egressProxy", "nothing is sent by way of another");
  if (spec.outboundTrafficPolicy?.mode === "REGISTRY_ONLY") report.field("outboundTrafficPolicy.mode", "holds for what goes to Services; calls beyond the cluster are not refused by it");
}
