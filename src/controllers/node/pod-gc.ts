import { resources } from "../../api/resources.ts";
import type { Node, Pod } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { byName } from "../claim.ts";
import { isFinished, isTerminating } from "../pods.ts";
import type { Controller } from "../runner.ts";

const everything = "pods";
const intervalMs = 20_000;
/** Upstream keeps 12,500; on one machine far fewer finished pods are of use to anybody. */
export const finishedPodsMax = 1_000;

/**
 * Takes away pods that nobody else will: too many finished ones, those of a node that no longer exists, and those
 * deleted before they were given to a node.
 * Source: k8s.io/kubernetes/pkg/controller/podgc/gc_controller.go.
 */
export const podGarbageController: Controller = {
  name: "pod-garbage-collector",
  watches: [{ resource: resources.nodes, keys: () => [everything] }],
  reads: [resources.pods],
  plan: ({ cache }) => planPodGarbage(cache),
};

export function planPodGarbage(cache: Cache): Plan {
  const pods = cache.list<Pod>(resources.pods).sort((a, b) => Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp) || byName(a, b));
  const nodes = new Set(cache.list<Node>(resources.nodes).map((node) => node.metadata.name));
  const finished = pods.filter((pod) => isFinished(pod) && !isTerminating(pod));
  const excess = new Set(finished.slice(0, Math.max(0, finished.length - finishedPodsMax)));
  // Before the agent has registered, no node is known and every pod would seem lost.
  const lost = nodes.size === 0 ? [] : pods.filter((pod) => pod.spec?.nodeName && !nodes.has(pod.spec.nodeName));
  const unplaced = pods.filter((pod) => isTerminating(pod) && !pod.spec?.nodeName);
  const actions = [...new Set([...excess, ...lost, ...unplaced])].map((pod): Action => ({ do: "delete", resource: resources.pods, object: pod, options: { gracePeriodSeconds: 0 } }));
  return { actions: [{ do: "batch", actions }], requeueAfterMs: intervalMs };
}
