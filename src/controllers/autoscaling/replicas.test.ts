import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { timestamp } from "../../api/meta.ts";
import type { Pod } from "../../api/types.ts";
import { averageReplicas, type PodMetrics, type Proposal, sharedReplicas, utilizationReplicas, valueReplicas } from "./replicas.ts";

const nowMs = Date.UTC(2026, 0, 1, 12);
const minute = 60_000;
const tenth = { up: 0.1, down: 0.1 };

/**
 * A pod in words: what it uses in thousandths, then what is special about it.
 * "250" used; "-": no metric; "pending", "failed", "deleted"; "new": started a minute ago and ready since its first
 * second; "cold": a minute old and not ready; "warm": a minute old, became ready during the metric's window; "late":
 * not ready since its start, an hour ago; "fell": an hour old, became unready ten minutes ago; "bare": no Ready condition.
 */
function pods(text: string, request: number | null = 1000): { pods: Pod[]; metrics: PodMetrics } {
  const found: [Pod, number | undefined][] = text.split(" ").filter(Boolean).map((word, index) => {
    const [used, how = ""] = word.split("/") as [string, string?];
    const startedMs = ["new", "cold", "warm"].includes(how) ? nowMs - minute : nowMs - 60 * minute;
    const changedMs = how === "fell" ? nowMs - 10 * minute : how === "warm" ? nowMs - 10_000 : startedMs;
    const ready = { type: "Ready", status: ["cold", "late", "fell"].includes(how) ? "False" : "True", lastTransitionTime: timestamp(changedMs) };
    const pod = {
      metadata: { name: `p${index}`, ...(how === "deleted" && { deletionTimestamp: timestamp(nowMs) }) },
      spec: { containers: [{ name: "app", resources: request === null ? {} : { requests: { cpu: `${request}m`, memory: `${request}m` } } }] },
      status: { phase: how === "pending" ? "Pending" : how === "failed" ? "Failed" : "Running", startTime: timestamp(startedMs), conditions: how === "bare" ? [] : [ready] },
    } as unknown as Pod;
    return [pod, used === "-" ? undefined : Number(used)];
  });
  return { pods: found.map(([pod]) => pod), metrics: new Map(found.filter(([, value]) => value !== undefined).map(([pod, value]) => [pod.metadata.name, { value: value!, atMs: nowMs - 1000, windowMs: 30_000 }])) };
}

const attempt = (propose: () => Proposal): string => {
  try {
    const { replicas, utilization, usage } = propose();
    return `${replicas}${utilization === undefined ? "" : ` at ${utilization}%`} of ${usage}`;
  } catch (error) {
    return (error as Error).message;
  }
};

describe("utilization of CPU, each pod asking for one core", () => {
  // name | replicas now | target percent | pods | expected
  const cases = `
    on target                                    | 3 | 50 | 500 500 500                       | 3 at 50% of 500
    above                                        | 3 | 30 | 300 500 700                       | 5 at 50% of 500
    far above                                    | 2 | 20 | 1000 1000                         | 10 at 100% of 1000
    below                                        | 5 | 50 | 100 300 500 250 250               | 3 at 28% of 280
    far below                                    | 4 | 50 | 10 10 10 10                       | 1 at 1% of 10
    nothing used                                 | 3 | 50 | 0 0 0                             | 0 at 0% of 0
    just inside the tolerance above              | 4 | 50 | 550 550 550 550                   | 4 at 55% of 550
    just outside above                           | 4 | 50 | 560 560 560 560                   | 5 at 56% of 560
    just inside the tolerance below              | 10 | 50 | 450 450 450 450 450 450 450 450 450 450 | 10 at 45% of 450
    just outside below                           | 10 | 50 | 440 440 440 440 440 440 440 440 440 440 | 9 at 44% of 440
    utilization is cut to whole percents         | 2 | 50 | 559 559                           | 2 at 55% of 559
    rounded up                                   | 1 | 50 | 760                               | 2 at 76% of 760
    no metric, others above: counts as idle      | 3 | 50 | 1000 1000 -                      | 4 at 100% of 1000
    no metric, dampened to no change             | 3 | 50 | 800 800 -                         | 3 at 80% of 800
    no metric, would turn round: no change       | 4 | 50 | 600 - - -                         | 4 at 60% of 600
    no metric, others below: counts as full      | 4 | 50 | 100 100 100 -                     | 3 at 10% of 100
    no metric, below, turned round: no change    | 3 | 50 | 300 300 -                         | 3 at 30% of 300
    no metric, target above 100: counts as target | 4 | 200 | 200 200 200 -                    | 2 at 20% of 200
    no metric and on target: no change           | 3 | 50 | 500 500 -                         | 3 at 50% of 500
    pending and others above: counts as idle     | 3 | 30 | 900 900 -/pending                 | 6 at 90% of 900
    pending and others below: not counted        | 3 | 50 | 100 100 -/pending                 | 1 at 10% of 100
    pending with no change                       | 3 | 50 | 600 600 -/pending                 | 3 at 60% of 600
    pending and missing                          | 4 | 30 | 900 900 -/pending -               | 6 at 90% of 900
    missing, pending, below                      | 4 | 50 | 100 100 -/pending -               | 3 at 10% of 100
    failed pods are nobody                       | 2 | 50 | 1000 1000 1000/failed             | 4 at 100% of 1000
    deleted pods are nobody                      | 2 | 50 | 1000 1000 0/deleted               | 4 at 100% of 1000
    deleted without a metric: not missing        | 2 | 50 | 1000 1000 -/deleted               | 4 at 100% of 1000
    new and ready: counted                       | 2 | 50 | 1000 1000/new                     | 4 at 100% of 1000
    new and not ready: idle on the way up        | 2 | 30 | 900 1000/cold                     | 3 at 90% of 900
    new and not ready: not counted on the way down | 3 | 50 | 100 100 1000/cold              | 1 at 10% of 100
    measured partly before it was ready          | 2 | 30 | 900 1000/warm                     | 3 at 90% of 900
    old and never ready: as if starting          | 2 | 30 | 900 1000/late                     | 3 at 90% of 900
    old and fell out of readiness: counted       | 2 | 50 | 1000 1000/fell                    | 4 at 100% of 1000
    without a Ready condition                    | 2 | 30 | 900 1000/bare                     | 3 at 90% of 900
    all starting                                 | 2 | 50 | 900/cold 900/cold                 | did not receive metrics for targeted pods (pods might be unready)
    all pending                                  | 2 | 50 | -/pending -/pending               | did not receive metrics for targeted pods (pods might be unready)
    all without metrics                          | 2 | 50 | - -                               | did not receive metrics for targeted pods (pods might be unready)
    no pods                                      | 2 | 50 |                                   | no pods returned by selector while calculating replica count
    fewer pods than wanted: what is there counts | 5 | 50 | 1000 1000                         | 4 at 100% of 1000
    more pods than wanted                        | 1 | 50 | 500 500                           | 1 at 50% of 500
    one pod overwhelmed                          | 1 | 10 | 1000                              | 10 at 100% of 1000
    above its request                            | 2 | 80 | 2000 2000                         | 5 at 200% of 2000`;
  for (const line of cases.trim().split("\n")) {
    const [name, current, target, text, expected] = line.split("|").map((part) => part.trim()) as [string, string, string, string, string];
    test(name, () => {
      const { pods: all, metrics } = pods(text);
      assert.equal(attempt(() => utilizationReplicas(Number(current), Number(target), "cpu", undefined, all, metrics, tenth, nowMs)), expected);
    });
  }

  test("a container without a request is named", () => {
    const { pods: all, metrics } = pods("500 500", null);
    assert.equal(attempt(() => utilizationReplicas(2, 50, "cpu", undefined, all, metrics, tenth, nowMs)), "missing request for cpu in container app of Pod p0");
  });
  test("of one container, only that one's request counts", () => {
    const { pods: all, metrics } = pods("500 500");
    for (const pod of all) (pod.spec!.containers as object[]).push({ name: "sidecar" });
    assert.equal(attempt(() => utilizationReplicas(2, 25, "cpu", "app", all, metrics, tenth, nowMs)), "4 at 50% of 500");
    assert.equal(attempt(() => utilizationReplicas(2, 25, "cpu", undefined, all, metrics, tenth, nowMs)), "missing request for cpu in container sidecar of Pod p0");
  });
  test("memory has no starting time: readiness does not matter", () => {
    const { pods: all, metrics } = pods("1000 1000/cold");
    assert.equal(attempt(() => utilizationReplicas(2, 50, "memory", undefined, all, metrics, tenth, nowMs)), "4 at 100% of 1000");
  });
});

describe("the mean of a pod", () => {
  const cases = `
    on target                           | 3 | 20000 | 20000 20000 20000          | 3 of 20000
    above                               | 3 | 10000 | 20000 20000 20000          | 6 of 20000
    below                               | 4 | 20000 | 5000 5000 5000 5000        | 1 of 5000
    inside the tolerance                | 3 | 20000 | 21500 21500 21500          | 3 of 21500
    no metric, above: counts as nothing | 3 | 10000 | 30000 30000 -              | 6 of 30000
    no metric, below: counts as target  | 3 | 20000 | 5000 5000 -                | 2 of 5000
    no metric, on target: no change     | 3 | 20000 | 20000 20000 -              | 3 of 20000
    pending, above: counts as nothing   | 3 | 10000 | 30000 30000 -/pending      | 6 of 30000
    not ready counts: no CPU            | 2 | 10000 | 20000 20000/cold           | 4 of 20000
    all without metrics                 | 2 | 10000 | - -                        | did not receive metrics for targeted pods (pods might be unready)
    no pods                             | 2 | 10000 |                            | no pods returned by selector while calculating replica count`;
  for (const line of cases.trim().split("\n")) {
    const [name, current, target, text, expected] = line.split("|").map((part) => part.trim()) as [string, string, string, string, string];
    test(name, () => {
      const { pods: all, metrics } = pods(text);
      assert.equal(attempt(() => averageReplicas(Number(current), Number(target), "", all, metrics, tenth, nowMs)), expected);
    });
  }
});

describe("one value for all", () => {
  for (const [name, current, value, target, text, expected] of [
    ["on target", 3, 20_000, 20_000, "0 0 0", "3 of 20000"],
    ["twice", 3, 40_000, 20_000, "0 0 0", "6 of 40000"],
    ["half", 4, 10_000, 20_000, "0 0 0 0", "2 of 10000"],
    ["only ready pods are multiplied", 4, 40_000, 20_000, "0 0 0/fell -/pending", "4 of 40000"],
    ["inside the tolerance", 3, 21_900, 20_000, "0 0 0", "3 of 21900"],
    ["from zero", 0, 50_000, 20_000, "", "3 of 50000"],
    ["nothing from zero", 0, 0, 20_000, "", "0 of 0"],
    ["no pods", 2, 90_000, 20_000, "", "unable to calculate ready pods: no pods returned by selector while calculating replica count"],
  ] as const) {
    test(name, () => assert.equal(attempt(() => valueReplicas(current, value, target, pods(text).pods, tenth)), expected));
  }
});

describe("one value, shared", () => {
  for (const [name, replicas, value, target, expected] of [
    ["on target", 3, 60_000, 20_000, "3 of 20000"],
    ["more", 3, 100_000, 20_000, "5 of 33334"],
    ["fewer", 3, 25_000, 20_000, "2 of 8334"],
    ["inside the tolerance", 10, 215_000, 20_000, "10 of 21500"],
    ["from zero", 0, 100_000, 20_000, "5 of 0"],
  ] as const) {
    test(name, () => assert.equal(attempt(() => sharedReplicas(replicas, value, target, tenth)), expected));
  }
  test("tolerances of their own", () => {
    assert.equal(attempt(() => sharedReplicas(10, 208_000, 20_000, { up: 0.01, down: 0.5 })), "11 of 20800");
    assert.equal(attempt(() => sharedReplicas(10, 120_000, 20_000, { up: 0.01, down: 0.5 })), "10 of 12000");
    assert.equal(attempt(() => sharedReplicas(10, 201_000, 20_000, { up: 0, down: 0 })), "11 of 20100");
  });
});
