import { notSupported } from "../../api/field.ts";
import { type Condition, type KubeObject, timestamp, withCondition } from "../../api/meta.ts";
import { badRequestError, conflictError, forbiddenError, invalidError, type StatusCause, StatusError, tooManyRequestsError } from "../../api/status.ts";
import type { DeleteOptions } from "../../api/client.ts";
import type { Kind } from "../../api/kind.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import type { PodDisruptionBudget } from "../../api/types.ts";
import { limits } from "../../base/limits.ts";
import type { RestDependencies, WriteContext } from "./context.ts";
import { remove } from "./delete.ts";
import { objectOf, prefixOf } from "./keys.ts";
import { read } from "./read.ts";
import { admitSubresource } from "./subresource-admission.ts";
import { rewrite } from "./update.ts";

interface Eviction {
  metadata?: { name?: string };
  deleteOptions?: Omit<DeleteOptions, "dryRun"> & { dryRun?: string[] };
}
type Budget = PodDisruptionBudget & KubeObject;
interface PodStatus {
  phase?: string;
  conditions?: Condition[];
}

const refusalText = "Cannot evict pod as it would violate the pod's disruption budget.";
const budgetCause = (message: string): StatusCause => ({ reason: "DisruptionBudget", message });

/**
 * POST pods/NAME/eviction: a deletion that budgets may refuse with 429. What a budget still allows is taken off it
 * by the eviction itself, so that any number at once never exceed it; the disruption controller reckons anew later.
 * Source: k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go.
 */
export async function evict(dependencies: RestDependencies, pods: Kind, budgets: Kind | undefined, namespace: string, name: string, body: unknown, context: WriteContext): Promise<object> {
  const asked = body as Eviction;
  if (asked.metadata?.name !== name) throw badRequestError("name in URL does not match name in Eviction object");
  const dryRun = context.dryRun || (asked.deleteOptions?.dryRun ?? []).length > 0;
  const { deleteOptions } = await admitSubresource<Eviction>(dependencies, pods, "eviction", { group: "policy", version: "v1", kind: "Eviction" }, namespace, name, asked, { ...context, dryRun });
  const { dryRun: stages, ...options } = deleteOptions ?? {};

  const pod = objectOf(pods, read(dependencies.store, pods, namespace, name));
  if (stages?.some((stage) => stage !== "All")) throw invalidError({ group: "meta.k8s.io", kind: "DeleteOptions" }, "", [notSupported("dryRun", stages, ["All"])]);
  const status = pod["status"] as PodStatus | undefined;
  const isOver = status?.phase === "Succeeded" || status?.phase === "Failed" || pod.metadata.deletionTimestamp !== undefined;
  // A pod that serves nobody yet, or no more, is no disruption: but it must still be that very pod when it goes.
  let stillThis = !isOver && status?.phase === "Pending";
  const budget = isOver || status?.phase === "Pending" || !budgets ? undefined : budgetOf(dependencies, budgets, pod);
  if (budget) {
    if (isFreeToGo(budget, status)) stillThis = true;
    else await charge(dependencies, budgets!, budget, name, dryRun);
  }

  const askedVersion = options.preconditions?.resourceVersion;
  const preconditions = { ...options.preconditions, uid: options.preconditions?.uid ?? pod.metadata.uid, ...(stillThis && askedVersion === undefined && { resourceVersion: pod.metadata.resourceVersion }) };
  try {
    await go(dependencies, pods, namespace, name, { ...options, preconditions }, { ...context, dryRun });
  } catch (error) {
    if (budget && stillThis && askedVersion === undefined && error instanceof StatusError && error.reason === "Conflict") throw inProgress(budget);
    throw error;
  }
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}

function budgetOf({ store }: RestDependencies, budgets: Kind, pod: KubeObject): Budget | undefined {
  const matching = store
    .range(prefixOf(budgets, pod.metadata.namespace))
    .map((entry) => entry.object as unknown as Budget)
    .filter(({ spec }) => labelSelectorOf(spec?.selector as Parameters<typeof labelSelectorOf>[0])?.matches(pod.metadata.labels) ?? false);
  if (matching.length > 1) throw new StatusError(500, "", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
  return matching[0];
}

/** A pod that is not ready counts for nothing: it may go if the budget says so, or if there are enough without it. */
function isFreeToGo({ spec, status }: Budget, pod: PodStatus | undefined): boolean {
  if (pod?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True")) return false;
  if ((spec as { unhealthyPodEvictionPolicy?: string } | undefined)?.unhealthyPodEvictionPolicy === "AlwaysAllow") return true;
  const { currentHealthy = 0, desiredHealthy = 0 } = status ?? {};
  return currentHealthy >= desiredHealthy && desiredHealthy > 0;
}

/** Takes one off what the budget allows, and says which pod it was for. Throws when nothing is left. */
async function charge(dependencies: RestDependencies, budgets: Kind, { metadata }: Budget, pod: string, dryRun: boolean): Promise<void> {
  const { clock } = dependencies;
  await rewrite(dependencies, budgets, metadata.namespace, metadata.name, dryRun, (old) => {
    const budget = old as unknown as Budget;
    const status = { disruptionsAllowed: 0, ...budget.status } as NonNullable<Budget["status"]> & { disruptionsAllowed: number; disruptedPods?: Record<string, string> };
    if ((status.observedGeneration ?? 0) < (budget.metadata.generation ?? 0)) throw inProgress(budget);
    if (status.disruptionsAllowed < 0) throw forbiddenError({ group: "policy", resource: "poddisruptionbudget" }, metadata.name, "pdb disruptions allowed is negative");
    if (Object.keys(status.disruptedPods ?? {}).length > limits.disruptedPodsMax) throw forbiddenError({ group: "policy", resource: "poddisruptionbudget" }, metadata.name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    if (status.disruptionsAllowed === 0) throw new StatusError(429, "TooManyRequests", refusalText, { causes: [budgetCause(whyNot(budget))] });
    const disruptionsAllowed = status.disruptionsAllowed - 1;
    const insufficient: Condition = { type: "DisruptionAllowed", status: "False", reason: "InsufficientPods", message: "", observedGeneration: status.observedGeneration ?? 0 };
    const conditions = disruptionsAllowed > 0 ? status.conditions : withCondition(status.conditions as Condition[] | undefined, insufficient, clock.now());
    return { ...old, status: { ...status, disruptionsAllowed, ...(conditions && { conditions }), disruptedPods: { ...status.disruptedPods, [pod]: timestamp(clock.now()) } } };
  });
}

function inProgress({ metadata }: Budget): StatusError {
  const { code, reason, message, details } = tooManyRequestsError(refusalText, 10);
  return new StatusError(code, reason, message, { ...details, causes: [budgetCause(`The disruption budget ${metadata.name} is still being processed by the server.`)] });
}

function whyNot({ metadata, status }: Budget): string {
  const { currentHealthy = 0, desiredHealthy = 0, conditions } = status ?? {};
  const condition = (conditions as Condition[] | undefined)?.find(({ type }) => type === "DisruptionAllowed");
  const says = condition?.status === "False" && condition.message ? condition : undefined;
  if (says?.reason === "SyncFailed") return `The disruption budget ${metadata.name} does not allow evicting pods currently because it failed sync: ${says.message}`;
  if (currentHealthy <= desiredHealthy) return `The disruption budget ${metadata.name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`;
  return `The disruption budget ${metadata.name} does not allow evicting pods currently${says ? ` (${says.reason}): ${says.message}` : ""}`;
}

/** Says on the pod why it goes, and deletes it. */
async function go(dependencies: RestDependencies, pods: Kind, namespace: string, name: string, options: DeleteOptions, context: WriteContext): Promise<void> {
  let { preconditions } = options;
  if (!context.dryRun) {
    const marked = await rewrite(dependencies, pods, namespace, name, false, (old) => {
      if (preconditions?.uid !== undefined && preconditions.uid !== old.metadata.uid) throw conflictError({ group: "", resource: "Pod" }, name, `the UID in the precondition (${preconditions.uid}) does not match the UID in record (${old.metadata.uid}). The object might have been deleted and then recreated`);
      if (preconditions?.resourceVersion !== undefined && preconditions.resourceVersion !== old.metadata.resourceVersion) throw conflictError({ group: "", resource: "Pod" }, name, `the ResourceVersion in the precondition (${preconditions.resourceVersion}) does not match the ResourceVersion in record (${old.metadata.resourceVersion}). The object might have been modified`);
      const status = (old["status"] ?? {}) as PodStatus;
      const target: Condition = { type: "DisruptionTarget", status: "True", reason: "EvictionByEvictionAPI", message: "Eviction API: evicting" };
      return { ...old, status: { ...status, conditions: withCondition(status.conditions, target, dependencies.clock.now()) } };
    });
    // The pod has moved on by our own hand.
    if (preconditions?.resourceVersion !== undefined) preconditions = { ...preconditions, resourceVersion: marked.metadata.resourceVersion };
  }
  await remove(dependencies, pods, namespace, name, { ...options, ...(preconditions && { preconditions }) }, context);
}
