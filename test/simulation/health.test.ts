import assert from "node:assert/strict";
import { test } from "node:test";
import type { Health, HealthCheck } from "../../src/api/traffic-health.ts";
import { FakeClock } from "../../src/base/clock.ts";
import { type Random, seededRandom } from "../../src/base/random.ts";
import type { Finding } from "../../src/policy/health.ts";
import { type Checked, type CheckRequest, type CheckResult, HealthChecker } from "../../src/proxy/health/checker.ts";
import { base, between, endpoint, oneOf, seeds, World } from "./policy-world.ts";

/**
 * What checks promise, whatever endpoints do: on a clock and chances that the seed drives.
 *
 *   SEED=7 node --test test/simulation/health.test.ts      runs one seed again
 */

/** All that was promised has come about. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

interface Asked {
  name: string;
  at: number;
  /** Nobody waits for its answer then. */
  lateAt: number;
  /** Who was asked has gone, though it may have come again. */
  isStale: boolean;
  answer(result: CheckResult | undefined): void;
}

class HealthWorld {
  readonly clock = new FakeClock();
  readonly asked: Asked[] = [];
  readonly told = new Map<string, boolean | null>();
  /** By endpoint: when its last check ended, and what a plain reading of its findings says. */
  readonly endedAt = new Map<string, number>();
  readonly found = new Map<string, Finding[]>();
  readonly checker: HealthChecker;
  checks = 0;
  most = 0;

  constructor(random: Random, runningMax: number, checks: ReadonlyMap<string, HealthCheck>) {
    const check = ({ upstream, ip, port }: CheckRequest): Promise<CheckResult | undefined> => {
      const name = `${upstream} ${ip}:${port}`;
      this.forgetLate();
      assert.ok(!this.asked.some((one) => one.name === name && !one.isStale), `${name} is asked twice at one time`);
      const { promise, resolve } = Promise.withResolvers<CheckResult | undefined>();
      const at = this.clock.monotonicMs();
      this.asked.push({ name, at, lateAt: at + checks.get(upstream)!.timeoutMs + 5_000, isStale: false, answer: resolve });
      this.checks++;
      this.most = Math.max(this.most, this.asked.length);
      return promise;
    };
    this.checker = new HealthChecker({ clock: this.clock, random, check, runningMax, tell: ({ upstream, key, isWell }: Health) => this.told.set(`${upstream} ${key}`, isWell) });
  }
  forgetLate(): void {
    for (const late of this.asked.filter(({ lateAt }) => lateAt <= this.clock.monotonicMs())) {
      this.asked.splice(this.asked.indexOf(late), 1);
      if (!late.isStale) this.endedAt.delete(late.name);
    }
  }
  async end(asked: Asked, finding: Finding | undefined): Promise<void> {
    this.asked.splice(this.asked.indexOf(asked), 1);
    if (!asked.isStale) this.endedAt.set(asked.name, this.clock.monotonicMs());
    if (finding && !asked.isStale) this.found.set(asked.name, [...(this.found.get(asked.name) ?? []), finding]);
    asked.answer(finding && { finding, reason: finding });
    await settled();
  }
}

/** The same rules, said another way: looks back over all that was found since the endpoint came. */
function readingOf(found: readonly Finding[], { unhealthyThreshold, healthyThreshold }: HealthCheck): boolean | undefined {
  let is: boolean | undefined;
  for (let i = 0; i < found.length; i++) {
    const last = (count: number, fits: (finding: Finding) => boolean): boolean => i + 1 >= count && found.slice(i + 1 - count, i + 1).every(fits);
    if (i === 0) is = found[0] === "well";
    else if (found[i] === "unwell" || last(unhealthyThreshold, (finding) => finding !== "well")) is = false;
    else if (last(healthyThreshold, (finding) => finding === "well")) is = true;
  }
  return is;
}

const checkOf = (random: Random): HealthCheck => ({
  ask: { type: "tcp" },
  intervalMs: between(random, 100, 5_000),
  timeoutMs: between(random, 50, 2_000),
  ...(random.next() < 0.5 && { initialJitterMs: between(random, 0, 3_000) }),
  unhealthyThreshold: between(random, 1, 4),
  healthyThreshold: between(random, 1, 4),
});

test("checks: thresholds, intervals, one at a time, never too many; who goes is forgotten", async () => {
  for (const seed of seeds) await oneWorld(seededRandom(seed)).catch((error: Error) => assert.fail(`seed ${seed}: ${error.message}`));
});

async function oneWorld(random: Random): Promise<void> {
  const runningMax = between(random, 1, 6);
  const upstreams: Checked[] = ["a", "b"].map((id) => ({ id, check: checkOf(random), endpoints: [], ejects: random.next() < 0.5 }));
  const world = new HealthWorld(random, runningMax, new Map(upstreams.map(({ id, check }) => [id, check])));
  const { clock, told, found, endedAt } = world;
  const wanted = new Set<string>();
  const nameOf = (id: string, key: string): string => `${id} ${key}`;
  const want = (): void => {
    for (const upstream of upstreams) {
      const before = new Set(upstream.endpoints.map(({ key }) => key));
      upstream.endpoints = Array.from({ length: 5 }, (_, i) => endpoint(i)).filter(({ key }) => (before.has(key) ? random.next() < 0.9 : random.next() < 0.4));
      const after = new Set(upstream.endpoints.map(({ key }) => key));
      for (const key of [...before, ...after]) {
        if (before.has(key) && after.has(key)) continue;
        const name = nameOf(upstream.id, key);
        found.delete(name);
        endedAt.delete(name);
        if (after.has(key)) wanted.add(name);
        else wanted.delete(name);
        for (const asked of world.asked) if (asked.name === name) asked.isStale = true;
      }
    }
    world.checker.want(upstreams);
  };
  want();
  for (let step = 0; step < 150; step++) {
    const what = random.next();
    if (what < 0.05) want();
    else if (what < 0.5 && world.asked.length > 0) {
      const asked = oneOf(random, world.asked);
      const finding = oneOf(random, ["well", "well", "well", "silent", "silent", "unwell", undefined] as const);
      await world.end(asked, finding);
    } else {
      clock.advance(between(random, 1, 400));
      await settled();
    }
    world.forgetLate();
    assert.ok(world.most <= runningMax, `${world.most} at one time`);
    for (const { name, at, isStale } of world.asked) {
      if (isStale) continue;
      const [id] = name.split(" ") as [string];
      const { check } = upstreams.find((upstream) => upstream.id === id)!;
      const ended = endedAt.get(name);
      if (ended !== undefined && ended < at) assert.ok(at - ended >= check.intervalMs, `${name} is asked after ${at - ended} ms, not ${check.intervalMs}`);
    }
    for (const { id, check, endpoints } of upstreams) {
      for (const { key } of endpoints) {
        const name = nameOf(id, key);
        assert.equal(told.get(name) ?? undefined, readingOf(found.get(name) ?? [], check), `${name} after ${(found.get(name) ?? []).join(", ")}`);
      }
    }
    for (const [name, isWell] of told) if (!wanted.has(name)) assert.equal(isWell, null, `${name} has gone`);
  }
  // A worker that is stopped answers nobody: its checks are given up, and others are made in their place.
  const before = world.checks;
  for (let i = 0; i < 60; i++) {
    clock.advance(1_000);
    await settled();
  }
  if (upstreams.some(({ endpoints }) => endpoints.length > 0)) assert.ok(world.checks > before, "checks go on");
  const ended = world.checks;
  world.checker.close();
  clock.advance(60_000);
  await settled();
  assert.equal(world.checks, ended, "nobody is asked after the end");
}

test("who is used: nobody that is known to be unwell, unless too few are left; one that comes to others waits for its check", () => {
  for (const seed of seeds) {
    const random = seededRandom(seed);
    const panicPercent = oneOf(random, [undefined, 0, 20, 50, 100]);
    const check = checkOf(random);
    let endpoints = Array.from({ length: between(random, 1, 8) }, (_, i) => endpoint(i));
    const world = new World(random, { check, ...(panicPercent !== undefined && { panicPercent }) }, endpoints);
    const found = new Map<string, boolean>();
    const waits = new Set<string>();
    for (let step = 0; step < 300; step++) {
      const what = random.next();
      if (what < 0.3) {
        const { key } = oneOf(random, endpoints);
        const isWell = random.next() < 0.6;
        world.policy.learnHealth(key, isWell);
        found.set(key, isWell);
      } else if (what < 0.35) {
        const next = Array.from({ length: 10 }, (_, i) => endpoint(i)).filter(() => random.next() < 0.6);
        const now = new Set(next.map(({ key }) => key));
        for (const { key } of endpoints) if (!now.has(key)) world.policy.learnHealth(key, undefined);
        for (const { key } of next) if (!endpoints.some((one) => one.key === key) && endpoints.length > 0) waits.add(key);
        for (const { key } of endpoints) if (!now.has(key)) [found, waits].forEach((map) => map.delete(key));
        // Where there was nobody, all are there first.
        if (next.length === 0) waits.clear();
        endpoints = next.length > 0 ? next : endpoints;
        world.policy.update(endpoints);
      }
      const well = endpoints.filter(({ key }) => found.get(key) ?? !waits.has(key));
      const known = endpoints.filter(({ key }) => found.has(key) || !waits.has(key)).length;
      const isPanic = well.length === 0 ? panicPercent !== 0 : well.length < (known * (panicPercent ?? 0)) / 100;
      const picked = world.policy.pick(undefined);
      const name = `seed ${seed}, step ${step}, ${base.id}`;
      if (!isPanic && well.length === 0) assert.equal(picked.endpoint, undefined, name);
      else if (isPanic) assert.ok(picked.endpoint && endpoints.some(({ key }) => key === picked.endpoint.key), name);
      else assert.ok(picked.endpoint && well.some(({ key }) => key === picked.endpoint.key), name);
      if (picked.endpoint) picked.done({ type: "answered", status: 200, latencyMs: 1 });
    }
  }
});
