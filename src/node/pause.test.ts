import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import type { StatusError } from "../api/status.ts";
import { FakeClock, systemClock } from "../base/clock.ts";
import { freeze } from "./freeze.ts";
import { Pause } from "./pause.ts";
import { descendantsOf } from "./sandbox/processes.ts";

/** A shell program in a session of its own, once it has said a line. */
async function program(t: TestContext, script: string): Promise<ChildProcess & { pid: number }> {
  const child = spawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "inherit"], detached: true });
  t.after(() => child.kill("SIGKILL"));
  await new Promise((resolve) => child.stdout!.once("data", resolve));
  return child as ChildProcess & { pid: number };
}

/** R, S, T, … of a process; X when there is none. */
function state(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text[text.lastIndexOf(")") + 2]!;
  } catch {
    return "X";
  }
}
const alive = (pids: readonly number[]) => pids.filter((pid) => !"XZ".includes(state(pid)));

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!done()) {
    assert.ok(performance.now() < deadline, `${what}: not within 10 s`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("a program that forks without end stands still as a whole, and goes on", async (t) => {
  const child = await program(t, "echo up; while :; do (:) & (:); done");
  for (let round = 0; round < 5; round++) {
    const frozen = await freeze([child.pid], systemClock);
    const family = alive(descendantsOf(child.pid));
    assert.ok(frozen.processes >= 1);
    assert.deepEqual(family.map(state).filter((one) => one !== "T"), []);
    const before = readFileSync(`/proc/${child.pid}/stat`, "latin1").split(" ").slice(13, 15);
    assert.deepEqual(alive(descendantsOf(child.pid)), family, "nobody is born meanwhile");
    assert.deepEqual(readFileSync(`/proc/${child.pid}/stat`, "latin1").split(" ").slice(13, 15), before, "nor runs");
    frozen.thaw();
    await until("it runs again", () => state(child.pid) !== "T");
  }
});

test("a process that stood still before does so afterwards", async (t) => {
  const child = await program(t, "sleep 1000 & kill -STOP $!; echo up; wait");
  const sleeper = descendantsOf(child.pid).at(-1)!;
  await until("the sleeper stands", () => state(sleeper) === "T");
  const frozen = await freeze([child.pid], systemClock);
  assert.equal(state(child.pid), "T");
  frozen.thaw();
  await until("the shell runs again", () => state(child.pid) !== "T");
  assert.equal(state(sleeper), "T");
  process.kill(sleeper, "SIGKILL");
});

test("nothing is started while programs stand still, and an answer of that time does not count", async () => {
  const pause = new Pause(systemClock);
  const began: string[] = [];
  let finish!: () => void;
  const starting = pause.starting(() => new Promise<void>((resolve) => (finish = resolve)));
  const slow = pause.asking(() => new Promise((resolve) => setImmediate(() => setImmediate(resolve))));
  // What is being started is let come to its end first: it would run on, unseen.
  const beginning = pause.begin(() => (began.push("looked for processes"), []), 60_000);
  const later = pause.starting(async () => began.push("started"));
  assert.deepEqual(began, []);
  finish();
  await starting;
  const held = await beginning;
  assert.deepEqual(began, ["looked for processes"]);
  await assert.rejects(slow, /stood still/);
  await assert.rejects(pause.begin(() => [], 60_000), (error: StatusError) => error.code === 409 && /another backup is under way/.test(error.message));
  held.release();
  await later;
  assert.deepEqual(began, ["looked for processes", "started"]);
  assert.equal(await pause.asking(async () => "well"), "well");
});

test("nobody stands still for ever, nor when the stack stops", async () => {
  const clock = new FakeClock();
  const pause = new Pause(clock);
  const first = await pause.begin(() => [], 60_000);
  clock.advance(60_000);
  assert.equal(await first.lost, "programs stand still for 60 s at most");
  const second = await pause.begin(() => [], 60_000);
  first.release(); // late, and not its own any more
  await assert.rejects(pause.begin(() => [], 60_000));
  pause.end("the stack stops");
  assert.equal(await second.lost, "the stack stops");
});

test("who is gone needs no stopping; who may not be stopped is said, and everybody goes on", async (t) => {
  assert.equal((await freeze([999_999_999], systemClock)).processes, 0);
  const child = await program(t, "echo up; exec sleep 1000");
  // This process asks to be stopped itself, with all below it.
  await assert.rejects(freeze([process.pid], systemClock), new RegExp(`processes ${process.pid} could not be stopped`));
  assert.notEqual(state(child.pid), "T");
  assert.notEqual(state(process.pid), "T");
});
