import type { Condition } from "../src/api/meta.ts";
import { resources } from "../src/api/resources.ts";
import type { Wherry } from "../src/wherry.ts";
import { untilReady, withWherry } from "./fixture.ts";
import { print, spread } from "./measure.ts";

/**
 * How soon the stack reacts: a Job that has nothing to do, a CronJob at its minute, an autoscaler at load. Beside it the waits
 * that upstream has by default, from its own documents: no cluster runs here to be measured.
 */
const rounds = Number(process.env["ROUNDS"] ?? 7);
const deadlineMs = 180_000;
const { jobs, cronJobs, deployments } = resources;
const autoscalers = { group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers" };
const template = (command: string[], more: object = {}) => ({ spec: { restartPolicy: "Never", terminationGracePeriodSeconds: 0, containers: [{ name: "main", image: "busybox", command, ...more }] } });

export async function run(): Promise<void> {
  const rows: string[][] = [];
  await withWherry(async (wherry) => {
    const one: number[] = [];
    const ten: number[] = [];
    for (let round = 0; round < rounds; round++) {
      one.push(await untilComplete(wherry, `one-${round}`, { template: template(["true"]) }));
      ten.push(await untilComplete(wherry, `ten-${round}`, { completions: 10, parallelism: 5, template: template(["true"]) }));
    }
    rows.push(["Job of one pod, create → Complete, ms", spread(one), "Job controller 1 s batches of pod updates; kubelet about 1 s a pod"]);
    rows.push(["Job of 10 pods, 5 at a time, ms", spread(ten), "the same, twice at least"]);
    rows.push(["CronJob, minute → Job exists, ms", spread(await cronLateness(wherry)), "at the second; nothing later is promised"]);
    rows.push(["autoscaler, load begins → scale written, s", spread(await scaleDelay(wherry), 1), "15 s a sample, 15 s a decision: 15–45 s"]);
  });
  print(["question", "here", "upstream's defaults"], rows);
}

async function untilComplete(wherry: Wherry, name: string, spec: object): Promise<number> {
  const began = performance.now();
  await wherry.client.create(jobs, "default", { apiVersion: "batch/v1", kind: "Job", metadata: { name }, spec });
  for await (const { object } of wherry.client.watch(jobs, { namespace: "default", fieldSelector: `metadata.name=${name}`, signal: AbortSignal.timeout(deadlineMs) })) {
    if ((object["status"]?.conditions as Condition[] | undefined)?.some(({ type, status }) => type === "Complete" && status === "True")) break;
  }
  return performance.now() - began;
}

/** Three CronJobs of every minute: when their first Jobs are seen, after the minute. */
async function cronLateness(wherry: Wherry): Promise<number[]> {
  const late: number[] = [];
  for (const name of ["a", "b", "c"]) await wherry.client.create(cronJobs, "default", { apiVersion: "batch/v1", kind: "CronJob", metadata: { name }, spec: { schedule: "* * * * *", jobTemplate: { spec: { template: template(["true"]) } } } });
  const seen = new Set<string>();
  for await (const { type, object } of wherry.client.watch(jobs, { namespace: "default", signal: AbortSignal.timeout(deadlineMs) })) {
    const owner = object.metadata.ownerReferences?.find(({ kind }) => kind === "CronJob")?.name;
    if (type !== "ADDED" || owner === undefined || seen.has(owner)) continue;
    seen.add(owner);
    late.push(Date.now() % 60_000);
    await wherry.client.delete(cronJobs, "default", owner);
    if (seen.size === 3) break;
  }
  return late;
}

/** A program that rests for a while, is measured at rest, and then burns. */
async function scaleDelay(wherry: Wherry): Promise<number[]> {
  const restSeconds = 25;
  const name = "burner";
  const labels = { app: name };
  await wherry.client.create(deployments, "default", {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "main", image: "busybox", command: ["sh", "-c", `sleep ${restSeconds}; while :; do :; done`], resources: { requests: { cpu: "100m" }, limits: { cpu: "200m" } } }] } } },
  });
  await wherry.client.create(autoscalers, "default", { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: { name }, spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name }, minReplicas: 1, maxReplicas: 2, metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } }] } });
  await untilReady(wherry, "default", 1);
  const burns = performance.now() + restSeconds * 1000;
  for await (const { object } of wherry.client.watch(deployments, { namespace: "default", signal: AbortSignal.timeout(deadlineMs) })) if (object["spec"].replicas > 1) break;
  return [(performance.now() - burns) / 1000];
}
