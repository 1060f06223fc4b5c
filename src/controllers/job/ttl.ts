import { resources } from "../../api/resources.ts";
import type { Job } from "../../api/types.ts";
import type { Plan } from "../action.ts";
import { controller } from "../runner.ts";
import { conditionOf } from "./plan.ts";

/**
 * Deletes finished Jobs, pods first, when their `ttlSecondsAfterFinished` is over.
 * Source: k8s.io/kubernetes/pkg/controller/ttlafterfinished/ttlafterfinished_controller.go.
 */
export const finishedJobController = controller<Job>({
  name: "ttl-after-finished-controller",
  for: resources.jobs,
  plan: ({ object, nowMs }) => planFinishedJob(object, nowMs),
});

export function planFinishedJob(job: Job, nowMs: number): Plan {
  const ttlSeconds = job.spec?.ttlSecondsAfterFinished;
  const finished = conditionOf(job, "Complete", "Failed");
  if (ttlSeconds === undefined || !finished?.lastTransitionTime || job.metadata.deletionTimestamp) return { actions: [] };
  const remainingMs = Date.parse(finished.lastTransitionTime) + ttlSeconds * 1000 - nowMs;
  if (remainingMs > 0) return { actions: [], requeueAfterMs: remainingMs };
  return { actions: [{ do: "delete", resource: resources.jobs, object: job, options: { propagationPolicy: "Foreground" } }] };
}
