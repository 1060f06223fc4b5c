import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { Lease, Node, Pod } from "../../api/types.ts";
import { SnapshotCache } from "../cache.ts";
import { planNode } from "./lifecycle.ts";
import { finishedPodsMax, planPodGarbage } from "./pod-gc.ts";

const nowMs = Date.UTC(2026, 0, 1, 12);
const ago = (seconds: number): string => new Date(nowMs - seconds * 1000).toISOString();
const taint = (key: string, effect = "NoSchedule") => ({ key: `node.kubernetes.io/${key}`, effect });

test("what a node's silence means", () => {
  interface Case {
    why: string;
    ready?: "True" | "False" | "Unknown";
    renewedAgo?: number;
    startedAgo?: number;
    createdAgo?: number;
    spec?: object;
    /** The verbs of the plan, and the taints it writes. */
    expected: string[];
    taints?: string[];
  }
  const cases: Case[] = [
    { why: "it speaks", ready: "True", renewedAgo: 5, expected: [] },
    { why: "silent, but not for long", ready: "True", renewedAgo: 49, expected: [] },
    { why: "silent for long", ready: "True", renewedAgo: 51, expected: ["status Unknown", "event NodeNotReady"] },
    { why: "known to be silent: taint it", ready: "Unknown", renewedAgo: 60, expected: ["update"], taints: ["node.kubernetes.io/unreachable"] },
    { why: "silent because everything was off", ready: "True", renewedAgo: 9999, startedAgo: 10, expected: [] },
    { why: "it never spoke", createdAgo: 60, expected: ["status Unknown"] },
    { why: "it never spoke, but is new", createdAgo: 10, expected: [] },
    { why: "it says that it is not ready", ready: "False", renewedAgo: 1, expected: ["update"], taints: ["node.kubernetes.io/not-ready"] },
    { why: "it is back", ready: "True", renewedAgo: 1, spec: { taints: [taint("unreachable"), { key: "mine", effect: "NoExecute" }] }, expected: ["update"], taints: ["mine"] },
    { why: "cordoned", ready: "True", renewedAgo: 1, spec: { unschedulable: true }, expected: ["update"], taints: ["node.kubernetes.io/unschedulable"] },
    { why: "cordoned and tainted so", ready: "True", renewedAgo: 1, spec: { unschedulable: true, taints: [taint("unschedulable")] }, expected: [] },
  ];
  for (const { why, ready, renewedAgo, startedAgo = 9999, createdAgo = 9999, spec = {}, expected, taints } of cases) {
    const conditions = ready ? [{ type: "Ready", status: ready, lastHeartbeatTime: ago(9999), lastTransitionTime: ago(9999) }] : [];
    const node = { apiVersion: "v1", kind: "Node", metadata: { name: "wherry", uid: "n", creationTimestamp: ago(createdAgo) }, spec, status: { conditions } } as unknown as Node;
    const leases = renewedAgo === undefined ? [] : [{ metadata: { name: "wherry", namespace: "kube-node-lease" }, spec: { renewTime: ago(renewedAgo) } } as unknown as Lease];
    const { actions, requeueAfterMs } = planNode(node, new SnapshotCache([[resources.leases, leases]]), nowMs, nowMs - startedAgo * 1000);
    const told = actions.map((action) => (action.do === "status" ? `status ${(action.object as Node).status!.conditions![0]!.status}` : action.do === "event" ? `event ${action.reason}` : action.do));
    assert.deepEqual(told, expected, why);
    const written = actions.flatMap((action) => (action.do === "update" ? ((action.object as Node).spec!.taints ?? []).map(({ key }) => key) : []));
    if (taints) assert.deepEqual(written, taints, why);
    if (renewedAgo !== undefined && renewedAgo <= 49) assert.equal(requeueAfterMs, (50 - renewedAgo) * 1000 + 1, `${why}: looks again when the grace is over`);
  }
});

test("which pods nobody else takes away", () => {
  const pod = (name: string, age: number, more: object = {}, meta: object = {}): Pod => ({ metadata: { name, namespace: "default", uid: name, creationTimestamp: ago(age), ...meta }, spec: { nodeName: "wherry" }, status: { phase: "Running" }, ...more }) as unknown as Pod;
  const finished = Array.from({ length: finishedPodsMax + 2 }, (_, index) => pod(`done-${index}`, 10_000 - index, { status: { phase: "Succeeded" } }));
  const others = [pod("fine", 1), pod("lost", 1, { spec: { nodeName: "another" } }), pod("unplaced", 1, { spec: {} }, { deletionTimestamp: ago(0) }), pod("waiting", 1, { spec: {} })];
  const named = (nodes: string[]) => {
    const [batch] = planPodGarbage(new SnapshotCache([[resources.pods, [...others, ...finished]], [resources.nodes, nodes.map((name) => ({ metadata: { name } }) as Node)]])).actions;
    return batch?.do === "batch" ? batch.actions.map((action) => (action.do === "delete" ? `${action.object.metadata.name} ${action.options?.gracePeriodSeconds}` : action.do)).sort() : [];
  };
  assert.deepEqual(named(["wherry"]), ["done-0 0", "done-1 0", "lost 0", "unplaced 0"]);
  assert.deepEqual(named([]), ["done-0 0", "done-1 0", "unplaced 0"], "before any node is registered none is lost");
});
