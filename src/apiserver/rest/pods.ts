import { conflictError, invalidError, StatusError, tooManyRequestsError } from "../../api/status.ts";
import { required } from "../../api/field.ts";
import type { Kind } from "../../api/kind.ts";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import type { DeleteOptions } from "../../api/client.ts";
import type { RestDependencies, WriteContext } from "./context.ts";
import { remove } from "./delete.ts";
import { objectOf, prefixOf } from "./keys.ts";
import { read } from "./read.ts";
import { rewrite } from "./update.ts";

interface PodLike {
  spec: { nodeName?: string };
  status?: { phase?: string; conditions?: { type: string; status: string; lastTransitionTime?: string }[] };
}

/** POST pods/NAME/binding: the scheduler's word, at most once. Source: pkg/registry/core/pod/storage. */
export async function bind(dependencies: RestDependencies, pods: Kind, namespace: string, name: string, body: unknown, context: WriteContext): Promise<object> {
  const binding = body as { target?: { kind?: string; name?: string }; metadata?: { uid?: string } };
  if (!binding.target?.name) throw invalidError({ group: "", kind: "Binding" }, name, [required("target.name")]);
  const node = binding.target.name;
  await rewrite(dependencies, pods, namespace, name, context.dryRun, (old) => {
    const { spec, status } = old as unknown as PodLike;
    if (binding.metadata?.uid && binding.metadata.uid !== old.metadata.uid) throw conflictError(pods, name, `Precondition failed: UID in precondition: ${binding.metadata.uid}, UID in object meta: ${old.metadata.uid}`);
    if (old.metadata.deletionTimestamp) throw conflictError(pods, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    if (spec.nodeName) throw conflictError(pods, name, `pod ${name} is already assigned to node ${JSON.stringify(spec.nodeName)}`);
    const scheduled = { type: "PodScheduled", status: "True", lastTransitionTime: timestamp(dependencies.clock.now()) };
    return { ...old, spec: { ...spec, nodeName: node }, status: { ...status, conditions: [...(status?.conditions ?? []).filter(({ type }) => type !== "PodScheduled"), scheduled] } };
  });
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}

interface Budget {
  spec?: { selector?: { matchLabels?: Record<string, string> } };
  status?: { disruptionsAllowed?: number; currentHealthy?: number; desiredHealthy?: number };
}

/** POST pods/NAME/eviction: a deletion that budgets may refuse with 429. Source: pkg/registry/core/pod/storage/eviction.go. */
export async function evict(dependencies: RestDependencies, pods: Kind, budgets: Kind | undefined, namespace: string, name: string, body: unknown, context: WriteContext): Promise<object> {
  const options = ((body as { deleteOptions?: DeleteOptions } | null)?.deleteOptions ?? {}) as DeleteOptions;
  const pod = objectOf(pods, read(dependencies.store, pods, namespace, name));
  const { status } = pod as unknown as PodLike;
  const finished = status?.phase === "Succeeded" || status?.phase === "Failed" || status?.phase === "Pending" || pod.metadata.deletionTimestamp !== undefined;
  if (budgets && !finished) {
    const matching = dependencies.store.range(prefixOf(budgets, namespace)).map((entry) => entry.object as unknown as Budget & KubeObject).filter((budget) => labelSelectorOf(budget.spec?.selector)?.matches(pod.metadata.labels) ?? false);
    if (matching.length > 1) throw new StatusError(500, "InternalError", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    const [budget] = matching;
    if (budget && (budget.status?.disruptionsAllowed ?? 0) <= 0) {
      const error = tooManyRequestsError("Cannot evict pod as it would violate the pod's disruption budget.", 10);
      const { currentHealthy = 0, desiredHealthy = 0 } = budget.status ?? {};
      throw new StatusError(429, error.reason, error.message, { retryAfterSeconds: 10, causes: [{ reason: "DisruptionBudget", message: `The disruption budget ${budget.metadata.name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently` }] });
    }
  }
  await remove(dependencies, pods, namespace, name, options, context);
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}
