import { duplicate, type FieldError, forbidden, invalid, required } from "../../../field.ts";
import type { KubeObject } from "../../../meta.ts";
import { validateCIDR, validateIP, validateNonSpecialIP } from "../../../validation/address.ts";
import { checked, each, oneOf, oneOfOptional } from "../../../validation/checks.ts";
import { validateLabels } from "../../../validation/metadata.ts";
import { dns1123Label, dns1123Subdomain, portNumber, qualifiedName } from "../../../validation/names.ts";
import { validatePortNumberOrName } from "../pod/containers.ts";
import { validateFamilies } from "./families.ts";
import { externallyAccessible, isHeadless, needsHealthCheckPort } from "./lifecycle.ts";

const protocols = ["SCTP", "TCP", "UDP"];

/** Source: ValidateService in k8s.io/kubernetes/pkg/apis/core/validation/validation.go. */
export function validateService({ spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const ports: any[] = spec.ports ?? [];
  const headless = isHeadless(spec);
  if (ports.length === 0 && !headless && spec.type !== "ExternalName") errors.push(required("spec.ports"));
  if (headless && (spec.type === "LoadBalancer" || spec.type === "NodePort")) errors.push(invalid("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${spec.type} services`));
  if (spec.type === "ExternalName") errors.push(...validateExternalName(spec));
  errors.push(...validatePorts("spec.ports", spec), ...validateLabels(spec.selector, "spec.selector"));
  errors.push(...oneOf("spec.sessionAffinity", spec.sessionAffinity, ["ClientIP", "None"]), ...validateAffinityConfig("spec.sessionAffinityConfig", spec));
  errors.push(...validateFamilies(spec));
  errors.push(
    ...each("spec.externalIPs", spec.externalIPs, (address: string, at) => {
      const wrong = validateIP(at, address);
      return wrong.length > 0 ? wrong : validateNonSpecialIP(at, address);
    }),
  );
  errors.push(...oneOf("spec.type", spec.type, ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]));
  if (spec.type === "ClusterIP") errors.push(...each("spec.ports", ports, (port, at) => (port.nodePort ? [forbidden(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'")] : [])));
  errors.push(...validateUniquePorts("spec.ports", ports), ...validateLoadBalancer(spec), ...validateTraffic(spec));
  return errors;
}

function validateExternalName(spec: any): FieldError[] {
  const text = "may not be set for ExternalName services";
  const errors = ["clusterIPs", "ipFamilies"].filter((field) => (spec[field] ?? []).length > 0).map((field) => forbidden(`spec.${field}`, text));
  if (spec.ipFamilyPolicy !== undefined) errors.push(forbidden("spec.ipFamilyPolicy", text));
  const target = (spec.externalName ?? "").replace(/\.$/, "");
  return [...errors, ...(target === "" ? [required("spec.externalName")] : checked("spec.externalName", target, dns1123Subdomain))];
}

function validatePorts(path: string, spec: any): FieldError[] {
  const names = new Set<string>();
  return each(path, spec.ports, (port, at) => {
    const errors: FieldError[] = [];
    if (!port.name) {
      if (spec.ports.length > 1) errors.push(required(`${at}.name`));
    } else {
      errors.push(...checked(`${at}.name`, port.name, dns1123Label));
      if (names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    errors.push(...portNumber(port.port ?? 0).map((text) => invalid(`${at}.port`, port.port ?? 0, text)), ...oneOf(`${at}.protocol`, port.protocol, protocols));
    errors.push(...validatePortNumberOrName(`${at}.targetPort`, port.targetPort));
    if (port.appProtocol !== undefined) errors.push(...checked(`${at}.appProtocol`, port.appProtocol, qualifiedName));
    return errors;
  });
}

function validateUniquePorts(path: string, ports: any[]): FieldError[] {
  const nodePorts = new Set<string>();
  const numbers = new Set<string>();
  return [
    ...each(path, ports, (port, at) => {
      if (!port.nodePort) return [];
      const key = `${port.protocol} ${port.nodePort}`;
      const errors = nodePorts.has(key) ? [duplicate(`${at}.nodePort`, port.nodePort)] : [];
      nodePorts.add(key);
      return errors;
    }),
    ...each(path, ports, (port, at) => {
      const key = `${port.protocol} ${port.port}`;
      // Go's ServicePort writes its zero fields too.
      const errors = numbers.has(key) ? [duplicate(at, { protocol: port.protocol, port: port.port, targetPort: 0 })] : [];
      numbers.add(key);
      return errors;
    }),
  ];
}

const affinitySecondsMax = 86_400;

function validateAffinityConfig(path: string, spec: any): FieldError[] {
  if (spec.sessionAffinity === "None") return spec.sessionAffinityConfig === undefined ? [] : [forbidden(path, "must not be set when session affinity is None")];
  if (spec.sessionAffinity !== "ClientIP") return [];
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (seconds === undefined) return [required(path, "when session affinity type is ClientIP")];
  return seconds > 0 && seconds <= affinitySecondsMax ? [] : [invalid(`${path}.clientIP.timeoutSeconds`, seconds, `must be greater than 0 and less than ${affinitySecondsMax}`)];
}

function validateLoadBalancer(spec: any): FieldError[] {
  const errors: FieldError[] = [];
  const only = "may only be used when `type` is 'LoadBalancer'";
  if ((spec.loadBalancerSourceRanges ?? []).length > 0) {
    // The capital letter is upstream's.
    if (spec.type !== "LoadBalancer") errors.push(forbidden("spec.LoadBalancerSourceRanges", only));
    errors.push(...each("spec.LoadBalancerSourceRanges", spec.loadBalancerSourceRanges, (range: string, at) => validateCIDR(at, range.trim())));
  }
  if (spec.type !== "LoadBalancer") {
    if (spec.allocateLoadBalancerNodePorts !== undefined) errors.push(forbidden("spec.allocateLoadBalancerNodePorts", only));
    if (spec.loadBalancerClass !== undefined) errors.push(forbidden("spec.loadBalancerClass", only));
  } else if (spec.loadBalancerClass !== undefined) errors.push(...checked("spec.loadBalancerClass", spec.loadBalancerClass, qualifiedName));
  return errors;
}

function validateTraffic(spec: any): FieldError[] {
  const errors: FieldError[] = [];
  if (externallyAccessible(spec)) errors.push(...oneOf("spec.externalTrafficPolicy", spec.externalTrafficPolicy, ["Cluster", "Local"]));
  else if (spec.externalTrafficPolicy) errors.push(invalid("spec.externalTrafficPolicy", spec.externalTrafficPolicy, "may only be set for externally-accessible services"));
  const port = spec.healthCheckNodePort;
  if (!needsHealthCheckPort(spec)) {
    if (port) errors.push(invalid("spec.healthCheckNodePort", port, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
  } else if (port) errors.push(...portNumber(port).map((text) => invalid("spec.healthCheckNodePort", port, text)));
  errors.push(...oneOfOptional("spec.internalTrafficPolicy", spec.internalTrafficPolicy, ["Cluster", "Local"]));
  return [...errors, ...oneOfOptional("spec.trafficDistribution", spec.trafficDistribution, ["PreferClose", "PreferSameZone", "PreferSameNode"])];
}

export function validateServiceUpdate(service: KubeObject, old: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const { spec } = service;
  const before = old.spec;
  if (spec.type !== "ExternalName" && before.type !== "ExternalName") {
    const addresses: string[] = spec.clusterIPs ?? [];
    const oldAddresses: string[] = before.clusterIPs ?? [];
    if (oldAddresses.length > 0 && addresses.length === 0) errors.push(invalid("spec.clusterIPs[0]", addresses, "primary clusterIP can not be unset"));
    else if (oldAddresses.length > 0 && addresses[0] !== oldAddresses[0]) errors.push(invalid("spec.clusterIPs[0]", addresses, "may not change once set"));
    if (oldAddresses.length > 1 && addresses.length > 1 && addresses[1] !== oldAddresses[1]) errors.push(invalid("spec.clusterIPs[1]", addresses, "may not change once set"));
    const [family] = (spec.ipFamilies ?? []) as string[];
    const [oldFamily] = (before.ipFamilies ?? []) as string[];
    if (!isHeadless(spec) && oldFamily !== undefined && family !== oldFamily) errors.push(invalid("spec.ipFamilies[0]", spec.ipFamilies ?? [], "may not change once set"));
  }
  if (spec.type === "LoadBalancer" && before.type === "LoadBalancer" && spec.loadBalancerClass !== before.loadBalancerClass) errors.push(invalid("spec.loadBalancerClass", spec.loadBalancerClass ?? null, "may not change once set"));
  if (needsHealthCheckPort(spec) && needsHealthCheckPort(before) && spec.healthCheckNodePort !== before.healthCheckNodePort) errors.push(forbidden("spec.healthCheckNodePort", "field is immutable"));
  return errors;
}

export function validateServiceStatus(service: KubeObject): FieldError[] {
  const path = "status.loadBalancer.ingress";
  const ingress: any[] = service.status?.loadBalancer?.ingress ?? [];
  if (ingress.length > 0 && service.spec.type !== "LoadBalancer") return [forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")];
  return each(path, ingress, (entry, at) => [
    ...(entry.ip ? validateIP(`${at}.ip`, entry.ip) : []),
    ...(entry.ip && entry.ipMode === undefined ? [required(`${at}.ipMode`, "must be specified when `ip` is set")] : []),
    ...(entry.hostname ? checked(`${at}.hostname`, entry.hostname, dns1123Subdomain) : []),
  ]);
}
