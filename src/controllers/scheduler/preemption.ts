import { resources } from "../../api/resources.ts";
import { timestamp } from "../../api/meta.ts";
import type { Pod, PodDisruptionBudget } from "../../api/types.ts";
import { selectorMatches } from "../../api/validation/selector.ts";
import type { Action } from "../action.ts";
import type { Cache } from "../cache.ts";
import { byName } from "../claim.ts";
import { isTerminating } from "../pods.ts";
import type { Candidate, Refusal } from "./filters.ts";
import { add, podRequests } from "./resources.ts";

/**
 * Makes room for a pod by ending less important ones: as few as possible, the least important first, and those that
 * a budget protects only when nothing else helps.
 * Source: k8s.io/kubernetes/pkg/scheduler/framework/{preemption/preemption.go,plugins/defaultpreemption/default_preemption.go}.
 */
export interface Preemption {
  candidate: Candidate;
  victims: Pod[];
  /** How many of them a budget protects. */
  violations: number;
}

export const priorityOf = (pod: Pod): number => pod.spec?.priority ?? 0;

/** Whom to end where, or why nobody: a text of upstream's. `refusals` are why the pod cannot go to each candidate now. */
export function preemptionFor(pod: Pod, refusals: ReadonlyMap<Candidate, Refusal>, refuse: (pod: Pod, candidate: Candidate) => Refusal | undefined, cache: Cache): Preemption | string {
  if (pod.spec?.preemptionPolicy === "Never") return "not eligible due to preemptionPolicy=Never.";
  const total = refusals.size;
  const found: Preemption[] = [];
  const reasons: string[] = [];
  for (const [candidate, refusal] of refusals) {
    if (!refusal.resolvable) {
      reasons.push("Preemption is not helpful for scheduling");
      continue;
    }
    const lesser = candidate.pods.filter((other) => priorityOf(other) < priorityOf(pod));
    const outcome = lesser.length === 0 ? ["No preemption victims found for incoming pod"] : victimsAmong(pod, candidate, lesser, refuse, cache);
    if (Array.isArray(outcome)) reasons.push(...outcome);
    else found.push(outcome);
  }
  const highest = ({ victims }: Preemption): number => Math.max(-Infinity, ...victims.map(priorityOf));
  const [best] = found.sort((a, b) => a.violations - b.violations || highest(a) - highest(b) || a.victims.length - b.victims.length || byName(a.candidate.node, b.candidate.node));
  if (best) return best;
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return `0/${total} nodes are available: ${[...counts].map(([reason, count]) => `${count} ${reason}`).sort().join(", ")}.`;
}

function victimsAmong(pod: Pod, candidate: Candidate, lesser: readonly Pod[], refuse: (pod: Pod, candidate: Candidate) => Refusal | undefined, cache: Cache): Preemption | string[] {
  const without = (gone: ReadonlySet<Pod>): Candidate => {
    const pods = candidate.pods.filter((other) => !gone.has(other));
    return { ...candidate, pods, used: pods.reduce((used, other) => add(used, podRequests(other)), new Map()) };
  };
  const gone = new Set(lesser);
  const hopeless = refuse(pod, without(gone));
  if (hopeless) return hopeless.reasons;
  const startedMs = ({ status, metadata }: Pod): number => Date.parse(status?.startTime ?? metadata.creationTimestamp);
  const byImportance = [...lesser].sort((a, b) => priorityOf(b) - priorityOf(a) || startedMs(a) - startedMs(b) || byName(a, b));
  const protectedPods = protectedOf(byImportance, cache);
  // Let back in whoever still fits, the protected and the important first.
  for (const other of [...byImportance.filter((one) => protectedPods.has(one)), ...byImportance.filter((one) => !protectedPods.has(one))]) {
    gone.delete(other);
    if (refuse(pod, without(gone))) gone.add(other);
  }
  const victims = byImportance.filter((other) => gone.has(other) && !isTerminating(other));
  return { candidate, victims, violations: victims.filter((other) => protectedPods.has(other)).length };
}

/** Pods whose end would break a budget, if they went in this order. */
function protectedOf(pods: readonly Pod[], cache: Cache): Set<Pod> {
  const allowed = new Map<PodDisruptionBudget, number>();
  const result = new Set<Pod>();
  for (const pod of pods) {
    if (isTerminating(pod)) continue;
    for (const budget of cache.inNamespace<PodDisruptionBudget>(resources.podDisruptionBudgets, pod.metadata.namespace!)) {
      if (!selectorMatches(budget.spec?.selector, pod.metadata.labels) || budget.status?.disruptedPods?.[pod.metadata.name] !== undefined) continue;
      const left = (allowed.get(budget) ?? budget.status?.disruptionsAllowed ?? 0) - 1;
      allowed.set(budget, left);
      if (left < 0) result.add(pod);
    }
  }
  return result;
}

/** Ends the victims, each told by whom and why. */
export function evictVictims(pod: Pod, { candidate, victims }: Preemption, nowMs: number): Action[] {
  return victims.map((victim): Action => {
    const condition = { type: "DisruptionTarget", status: "True", reason: "PreemptionByScheduler", message: `${pod.spec?.schedulerName ?? "default-scheduler"}: preempting to accommodate a higher priority pod`, lastTransitionTime: timestamp(nowMs) };
    return {
      do: "patch",
      subresource: "status",
      type: "strategic",
      resource: resources.pods,
      object: victim,
      patch: { metadata: { uid: victim.metadata.uid }, status: { conditions: [condition] } },
      after: () => [
        { do: "delete", resource: resources.pods, object: victim },
        { do: "event", about: victim, type: "Normal", reason: "Preempted", message: `Preempted by pod ${pod.metadata.uid} on node ${candidate.node.metadata.name}` },
      ],
    };
  });
}
