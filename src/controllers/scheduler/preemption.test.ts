import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { Node, Pod, PodDisruptionBudget } from "../../api/types.ts";
import type { Action } from "../action.ts";
import { SnapshotCache } from "../cache.ts";
import { planScheduling } from "./scheduler.ts";

const nowMs = Date.UTC(2026, 0, 1);
/** 2 cores, 4 pods. */
const node = { apiVersion: "v1", kind: "Node", metadata: { name: "wherry", labels: {} }, spec: {}, status: { allocatable: { cpu: "2", memory: "1Gi", pods: "4" } } } as unknown as Node;

/** "a 1000m p5": waits, asks for so much, has this priority; "on": runs; "never", "going", "nominated", "app=x". */
function podOf(line: string, index: number): Pod {
  const [name, ...words] = line.split(" ") as [string, ...string[]];
  const cpu = words.find((word) => word.endsWith("m"));
  const app = words.find((word) => word.startsWith("app="))?.slice(4) ?? name;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", uid: name, resourceVersion: "1", creationTimestamp: new Date(nowMs - 60_000 + index * 1000).toISOString(), labels: { app }, ...(words.includes("going") && { deletionTimestamp: "2026-01-01T00:00:00Z" }) },
    spec: {
      priority: Number(words.find((word) => /^p\d+$/.test(word))?.slice(1) ?? 0),
      ...(words.includes("on") && { nodeName: "wherry" }),
      ...(words.includes("never") && { preemptionPolicy: "Never" }),
      ...(words.includes("tainted") && { nodeSelector: { no: "such" } }),
      containers: [{ name: "c", ...(cpu && { resources: { requests: { cpu } } }) }],
    },
    status: { ...(words.includes("nominated") && { nominatedNodeName: "wherry" }) },
  } as unknown as Pod;
}
const budget = (app: string, disruptionsAllowed: number): PodDisruptionBudget => ({ metadata: { name: app, namespace: "default", uid: app }, spec: { selector: { matchLabels: { app } } }, status: { disruptionsAllowed } }) as unknown as PodDisruptionBudget;

function words(actions: readonly Action[]): string[] {
  return actions.flatMap((action): string[] => {
    if (action.do === "batch") return words(action.actions);
    if (action.do === "create") return [`bind ${action.object.metadata.name}`];
    if (action.do === "delete") return [`delete ${action.object.metadata.name}`];
    if (action.do === "event") return [`(${action.reason}: ${action.message})`];
    if (action.do !== "patch") return [action.do];
    const { status } = action.patch as { status: { conditions: { type: string; reason: string }[]; nominatedNodeName?: string } };
    return [`${action.object.metadata.name} ${status.conditions[0]!.reason}${status.nominatedNodeName ? ` nominated ${status.nominatedNodeName}` : ""}`, ...words(action.after?.({} as never) ?? [])];
  });
}

const ended = (victim: string, by = "a"): string[] => [`${victim} PreemptionByScheduler`, `delete ${victim}`, `(Preempted: Preempted by pod ${by} on node wherry)`];
const nominated = ["a Unschedulable nominated wherry", "(FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu.)"];
const refused = (why: string): string[] => ["a Unschedulable", `(FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: ${why})`];
const cases: [why: string, pods: string[], plan: string[], budgets?: PodDisruptionBudget[]][] = [
  ["the lesser makes room", ["a 1000m p5", "b 1500m p1 on"], [...ended("b"), ...nominated]],
  ["equals do not", ["a 1000m p5", "b 1500m p5 on"], refused("0/1 nodes are available: 1 No preemption victims found for incoming pod.")],
  ["more than the node has", ["a 3000m p5", "b 1500m p1 on"], refused("0/1 nodes are available: 1 Preemption is not helpful for scheduling.")],
  ["others as important hold the rest", ["a 1500m p5", "b 500m p1 on", "c 1000m p5 on"], refused("0/1 nodes are available: 1 Insufficient cpu.")],
  ["it must not", ["a 1000m p5 never", "b 1500m p1 on"], refused("not eligible due to preemptionPolicy=Never.")],
  ["another reason than room", ["a 1000m p5 tainted", "b 1500m p1 on"], ["a Unschedulable", "(FailedScheduling: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.)"]],
  ["no more than needed, the least important", ["a 1000m p5", "b 1000m p1 on", "c 1000m p2 on"], [...ended("b"), ...nominated]],
  ["of equals the youngest", ["a 1000m p5", "b 1000m on", "c 1000m on"], [...ended("c"), ...nominated]],
  ["one large rather than nothing", ["a 2000m p5", "b 500m on", "c 500m p1 on"], [...ended("c"), ...ended("b"), ...nominated]],
  ["what a budget protects stays if it can", ["a 1000m p5", "b 1000m on app=db", "c 1000m p1 on"], [...ended("c"), ...nominated], [budget("db", 0)]],
  ["and goes if it must", ["a 1000m p5", "b 1500m on app=db"], [...ended("b"), ...nominated], [budget("db", 0)]],
  ["a budget that allows one", ["a 1000m p5", "b 1000m on app=db", "c 1000m p1 on"], [...ended("b"), ...nominated], [budget("db", 1)]],
  ["room is coming: nobody else goes, nobody else comes", ["a 1000m p5 nominated", "b 1500m p1 on going", "c 400m p0 on", "d 500m"], ["d Unschedulable", "(FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.)"]],
  ["there is room now", ["a 1000m p5 nominated", "c 400m on"], ["bind a"]],
  ["the important first", ["b 1500m p1", "a 1500m p5"], ["b Unschedulable", "(FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.)", "bind a"]],
];
for (const [why, pods, plan, budgets = []] of cases) {
  test(`preemption: ${why}`, () => {
    const cache = new SnapshotCache([[resources.pods, pods.map(podOf)], [resources.nodes, [node]], [resources.podDisruptionBudgets, budgets]]);
    assert.deepEqual(words(planScheduling(cache, nowMs).actions), plan);
  });
}
