import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { NodeUsage } from "../../api/node.ts";
import { FakeClock } from "../../base/clock.ts";
import { ratesBetween, UsageSamples } from "./samples.ts";

const second = 1000;
const counters = (atS: number, cpuS: number) => ({ atMs: atS * second, cpuNs: cpuS * 1e9, memoryBytes: 1 << 20 });
const usage = (atS: number, cpuS: number | undefined): NodeUsage => ({ node: counters(atS, atS / 2), pods: [{ namespace: "default", name: "web", uid: "u", containers: cpuS === undefined ? [] : [{ name: "app", ...counters(atS, cpuS) }] }] });
const never = () => undefined;

describe("what is said of a container between two samples", () => {
  for (const [name, [beforeS, beforeCpuS], [afterS, afterCpuS], startedS, expected] of [
    ["half a core", [10, 1], [20, 6], 0, "500000000n/10s"],
    ["nothing used", [10, 1], [20, 1], 0, "0n/10s"],
    ["started between: since its start", [10, undefined], [20, 2], 16, "500000000n/4s"],
    ["started between, start unknown: nothing", [10, undefined], [20, 2], undefined, "none"],
    ["restarted: its counter began anew", [10, 50], [20, 2], 16, "500000000n/4s"],
    ["restarted and already past the old counter", [10, 1], [20, 2], 16, "500000000n/4s"],
    ["restarted, start unknown: nothing", [10, 50], [20, 2], undefined, "none"],
    ["too young to say", [10, undefined], [20, 1], 19.5, "none"],
    ["gone", [10, 1], [20, undefined], 0, "none"],
  ] as const) {
    test(name, () => {
      const found = ratesBetween(usage(beforeS, beforeCpuS), usage(afterS, afterCpuS), () => (startedS === undefined ? undefined : startedS * second)).pods.get("u")!.get("app");
      assert.equal(found ? `${found.cpuNanos}n/${found.windowMs / second}s` : "none", expected);
    });
  }
});

/** Lets everything run that waits for no timer. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("when samples are taken", () => {
  const setup = (startS = 1000) => {
    const clock = new FakeClock(startS * second);
    const reads: number[] = [];
    const samples = new UsageSamples(async () => (reads.push(clock.now() / second), usage(clock.now() / second, 1)), clock);
    /** Asks at a time, and lets the time pass that the answer needs. */
    const ask = async (atS: number) => {
      clock.advance(atS * second - clock.now());
      const asked = samples.rates(never).then(({ node }) => node.windowMs / second);
      await settled();
      if (clock.nextDueMs() !== undefined) clock.advance(second);
      return asked;
    };
    return { ask, reads, samples, clock };
  };

  test("the first question takes two, a second apart; later ones compare with what was asked for before", async () => {
    const { ask, reads } = setup();
    assert.equal(await ask(1000), 1);
    assert.equal(await ask(1005), 5);
    assert.equal(await ask(1014), 14);
    assert.equal(await ask(1030), 16, "nothing within the window but itself: the youngest before it");
    assert.equal(await ask(1200), 1, "after a silence as if for the first time");
    assert.deepEqual(reads, [1000, 1001, 1005, 1014, 1030, 1200, 1201]);
  });
  test("questions at the same time share one answer", async () => {
    const { samples, clock, reads } = setup();
    const asked = [samples.rates(never), samples.rates(never), samples.rates(never)];
    await settled();
    clock.advance(second);
    await Promise.all(asked);
    assert.equal(reads.length, 2);
  });
  test("nothing is read while nobody asks", async () => {
    const { ask, reads, clock } = setup();
    await ask(1000);
    clock.advance(3600 * second);
    assert.equal(reads.length, 2);
    assert.equal(clock.nextDueMs(), undefined, "and no timer waits");
  });
  test("a read that fails is asked anew", async () => {
    const clock = new FakeClock(0);
    let fails = true;
    const samples = new UsageSamples(async () => { if (fails) throw new Error("no agent"); return usage(clock.now() / second, 1); }, clock);
    await assert.rejects(samples.rates(never), /no agent/);
    fails = false;
    const asked = samples.rates(never);
    await settled();
    clock.advance(second);
    assert.equal((await asked).node.windowMs, second);
  });
});
