import { semanticEqual } from "../../../validation/checks.ts";

type Spec = any;

/**
 * What becomes of a Service's allocated fields when it is written: clients leave them out, so they are filled
 * from what is stored; when the type changes, what the new type does not use is dropped unless the client set it.
 * Source: k8s.io/kubernetes/pkg/registry/core/service/{strategy,storage/alloc}.go.
 */
export const isHeadless = (spec: Spec): boolean => spec.clusterIPs?.[0] === "None" || spec.clusterIP === "None";
const needsClusterIP = (spec: Spec): boolean => spec.type !== "ExternalName";
const needsNodePort = (spec: Spec): boolean => spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
export const externallyAccessible = (spec: Spec): boolean => spec.type === "LoadBalancer" || spec.type === "NodePort" || (spec.type === "ClusterIP" && (spec.externalIPs ?? []).length > 0);
export const needsHealthCheckPort = (spec: Spec): boolean => spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";

/** `clusterIP` is the first of `clusterIPs`; a client may have set, changed or cleared either. */
export function normalizeClusterIPs(spec: Spec, old?: Spec): void {
  if (!old) {
    if (spec.clusterIP && (spec.clusterIPs ?? []).length === 0) spec.clusterIPs = [spec.clusterIP];
    return;
  }
  const listUnchanged = semanticEqual(spec.clusterIPs, old.clusterIPs);
  if (!spec.clusterIP && old.clusterIP) {
    // An old client that knows `clusterIP` alone cleared it.
    if (listUnchanged) delete spec.clusterIPs;
  } else if (spec.clusterIP && !old.clusterIP) {
    if ((spec.clusterIPs ?? []).length === 0) spec.clusterIPs = [spec.clusterIP];
  } else if (spec.clusterIP !== old.clusterIP && listUnchanged) spec.clusterIPs = [spec.clusterIP];
}

export function fillFromOld(spec: Spec, old: Spec): void {
  if (needsClusterIP(spec) && needsClusterIP(old)) {
    if (!spec.clusterIP && old.clusterIP) spec.clusterIP = old.clusterIP;
    if ((spec.clusterIPs ?? []).length === 0 && spec.clusterIP === old.clusterIP && old.clusterIPs) spec.clusterIPs = [...old.clusterIPs];
  }
  if (needsNodePort(spec) && needsNodePort(old)) {
    const taken = new Set((spec.ports ?? []).map((port: any) => `${port.protocol} ${port.nodePort ?? 0}`));
    for (const port of spec.ports ?? []) {
      if (port.nodePort) continue;
      const before = (old.ports ?? []).find((other: any) => other.port === port.port && other.protocol === port.protocol);
      if (before?.nodePort && !taken.has(`${before.protocol} ${before.nodePort}`)) port.nodePort = before.nodePort;
    }
  }
  if (needsHealthCheckPort(spec) && needsHealthCheckPort(old) && !spec.healthCheckNodePort && old.healthCheckNodePort) spec.healthCheckNodePort = old.healthCheckNodePort;
}

export function forgetWhatTypeNeedsNoMore(spec: Spec, old: Spec): void {
  const unchanged = (field: string): boolean => semanticEqual(spec[field], old[field]);
  if (needsClusterIP(old) && !needsClusterIP(spec)) {
    if (unchanged("clusterIPs") || (spec.clusterIPs ?? []).length === 0) {
      delete spec.clusterIP;
      delete spec.clusterIPs;
    }
    for (const field of ["ipFamilies", "ipFamilyPolicy"]) if (unchanged(field)) delete spec[field];
  }
  const nodePorts = (of: Spec): number[] => (of.ports ?? []).map((port: any) => port.nodePort ?? 0).filter((port: number) => port !== 0);
  if (needsNodePort(old) && !needsNodePort(spec) && nodePorts(spec).every((port) => nodePorts(old).includes(port))) for (const port of spec.ports ?? []) delete port.nodePort;
  if (needsHealthCheckPort(old) && !needsHealthCheckPort(spec) && unchanged("healthCheckNodePort")) delete spec.healthCheckNodePort;
  if (old.type === "LoadBalancer" && spec.type !== "LoadBalancer") for (const field of ["allocateLoadBalancerNodePorts", "loadBalancerClass"]) if (unchanged(field)) delete spec[field];
  if (externallyAccessible(old) && !externallyAccessible(spec) && unchanged("externalTrafficPolicy")) delete spec.externalTrafficPolicy;
}
