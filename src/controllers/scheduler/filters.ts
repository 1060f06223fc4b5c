import type { Namespace, Node, Pod } from "../../api/types.ts";
import { type LabelSelector, selectorMatches } from "../../api/validation/selector.ts";
import { isActive } from "../pods.ts";
import { type Amounts, lacking } from "./resources.ts";

/**
 * Why a pod cannot go to a node, one file for all of upstream's required rules, each with its text. Preferences do
 * not matter with one node.
 * Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins.
 */
export interface Candidate {
  node: Node;
  /** Pods on the node, those just placed included. */
  pods: readonly Pod[];
  used: Amounts;
  namespaces: (name: string) => Namespace | undefined;
}

export interface Refusal {
  reasons: string[];
  /** Whether taking other pods away could help. */
  resolvable: boolean;
}

const final = (...reasons: string[]): Refusal => ({ reasons, resolvable: false });
const resolvable = (...reasons: string[]): Refusal => ({ reasons, resolvable: true });

type Filter = (pod: Pod, candidate: Candidate) => Refusal | undefined;

/** In upstream's order; the first that refuses speaks. */
const filters: Filter[] = [unschedulable, nodeName, taints, nodeAffinity, ports, fits, topologySpread, podAffinity];

export function refusalOf(pod: Pod, candidate: Candidate): Refusal | undefined {
  for (const filter of filters) {
    const refusal = filter(pod, candidate);
    if (refusal) return refusal;
  }
  return undefined;
}

interface Taint {
  key: string;
  value?: string;
  effect: string;
}
export function tolerates(pod: Pod, taint: Taint): boolean {
  return (pod.spec?.tolerations ?? []).some(({ key, operator = "Equal", value = "", effect }) => {
    if (effect && effect !== taint.effect) return false;
    if (key && key !== taint.key) return false;
    if (!key && operator !== "Exists") return false;
    return operator === "Exists" || value === (taint.value ?? "");
  });
}

function unschedulable(pod: Pod, { node }: Candidate): Refusal | undefined {
  if (!node.spec?.unschedulable || tolerates(pod, { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" })) return undefined;
  return final("node(s) were unschedulable");
}

export function nodeName(pod: Pod, { node }: Candidate): Refusal | undefined {
  return pod.spec?.nodeName && pod.spec.nodeName !== node.metadata.name ? final("node(s) didn't match the requested node name") : undefined;
}

export function taints(pod: Pod, { node }: Candidate): Refusal | undefined {
  const offending = ((node.spec?.taints ?? []) as Taint[]).find((taint) => (taint.effect === "NoSchedule" || taint.effect === "NoExecute") && !tolerates(pod, taint));
  return offending && final("node(s) had untolerated taint(s)");
}

interface Expression {
  key: string;
  operator: string;
  values?: string[];
}
function expressionHolds({ key, operator, values = [] }: Expression, fields: Record<string, string>): boolean {
  const value = Object.hasOwn(fields, key) ? fields[key]! : undefined;
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** Terms are alternatives; a term that says nothing matches nothing. */
export function nodeSelectorMatches(node: Node, terms: readonly { matchExpressions?: Expression[]; matchFields?: Expression[] }[]): boolean {
  const labels = node.metadata.labels ?? {};
  const fields = { "metadata.name": node.metadata.name };
  return terms.some(({ matchExpressions = [], matchFields = [] }) => matchExpressions.length + matchFields.length > 0 && matchExpressions.every((expression) => expressionHolds(expression, labels)) && matchFields.every((expression) => expressionHolds(expression, fields)));
}

export function nodeAffinity(pod: Pod, { node }: Candidate): Refusal | undefined {
  const labels = node.metadata.labels ?? {};
  const selected = Object.entries(pod.spec?.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const matched = !required || nodeSelectorMatches(node, required.nodeSelectorTerms as never);
  return selected && matched ? undefined : final("node(s) didn't match Pod's node affinity/selector");
}

function hostPorts(pod: Pod): { ip: string; protocol: string; port: number }[] {
  return (pod.spec?.containers ?? []).flatMap((container) => (container.ports ?? []).flatMap(({ hostPort, hostIP, protocol }) => (hostPort ? [{ ip: hostIP || "0.0.0.0", protocol: protocol ?? "TCP", port: hostPort }] : [])));
}
function ports(pod: Pod, { pods }: Candidate): Refusal | undefined {
  const taken = pods.flatMap(hostPorts);
  const clash = hostPorts(pod).some((wanted) => taken.some((other) => other.port === wanted.port && other.protocol === wanted.protocol && (other.ip === wanted.ip || other.ip === "0.0.0.0" || wanted.ip === "0.0.0.0")));
  return clash ? resolvable("node(s) didn't have free ports for the requested pod ports") : undefined;
}

function fits(pod: Pod, { node, pods, used }: Candidate): Refusal | undefined {
  const reasons = pods.length + 1 > Number(node.status?.allocatable?.["pods"] ?? 110) ? ["Too many pods"] : [];
  reasons.push(...lacking(pod, node, used).map((name) => `Insufficient ${name}`));
  if (reasons.length === 0) return undefined;
  // More than the whole node has: nobody's going would help.
  return lacking(pod, node, new Map()).length > 0 ? final(...reasons) : resolvable(...reasons);
}

interface Constraint {
  topologyKey: string;
  whenUnsatisfiable: string;
  maxSkew: number;
  minDomains?: number;
  labelSelector?: LabelSelector;
  matchLabelKeys?: string[];
}
/**
 * All pods are in the one domain there is, so the skew over the least filled domain is never above 1; unless more
 * domains are demanded than there are, which makes the least filled one an empty one.
 */
function topologySpread(pod: Pod, { node, pods }: Candidate): Refusal | undefined {
  const constraints = ((pod.spec?.topologySpreadConstraints ?? []) as Constraint[]).filter(({ whenUnsatisfiable }) => whenUnsatisfiable === "DoNotSchedule");
  const missing = constraints.some(({ topologyKey }) => node.metadata.labels?.[topologyKey] === undefined);
  if (missing) return final("node(s) didn't match pod topology spread constraints (missing required label)");
  const own = pod.metadata.labels ?? {};
  const skewed = constraints.some(({ labelSelector, matchLabelKeys = [], maxSkew, minDomains = 1 }) => {
    if (minDomains <= 1) return false;
    const counts = (other: Pod): boolean => selectorMatches(labelSelector, other.metadata.labels) && matchLabelKeys.every((key) => own[key] === undefined || other.metadata.labels?.[key] === own[key]);
    const present = pods.filter((other) => isActive(other) && other.metadata.namespace === pod.metadata.namespace && counts(other)).length;
    return present + Number(counts(pod)) > maxSkew;
  });
  return skewed ? resolvable("node(s) didn't match pod topology spread constraints") : undefined;
}

interface Term {
  labelSelector?: LabelSelector;
  topologyKey: string;
  namespaces?: string[];
  namespaceSelector?: LabelSelector;
  matchLabelKeys?: string[];
  mismatchLabelKeys?: string[];
}
/** Whether a term of `owner` speaks of `other`. */
function termMatches(term: Term, owner: Pod, other: Pod, { namespaces }: Candidate): boolean {
  const named = term.namespaces ?? [];
  const inNamespace =
    named.length === 0 && !term.namespaceSelector
      ? other.metadata.namespace === owner.metadata.namespace
      : named.includes(other.metadata.namespace!) || (term.namespaceSelector !== undefined && selectorMatches(term.namespaceSelector, namespaces(other.metadata.namespace!)?.metadata.labels));
  const own = owner.metadata.labels ?? {};
  const labels = other.metadata.labels ?? {};
  return (
    inNamespace &&
    selectorMatches(term.labelSelector, labels) &&
    (term.matchLabelKeys ?? []).every((key) => own[key] === undefined || labels[key] === own[key]) &&
    (term.mismatchLabelKeys ?? []).every((key) => own[key] === undefined || labels[key] !== own[key])
  );
}
const required = (pod: Pod, kind: "podAffinity" | "podAntiAffinity"): Term[] => (pod.spec?.affinity?.[kind]?.requiredDuringSchedulingIgnoredDuringExecution ?? []) as Term[];

function podAffinity(pod: Pod, candidate: Candidate): Refusal | undefined {
  const hasLabel = ({ topologyKey }: Term): boolean => candidate.node.metadata.labels?.[topologyKey] !== undefined;
  const pods = candidate.pods.filter(isActive);
  const terms = required(pod, "podAffinity");
  if (terms.length > 0) {
    const matched = terms.every((term) => hasLabel(term) && pods.some((other) => termMatches(term, pod, other, candidate)));
    // The first of a group that wants its own company may go anywhere that has the label.
    const firstOfGroup = terms.every((term) => hasLabel(term) && termMatches(term, pod, pod, candidate)) && !pods.some((other) => terms.some((term) => termMatches(term, pod, other, candidate)));
    if (!matched && !firstOfGroup) return final("node(s) didn't match pod affinity rules");
  }
  if (required(pod, "podAntiAffinity").some((term) => hasLabel(term) && pods.some((other) => termMatches(term, pod, other, candidate)))) return resolvable("node(s) didn't match pod anti-affinity rules");
  const rejected = pods.some((other) => required(other, "podAntiAffinity").some((term) => hasLabel(term) && termMatches(term, other, pod, candidate)));
  return rejected ? resolvable("node(s) didn't satisfy existing pods anti-affinity rules") : undefined;
}
