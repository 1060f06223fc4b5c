import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { seededRandom } from "../../base/random.ts";
import { newHistory, normalize, recordScale, remember } from "./behavior.ts";
import type { HorizontalPodAutoscaler, ScalingRules } from "./types.ts";

type Spec = HorizontalPodAutoscaler["spec"];
const spec = (min: number, max: number, behavior?: { scaleUp?: ScalingRules; scaleDown?: ScalingRules }): Spec => ({ scaleTargetRef: { kind: "Deployment", name: "web" }, minReplicas: min, maxReplicas: max, ...(behavior && { behavior }) });
const percent = (value: number, periodSeconds: number) => ({ type: "Percent" as const, value, periodSeconds });
const number = (value: number, periodSeconds: number) => ({ type: "Pods" as const, value, periodSeconds });
const second = 1000;

describe("bounds and rates, without a past", () => {
  const rules = (up: ScalingRules, down: ScalingRules = {}) => ({ scaleUp: { policies: [percent(100, 15), number(4, 15)], ...up }, scaleDown: { stabilizationWindowSeconds: 0, policies: [percent(100, 15)], ...down } });
  for (const [name, given, current, desired, expected] of [
    ["default: as asked", spec(1, 100), 5, 8, "8 DesiredWithinRange"],
    ["default: at most double", spec(1, 100), 10, 50, "20 ScaleUpLimit"],
    ["default: or four", spec(1, 100), 1, 50, "4 ScaleUpLimit"],
    ["default: never above max", spec(1, 7), 5, 50, "7 TooManyReplicas"],
    ["default: never below min", spec(3, 7), 5, 1, "3 TooFewReplicas"],
    ["rules: the policy of most change", spec(1, 100, rules({})), 10, 50, "20 ScaleUpLimit"],
    ["rules: four are more than double", spec(1, 100, rules({})), 2, 50, "6 ScaleUpLimit"],
    ["rules: the policy of least change", spec(1, 100, rules({ selectPolicy: "Min" })), 10, 50, "14 ScaleUpLimit"],
    ["rules: up disabled", spec(1, 100, rules({ selectPolicy: "Disabled" })), 10, 50, "10 ScaleUpLimit"],
    ["rules: down disabled", spec(1, 100, rules({}, { selectPolicy: "Disabled" })), 10, 5, "10 ScaleDownLimit"],
    ["rules: down by two", spec(1, 100, rules({}, { policies: [number(2, 60)] })), 10, 5, "8 ScaleDownLimit"],
    ["rules: down by a tenth, whole pods stay", spec(1, 100, rules({}, { policies: [percent(10, 60)] })), 15, 5, "13 ScaleDownLimit"],
    ["rules: down, most change", spec(1, 100, rules({}, { policies: [percent(10, 60), number(5, 60)] })), 20, 1, "15 ScaleDownLimit"],
    ["rules: down, least change", spec(1, 100, rules({}, { selectPolicy: "Min", policies: [percent(10, 60), number(5, 60)] })), 20, 1, "18 ScaleDownLimit"],
    ["rules: max before the rate", spec(1, 12, rules({})), 10, 50, "12 TooManyReplicas"],
    ["rules: min before the rate", spec(9, 12, rules({})), 10, 1, "9 TooFewReplicas"],
    ["rules: within", spec(1, 100, rules({})), 10, 12, "12 DesiredWithinRange"],
    ["rules: no change", spec(1, 100, rules({})), 10, 10, "10 DesiredWithinRange"],
  ] as const) {
    test(name, () => {
      const { replicas, scalingLimited } = normalize(given, newHistory(), current, desired, 0);
      assert.equal(`${replicas} ${scalingLimited.reason}`, expected);
    });
  }
});

describe("with a past", () => {
  test("going down waits for the highest of five minutes, by default", () => {
    const history = newHistory();
    remember(history, 10, 0);
    const at = (s: number) => normalize(spec(1, 100), history, 10, 3, s * second);
    assert.equal(at(299).replicas, 10);
    assert.equal(at(299).ableToScale.reason, "ScaleDownStabilized");
    assert.equal(at(301).replicas, 3);
    assert.equal(at(301).ableToScale.reason, "ReadyForNewScale");
  });
  test("going up waits for the lowest of its window, when it has one", () => {
    const history = newHistory();
    remember(history, 2, 0);
    const given = spec(1, 100, { scaleUp: { stabilizationWindowSeconds: 60, policies: [percent(900, 15)] } });
    assert.equal(normalize(given, history, 2, 8, 30 * second).replicas, 2);
    assert.equal(normalize(given, history, 2, 5, 50 * second).ableToScale.reason, "ScaleUpStabilized");
    assert.equal(normalize(given, history, 2, 9, 61 * second).replicas, 5);
  });
  test("a rate counts what was done within its period", () => {
    const history = newHistory();
    const given = spec(1, 100, { scaleUp: { policies: [number(4, 60)] }, scaleDown: { stabilizationWindowSeconds: 0, policies: [number(3, 60)] } });
    recordScale(history, 2, 5, 0);
    assert.equal(normalize(given, history, 5, 50, 30 * second).replicas, 6);
    assert.equal(normalize(given, history, 5, 50, 61 * second).replicas, 9);
    recordScale(history, 9, 7, 100 * second);
    assert.equal(normalize(given, history, 7, 1, 110 * second).replicas, 6);
  });
});

/** A load that wanders and jumps, answered every 15 s for two hours. */
for (const seed of (process.env["SEED"] ?? "1,2,3,4,5,6,7,8").split(",").map(Number)) {
  test(`simulated, seed ${seed}: bounds are never left, windows never broken, rates never exceeded`, () => {
    const random = seededRandom(seed);
    const pick = (least: number, most: number) => least + Math.floor(random.next() * (most - least + 1));
    const [min, max] = [pick(1, 4), pick(5, 60)];
    const down = { stabilizationWindowSeconds: pick(0, 10) * 30, policies: [number(pick(1, 5), 60)] };
    const up = { stabilizationWindowSeconds: pick(0, 4) * 15, policies: [number(pick(1, 6), 60)] };
    const given = spec(min, max, { scaleUp: up, scaleDown: down });
    const history = newHistory();
    const asked: { atMs: number; replicas: number }[] = [];
    const sizes: { atMs: number; replicas: number }[] = [];
    let current = pick(min, max);
    remember(history, current, 0);
    let load = current;
    for (let nowMs = 15 * second; nowMs < 2 * 3600 * second; nowMs += 15 * second) {
      load = random.next() < 0.05 ? pick(0, 80) : Math.max(0, load + pick(-3, 3));
      const { replicas } = normalize(given, history, current, load, nowMs);
      const during = (windowS: number) => [load, ...asked.filter(({ atMs }) => atMs > nowMs - windowS * second).map((entry) => entry.replicas)];
      assert.ok(replicas >= min && replicas <= max, `${replicas} is outside ${min} to ${max}`);
      if (replicas < current) assert.ok(replicas >= Math.min(current, Math.max(...during(down.stabilizationWindowSeconds))), "down past what was asked for within the window");
      if (replicas > current) assert.ok(replicas <= Math.max(current, Math.min(...during(up.stabilizationWindowSeconds)), min), "up past what was asked for within the window");
      asked.push({ atMs: nowMs, replicas: load });
      if (replicas !== current) recordScale(history, current, replicas, nowMs);
      current = replicas;
      sizes.push({ atMs: nowMs, replicas });
      const minuteAgo = sizes.filter(({ atMs }) => atMs > nowMs - 60 * second);
      const span = minuteAgo.map((entry) => entry.replicas);
      assert.ok(Math.max(...span) - Math.min(...span) <= up.policies[0]!.value + down.policies[0]!.value, "faster than both rates together");
    }
    assert.ok(new Set(sizes.map(({ replicas }) => replicas)).size > 2, "the load did move it");
  });
}
