import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../base/clock.ts";
import { Workqueue } from "./workqueue.ts";

function queue() {
  const clock = new FakeClock();
  let ready = 0;
  const workqueue = new Workqueue(clock, () => ready++);
  return { clock, workqueue, ready: () => ready };
}

test("a key waits once and comes again when it was added while processed", () => {
  const { workqueue } = queue();
  workqueue.add("a");
  workqueue.add("b");
  workqueue.add("a");
  assert.equal(workqueue.take(), "a");
  workqueue.add("a");
  assert.equal(workqueue.take(), "b");
  assert.equal(workqueue.take(), undefined, "never the same key twice at once");
  workqueue.done("a");
  assert.equal(workqueue.take(), "a");
  workqueue.done("a");
  workqueue.done("b");
  assert.ok(workqueue.isIdle);
});

test("of several delays the earliest counts", () => {
  const { workqueue, clock } = queue();
  workqueue.addAfter("a", 100);
  workqueue.addAfter("a", 30);
  workqueue.addAfter("a", 70);
  clock.advance(29);
  assert.equal(workqueue.length, 0);
  clock.advance(1);
  assert.equal(workqueue.take(), "a");
  workqueue.done("a");
  clock.advance(1_000);
  assert.equal(workqueue.length, 0);
});

test("retries double until the key succeeds", () => {
  const { workqueue, clock } = queue();
  const waits: number[] = [];
  for (let i = 0; i < 16; i++) {
    workqueue.retry("a");
    const startMs = clock.now();
    clock.advance(clock.nextDueMs()! - startMs);
    waits.push(clock.now() - startMs);
    workqueue.done(workqueue.take()!);
  }
  assert.deepEqual(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 40960, 60000, 60000]);
  workqueue.forget("a");
  workqueue.retry("a");
  assert.equal(clock.nextDueMs()! - clock.now(), 5);
});

test("many failing keys are spread: 100 at once, then 50 a second", () => {
  const { workqueue, clock } = queue();
  for (let i = 0; i < 200; i++) workqueue.retry(`key ${i}`);
  clock.advance(5);
  assert.equal(workqueue.length, 100);
  clock.advance(995);
  assert.equal(workqueue.length, 150);
});

test("a resting key is not handed out, and what came meanwhile is one key", () => {
  const { workqueue, clock } = queue();
  workqueue.add("a");
  workqueue.take();
  workqueue.done("a", 75);
  workqueue.add("a");
  workqueue.add("a");
  assert.equal(workqueue.take(), undefined);
  clock.advance(75);
  assert.equal(workqueue.take(), "a");
  workqueue.done("a");
  assert.equal(workqueue.take(), undefined);
});

test("a cleared queue leaves no timer", () => {
  const { workqueue, clock } = queue();
  workqueue.addAfter("a", 10);
  workqueue.add("b");
  workqueue.take();
  workqueue.done("b", 10);
  workqueue.clear();
  assert.equal(clock.nextDueMs(), undefined);
});
