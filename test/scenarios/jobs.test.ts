import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { playTranscript } from "./stack.ts";

const job = (name: string, script: string, spec = "", pod = ""): string => `
apiVersion: batch/v1
kind: Job
metadata: {name: ${name}}
spec:
  ${spec}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      ${pod}
      containers:
      - {name: main, image: busybox, command: [sh, -c, ${JSON.stringify(script)}]}
`;
const cron = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: yearly}
spec:
  schedule: "0 0 1 1 *"
  timeZone: Europe/Berlin
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: busybox, command: [echo, happy new year]}]
`;
const often = cron.replace("yearly", "often").replace("0 0 1 1 *", "@every 2s").replace("timeZone: Europe/Berlin", "successfulJobsHistoryLimit: 1").replace("happy new year", "again");
const agent = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: agent, image: busybox, command: [sleep, infinity]}]
`;
const alone = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {job-name: lesser}}}]}}";
const urgent = `
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 1000
---
apiVersion: v1
kind: Pod
metadata: {name: urgent}
spec:
  priorityClassName: urgent
  terminationGracePeriodSeconds: 0
  ${alone}
  containers: [{name: main, image: busybox, command: [sleep, infinity]}]
`;
const files: Record<string, string> = {
  "fails.yaml": job("fails", "echo trying; exit 3", "backoffLimit: 1"),
  "policy.yaml": job("policy", "exit 42", "podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}"),
  "indexed.yaml": job("indexed", "echo index $JOB_COMPLETION_INDEX on $(hostname)", "completions: 3\n  parallelism: 3\n  completionMode: Indexed"),
  "paused.yaml": job("paused", "sleep 600", "suspend: true"),
  "brief.yaml": job("brief", "true", "ttlSecondsAfterFinished: 1"),
  "lesser.yaml": job("lesser", "sleep 600", "backoffLimit: 0\n  podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}"),
  "urgent.yaml": urgent,
  "cron.yaml": cron,
  "often.yaml": often,
  "agent.yaml": agent,
};

test("Jobs, CronJobs, DaemonSets and kubectl debug as kubectl sees them", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  await playTranscript(wherry, "jobs", files);
});
