import assert from "node:assert/strict";
import { test } from "node:test";
import { sizesOf } from "../../api/vpa/amounts.ts";
import type { VerticalPodAutoscaler } from "../../api/vpa/types.ts";
import { Aggregate, ContainerUsage, type Sample } from "./aggregate.ts";
import { recommend } from "./estimate.ts";

const Mi = 2 ** 20;
const minuteMs = 60_000;
const startMs = Date.UTC(2026, 0, 1);
const autoscaler = (...containerPolicies: object[]) => ({ metadata: { name: "web" }, spec: { resourcePolicy: { containerPolicies } } }) as unknown as VerticalPodAutoscaler;

/** A container that was measured once a minute. */
function measured(minutes: number, sample: (minute: number) => Omit<Sample, "atMs">, oom?: { atMinute: number; requestBytes: number }): Aggregate {
  const aggregate = new Aggregate();
  const usage = new ContainerUsage(aggregate);
  for (let minute = 0; minute < minutes; minute++) {
    usage.add({ atMs: startMs + minute * minuteMs, ...sample(minute) });
    if (oom?.atMinute === minute) usage.outOfMemory(oom.requestBytes, startMs + minute * minuteMs + 1);
  }
  return aggregate;
}
const steady = () => ({ cores: 0.2, bytes: 600 * Mi });
const said = (containers: Record<string, Aggregate>, vpa = autoscaler()) => recommend(vpa, new Map(Object.entries(containers)));
const parts = (value: string | number | undefined) => Number(String(value).replace(/m$/, ""));

test("recommendations: the ninetieth percentile and 15 %, between bounds that close in as days go by", () => {
  const cases: [why: string, minutes: number, lower: [number, number], upper: [number, number]][] = [
    ["one sample: nothing is known", 1, [25, 25], [1e11, 1e11]],
    ["five minutes", 5, [25, 250], [40_000, 90_000]],
    ["an hour", 60, [200, 250], [4000, 7000]],
    ["a day", 1440, [225, 250], [440, 500]],
    ["a week", 7 * 1440, [225, 250], [250, 300]],
  ];
  for (const [why, minutes, [lowerMin, lowerMax], [upperMin, upperMax]] of cases) {
    const [{ target, lowerBound, upperBound, uncappedTarget }] = said({ app: measured(minutes, steady) }) as [ReturnType<typeof recommend>[number]];
    assert.deepEqual([target, uncappedTarget], [target, target], why);
    assert.ok(parts(target["cpu"]) >= 230 && parts(target["cpu"]) <= 250, `${why}: ${JSON.stringify(target)}`);
    const [lower, upper] = [parts(lowerBound!["cpu"]), String(upperBound!["cpu"]) === "100G" ? 1e11 : parts(upperBound!["cpu"])];
    assert.ok(lower >= lowerMin && lower <= lowerMax, `${why}: lower ${lower}`);
    assert.ok(upper >= upperMin && upper <= upperMax, `${why}: upper ${upper}`);
  }
});

/** After so many minutes: lower bound, target and upper bound, CPU (thousandths) before memory (bytes), by upstream's recommender v1.5.1. */
const upstream = `
1 25 262144000 864 813749082 100000000000000 100000000000000
2 105 262144000 864 813749082 1245024 1172612427162
60 522 775435400 977 813749082 24822 20674743625
1440 509 812122894 977 813749082 2076 1628063660
2500 510 812812077 977 813749082 1636 1282656116
2501 510 1310582538 977 1312092764 1635 2067858196
3000 510 812968184 977 1312092764 1536 1942107295
6000 510 813358557 977 813749082 1211 1627047519`;

test("the same samples give upstream's numbers: noise for four days, and two kills for memory", () => {
  const aggregate = new Aggregate();
  const usage = new ContainerUsage(aggregate);
  let x = 4242n;
  const next = () => {
    x = (x * 1_103_515_245n + 12_345n) % 2_147_483_648n;
    return Number(x) / 2_147_483_648;
  };
  const lines: string[] = [];
  for (let minute = 0; minute < 6000; minute++) {
    const atMs = Date.UTC(2026, 0, 1, 5) + minute * minuteMs;
    usage.add({ atMs, cores: Math.trunc(next() * 900) / 1000, bytes: Math.trunc(next() * 6e8) + 1e8 });
    if (minute === 2500 || minute === 2510) usage.outOfMemory(9e8, atMs);
    if (!upstream.includes(`\n${minute + 1} `)) continue;
    const [{ lowerBound, target, upperBound }] = said({ app: aggregate }) as [ReturnType<typeof recommend>[number]];
    lines.push([minute + 1, ...[lowerBound, target, upperBound].map(sizesOf).flatMap(({ cpu, memory }) => [cpu, memory])].join(" "));
  }
  assert.equal(`\n${lines.join("\n")}`, upstream);
});

test("recommendations: how they come about", () => {
  const memory = (one: Record<string, unknown> | undefined) => Number(/^(\d+)$/.exec(String(one?.["memory"]))?.[1] ?? 0) / Mi;
  const [spiky] = said({ app: measured(100, (minute) => ({ cores: minute % 5 === 0 ? 1 : 0.1, bytes: 300 * Mi })) });
  assert.ok(parts(spiky!.target["cpu"]) > 1000, "a fifth of the time is more than a tenth");
  const [peak] = said({ app: measured(100, (minute) => ({ cores: 0.1, bytes: (minute === 50 ? 900 : 300) * Mi })) });
  assert.ok(memory(peak!.target) > 900, "one peak a day is what counts of memory");
  const [killed] = said({ app: measured(100, () => ({ cores: 0.1, bytes: 300 * Mi }), { atMinute: 50, requestBytes: 1000 * Mi }) });
  assert.ok(memory(killed!.target) > 1200 && memory(killed!.target) < 1500, "killed with 1000 Mi: a fifth more, and the margin");
  const [little] = said({ app: measured(100, () => ({ cores: 0.1, bytes: 100 * Mi }), { atMinute: 50, requestBytes: 300 * Mi }) });
  assert.ok(memory(little!.target) > 400 && memory(little!.target) < 520, "100 Mi more at least");
  assert.deepEqual(said({ app: measured(3, () => ({ cores: 0, bytes: Mi })) })[0]!.target, { cpu: "25m", memory: "250Mi" }, "never less than a pod needs to live");
  assert.deepEqual(said({ b: measured(3, () => ({ cores: 0, bytes: Mi })), a: measured(3, () => ({ cores: 0, bytes: Mi })) }).map(({ containerName, target }) => [containerName, target]), [["a", { cpu: "12m", memory: "125Mi" }], ["b", { cpu: "12m", memory: "125Mi" }]], "which its containers share");
  assert.deepEqual(said({ app: new Aggregate() }), [], "nothing measured, nothing said");
  const unmeasured = new Aggregate();
  new ContainerUsage(unmeasured).outOfMemory(300 * Mi, startMs);
  const [early] = said({ app: unmeasured });
  assert.ok(early!.target["cpu"] === "25m" && memory(early!.target) > 400, "killed before it was ever measured");
});

test("recommendations: what the policy says", () => {
  const app = measured(100, steady);
  const [{ target, uncappedTarget, lowerBound, upperBound }] = said({ app }, autoscaler({ containerName: "*", minAllowed: { memory: "1Gi" }, maxAllowed: { cpu: "150m", memory: "2Gi" } })) as [ReturnType<typeof recommend>[number]];
  assert.deepEqual([target, lowerBound], [{ cpu: "150m", memory: "1Gi" }, { cpu: "150m", memory: "1Gi" }]);
  assert.ok(parts(uncappedTarget!["cpu"]) > 200);
  assert.deepEqual(upperBound, { cpu: "150m", memory: "2Gi" });
  const [bounded] = recommend(autoscaler({ containerName: "app", maxAllowed: { memory: "8Gi" } }), new Map([["app", measured(1, steady)]]), { cpu: 2000, memory: 4 * 2 ** 30 });
  assert.deepEqual(bounded!.upperBound, { cpu: "2", memory: "8Gi" }, "no more than the largest node has, unless the policy says");
  assert.deepEqual(Object.keys(said({ app }, autoscaler({ containerName: "app", controlledResources: ["memory"] }))[0]!.target), ["memory"]);
  assert.deepEqual(said({ app, sidecar: app }, autoscaler({ containerName: "*" }, { containerName: "sidecar", mode: "Off" })).map(({ containerName }) => containerName), ["app"], "its own policy goes before *");
});

test("a checkpoint brings all of it back", () => {
  const before = measured(3 * 1440, (minute) => ({ cores: (minute % 7) / 10, bytes: (300 + (minute % 11) * 10) * Mi }));
  const after = new Aggregate();
  after.load(JSON.parse(JSON.stringify(before.save(startMs))) as Parameters<Aggregate["load"]>[0]);
  assert.deepEqual(said({ app: after }), said({ app: before }));
  assert.deepEqual([after.samples, after.firstMs, after.lastMs], [before.samples, before.firstMs, before.lastMs]);
  assert.throws(() => new Aggregate().load({ version: "v2" }), /unsupported checkpoint version v2/);
});
