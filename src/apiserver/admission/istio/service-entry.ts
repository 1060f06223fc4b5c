import type { ServiceEntry, Sidecar } from "../../../api/istio/kinds.ts";
import { domainProblems, exportToProblems, isLabel, portProblems, quoted } from "./common.ts";

export function serviceEntryProblems(spec: ServiceEntry["spec"]): string[] {
  return [...entryProblems(spec)];
}

function* entryProblems({ hosts, ports = [], resolution = "NONE", endpoints = [], exportTo }: ServiceEntry["spec"]): Generator<string> {
  for (const host of hosts) yield* domainProblems(host);
  const names = new Set<string>();
  for (const { name, number, targetPort } of ports) {
    if (names.has(name)) yield `service entry port name ${quoted(name)} already defined`;
    names.add(name);
    if (targetPort) yield* portProblems(targetPort);
    if (!isLabel(name.toLowerCase())) yield `invalid port name: ${name}`;
    yield* portProblems(number);
  }
  for (const { address = "", ports: own = {} } of endpoints) {
    const isAddress = /^\d+\.\d+\.\d+\.\d+$/.test(address) || address.includes(":");
    if (resolution === "STATIC" && address !== "" && !isAddress) yield `endpoint address ${quoted(address)} is not a valid IP address`;
    for (const [name, port] of Object.entries(own)) if (!names.has(name)) yield `endpoint port ${port} is not defined by the service entry`;
  }
  const isByName = resolution === "DNS" || resolution === "DNS_ROUND_ROBIN";
  if (isByName && endpoints.length === 0 && hosts.some((host) => host.startsWith("*"))) yield `hosts must be FQDN if no endpoints are provided for resolution mode ${resolution}`;
  yield* exportToProblems(exportTo);
}

export function sidecarProblems({ egress = [], outboundTrafficPolicy }: Sidecar["spec"]): string[] {
  const found: string[] = [];
  for (const { hosts = [] } of egress) {
    if (hosts.length === 0) found.push("sidecar: egress listener must contain at least one host");
    for (const host of hosts) {
      const slash = host.indexOf("/");
      if (slash < 0) {
        found.push(`sidecar: host must be of form namespace/dnsName`);
        continue;
      }
      const [namespace, name] = [host.slice(0, slash), host.slice(slash + 1)];
      if (namespace === "" || name === "") found.push("config namespace and dnsName in host entry cannot be empty");
      else if (!["*", ".", "~"].includes(namespace) && !isLabel(namespace)) found.push(`invalid namespace value ${quoted(namespace)} in sidecar`);
      else if (name !== "*") found.push(...domainProblems(name));
    }
  }
  if (outboundTrafficPolicy?.egressProxy && outboundTrafficPolicy.mode === "REGISTRY_ONLY") found.push("sidecar: egress_proxy must be set only with ALLOW_ANY outbound_traffic_policy mode");
  return found;
}
