import type { Pod } from "../../api/types.ts";

export type Verdict = { kind: "ready" } | { kind: "gone" } | { kind: "superseded" } | { kind: "failed"; container: string; why: string };

/** Which programs a pod's containers ran, now and before, when the reload was asked for. */
export type Marks = ReadonlyMap<string, { running: string | undefined; ended: string | undefined }>;

export function marksOf(pod: Pod, containers: readonly string[]): Marks {
  return new Map(containers.map((name) => {
    const status = statusOf(pod, name);
    return [name, { running: status?.containerID, ended: status?.lastState?.terminated?.containerID }];
  }));
}

/** What became of a reload, from a later state of the pod; undefined: not decided yet. */
export function verdictOf(pod: Pod, before: Marks): Verdict | undefined {
  if (pod.metadata.deletionTimestamp) return { kind: "gone" };
  let renewed = true;
  for (const [name, { running, ended }] of before) {
    const status = statusOf(pod, name);
    // A program that is neither the one before nor one that had ended by then has come and gone since.
    for (const end of [status?.state?.terminated, status?.lastState?.terminated]) {
      if (end?.containerID && end.containerID !== running && end.containerID !== ended) return { kind: "failed", container: name, why: `the new code exited with code ${end.exitCode}` };
    }
    if (status?.containerID === running || !status?.state?.running) renewed = false;
  }
  return renewed && pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ? { kind: "ready" } : undefined;
}

/** How long a program may take: what its probes allow, and some more for its start. */
export function patienceMs(pod: Pod, containers: readonly string[]): number {
  const seconds = pod.spec!.containers
    .filter(({ name }) => containers.includes(name))
    .flatMap(({ startupProbe, readinessProbe }) => [startupProbe, readinessProbe])
    .reduce((sum, probe) => sum + (probe ? (probe.initialDelaySeconds ?? 0) + (probe.periodSeconds ?? 10) * (probe.failureThreshold ?? 3) : 0), 10);
  return (seconds + (pod.spec!.terminationGracePeriodSeconds ?? 30)) * 1000;
}

function statusOf(pod: Pod, container: string) {
  return [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].find(({ name }) => name === container);
}
