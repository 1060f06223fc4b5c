import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../api/resources.ts";
import type { Pod, PodDisruptionBudget } from "../api/types.ts";
import { SnapshotCache } from "./cache.ts";
import { planDisruption } from "./disruption.ts";

const owned = (kind: string, name: string) => [{ apiVersion: "apps/v1", kind, name, uid: name, controller: true }];
const pod = (name: string, ready = true, more: object = {}): Pod =>
  ({ metadata: { name, namespace: "default", uid: name, labels: { app: "web" }, ownerReferences: owned("ReplicaSet", "web-1"), ...more }, status: { phase: "Running", conditions: [{ type: "Ready", status: ready ? "True" : "False" }] } }) as unknown as Pod;
const deployment = { metadata: { name: "web", namespace: "default", uid: "web" }, spec: { replicas: 4 } };
const set = { metadata: { name: "web-1", namespace: "default", uid: "web-1", ownerReferences: owned("Deployment", "web") }, spec: { replicas: 3 } };

test("how many pods may be evicted", () => {
  const four = ["a", "b", "c", "d"].map((name) => pod(name));
  const oneIll = [...four.slice(1), pod("a", false)];
  const cases: [why: string, spec: object, pods: Pod[], allowed: number, desired: number, expected: number][] = [
    ["two must stay", { minAvailable: 2 }, four, 2, 2, 4],
    ["all must stay", { minAvailable: 4 }, four, 0, 4, 4],
    ["more must stay than there are", { minAvailable: 9 }, four, 0, 9, 4],
    ["half must stay, rounded up", { minAvailable: "60%" }, four, 1, 3, 4],
    ["one may go", { maxUnavailable: 1 }, four, 1, 3, 4],
    ["one may go, and one is ill", { maxUnavailable: 1 }, oneIll, 0, 3, 4],
    ["a terminating pod is not healthy", { maxUnavailable: 1 }, [...four.slice(1), pod("a", true, { deletionTimestamp: "2026-01-01T00:00:00Z" })], 0, 3, 4],
    ["a share of what is wanted, not of what is there", { maxUnavailable: "50%" }, four.slice(0, 3), 1, 2, 4],
    ["nobody", { maxUnavailable: 1 }, [], 0, 0, 0],
  ];
  for (const [why, spec, pods, allowed, desired, expected] of cases) {
    const budget = { apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: { name: "web", namespace: "default", uid: "b", generation: 1 }, spec: { selector: { matchLabels: { app: "web" } }, ...spec } } as unknown as PodDisruptionBudget;
    const cache = new SnapshotCache([[resources.pods, pods], [resources.deployments, [deployment as never]], [resources.replicaSets, [set as never]]]);
    const written = planDisruption(budget, cache, 0).actions.find((action) => action.do === "status")!;
    const { status } = written.object as PodDisruptionBudget;
    assert.deepEqual([status!.disruptionsAllowed, status!.desiredHealthy, status!.expectedPods], [allowed, desired, expected], why);
    assert.equal(status!.conditions![0]!.reason, allowed > 0 ? "SufficientPods" : "InsufficientPods", why);
    assert.deepEqual(planDisruption({ ...budget, status: status! }, cache, 0).actions, [], `${why}: written once`);
  }
});

const budgetOf = (spec: object, status: object = {}): PodDisruptionBudget => ({ apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: { name: "web", namespace: "default", uid: "b", generation: 1 }, spec: { selector: { matchLabels: { app: "web" } }, ...spec }, status }) as unknown as PodDisruptionBudget;
const nowMs = Date.UTC(2026, 0, 1, 12);
const plan = (budget: PodDisruptionBudget, pods: Pod[]) => {
  const { actions, requeueAfterMs } = planDisruption(budget, new SnapshotCache([[resources.pods, pods], [resources.deployments, [deployment as never]], [resources.replicaSets, [set as never]]]), nowMs);
  const written = actions.find((action) => action.do === "status");
  return { status: (written?.object as PodDisruptionBudget | undefined)?.status, events: actions.flatMap((action) => (action.do === "event" ? [`${action.reason}: ${action.message}`] : [])), requeueAfterMs };
};

test("an evicted pod counts as gone until its deletion is seen, for two minutes at most", () => {
  const four = ["a", "b", "c", "d"].map((name) => pod(name));
  const disruptedPods = { a: "2026-01-01T11:59:30Z", gone: "2026-01-01T11:59:30Z", b: "2026-01-01T11:57:00Z" };
  const { status, events, requeueAfterMs } = plan(budgetOf({ minAvailable: 1 }, { disruptedPods }), four);
  assert.deepEqual(status!.disruptedPods, { a: "2026-01-01T11:59:30Z" });
  assert.deepEqual([status!.currentHealthy, status!.disruptionsAllowed, requeueAfterMs], [3, 2, 90_000]);
  assert.deepEqual(events, ["NotDeleted: Pod was expected by PDB default/web to be deleted but it wasn't"]);
  assert.equal(plan(budgetOf({ minAvailable: 1 }, { disruptedPods: { a: disruptedPods.a } }), [pod("a", true, { deletionTimestamp: "2026-01-01T12:00:00Z" }), pod("b")]).status!.disruptedPods, undefined, "its deletion was seen");
});

test("when it cannot be told how many there should be, nobody may go", () => {
  const table: [why: string, spec: object, pods: Pod[], text: string | undefined][] = [
    ["an owner that is not there", { maxUnavailable: 1 }, [pod("a", true, { ownerReferences: owned("ReplicaSet", "other") })], 'found no controllers for pod "a"'],
    ["an owner without a number", { minAvailable: "50%" }, [pod("a", true, { ownerReferences: owned("Job", "batch") })], "jobs.batch does not implement the scale subresource"],
    ["a number needs no owner", { minAvailable: 0 }, [pod("a", true, { ownerReferences: owned("Job", "batch") })], undefined],
  ];
  for (const [why, spec, pods, text] of table) {
    const { status, events } = plan(budgetOf(spec, { observedGeneration: 1 }), pods);
    const [condition] = status!.conditions!;
    assert.deepEqual([condition!.reason, status!.disruptionsAllowed], text === undefined ? ["SufficientPods", 1] : ["SyncFailed", 0], why);
    if (text !== undefined) assert.deepEqual([condition!.message, events], [text, [`CalculateExpectedPodCountFailed: Failed to calculate the number of expected pods: ${text}`]], why);
  }
  const { events, status } = plan(budgetOf({ maxUnavailable: 1 }, { observedGeneration: 1 }), [pod("a", true, { ownerReferences: undefined })]);
  assert.deepEqual([events.map((text) => text.slice(0, 74)), status!.expectedPods], [["UnmanagedPods: Pods selected by this PodDisruptionBudget (selector: app=we"], 0]);
});
