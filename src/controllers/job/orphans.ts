import { keyOf } from "../../api/informer.ts";
import { controllerOf } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Job, Pod } from "../../api/types.ts";
import type { Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import type { Controller } from "../runner.ts";
import { isJobFinished, isManagedElsewhere, releasePatch } from "./plan.ts";
import { isTracked } from "./pod.ts";

/**
 * Takes the finalizer from pods that no Job will ever count, so that they can be deleted: their Job is gone, or
 * finished, or has let go of them. Keys are pods.
 * Source: k8s.io/kubernetes/pkg/controller/job/job_controller.go, syncOrphanPod.
 */
export const jobOrphanController: Controller = {
  name: "job-orphan-controller",
  watches: [
    { resource: resources.pods, keys: (pod: Pod, cache) => (isOrphan(pod, cache) ? [keyOf(pod)] : []) },
    { resource: resources.jobs, keys: (job: Job, cache) => cache.ownedBy<Pod>(resources.pods, job.metadata.uid).filter((pod) => isOrphan(pod, cache)).map(keyOf) },
  ],
  plan: ({ key, cache }) => planOrphan(key, cache),
};

export function planOrphan(key: string, cache: Cache): Plan {
  const pod = cache.get<Pod>(resources.pods, key);
  if (!pod || !isOrphan(pod, cache)) return { actions: [] };
  const patch = releasePatch(pod);
  // A Job may be about to adopt it: its finalizer may go only from the state that was looked at.
  return { actions: [{ ...patch, patch: { metadata: { ...(patch.patch as { metadata: object }).metadata, resourceVersion: pod.metadata.resourceVersion } } }] };
}

function isOrphan(pod: Pod, cache: Cache): boolean {
  if (!isTracked(pod)) return false;
  const owner = controllerOf(pod);
  if (!owner) return true;
  if (owner.kind !== "Job" || owner.apiVersion !== "batch/v1") return false;
  const job = cache.get<Job>(resources.jobs, `${pod.metadata.namespace}/${owner.name}`);
  if (job?.metadata.uid !== owner.uid) return true;
  return isJobFinished(job) && !isManagedElsewhere(job);
}
