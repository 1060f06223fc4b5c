import { type Condition, timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { byName } from "../claim.ts";
import { isFinished, isTerminating } from "../pods.ts";
import type { Controller } from "../runner.ts";
import { ephemeralClaimName, notOwned } from "../volume/ephemeral.ts";
import { type Candidate, nodeSelectorMatches, type Refusal, refusalOf } from "./filters.ts";
import { evictVictims, type Preemption, preemptionFor, priorityOf } from "./preemption.ts";
import { add, podRequests } from "./resources.ts";

/**
 * Gives pods to nodes. One plan looks at everything that waits, in the order of priority and age, and counts what it
 * has just placed: so a hundred pods are one plan and one batch of bindings, and nothing is placed twice.
 * Source: k8s.io/kubernetes/pkg/scheduler/schedule_one.go.
 */
export const schedulerName = "default-scheduler";
const everything = "pods";
export const schedulerController: Controller = {
  name: schedulerName,
  watches: [resources.pods, resources.nodes, resources.persistentVolumeClaims].map((resource) => ({ resource, keys: () => [everything] })),
  reads: [resources.namespaces, resources.persistentVolumes, resources.storageClasses, resources.events, resources.podDisruptionBudgets],
  plan: ({ cache, nowMs }) => planScheduling(cache, nowMs),
};

export function planScheduling(cache: Cache, nowMs: number): Plan {
  const pods = cache.list<Pod>(resources.pods);
  const waiting = pods.filter((pod) => !pod.spec?.nodeName && !pod.metadata.deletionTimestamp && !isFinished(pod) && (pod.spec?.schedulerName ?? schedulerName) === schedulerName);
  if (waiting.length === 0) return { actions: [] };
  const candidates = cache
    .list<Node>(resources.nodes)
    .sort(byName)
    .map((node) => {
      const placed = pods.filter((pod) => pod.spec?.nodeName === node.metadata.name && !isFinished(pod));
      return { node, pods: placed, used: placed.reduce((used, pod) => add(used, podRequests(pod)), new Map()), namespaces: (name: string) => cache.get<Namespace>(resources.namespaces, name) };
    });
  const order = (a: Pod, b: Pod): number => priorityOf(b) - priorityOf(a) || Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp) || byName(a, b);
  const refuse = (pod: Pod, reason: string, message: string): Action[] => unscheduled(pod, reason, message, cache, nowMs);
  const bindings: Action[] = [];
  const others: Action[] = [];
  for (const pod of waiting.sort(order)) {
    if ((pod.spec?.schedulingGates ?? []).length > 0) {
      others.push(...refuse(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"));
      continue;
    }
    const outcome = place(pod, candidates, cache);
    if ("refused" in outcome) {
      const { refused, preemption } = outcome;
      const nominated = preemption?.candidate.node.metadata.name;
      if (preemption) others.push(...evictVictims(pod, preemption, nowMs));
      others.push(...unscheduled(pod, "Unschedulable", refused, cache, nowMs, nominated));
      // What is made free for it must not go to the next in line.
      const reserved = nominated === undefined ? undefined : candidates.find(({ node }) => node.metadata.name === nominated);
      if (reserved) take(reserved, pod);
    }
    // What it preempted is on its way out: nothing new to say, and nobody else takes its place.
    else if ("awaits" in outcome) take(outcome.awaits, pod);
    else if (outcome.claims.length > 0) others.push(...outcome.claims);
    else if (!outcome.waits) {
      take(outcome.candidate, pod);
      bindings.push(bind(pod, outcome.candidate.node));
    }
  }
  // All at once, and a refused one does not hold up the rest: they are looked at again together.
  const waits = bindings.length < waiting.length;
  return { actions: [{ do: "batch", actions: [...others, ...bindings] }], ...(waits && { requeueAfterMs: remindMs }) };
}

type MutableCandidate = Candidate & { pods: Pod[] };
function take(candidate: MutableCandidate, pod: Pod): void {
  candidate.pods.push(pod);
  add(candidate.used, podRequests(pod));
}
type Outcome = { refused: string; preemption?: Preemption } | { awaits: MutableCandidate } | { candidate: MutableCandidate; claims: Action[]; waits: boolean };

function place(pod: Pod, candidates: readonly MutableCandidate[], cache: Cache): Outcome {
  const total = candidates.length;
  if (total === 0) return { refused: "no nodes available to schedule pods" };
  const storage = claimsOf(pod, cache);
  if ("error" in storage) return { refused: refusalText(total, [storage.error], false) };
  const refusals = new Map<MutableCandidate, Refusal>();
  const refuse = (one: Pod, candidate: Candidate): Refusal | undefined => refusalOf(one, candidate) ?? sharingRefusal(one, storage.exclusive, candidate) ?? volumeRefusal(storage.volumes, candidate.node);
  for (const candidate of candidates) {
    const refusal = refuse(pod, candidate);
    if (refusal) {
      refusals.set(candidate, refusal);
      continue;
    }
    // The provisioner waits to hear where the first consumer goes; the pod then waits for its volume.
    const claims = storage.unbound.filter((claim) => claim.metadata.annotations?.[selectedNodeAnnotation] !== candidate.node.metadata.name).map(
      (claim): Action => ({ do: "patch", resource: resources.persistentVolumeClaims, object: claim, patch: { metadata: { annotations: { [selectedNodeAnnotation]: candidate.node.metadata.name } } } }),
    );
    return { candidate, claims, waits: storage.unbound.length > 0 };
  }
  const nominated = candidates.find(({ node, pods }) => node.metadata.name === pod.status?.nominatedNodeName && pods.some((other) => isTerminating(other) && priorityOf(other) < priorityOf(pod)));
  if (nominated && refusals.get(nominated)?.resolvable) return { awaits: nominated };
  const reasons = [...refusals.values()].flatMap((refusal) => refusal.reasons);
  const preemption = preemptionFor(pod, refusals, refuse, cache);
  if (typeof preemption === "string") return { refused: refusalText(total, reasons, true, preemption) };
  // Without victims those who go already make room enough.
  return { refused: refusalText(total, reasons, true, ""), preemption };
}

/** `0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: …` */
export function refusalText(total: number, reasons: readonly string[], counted: boolean, preemption = `0/${total} nodes are available: ${total} Preemption is not helpful for scheduling.`): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const list = counted ? [...counts].map(([reason, count]) => `${count} ${reason}`).sort() : [...reasons];
  return `0/${total} nodes are available: ${list.join(", ")}.${preemption === "" ? "" : ` no new claims to deallocate, preemption: ${preemption}`}`;
}

export const selectedNodeAnnotation = "volume.kubernetes.io/selected-node";

function claimsOf(pod: Pod, cache: Cache): { error: string } | { unbound: PersistentVolumeClaim[]; volumes: PersistentVolume[]; exclusive: ReadonlySet<string> } {
  const exclusive = new Set<string>();
  const unbound: PersistentVolumeClaim[] = [];
  const volumes: PersistentVolume[] = [];
  for (const volume of pod.spec?.volumes ?? []) {
    const name = volume.persistentVolumeClaim?.claimName ?? (volume.ephemeral ? ephemeralClaimName(pod, volume) : undefined);
    if (name === undefined) continue;
    const claim = cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${pod.metadata.namespace}/${name}`);
    if (!claim) return { error: volume.ephemeral ? `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"` : `persistentvolumeclaim "${name}" not found` };
    const foreign = volume.ephemeral && notOwned(pod, claim);
    if (foreign) return { error: foreign };
    if (claim.spec?.accessModes?.includes("ReadWriteOncePod")) exclusive.add(name);
    if (claim.metadata.deletionTimestamp) return { error: `persistentvolumeclaim "${name}" is being deleted` };
    if (claim.spec?.volumeName && claim.status?.phase === "Bound") {
      const bound = cache.get<PersistentVolume>(resources.persistentVolumes, claim.spec.volumeName);
      if (!bound) return { error: `persistentvolume "${claim.spec.volumeName}" not found` };
      volumes.push(bound);
      continue;
    }
    const storageClass = cache.get<StorageClass>(resources.storageClasses, claim.spec?.storageClassName ?? "");
    if (storageClass?.volumeBindingMode !== "WaitForFirstConsumer") return { error: "pod has unbound immediate PersistentVolumeClaims" };
    unbound.push(claim);
  }
  return { unbound, volumes, exclusive };
}

/** ReadWriteOncePod: one pod at a time. Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins/volumerestrictions. */
function sharingRefusal(pod: Pod, exclusive: ReadonlySet<string>, { pods }: Candidate): Refusal | undefined {
  if (exclusive.size === 0) return undefined;
  const uses = (other: Pod): boolean => other.metadata.namespace === pod.metadata.namespace && (other.spec?.volumes ?? []).some(({ persistentVolumeClaim }) => persistentVolumeClaim && exclusive.has(persistentVolumeClaim.claimName));
  return pods.some(uses) ? { reasons: ["node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"], resolvable: true } : undefined;
}

function volumeRefusal(volumes: readonly PersistentVolume[], node: Node): { reasons: string[]; resolvable: boolean } | undefined {
  const elsewhere = volumes.some((volume) => volume.spec?.nodeAffinity?.required && !nodeSelectorMatches(node, volume.spec.nodeAffinity.required.nodeSelectorTerms as never));
  return elsewhere ? { reasons: ["node(s) didn't match PersistentVolume's node affinity"], resolvable: false } : undefined;
}

function bind(pod: Pod, node: Node): Action {
  const { name, namespace, uid } = pod.metadata;
  return {
    do: "create",
    subresource: "binding",
    resource: resources.pods,
    object: { apiVersion: "v1", kind: "Binding", metadata: { name, namespace: namespace!, uid }, target: { apiVersion: "v1", kind: "Node", name: node.metadata.name } },
    of: pod,
    after: () => [
      { do: "event", about: pod, type: "Normal", reason: "Scheduled", message: `Successfully assigned ${namespace}/${name} to ${node.metadata.name}` },
      ...(pod.status?.nominatedNodeName ? [{ do: "patch" as const, subresource: "status", resource: resources.pods, object: pod, patch: { metadata: { uid }, status: { nominatedNodeName: null } } }] : []),
    ],
  };
}

/** An Event lives an hour: what still waits must go on saying so. Upstream tries, and tells, as often. */
const remindMs = 5 * 60_000;

/** Says why, once for each reason (the condition is the memory of what was said), and again every five minutes. */
function unscheduled(pod: Pod, reason: string, message: string, cache: Cache, nowMs: number, nominatedNodeName?: string): Action[] {
  const old = ((pod.status?.conditions ?? []) as Condition[]).find((condition) => condition.type === "PodScheduled");
  const event: Action = { do: "event", about: pod, type: "Warning", reason: "FailedScheduling", message };
  const sinceMs = old?.lastTransitionTime ? nowMs - Date.parse(old.lastTransitionTime) : 0;
  if (old?.status === "False" && old.reason === reason && old.message === message && (nominatedNodeName === undefined || nominatedNodeName === pod.status?.nominatedNodeName)) {
    if (reason !== "Unschedulable" || sinceMs < remindMs) return [];
    const isFresh = ({ involvedObject, reason: told, lastTimestamp }: Event): boolean => told === "FailedScheduling" && involvedObject.uid === pod.metadata.uid && Date.parse(lastTimestamp ?? "") > nowMs - remindMs;
    return cache.inNamespace<Event>(resources.events, pod.metadata.namespace!).some(isFresh) ? [] : [event];
  }
  const lastTransitionTime = old?.status === "False" && old.lastTransitionTime ? old.lastTransitionTime : timestamp(nowMs);
  const condition = { type: "PodScheduled", status: "False", reason, message, lastTransitionTime, ...(pod.metadata.generation !== undefined && { observedGeneration: pod.metadata.generation }) };
  const patch: Action = { do: "patch", subresource: "status", type: "strategic", resource: resources.pods, object: pod, patch: { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition], ...(nominatedNodeName !== undefined && { nominatedNodeName }) } } };
  return reason === "Unschedulable" ? [patch, event] : [patch];
}
