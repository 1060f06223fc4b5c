import { parseQuantity } from "../../../quantity.ts";
import { ipWarnings } from "../../../validation/address.ts";
import { pathWarnings } from "./path-warnings.ts";
import { isWhole } from "./resources.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/**
 * `Warning:` lines about a pod or a template (`path`: where it stands; "" for a pod): what works, but not as its author may
 * think. Source: k8s.io/kubernetes/pkg/api/pod/warnings.go.
 */
export function podWarnings(path: string, { spec = {}, metadata }: Draft): string[] {
  const at = `${path === "" ? "" : `${path}.`}spec`;
  const noted = (key: string): string => `${path === "" ? "" : `${path}.`}metadata.annotations[${key}]`;
  const annotations: Record<string, string> = metadata?.annotations ?? {};
  const warnings = [...labelWarnings(at, spec), ...Object.entries(deprecatedAnnotations).filter(([key]) => Object.hasOwn(annotations, key)).map(([key, text]) => `${noted(key)}: ${text}`)];
  for (const [index, volume] of list(spec.volumes)) for (const [source, text] of Object.entries(deprecatedVolumes)) if (volume[source]) warnings.push(`${at}.volumes[${index}].${source === "storageos" ? "storageOS" : source}: ${text}`);
  warnings.push(...pathWarnings(spec.volumes ?? []), ...repeated(`${at}.hostAliases`, spec.hostAliases, "ip"), ...repeated(`${at}.imagePullSecrets`, spec.imagePullSecrets, "name"));
  for (const [index, { name }] of list(spec.imagePullSecrets)) if (!name) warnings.push(`${at}.imagePullSecrets[${index}].name: invalid empty name ""`);
  warnings.push(...fractions(`${at}.overhead`, spec.overhead));
  if (!spec.securityContext?.seccompProfile && Object.hasOwn(annotations, seccompOfPod)) warnings.push(`${noted(seccompOfPod)}: ${useSeccomp}`);
  const containers = containersOf(at, spec);
  for (const [container, here] of containers) {
    const seccomp = seccompOfContainer + container.name;
    if (!container.securityContext?.seccompProfile && Object.hasOwn(annotations, seccomp)) warnings.push(`${noted(seccomp)}: ${useSeccomp}`);
    const armor = appArmorOfContainer + container.name;
    // Of a pod the annotation becomes the field.
    if (path !== "" && !container.securityContext?.appArmorProfile && Object.hasOwn(annotations, armor) && !sameProfile(spec.securityContext?.appArmorProfile, annotations[armor]!)) warnings.push(`${noted(armor)}: deprecated since v1.30; use the "appArmorProfile" field instead`);
    warnings.push(...fractions(`${here}.resources.limits`, container.resources?.limits), ...fractions(`${here}.resources.requests`, container.resources?.requests), ...hiddenVariables(here, container));
  }
  warnings.push(...portWarnings(containers));
  if (spec.terminationGracePeriodSeconds < 0) warnings.push(`${at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`);
  warnings.push(...affinityWarnings(`${at}.affinity`, spec.affinity));
  for (const [index, server] of list<string>(spec.dnsConfig?.nameservers)) warnings.push(...ipWarnings(`${at}.dnsConfig.nameservers[${index}]`, server));
  for (const [index, { ip = "" }] of list(spec.hostAliases)) warnings.push(...ipWarnings(`${at}.hostAliases[${index}].ip`, ip));
  return warnings;
}

const list = <T = Draft>(items: readonly T[] | null | undefined): [index: number, item: T][] => [...(items ?? []).entries()];
const containersOf = (path: string, spec: Draft): [container: Draft, path: string][] => ["initContainers", "containers", "ephemeralContainers"].flatMap((field) => list(spec[field]).map(([index, container]): [Draft, string] => [container, `${path}.${field}[${index}]`]));

const seccompOfPod = "seccomp.security.alpha.kubernetes.io/pod";
const seccompOfContainer = "container.seccomp.security.alpha.kubernetes.io/";
const appArmorOfContainer = "container.apparmor.security.beta.kubernetes.io/";
const useSeccomp = 'non-functional in v1.27+; use the "seccompProfile" field instead';

const deprecatedAnnotations: Readonly<Record<string, string>> = {
  "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
  "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
  "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
};
export const deprecatedVolumes: Readonly<Record<string, string>> = {
  photonPersistentDisk: "deprecated in v1.11, non-functional in v1.16+",
  gitRepo: "deprecated in v1.11, and disabled by default in v1.33+",
  scaleIO: "deprecated in v1.16, non-functional in v1.22+",
  flocker: "deprecated in v1.22, non-functional in v1.25+",
  storageos: "deprecated in v1.22, non-functional in v1.25+",
  quobyte: "deprecated in v1.22, non-functional in v1.25+",
  glusterfs: "deprecated in v1.25, non-functional in v1.26+",
  cephfs: "deprecated in v1.28, non-functional in v1.31+",
  rbd: "deprecated in v1.28, non-functional in v1.31+",
};
export const deprecatedNodeLabels: Readonly<Record<string, string>> = {
  "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
  "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  "app.kubernetes.io/created-by": "deprecated since v1.9",
  "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
  "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
};

const better = (key: string | undefined): string | undefined => (key !== undefined && Object.hasOwn(deprecatedNodeLabels, key) ? deprecatedNodeLabels[key] : undefined);

export const nodeTermWarnings = (path: string, term: Draft): string[] => list(term?.matchExpressions).flatMap(([index, { key }]) => (better(key) ? [`${path}.matchExpressions[${index}].key: ${key} is ${better(key)}`] : []));

/** Where a pod names labels of nodes that have better ones. */
function labelWarnings(path: string, spec: Draft): string[] {
  const warnings = Object.keys(spec.nodeSelector ?? {}).filter(better).map((key) => `${path}.nodeSelector[${key}]: ${better(key)}`);
  const node = spec.affinity?.nodeAffinity;
  for (const [index, term] of list(node?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms)) warnings.push(...nodeTermWarnings(`${path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[${index}]`, term));
  for (const [index, term] of list(node?.preferredDuringSchedulingIgnoredDuringExecution)) warnings.push(...nodeTermWarnings(`${path}.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[${index}].preference`, term.preference));
  for (const [index, constraint] of list(spec.topologySpreadConstraints)) {
    const at = `${path}.topologySpreadConstraints[${index}]`;
    if (better(constraint.topologyKey)) warnings.push(`${at}.topologyKey: ${constraint.topologyKey} is ${better(constraint.topologyKey)}`);
    if (!constraint.labelSelector) warnings.push(`${at}.labelSelector: ${matchesNothing}`);
  }
  return warnings;
}

const matchesNothing = "a null labelSelector results in matching no pod";

function affinityWarnings(path: string, affinity: Draft): string[] {
  return ["podAffinity", "podAntiAffinity"].flatMap((sort) => [
    ...list(affinity?.[sort]?.requiredDuringSchedulingIgnoredDuringExecution).flatMap(([index, term]) => (term.labelSelector ? [] : [`${path}.${sort}.requiredDuringSchedulingIgnoredDuringExecution[${index}].labelSelector: ${matchesNothing}`])),
    ...list(affinity?.[sort]?.preferredDuringSchedulingIgnoredDuringExecution).flatMap(([index, term]) => (term.podAffinityTerm?.labelSelector ? [] : [`${path}.${sort}.preferredDuringSchedulingIgnoredDuringExecution[${index}].podAffinityTerm.labelSelector: ${matchesNothing}`])),
  ]);
}

function repeated(path: string, items: readonly Draft[] | undefined, field: string): string[] {
  const seen = new Set<string>();
  return list(items).flatMap(([index, item]) => {
    const value: string = item[field] ?? "";
    if (seen.has(value)) return [`${path}[${index}].${field}: duplicate ${field} ${JSON.stringify(value)}`];
    seen.add(value);
    return [];
  });
}

/** Half a byte is none. */
const fractions = (path: string, amounts: Record<string, unknown> | undefined): string[] =>
  ["memory", "ephemeral-storage"].flatMap((name) => {
    const text = amounts?.[name];
    return text === undefined || isWhole(parseQuantity(String(text))) ? [] : [`${path}[${name}]: fractional byte value ${JSON.stringify(String(text))} is invalid, must be an integer`];
  });

/** A variable set twice hides the first, unless the second builds on it. */
function hiddenVariables(path: string, container: Draft): string[] {
  const seen = new Set<string>();
  return list(container.env).flatMap(([index, { name, value = "", valueFrom }]) => {
    const reference = `$(${name})`;
    if (seen.has(name) && (valueFrom || value === reference || !value.includes(reference))) return [`${path}.env[${index}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`];
    seen.add(name);
    return [];
  });
}

/** Ports of all containers together: they share one network. */
function portWarnings(containers: readonly [container: Draft, path: string][]): string[] {
  const warnings: string[] = [];
  const numbers = new Map<string, { at: string; hostIP: string; hostPort: number }[]>();
  const ports = containers.flatMap(([container, path]) => list(container.ports).map(([index, port]): [Draft, string] => [port, `${path}.ports[${index}]`]));
  for (const [port, at] of ports) {
    const { name = "", containerPort, protocol, hostIP = "", hostPort = 0 } = port;
    if (hostIP !== "" && hostPort === 0) warnings.push(`${at}: hostIP set without hostPort: {Name:${name} HostPort:0 ContainerPort:${containerPort} Protocol:${protocol} HostIP:${hostIP}}`);
    const key = `${containerPort}/${protocol}`;
    const others = numbers.get(key) ?? [];
    for (const other of others) {
      if (hostIP === other.hostIP && hostPort === other.hostPort) warnings.push(`${at}: duplicate port definition with ${other.at}`);
      else if (hostPort === 0 || other.hostPort === 0) warnings.push(`${at}: overlapping port definition with ${other.at}`);
      else if (hostPort === other.hostPort && (hostIP === "") !== (other.hostIP === "")) warnings.push(`${at}: dangerously ambiguous port definition with ${other.at}`);
    }
    numbers.set(key, [...others, { at, hostIP, hostPort }]);
  }
  const names = new Map<string, string>();
  for (const [{ name }, at] of ports) {
    if (!name) continue;
    const other = names.get(name);
    if (other) warnings.push(`${at}: duplicate port name ${JSON.stringify(name)} with ${other}, services and probes that select ports by name will use ${other}`);
    else names.set(name, at);
  }
  return warnings;
}

/** Whether a profile says what the old annotation says. */
function sameProfile(profile: Draft, annotation: string): boolean {
  if (annotation === "unconfined") return profile?.type === "Unconfined";
  if (annotation === "runtime/default") return profile?.type === "RuntimeDefault";
  return profile?.type === "Localhost" && annotation === `localhost/${profile.localhostProfile ?? ""}`;
}
