import type { Container, Job, Pod, PodTemplateSpec } from "../../api/types.ts";
import type { Draft } from "../action.ts";
import { controllerReference, podFromTemplate } from "../pod-template.ts";
import { judgeFailure } from "./failure-policy.ts";

/**
 * A Job's pods: each keeps a finalizer until it is counted; those of an Indexed Job know their index.
 * Source: k8s.io/kubernetes/pkg/controller/job/{job_controller,indexed_job_utils}.go.
 */
export const trackingFinalizer = "batch.kubernetes.io/job-tracking";
const indexAnnotation = "batch.kubernetes.io/job-completion-index";
const failuresAnnotation = "batch.kubernetes.io/job-index-failure-count";
const ignoredFailuresAnnotation = "batch.kubernetes.io/job-index-ignored-failure-count";
const indexVariable = "JOB_COMPLETION_INDEX";
/** Of names that the server completes: 63 less the 5 random letters. */
const generatedNameMax = 58;

export const isTracked = (pod: Pod): boolean => pod.metadata.finalizers?.includes(trackingFinalizer) === true;
export const isIndexed = (job: Job): boolean => job.spec?.completionMode === "Indexed";
export const onlyReplacesFailed = (job: Job): boolean => job.spec?.podReplacementPolicy === "Failed" || job.spec?.podFailurePolicy !== undefined;

/** One that is being deleted has failed too, unless the Job wants to see it end first. */
export const hasFailed = (job: Job, pod: Pod): boolean =>
  pod.status?.phase === "Failed" || (!onlyReplacesFailed(job) && pod.metadata.deletionTimestamp !== undefined && pod.status?.phase !== "Succeeded");

const countIn = (pod: Pod, annotation: string): number | undefined => {
  const text = pod.metadata.annotations?.[annotation] ?? "";
  return /^\d{1,10}$/.test(text) && Number(text) < 2 ** 31 ? Number(text) : undefined;
};
/** Undefined when the pod has no index, or none that can be read. */
export const indexOf = (pod: Pod): number | undefined => countIn(pod, indexAnnotation);
/** How many pods of its index failed before it. */
export const indexFailures = (pod: Pod): number => countIn(pod, failuresAnnotation) ?? 0;
export const allIndexFailures = (pod: Pod): number => indexFailures(pod) + (countIn(pod, ignoredFailuresAnnotation) ?? 0);

/** The next pod, with an `index` in an Indexed Job; `replaced` is the failed one in whose place it comes. */
export function podOf(job: Job, index: number | undefined, replaced: Pod | undefined): Draft {
  const template = job.spec!.template as PodTemplateSpec;
  const pod = podFromTemplate(template, job.metadata.namespace!, controllerReference(job, "batch/v1", "Job"));
  const finalizers = [...new Set([...(template.metadata?.finalizers ?? []), trackingFinalizer])];
  if (index === undefined) return { ...pod, metadata: { ...pod.metadata, finalizers, generateName: `${job.metadata.name}-` } };
  const { labels, annotations } = pod.metadata;
  annotations[indexAnnotation] = labels[indexAnnotation] = String(index);
  if (job.spec!.backoffLimitPerIndex !== undefined) {
    const counts = replaced ? judgeFailure(job, replaced).counts : false;
    const ignored = replaced ? allIndexFailures(replaced) - indexFailures(replaced) + (counts ? 0 : 1) : 0;
    annotations[failuresAnnotation] = String(replaced ? indexFailures(replaced) + (counts ? 1 : 0) : 0);
    if (ignored > 0) annotations[ignoredFailuresAnnotation] = String(ignored);
  }
  const suffix = `-${index}-`;
  const withVariable = (container: Container): Container =>
    container.env?.some(({ name }) => name === indexVariable) ? container : { ...container, env: [...(container.env ?? []), { name: indexVariable, valueFrom: { fieldRef: { fieldPath: `metadata.labels['${indexAnnotation}']` } } }] };
  const { containers, initContainers } = template.spec!;
  return {
    ...pod,
    metadata: { ...pod.metadata, finalizers, generateName: `${job.metadata.name.slice(0, generatedNameMax - suffix.length)}${suffix}` },
    spec: { ...template.spec, hostname: `${job.metadata.name}-${index}`, containers: containers.map(withVariable), ...(initContainers && { initContainers: initContainers.map(withVariable) }) },
  };
}
