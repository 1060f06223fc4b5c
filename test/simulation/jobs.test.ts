import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import { StatusError } from "../../src/api/status.ts";
import type { Job, Pod } from "../../src/api/types.ts";
import { Cluster } from "./cluster.ts";

/** Jobs over the real API while controllers crash, answers are lost and pods are killed: none is counted twice or lost. */
/** `SEED=4,5,6` tries others; a failure names its seed. */
const seeds = process.env["SEED"]?.split(",").map(Number) ?? [1, 2, 3];
const finalizer = "batch.kubernetes.io/job-tracking";
const job = (name: string, spec: object) => ({ metadata: { name }, spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "app:1" }] } }, ...spec } });
const getJob = (cluster: Cluster, name = "work") => cluster.client.get<Job>(resources.jobs, "default", name);
const isFinished = ({ status }: Job): boolean => status?.conditions?.some(({ type, status: is }) => (type === "Complete" || type === "Failed") && is === "True") === true;
const harmless = (error: unknown): void => {
  // A pod may be gone by now, or the Job finished.
  if (!(error instanceof StatusError)) throw error;
};

/** The process dies and comes back; it comes only where it can be reached. */
async function crash(cluster: Cluster): Promise<void> {
  const { mood } = cluster;
  await cluster.stopControllers();
  cluster.mood = 0;
  await cluster.startControllers();
  cluster.mood = mood;
}

/** What really became of a Job's pods, written down by somebody who sees every change of the store. */
class Ledger {
  readonly succeeded = new Set<string>();
  readonly failed = new Set<string>();
  readonly succeededIndexes = new Set<number>();
  readonly broken: string[] = [];
  #before = new Map<string, Pod>();
  #counts = { succeeded: 0, failed: 0 };

  readonly #cluster: Cluster;
  readonly #name: string;
  constructor(cluster: Cluster, name = "work") {
    this.#cluster = cluster;
    this.#name = name;
  }
  look = (): void => {
    const pods = new Map(this.#cluster.stored<Pod>(resources.pods).map((pod) => [pod.metadata.uid, pod]));
    const found = this.#cluster.stored<Job>(resources.jobs).find(({ metadata }) => metadata.name === this.#name);
    for (const [uid, pod] of pods) {
      if (pod.status?.phase === "Succeeded") {
        this.succeeded.add(uid);
        this.succeededIndexes.add(Number(pod.metadata.annotations?.["batch.kubernetes.io/job-completion-index"] ?? -1));
      }
      if (pod.status?.phase === "Failed") this.failed.add(uid);
    }
    // Whoever ended loses the finalizer only after its uid was written down.
    const { succeeded = 0, failed = 0, uncountedTerminatedPods } = found?.status ?? {};
    for (const key of ["succeeded", "failed"] as const) {
      const open = new Set(uncountedTerminatedPods?.[key] ?? []);
      if (open.size !== (uncountedTerminatedPods?.[key] ?? []).length) this.broken.push(`${key} names a pod twice`);
      const count = key === "succeeded" ? succeeded : failed;
      if (count < this.#counts[key]) this.broken.push(`${key} fell from ${this.#counts[key]} to ${count}`);
      if (found && found.spec?.completionMode !== "Indexed" && key === "succeeded" && count + open.size > this.succeeded.size) this.broken.push(`${count} + ${open.size} are counted, ${this.succeeded.size} succeeded`);
      this.#counts[key] = count;
    }
    this.#before = pods;
  };
  get alive(): Pod[] {
    return [...this.#before.values()];
  }
}

const specs: [name: string, spec: object][] = [
  ["20 completions, 4 at a time", { completions: 20, parallelism: 4, backoffLimit: 1000 }],
  ["20 indexes, 5 at a time", { completions: 20, parallelism: 5, completionMode: "Indexed", backoffLimit: 1000 }],
  ["12 indexes with a limit each", { completions: 12, parallelism: 4, completionMode: "Indexed", backoffLimitPerIndex: 1000 }],
  ["replaced only when ended", { completions: 12, parallelism: 4, backoffLimit: 1000, podReplacementPolicy: "Failed" }],
];

for (const seed of seeds) {
  for (const [name, spec] of specs) {
    test(`pods that fail and are killed, controllers that crash, answers that are lost: every pod is counted once (${name}, seed ${seed})`, async () => {
      let kind = true;
      const cluster: Cluster = new Cluster({ seed, runMsMax: 3_000, ends: () => (!kind && cluster.random(4) === 0 ? "Failed" : "Succeeded") });
      await cluster.start();
      const ledger = new Ledger(cluster);
      cluster.check = ledger.look;
      await cluster.client.create(resources.jobs, "default", job("work", spec));
      kind = false;
      cluster.mood = 1;
      for (let step = 0; step < 14; step++) {
        await cluster.run(cluster.random(4_000));
        const pods = ledger.alive.filter((pod) => !pod.metadata.deletionTimestamp);
        const pod = pods[cluster.random(Math.max(1, pods.length))];
        const choices: (() => Promise<unknown>)[] = [
          () => (pod ? cluster.client.delete(resources.pods, "default", pod.metadata.name) : Promise.resolve()),
          () => (pod?.status?.phase === "Running" ? cluster.setPodStatus(pod, false, "Failed") : Promise.resolve()),
          () => crash(cluster),
          () => cluster.client.patch(resources.jobs, "default", "work", { spec: { parallelism: 1 + cluster.random(6) } }),
          () => cluster.client.patch(resources.jobs, "default", "work", { spec: { suspend: cluster.random(3) === 0 } }),
        ];
        await choices[cluster.random(choices.length)]!().catch(harmless);
      }
      cluster.mood = 0;
      kind = true;
      await cluster.client.patch(resources.jobs, "default", "work", { spec: { suspend: false, parallelism: 4 } });
      await cluster.until("it is finished", async () => isFinished(await getJob(cluster)), 3_600_000);
      const { status, spec: wanted } = await getJob(cluster);
      assert.deepEqual(ledger.broken, []);
      assert.equal(status!.conditions!.find(({ type }) => type === "Complete")?.reason, "CompletionsReached");
      const completions = (wanted as { completions: number }).completions;
      if (wanted!.completionMode === "Indexed") {
        assert.equal(status!.completedIndexes, `0-${completions - 1}`);
        assert.equal(status!.succeeded, completions);
        assert.equal(ledger.succeededIndexes.size, completions, "every index has succeeded in truth");
      } else {
        assert.ok(status!.succeeded! >= completions);
        assert.ok(status!.succeeded! <= ledger.succeeded.size, `${status!.succeeded} are counted, ${ledger.succeeded.size} succeeded`);
      }
      assert.deepEqual([status!.uncountedTerminatedPods, status!.active, status!.terminating], [{}, undefined, 0]);
      await cluster.until("no pod keeps the finalizer", async () => (await cluster.pods()).every((pod) => !pod.metadata.finalizers?.includes(finalizer)));
      // Events and the last killed pods take their time.
      await cluster.run(60_000);
      const revision = cluster.revision;
      await cluster.run(60_000);
      assert.ok(cluster.revision - revision <= 8, `${cluster.revision - revision} writes in a quiet minute (the node's own Lease makes 6)`);
      await cluster.stop();
    });
  }
}

test("without anybody who kills, the counts are exact: so many failures, so many successes", async () => {
  for (const seed of seeds) {
    const cluster: Cluster = new Cluster({ seed, ends: () => (cluster.random(3) === 0 ? "Failed" : "Succeeded") });
    await cluster.start();
    const ledger = new Ledger(cluster);
    cluster.check = ledger.look;
    await cluster.client.create(resources.jobs, "default", job("work", { completions: 15, parallelism: 3, backoffLimit: 1000 }));
    cluster.mood = 0.5;
    await cluster.until("it is finished", async () => isFinished(await getJob(cluster)), 3_600_000);
    const { status } = await getJob(cluster);
    assert.deepEqual([status!.succeeded, status!.failed ?? 0], [ledger.succeeded.size, ledger.failed.size], `seed ${seed}`);
    assert.deepEqual(ledger.broken, []);
    await cluster.stop();
  }
});

test("a Job that fails: 10, 20, 40 seconds between its pods, then the end, and its TTL takes all away", async () => {
  const cluster = new Cluster({ ends: () => "Failed", runMsMax: 10, startMsMax: 10 });
  await cluster.start();
  const startMs = cluster.clock.now();
  const made: number[] = [];
  let seen = 0;
  cluster.check = () => {
    const count = cluster.stored<Pod>(resources.pods).length;
    for (; seen < count; seen++) made.push(Math.round((cluster.clock.now() - startMs) / 1000));
  };
  await cluster.client.create(resources.jobs, "default", job("work", { backoffLimit: 3, ttlSecondsAfterFinished: 30 }));
  await cluster.until("it has failed", async () => isFinished(await getJob(cluster)), 300_000);
  assert.deepEqual(made, [0, 10, 30, 70]);
  const { status } = await getJob(cluster);
  assert.deepEqual(status!.conditions!.map(({ type, reason }) => `${type} ${reason}`), ["FailureTarget BackoffLimitExceeded", "Failed BackoffLimitExceeded"]);
  assert.equal(status!.failed, 4);
  const events = (await cluster.client.list<KubeObject>(resources.events, { namespace: "default" })).items.filter((event) => event["involvedObject"].kind === "Job").map((event) => `${event["reason"]} x${event["count"]}`);
  assert.deepEqual(events.sort(), ["BackoffLimitExceeded x1", "SuccessfulCreate x1", "SuccessfulCreate x1", "SuccessfulCreate x1", "SuccessfulCreate x1"]);
  await cluster.run(29_000);
  assert.equal((await cluster.pods()).length, 4);
  await cluster.until("pods and Job are gone", () => cluster.stored(resources.jobs).length + cluster.stored(resources.pods).length === 0, 20_000);
  await cluster.stop();
});

test("a deleted Job: its pods go too, or stay without its finalizer", async () => {
  for (const propagationPolicy of ["Background", "Foreground", "Orphan"] as const) {
    const cluster = new Cluster();
    await cluster.start();
    await cluster.client.create(resources.jobs, "default", job("work", { parallelism: 2, completions: 2 }));
    await cluster.until("they run", async () => (await getJob(cluster)).status?.ready === 2);
    await cluster.client.delete(resources.jobs, "default", "work", { propagationPolicy });
    await cluster.until("the Job is gone", () => cluster.stored(resources.jobs).length === 0);
    await cluster.run(10_000);
    const pods = await cluster.pods();
    assert.equal(pods.length, propagationPolicy === "Orphan" ? 2 : 0, propagationPolicy);
    assert.deepEqual(pods.flatMap(({ metadata }) => [...(metadata.finalizers ?? []), ...(metadata.ownerReferences ?? [])]), []);
    await cluster.stop();
  }
});

const cron = (spec: object) => ({ metadata: { name: "tick" }, spec: { schedule: "* * * * *", successfulJobsHistoryLimit: 1000, failedJobsHistoryLimit: 1000, jobTemplate: { spec: job("", {}).spec }, ...spec } });
const minuteOf = (name: string): number => Number(name.slice("tick-".length));

for (const seed of seeds) {
  test(`a CronJob whose controllers crash and whose answers are lost: every minute has one Job, noted in the status (seed ${seed})`, async () => {
    const cluster = new Cluster({ seed, ends: () => "Succeeded" });
    await cluster.start();
    const created = await cluster.client.create<KubeObject>(resources.cronJobs, "default", cron({}));
    const firstMinute = Math.floor(Date.parse(created.metadata.creationTimestamp) / 60_000) + 1;
    cluster.mood = 1;
    for (let step = 0; step < 10; step++) {
      await cluster.run(cluster.random(150_000));
      if (cluster.random(3) === 0) await crash(cluster);
    }
    cluster.mood = 0;
    await cluster.run(70_000);
    const jobs = cluster.stored<Job>(resources.jobs);
    const minutes = jobs.map(({ metadata }) => minuteOf(metadata.name)).sort((a, b) => a - b);
    const last = Math.floor(cluster.clock.now() / 60_000);
    assert.deepEqual(minutes, Array.from({ length: last - firstMinute + 1 }, (_, n) => firstMinute + n));
    const { status } = await cluster.client.get<KubeObject>(resources.cronJobs, "default", "tick");
    assert.equal(Date.parse(status.lastScheduleTime), last * 60_000);
    await cluster.client.patch(resources.cronJobs, "default", "tick", { spec: { suspend: true } });
    await cluster.until("all have ended, and none is active", async () => (await cluster.client.get<KubeObject>(resources.cronJobs, "default", "tick"))["status"].active === undefined);
    assert.ok(jobs.every(({ metadata }) => cluster.stored<Job>(resources.jobs).some((one) => one.metadata.uid === metadata.uid)), "none was made anew");
    await cluster.stop();
  });
}

test("after an hour's absence the last missed time is run, once; history is kept to its limits", async () => {
  const cluster = new Cluster({ ends: (pod) => (Number(/-(\d+)-/.exec(pod.metadata.name)![1]) % 2 ? "Failed" : "Succeeded"), runMsMax: 100 });
  await cluster.start();
  await cluster.client.create(resources.cronJobs, "default", cron({ successfulJobsHistoryLimit: 2, failedJobsHistoryLimit: 1, jobTemplate: { spec: { ...job("", {}).spec, backoffLimit: 0 } } }));
  await cluster.run(10 * 60_000);
  const kept = cluster.stored<Job>(resources.jobs).map((one) => minuteOf(one.metadata.name) % 2);
  assert.deepEqual([kept.filter((odd) => odd === 0).length, kept.filter((odd) => odd === 1).length], [2, 1]);
  await cluster.stopControllers();
  await cluster.run(60 * 60_000);
  const before = new Set(cluster.stored<Job>(resources.jobs).map((one) => one.metadata.uid));
  await cluster.startControllers();
  await cluster.run(2_000);
  const made = cluster.stored<Job>(resources.jobs).filter((one) => !before.has(one.metadata.uid));
  assert.deepEqual(made.map((one) => minuteOf(one.metadata.name)), [Math.floor(cluster.clock.now() / 60_000)]);
  await cluster.stop();
});

test("Forbid never lets two run, Replace ends the one before", async () => {
  for (const concurrencyPolicy of ["Forbid", "Replace"]) {
    const cluster = new Cluster({ seed: 5, ends: () => "Succeeded", runMsMax: 150_000 });
    await cluster.start();
    let most = 0;
    cluster.check = () => void (most = Math.max(most, cluster.stored<Pod>(resources.pods).filter((pod) => pod.status?.phase === "Running" && !pod.metadata.deletionTimestamp).length));
    await cluster.client.create(resources.cronJobs, "default", cron({ concurrencyPolicy }));
    await cluster.run(15 * 60_000);
    assert.equal(most, 1, concurrencyPolicy);
    const jobs = cluster.stored<Job>(resources.jobs).length;
    assert.ok(concurrencyPolicy === "Forbid" ? jobs < 15 && jobs > 4 : jobs > 1, `${concurrencyPolicy}: ${jobs} Jobs`);
    await cluster.stop();
  }
});
