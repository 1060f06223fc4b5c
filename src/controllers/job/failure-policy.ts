import type { ContainerStatus, Job, Pod } from "../../api/types.ts";

export interface FailureVerdict {
  /** Undefined when no rule speaks of this pod. */
  action?: "FailJob" | "FailIndex" | "Ignore" | "Count";
  /** Whether the failure counts towards the limits. */
  counts: boolean;
  /** Why the whole Job fails, of `FailJob`. */
  message?: string;
}

/**
 * What the first fitting rule of `podFailurePolicy` says of a pod that failed.
 * Source: k8s.io/kubernetes/pkg/controller/job/pod_failure_policy.go.
 */
export function judgeFailure(job: Job, pod: Pod): FailureVerdict {
  for (const [index, rule] of (job.spec?.podFailurePolicy?.rules ?? []).entries()) {
    const container = rule.onExitCodes && exitMatching(rule.onExitCodes, pod);
    const condition = !rule.onExitCodes && pod.status?.conditions?.find(({ type, status }) => rule.onPodConditions?.some((pattern) => pattern.type === type && (pattern.status ?? "True") === status));
    if (!container && !condition) continue;
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const what = container ? `Container ${container.name} for pod ${name} failed with exit code ${container.state!.terminated!.exitCode}` : condition ? `Pod ${name} has condition ${condition.type}` : "";
    return { action: rule.action, counts: rule.action !== "Ignore", ...(rule.action === "FailJob" && { message: `${what} matching FailJob rule at index ${index}` }) };
  }
  return { counts: true };
}

interface OnExitCodes {
  containerName?: string | undefined;
  operator: string;
  values: number[];
}

/** The first container that ended as the rule says; success never fits, whatever the rule lists. */
function exitMatching({ containerName, operator, values }: OnExitCodes, pod: Pod): ContainerStatus | undefined {
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return statuses.find(({ name, state }) => {
    const code = state?.terminated?.exitCode ?? 0;
    return code !== 0 && (containerName === undefined || containerName === name) && values.includes(code) === (operator === "In");
  });
}
