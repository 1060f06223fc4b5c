import type { DaemonSet, Node, Pod, PodTemplateSpec } from "../../api/types.ts";
import type { Draft } from "../action.ts";
import { controllerReference, podFromTemplate } from "../pod-template.ts";
import { revisionLabel } from "../revision.ts";
import { nodeAffinity, nodeName, taints, tolerates } from "../scheduler/filters.ts";

/**
 * A DaemonSet's pods: each names its node in its affinity, so that the scheduler still checks what it needs there.
 * Source: k8s.io/kubernetes/pkg/controller/daemon/util/daemonset_util.go.
 */
export const generationLabel = "pod-template-generation";
const generationAnnotation = "deprecated.daemonset.template.generation";
const nodeField = "metadata.name";

type PodSpec = NonNullable<Pod["spec"]>;
type Toleration = NonNullable<PodSpec["tolerations"]>[number];

/** Daemons stay where others would leave. */
const ownTolerations: readonly Toleration[] = [
  { key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/disk-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/memory-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/pid-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/unschedulable", operator: "Exists", effect: "NoSchedule" },
];
const networkToleration: Toleration = { key: "node.kubernetes.io/network-unavailable", operator: "Exists", effect: "NoSchedule" };

function tolerationsOf(spec: PodSpec): Toleration[] {
  const present = spec.tolerations ?? [];
  const same = (a: Toleration) => (b: Toleration) => a.key === b.key && a.effect === b.effect && a.operator === (b.operator ?? "Equal") && !b.value;
  return [...present, ...[...ownTolerations, ...(spec.hostNetwork ? [networkToleration] : [])].filter((own) => !present.some(same(own)))];
}

export function podOf(set: DaemonSet, node: string, hash: string): Draft {
  const template = set.spec!.template as PodTemplateSpec;
  const pod = podFromTemplate(template, set.metadata.namespace!, controllerReference(set, "apps/v1", "DaemonSet"));
  const generation = set.metadata.annotations?.[generationAnnotation];
  const { affinity } = template.spec!;
  const required = { nodeSelectorTerms: [{ matchFields: [{ key: nodeField, operator: "In", values: [node] }] }] };
  return {
    ...pod,
    metadata: { ...pod.metadata, generateName: `${set.metadata.name}-`, labels: { ...pod.metadata.labels, [revisionLabel]: hash, ...(generation !== undefined && { [generationLabel]: generation }) } },
    spec: { ...template.spec, affinity: { ...affinity, nodeAffinity: { ...affinity?.nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: required } }, tolerations: tolerationsOf(template.spec!) },
  };
}

/** Where a pod is, or was made for. */
export function nodeOf(pod: Pod): string | undefined {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  const terms = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return terms.flatMap(({ matchFields }) => matchFields ?? []).find(({ key, operator, values }) => key === nodeField && operator === "In" && values?.length === 1)?.values?.[0];
}

/** Whether a pod belongs on a node; `stays` says whether one that is there already may remain. */
export function belongs(set: DaemonSet, node: Node): { runs: boolean; stays: boolean } {
  const spec = set.spec!.template!.spec!;
  const pod = { metadata: { name: "", namespace: set.metadata.namespace }, spec: { ...spec, tolerations: tolerationsOf(spec) } } as unknown as Pod;
  const candidate = { node, pods: [], used: new Map(), namespaces: () => undefined };
  if (nodeName(pod, candidate) || nodeAffinity(pod, candidate)) return { runs: false, stays: false };
  if (!taints(pod, candidate)) return { runs: true, stays: true };
  return { runs: false, stays: !(node.spec?.taints ?? []).some((taint) => taint.effect === "NoExecute" && !tolerates(pod, taint)) };
}
