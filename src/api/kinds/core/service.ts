import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { ageOf, labelsText, loadBalancerText, name, text, wide } from "../columns.ts";
import { nameIsDns1035Label } from "../../validation/names.ts";
import { initFamilies } from "./service/families.ts";
import { externallyAccessible, fillFromOld, forgetWhatTypeNeedsNoMore, normalizeClusterIPs } from "./service/lifecycle.ts";
import { validateService, validateServiceStatus, validateServiceUpdate } from "./service/validate.ts";

function externalIP({ spec, status }: KubeObject): string {
  const external: string[] = spec?.externalIPs ?? [];
  switch (spec?.type) {
    case "LoadBalancer": {
      const given = loadBalancerText(status);
      return [...(given === "" ? [] : [given]), ...external].join(",") || "<pending>";
    }
    case "ExternalName":
      return spec.externalName ?? "";
    case "ClusterIP":
    case "NodePort":
      return external.join(",") || "<none>";
    default:
      return "<unknown>";
  }
}

const ports = ({ spec }: KubeObject): string => (spec?.ports ?? []).map((port: any) => `${port.port}${port.nodePort ? `:${port.nodePort}` : ""}/${port.protocol}`).join(",");

/**
 * Addresses, families and node ports are given out by the API server's allocators, before `prepareForUpdate` and validation.
 * Source: k8s.io/kubernetes/pkg/{apis/core/v1/defaults.go,registry/core/service}.
 */
export const service: Strategy = {
  createOnUpdate: true,
  hasStatus: true,
  validateName: nameIsDns1035Label,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.sessionAffinity ||= "None";
    if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
    if (spec.sessionAffinity === "ClientIP" && spec.sessionAffinityConfig?.clientIP?.timeoutSeconds === undefined) spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: 10_800 } };
    spec.type ||= "ClusterIP";
    for (const port of spec.ports ?? []) {
      port.protocol ||= "TCP";
      port.targetPort ||= port.port;
    }
    if (externallyAccessible(spec)) spec.externalTrafficPolicy ||= "Cluster";
    if (["ClusterIP", "NodePort", "LoadBalancer"].includes(spec.type)) spec.internalTrafficPolicy ??= "Cluster";
    if (spec.type === "LoadBalancer") {
      spec.allocateLoadBalancerNodePorts ??= true;
      for (const ingress of object.status?.loadBalancer?.ingress ?? []) if (ingress.ip) ingress.ipMode ??= "VIP";
    }
  },
  prepareForCreate(object) {
    object.status = { loadBalancer: {} };
    // Nothing new after the allocator; of what could not be had, validation tells.
    normalizeClusterIPs(object.spec);
    initFamilies(object.spec);
  },
  prepareForUpdate(object, old) {
    fillFromOld(object.spec, old.spec);
    normalizeClusterIPs(object.spec, old.spec);
    initFamilies(object.spec, old.spec);
    forgetWhatTypeNeedsNoMore(object.spec, old.spec);
  },
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  validateStatusUpdate: validateServiceStatus,
  warnings({ metadata, spec }, old) {
    const warnings: string[] = [];
    if (metadata.annotations?.["service.kubernetes.io/topology-aware-hints"] !== undefined) warnings.push("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead");
    const isHeadless = spec.type === "ClusterIP" && spec.clusterIP === "None";
    if (isHeadless && spec.loadBalancerIP) warnings.push("spec.loadBalancerIP is ignored for headless services");
    if (isHeadless && spec.externalIPs?.length > 0) warnings.push("spec.externalIPs is ignored for headless services");
    if (isHeadless && spec.sessionAffinity !== "None") warnings.push("spec.SessionAffinity is ignored for headless services");
    if (spec.trafficDistribution === "PreferClose") warnings.push('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"');
    if (spec.externalIPs?.length > 0 && spec.type === "ExternalName" && !(old?.spec.externalIPs?.length > 0)) warnings.push(`spec.externalIPs is ignored when spec.type is "ExternalName"`);
    // The pod network routes its own addresses alone, and LoadBalancers listen on this machine's loopback.
    else if (spec.externalIPs?.length > 0 && !(old?.spec.externalIPs?.length > 0)) warnings.push("spec.externalIPs is not served by Wherry: no listener is opened on these addresses; use type LoadBalancer or NodePort");
    if (spec.loadBalancerSourceRanges?.length > 0 && !(old?.spec.loadBalancerSourceRanges?.length > 0)) warnings.push("spec.loadBalancerSourceRanges is not enforced by Wherry: load balancers are reached from this machine only");
    if (spec.externalName && spec.type !== "ExternalName" && !old?.spec.externalName) warnings.push(`spec.externalName is ignored when spec.type is not "ExternalName"`);
    return warnings;
  },
  columns: [
    name,
    text("Type", ({ spec }) => spec?.type),
    text("Cluster-IP", ({ spec }) => spec?.clusterIPs?.[0] ?? spec?.clusterIP, "<none>"),
    text("External-IP", externalIP),
    text("Port(s)", ports, "<none>"),
    ageOf,
    wide(text("Selector", ({ spec }) => labelsText(spec?.selector))),
  ],
  selectableFields: ({ spec }) => ({ "spec.clusterIP": spec?.clusterIP ?? "", "spec.type": spec?.type ?? "" }),
};
