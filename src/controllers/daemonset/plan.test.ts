import assert from "node:assert/strict";
import { test } from "node:test";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { ControllerRevision, DaemonSet, Node, Pod } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import { SnapshotCache } from "../cache.ts";
import { revisionsOf } from "../revision.ts";
import { planDaemonSet } from "./plan.ts";

const nowMs = Date.UTC(2026, 0, 1, 12);
const setOf = (updateStrategy: object, spec: object = {}): DaemonSet =>
  ({
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "agent", namespace: "default", uid: "set", resourceVersion: "1", generation: 1, annotations: { "deprecated.daemonset.template.generation": "3" } },
    spec: { selector: { matchLabels: { app: "agent" } }, updateStrategy, template: { metadata: { labels: { app: "agent" } }, spec: { containers: [{ name: "main", image: "x:2" }], ...spec } } },
  }) as unknown as DaemonSet;
const revision = (set: DaemonSet): ControllerRevision => {
  const create = revisionsOf(set, [], () => false).actions[0] as Extract<Action, { do: "create" }>;
  return { ...create.object, metadata: { ...create.object.metadata, uid: "r", resourceVersion: "1" } } as unknown as ControllerRevision;
};

/** "n1 disk=ssd taint=a:NoSchedule": a node. */
function nodeOf(line: string): Node {
  const [name, ...words] = line.split(" ") as [string, ...string[]];
  const taints = words.filter((word) => word.startsWith("taint=")).map((word) => ({ key: word.slice(6).split(":")[0]!, effect: word.split(":")[1]! }));
  const labels = Object.fromEntries(words.filter((word) => !word.startsWith("taint=")).map((word) => word.split("=")));
  return { metadata: { name, uid: name, labels }, spec: { taints } } as unknown as Node;
}
/** "a@n1 new ready": a pod of the present template, "old" of one before; "ready" or a phase; "terminating"; age in seconds. */
function podOf(line: string, hash: string): Pod {
  const [place, ...words] = line.split(" ") as [string, ...string[]];
  const [name, node] = place.split("@") as [string, string];
  const age = Number(words.find((word) => /^\d+s$/.test(word))?.slice(0, -1) ?? 60);
  const phase = words.find((word) => ["Failed", "Succeeded", "Pending"].includes(word)) ?? "Running";
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", uid: name, resourceVersion: "1", creationTimestamp: timestamp(nowMs - age * 1000), labels: { app: "agent", "controller-revision-hash": words.includes("new") ? hash : "before" }, ownerReferences: [{ kind: "DaemonSet", name: "agent", uid: "set", controller: true }], ...(words.includes("terminating") && { deletionTimestamp: timestamp(nowMs) }) },
    spec: { nodeName: node },
    status: { phase, conditions: [{ type: "Ready", status: words.includes("ready") ? "True" : "False", lastTransitionTime: timestamp(nowMs - age * 1000) }] },
  } as unknown as Pod;
}

function words({ actions, requeueAfterMs }: Plan): string[] {
  const said = (action: Action): string[] => {
    switch (action.do) {
      case "batch":
        return action.actions.flatMap(said);
      case "create": {
        const { spec } = action.object as unknown as Pod;
        return [`create on ${spec!.affinity!.nodeAffinity!.requiredDuringSchedulingIgnoredDuringExecution!.nodeSelectorTerms[0]!.matchFields![0]!.values![0]}`];
      }
      case "delete":
        return [`delete ${action.object.metadata.name}`];
      case "status": {
        const { desiredNumberScheduled: desired, currentNumberScheduled: current, numberReady: ready, numberAvailable: available = 0, updatedNumberScheduled: updated = 0, numberMisscheduled: wrong } = action.object.status as NonNullable<DaemonSet["status"]>;
        return [`status ${desired} wanted ${current} there ${ready} ready ${available} available ${updated} new ${wrong} wrong`];
      }
      case "event":
        return [`(${action.reason})`];
      default:
        return [action.do];
    }
  };
  return [...actions.flatMap(said), ...(requeueAfterMs === undefined ? [] : [`again in ${requeueAfterMs / 1000} s`])];
}

const rolling = (maxUnavailable: number | string, maxSurge: number | string = 0) => ({ type: "RollingUpdate", rollingUpdate: { maxUnavailable, maxSurge } });
const onDelete = { type: "OnDelete" };
const three = ["n1", "n2", "n3"];
const cases: [why: string, set: DaemonSet, nodes: string[], pods: string[], plan: string[]][] = [
  ["one on each", setOf(rolling(1)), three, ["a@n1 new ready"], ["create on n2", "create on n3", "status 3 wanted 1 there 1 ready 1 available 1 new 0 wrong"]],
  ["where the selector says", setOf(rolling(1), { nodeSelector: { disk: "ssd" } }), ["n1 disk=ssd", "n2"], [], ["create on n1", "status 1 wanted 0 there 0 ready 0 available 0 new 0 wrong"]],
  ["no longer there: it goes", setOf(rolling(1), { nodeSelector: { disk: "ssd" } }), ["n1"], ["a@n1 new ready"], ["delete a", "status 0 wanted 0 there 0 ready 0 available 0 new 1 wrong"]],
  ["a taint keeps it away", setOf(rolling(1)), ["n1 taint=dedicated:NoSchedule"], [], ["status 0 wanted 0 there 0 ready 0 available 0 new 0 wrong"]],
  ["but not one that is there", setOf(rolling(1)), ["n1 taint=dedicated:NoSchedule"], ["a@n1 new ready"], ["status 0 wanted 0 there 0 ready 0 available 0 new 1 wrong"]],
  ["unless it says so", setOf(rolling(1)), ["n1 taint=dedicated:NoExecute"], ["a@n1 new ready"], ["delete a", "status 0 wanted 0 there 0 ready 0 available 0 new 1 wrong"]],
  ["daemons stay where others may not", setOf(rolling(1)), ["n1 taint=node.kubernetes.io/not-ready:NoExecute taint=node.kubernetes.io/unschedulable:NoSchedule"], [], ["create on n1", "status 1 wanted 0 there 0 ready 0 available 0 new 0 wrong"]],
  ["two on a node: the younger goes", setOf(rolling(1)), ["n1"], ["a@n1 new ready 5s", "b@n1 new ready 9s"], ["delete a", "status 1 wanted 1 there 1 ready 1 available 1 new 0 wrong"]],
  ["the next waits until the one before has ended", setOf(rolling(1)), ["n1"], ["a@n1 old terminating"], ["status 1 wanted 1 there 0 ready 0 available 0 new 0 wrong"]],
  ["a failed one is replaced, not at once", setOf(rolling(1)), ["n1"], ["a@n1 new Failed 4s"], ["status 1 wanted 1 there 0 ready 0 available 1 new 0 wrong", "again in 6 s"]],
  ["a failed one is replaced", setOf(rolling(1)), ["n1"], ["a@n1 new Failed"], ["(FailedDaemonPod)", "delete a", "status 1 wanted 1 there 0 ready 0 available 1 new 0 wrong"]],
  ["OnDelete waits for somebody", setOf(onDelete), ["n1"], ["a@n1 old ready"], ["status 1 wanted 1 there 1 ready 1 available 0 new 0 wrong"]],
  ["a roll-out, one at a time", setOf(rolling(1)), three, ["a@n1 old ready", "b@n2 old ready", "c@n3 old ready"], ["delete a", "status 3 wanted 3 there 3 ready 3 available 0 new 0 wrong"]],
  ["two thirds at a time", setOf(rolling("50%")), three, ["a@n1 old ready", "b@n2 old ready", "c@n3 old ready"], ["delete a", "delete b", "status 3 wanted 3 there 3 ready 3 available 0 new 0 wrong"]],
  ["it waits for the new one", setOf(rolling(1)), three, ["a@n1 new", "b@n2 old ready", "c@n3 old ready"], ["status 3 wanted 3 there 2 ready 2 available 1 new 0 wrong"]],
  ["what does not work goes at once", setOf(rolling(1)), three, ["a@n1 old", "b@n2 old", "c@n3 old ready"], ["delete a", "delete b", "status 3 wanted 3 there 1 ready 1 available 0 new 0 wrong"]],
  ["a surge comes beside the old one", setOf(rolling(0, 1)), three, ["a@n1 old ready", "b@n2 old ready", "c@n3 old ready"], ["create on n1", "status 3 wanted 3 there 3 ready 3 available 0 new 0 wrong"]],
  ["the old one stays until the new one works", setOf(rolling(0, 1)), ["n1", "n2"], ["a@n1 old ready", "x@n1 new 5s", "b@n2 old ready"], ["status 2 wanted 2 there 2 ready 2 available 0 new 0 wrong"]],
  ["then it goes", setOf(rolling(0, 1)), ["n1"], ["a@n1 old ready", "x@n1 new ready 5s"], ["delete a", "status 1 wanted 1 there 1 ready 1 available 0 new 0 wrong"]],
];
for (const [why, set, nodes, pods, plan] of cases) {
  test(`DaemonSet: ${why}`, () => {
    const known = revision(set);
    const hash = known.metadata.name.slice("agent-".length);
    const cache = new SnapshotCache([[resources.nodes, nodes.map(nodeOf)], [resources.pods, pods.map((line) => podOf(line, hash))], [resources.controllerRevisions, [known]]]);
    assert.deepEqual(words(planDaemonSet(set, cache, nowMs)), plan);
  });
}

test("its revision is written before its first pod; the pod is made for its node", () => {
  const set = setOf(rolling(1), { affinity: { podAntiAffinity: {} }, tolerations: [{ key: "mine", operator: "Exists" }], hostNetwork: true });
  const nodes = [nodeOf("n1")];
  const [create, ...others] = planDaemonSet(set, new SnapshotCache([[resources.nodes, nodes]]), nowMs).actions as Extract<Action, { do: "create" }>[];
  assert.deepEqual([create!.resource.resource, others.length, create!.object["revision"]], ["controllerrevisions", 0, 1]);
  const known = revision(set);
  const { actions } = planDaemonSet(set, new SnapshotCache([[resources.nodes, nodes], [resources.controllerRevisions, [known]]]), nowMs);
  const pod = ((actions[0] as Extract<Action, { do: "batch" }>).actions[0] as Extract<Action, { do: "create" }>).object as unknown as Pod;
  assert.equal(pod.metadata.generateName, "agent-");
  assert.deepEqual(pod.metadata.labels, { app: "agent", "controller-revision-hash": known.metadata.name.slice(6), "pod-template-generation": "3" });
  assert.equal(known.metadata.labels!["controller-revision-hash"], known.metadata.name.slice(6));
  assert.deepEqual(pod.spec!.affinity, { podAntiAffinity: {}, nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: [{ key: "metadata.name", operator: "In", values: ["n1"] }] }] } } });
  assert.deepEqual(pod.spec!.tolerations!.map(({ key, effect }) => `${key?.replace("node.kubernetes.io/", "")}:${effect ?? ""}`), ["mine:", "not-ready:NoExecute", "unreachable:NoExecute", "disk-pressure:NoSchedule", "memory-pressure:NoSchedule", "pid-pressure:NoSchedule", "unschedulable:NoSchedule", "network-unavailable:NoSchedule"]);
});
