import { type Condition, withCondition } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Lease, Node } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { stableJson } from "../pod-template.ts";
import { type Controller, controller } from "../runner.ts";

/** Upstream's --node-monitor-grace-period. */
const graceMs = 50_000;
export const leaseNamespace = "kube-node-lease";
const unreachable = "node.kubernetes.io/unreachable";
const notReady = "node.kubernetes.io/not-ready";
const unschedulable = "node.kubernetes.io/unschedulable";
const judged = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/**
 * A node that no longer renews its Lease is Unknown and takes no new pods. Its pods are left alone: with one node
 * there is nowhere to bring them, and the agent goes on with them as soon as it is back.
 * Source: k8s.io/kubernetes/pkg/controller/nodelifecycle/node_lifecycle_controller.go.
 */
export function nodeController(startedMs: number): Controller {
  return controller<Node>({
    name: "node-controller",
    for: resources.nodes,
    watches: [{ resource: resources.leases, keys: ({ metadata }: Lease) => (metadata.namespace === leaseNamespace ? [metadata.name] : []) }],
    plan: ({ object, cache, nowMs }) => planNode(object, cache, nowMs, startedMs),
  });
}

/** `startedMs`: when we began to listen. What was silent because everything was off is given time to speak. */
export function planNode(node: Node, cache: Cache, nowMs: number, startedMs = 0): Plan {
  const lease = cache.get<Lease>(resources.leases, `${leaseNamespace}/${node.metadata.name}`);
  const conditions = (node.status?.conditions ?? []) as Condition[];
  const ready = conditions.find((condition) => condition.type === "Ready");
  // Every sign of life counts: the Lease, a heartbeat in the status, or having just been registered.
  const seenMs = Math.max(...[lease?.spec?.renewTime, ready?.["lastHeartbeatTime"] as string | undefined, node.metadata.creationTimestamp].map((time) => (time ? Date.parse(time) : 0)), startedMs);
  const silentMs = nowMs - seenMs;
  const actions: Action[] = [];
  // Not registered through yet: no judgement.
  let state = ready?.status ?? "True";
  if (silentMs > graceMs) {
    state = "Unknown";
    let next = conditions;
    for (const type of judged) {
      const old = conditions.find((condition) => condition.type === type);
      if (!old && type !== "Ready") continue;
      const { reason, message } = old ? { reason: "NodeStatusUnknown", message: "Kubelet stopped posting node status." } : { reason: "NodeStatusNeverUpdated", message: "Kubelet never posted node status." };
      if (old?.status !== "Unknown") next = withCondition(next, { ...old, type, status: "Unknown", reason, message }, nowMs);
    }
    if (next !== conditions) {
      actions.push({ do: "status", resource: resources.nodes, object: { ...node, status: { ...node.status, conditions: next } } });
      if (ready) actions.push({ do: "event", about: node, type: "Normal", reason: "NodeNotReady", message: `Node ${node.metadata.name} status is now: NodeNotReady` });
    }
  }
  const taints = taintsOf(node, state);
  const { taints: _, ...spec } = node.spec ?? {};
  if (actions.length === 0 && taints) actions.push({ do: "update", resource: resources.nodes, object: { ...node, spec: { ...spec, ...(taints.length > 0 && { taints }) } } as Node });
  return { actions, ...(silentMs <= graceMs && { requeueAfterMs: graceMs - silentMs + 1 }) };
}

type Taint = NonNullable<NonNullable<Node["spec"]>["taints"]>[number];

/** The taints the node should have, or undefined when it has them. */
function taintsOf(node: Node, ready: string): Taint[] | undefined {
  const own = [unreachable, notReady, unschedulable];
  const present = node.spec?.taints ?? [];
  const wanted = [
    ...present.filter(({ key }) => !own.includes(key)),
    ...(ready === "Unknown" ? [{ key: unreachable, effect: "NoSchedule" as const }] : ready === "False" ? [{ key: notReady, effect: "NoSchedule" as const }] : []),
    ...(node.spec?.unschedulable ? [{ key: unschedulable, effect: "NoSchedule" as const }] : []),
  ];
  const identity = (taints: readonly Taint[]): string => stableJson(taints.map(({ key, value, effect }) => ({ key, value, effect })).sort((a, b) => (a.key + a.effect < b.key + b.effect ? -1 : 1)));
  return identity(wanted) === identity(present) ? undefined : wanted;
}
