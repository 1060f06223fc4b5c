import assert from "node:assert/strict";
import { test } from "node:test";
import type { Probe } from "../../api/types.ts";
import { FakeClock } from "../../base/clock.ts";
import { type ProbeKind, ProbeLoop } from "./probes.ts";

const refused = { success: false, output: 'Get "http://10.244.0.2:80/": dial tcp 10.244.0.2:80: connect: connection refused' };
const status503 = { success: false, output: "HTTP probe failed with statuscode: 503" };
const well = { success: true, output: "" };

/** Runs a probe of a program that answers `before` until `listensMs` and `after` from then on; gives what was told, and when. */
async function follow(kind: ProbeKind, probe: Probe, program: { before: typeof refused; listensMs: number }, untilMs: number) {
  const clock = new FakeClock();
  const began = clock.now();
  const told: string[] = [];
  let asked = 0;
  const loop = new ProbeLoop(kind, probe, clock, async () => (asked++, clock.now() - began >= program.listensMs ? well : program.before), {
    change: (success) => told.push(`${clock.now() - began} ${success ? "well" : "ill"}`),
    failure: () => told.push(`${clock.now() - began} failure`),
  });
  loop.start(began);
  for (let ms = 0; ms < untilMs; ms += 5) {
    clock.advance(5);
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  }
  loop.stop();
  return { told, asked };
}

test("a program that begins to listen after some periods is seen within a quarter of a second", async () => {
  const { told } = await follow("readiness", { periodSeconds: 1 }, { before: refused, listensMs: 3_300 }, 5_000);
  const [when] = told.at(-1)!.split(" ");
  assert.ok(Number(when) >= 3_300 && Number(when) <= 3_560, String(told));
  assert.deepEqual(told.map((line) => line.split(" ")[1]), ["failure", "failure", "failure", "ill", "well"], "a refusal counts once a period, and not in the first");
});

test("who answers, but not well, is asked once a period", async () => {
  const { told, asked } = await follow("readiness", { periodSeconds: 1 }, { before: status503, listensMs: 2_500 }, 4_100);
  assert.equal(asked, 5);
  assert.deepEqual(told.map((line) => line.split(" ")[1]), ["failure", "failure", "failure", "ill", "well"]);
});

test("after ten seconds of refusals the period rules; liveness never hurries", async () => {
  const late = await follow("readiness", { periodSeconds: 5 }, { before: refused, listensMs: 12_000 }, 16_000);
  assert.ok(Number(late.told.at(-1)!.split(" ")[0]) >= 14_900, String(late.told));
  const liveness = await follow("liveness", { periodSeconds: 1, failureThreshold: 2 }, { before: refused, listensMs: 10_000 }, 3_100);
  assert.equal(liveness.asked, 4);
  assert.deepEqual(liveness.told.map((line) => line.split(" ")[1]), ["failure", "failure", "ill", "failure", "failure"]);
});
