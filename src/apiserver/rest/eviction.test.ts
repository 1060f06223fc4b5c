import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { StatusError } from "../../api/status.ts";
import { startApi, type TestApi } from "../../../test/harness-api.ts";

let api: TestApi;
before(async () => {
  api = await startApi();
});
after(() => api[Symbol.asyncDispose]());

const { pods, podDisruptionBudgets: budgets } = resources;
let count = 0;

/** Pods of one application, as the node agent would report them, with a budget whose status the controller would have written. */
async function application(states: ("ready" | "unready" | "pending" | "succeeded")[], status: object | undefined, spec: object = { minAvailable: 1 }): Promise<{ names: string[]; budget: string }> {
  const app = `app${++count}`;
  const names = states.map((_, index) => `${app}-${index}`);
  for (const [index, state] of states.entries()) {
    await api.client.create(pods, "default", { metadata: { name: names[index], labels: { app } }, spec: { nodeName: "n", terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "i" }] } });
    const phase = { ready: "Running", unready: "Running", pending: "Pending", succeeded: "Succeeded" }[state];
    await api.client.patch(pods, "default", names[index]!, { status: { phase, conditions: [{ type: "Ready", status: state === "ready" ? "True" : "False" }] } }, { subresource: "status" });
  }
  if (status) {
    await api.client.create(budgets, "default", { metadata: { name: app }, spec: { selector: { matchLabels: { app } }, ...spec } });
    await api.client.patch(budgets, "default", app, { status: { observedGeneration: 1, ...status } }, { subresource: "status" });
  }
  return { names, budget: app };
}
const evict = (name: string, deleteOptions: object = {}, options: { dryRun?: boolean } = {}) =>
  api.client.create(pods, "default", { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace: "default" }, deleteOptions }, { subresource: "eviction", name, ...options }).then(
    () => "evicted",
    (error: StatusError) => `${error.code}: ${error.message}${error.details?.causes ? ` [${error.details.causes.map(({ message }) => message).join()}]` : ""}`,
  );
const statusOf = async (name: string) => (await api.client.get<any>(budgets, "default", name)).status;
const exists = (name: string) => api.client.get<KubeObject>(pods, "default", name).then((pod) => pod.metadata.deletionTimestamp === undefined, () => false);

const refused = "429: Cannot evict pod as it would violate the pod's disruption budget.";
const enough = { currentHealthy: 2, desiredHealthy: 1, expectedPods: 2, disruptionsAllowed: 1 };
const tooFew = { currentHealthy: 1, desiredHealthy: 1, expectedPods: 2, disruptionsAllowed: 0 };
const cases: [what: string, state: "ready" | "unready" | "pending" | "succeeded", status: object | undefined, spec: object, expected: (budget: string) => string, left?: number][] = [
  ["no budget", "ready", undefined, {}, () => "evicted"],
  ["a budget with room is charged", "ready", enough, {}, () => "evicted", 0],
  ["a budget without room refuses", "ready", tooFew, {}, (budget) => `${refused} [The disruption budget ${budget} needs 1 healthy pods and has 1 currently]`, 0],
  ["a status that is behind refuses", "ready", { ...enough, observedGeneration: 0 }, {}, (budget) => `${refused} [The disruption budget ${budget} is still being processed by the server.]`],
  ["a failed sync is said", "ready", { ...tooFew, conditions: [{ type: "DisruptionAllowed", status: "False", reason: "SyncFailed", message: "found no controllers", lastTransitionTime: "2026-01-01T00:00:00Z" }] }, {}, (budget) => `${refused} [The disruption budget ${budget} does not allow evicting pods currently because it failed sync: found no controllers]`],
  ["who has ended may go", "succeeded", tooFew, {}, () => "evicted", 0],
  ["who has not begun may go", "pending", tooFew, {}, () => "evicted", 0],
  ["an unready one may go while enough are healthy, at no charge", "unready", { ...enough, disruptionsAllowed: 1 }, {}, () => "evicted", 1],
  ["an unready one must stay when there are too few", "unready", { ...tooFew, currentHealthy: 0 }, {}, (budget) => `${refused} [The disruption budget ${budget} needs 1 healthy pods and has 0 currently]`, 0],
  ["unless the policy says AlwaysAllow", "unready", { ...tooFew, currentHealthy: 0 }, { unhealthyPodEvictionPolicy: "AlwaysAllow" }, () => "evicted", 0],
];
for (const [what, state, status, spec, expected, left] of cases) {
  test(`eviction: ${what}`, async () => {
    const { names, budget } = await application([state, "ready"], status, { minAvailable: 1, ...spec });
    const outcome = await evict(names[0]!);
    assert.equal(outcome, expected(budget));
    assert.equal(await exists(names[0]!), outcome !== "evicted");
    if (left !== undefined) assert.equal((await statusOf(budget)).disruptionsAllowed ?? 0, left);
  });
}

test("the budget names the pod it let go, and says when nothing is left", async () => {
  const { names, budget } = await application(["ready", "ready"], enough);
  await evict(names[0]!);
  const { disruptedPods, conditions } = await statusOf(budget);
  assert.deepEqual(Object.keys(disruptedPods), [names[0]]);
  assert.deepEqual([conditions[0].type, conditions[0].status, conditions[0].reason], ["DisruptionAllowed", "False", "InsufficientPods"]);
});

test("any number of evictions at once take what is allowed, and no more", async () => {
  const { names, budget } = await application(Array.from({ length: 12 }, () => "ready" as const), { currentHealthy: 12, desiredHealthy: 7, expectedPods: 12, disruptionsAllowed: 5 }, { minAvailable: 7 });
  const outcomes = await Promise.all(names.map((name) => evict(name)));
  assert.equal(outcomes.filter((outcome) => outcome === "evicted").length, 5);
  assert.equal((await Promise.all(names.map(exists))).filter(Boolean).length, 7);
  assert.equal((await statusOf(budget)).disruptionsAllowed ?? 0, 0);
});

test("a dry run is judged, charges nothing and deletes nothing", async () => {
  const { names, budget } = await application(["ready", "ready"], enough);
  assert.equal(await evict(names[0]!, { dryRun: ["All"] }), "evicted");
  assert.equal(await evict(names[1]!, {}, { dryRun: true }), "evicted");
  assert.deepEqual([await exists(names[0]!), (await statusOf(budget)).disruptionsAllowed], [true, 1]);
});

test("two budgets, a wrong name, an old resourceVersion", async () => {
  const { names, budget } = await application(["ready"], enough);
  await api.client.create(budgets, "default", { metadata: { name: `${budget}-two` }, spec: { minAvailable: 1, selector: { matchLabels: { app: budget } } } });
  assert.match(await evict(names[0]!), /^500: This pod has more than one PodDisruptionBudget/);
  await assert.rejects(api.client.create(pods, "default", { metadata: { name: "other" } }, { subresource: "eviction", name: names[0]! }), /name in URL does not match name in Eviction object/);
  const lone = await application(["ready"], undefined);
  assert.match(await evict(lone.names[0]!, { preconditions: { resourceVersion: "1" } }), /^409: .*the ResourceVersion in the precondition \(1\)/);
});

test("a pod that stays a while says why it goes", async () => {
  await api.client.create(pods, "default", { metadata: { name: "graceful" }, spec: { nodeName: "n", terminationGracePeriodSeconds: 30, containers: [{ name: "c", image: "i" }] } });
  await api.client.patch(pods, "default", "graceful", { status: { phase: "Running" } }, { subresource: "status" });
  assert.equal(await evict("graceful"), "evicted");
  const { status } = await api.client.get<any>(pods, "default", "graceful");
  assert.deepEqual(status.conditions.map(({ type, reason, message }: any) => [type, reason, message]), [["DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting"]]);
});
