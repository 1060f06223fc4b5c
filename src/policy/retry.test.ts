import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpRule, Retry } from "../api/traffic.ts";
import { seededRandom } from "../base/random.ts";
import { backoffMs, decideRetry, type Failure, tryTimeout } from "./retry.ts";

const connect: Failure = { type: "connect", sent: false };
const reset: Failure = { type: "reset", sent: true };
const lost: Failure = { type: "reset", sent: true, reused: true };
const timeout: Failure = { type: "timeout", sent: true };
const status = (code: number): Failure => ({ type: "status", status: code, sent: true });
const all: Retry = { attempts: 2, backoffMs: 10, statuses: [502, 503] };

const cases: [what: string, retry: Retry | undefined, method: string, failure: Failure, expected: "retry" | "UF" | "UC" | "UT" | "URX", more?: { tries?: number; canRepeat?: boolean; elapsedMs?: number; timeouts?: HttpRule["timeouts"] }][] = [
  ["no connection: another endpoint, without being asked", undefined, "GET", connect, "retry"],
  ["also for a POST: it never left", undefined, "POST", connect, "retry"],
  ["also when its body is gone: nothing of it was sent", undefined, "POST", connect, "retry", { canRepeat: false }],
  ["but not for ever", undefined, "GET", connect, "UF", { tries: 3 }],
  ["lost on a kept connection", undefined, "GET", lost, "retry"],
  ["lost on a kept connection, a POST", undefined, "POST", lost, "UC"],
  ["lost, and its body is gone", undefined, "PUT", lost, "UC", { canRepeat: false }],
  ["broken on a new connection", undefined, "GET", reset, "UC"],
  ["an answer is an answer", undefined, "GET", status(503), "URX"],
  ["configured: reset", all, "GET", reset, "retry"],
  ["configured: timeout", all, "GET", timeout, "retry"],
  ["configured: a status", all, "GET", status(503), "retry"],
  ["configured: not this status", all, "GET", status(500), "URX"],
  ["configured: POST was sent", all, "POST", reset, "UC"],
  ["configured: POST timed out", all, "POST", timeout, "UT"],
  ["configured: PATCH is not idempotent either", all, "PATCH", status(503), "URX"],
  ["configured: DELETE is", all, "DELETE", status(503), "retry"],
  ["unsafe is allowed", { ...all, unsafe: true }, "POST", reset, "retry"],
  ["unsafe, but the body is gone", { ...all, unsafe: true }, "POST", reset, "UC", { canRepeat: false }],
  ["only some failures: this one", { ...all, on: ["reset"] }, "GET", reset, "retry"],
  ["only some failures: not this one", { ...all, on: ["reset"] }, "GET", timeout, "UT"],
  ["attempts are spent", all, "GET", status(503), "URX", { tries: 3 }],
  ["the last attempt", all, "GET", status(503), "retry", { tries: 2 }],
  ["attempts: none, but what was not begun goes elsewhere", { ...all, attempts: 0 }, "GET", connect, "retry"],
  ["attempts: none", { ...all, attempts: 0 }, "GET", reset, "UC"],
  ["only some failures: what was not begun goes elsewhere all the same", { ...all, on: ["status"] }, "POST", connect, "retry"],
  ["not begun now, but in an earlier try, and its body is gone", undefined, "GET", { ...connect, sent: true }, "UF", { canRepeat: false }],
  ["no time is left", all, "GET", reset, "UC", { elapsedMs: 95, timeouts: { requestMs: 100 } }],
  ["time is left", all, "GET", reset, "retry", { elapsedMs: 80, timeouts: { requestMs: 100 } }],
  ["no time is set: 0", all, "GET", reset, "retry", { elapsedMs: 1e9, timeouts: { requestMs: 0 } }],
];
for (const [what, retry, method, failure, expected, { tries = 1, canRepeat = true, elapsedMs = 0, timeouts } = {}] of cases) {
  test(what, () => {
    const decision = decideRetry({ rule: { ...(retry && { retry }), ...(timeouts && { timeouts }) }, method, failure, tries, canRepeat, elapsedMs, random: seededRandom(1) });
    assert.equal(decision.retry ? "retry" : decision.flag, expected, JSON.stringify(decision));
  });
}

test("backoff: never less than configured, doubled, bounded, jittered", () => {
  const random = seededRandom(3);
  for (const [tries, least, most] of [[1, 100, 150], [2, 200, 300], [3, 400, 600], [4, 800, 1200], [5, 1000, 1500], [50, 1000, 1500]] as const) {
    const delays = Array.from({ length: 200 }, () => backoffMs({ attempts: 9, backoffMs: 100, statuses: [] }, tries, random));
    assert.ok(Math.min(...delays) >= least && Math.max(...delays) <= most, `${tries}: ${Math.min(...delays)} to ${Math.max(...delays)}`);
    assert.ok(new Set(delays).size > 100);
  }
  assert.ok(backoffMs({ attempts: 1, backoffMs: 100, backoffMaxMs: 20, statuses: [] }, 3, random) >= 100, "the least goes before the most");
});

test("a try may take what it may, and never more than what is left of the whole", () => {
  assert.equal(tryTimeout({}, 0), undefined);
  assert.equal(tryTimeout({ timeouts: { requestMs: 0, backendMs: 0 } }, 5), undefined);
  assert.deepEqual(tryTimeout({ timeouts: { backendMs: 50 } }, 1000), { ms: 50, ends: "try" });
  assert.deepEqual(tryTimeout({ timeouts: { requestMs: 100, backendMs: 50 } }, 40), { ms: 50, ends: "try" });
  assert.deepEqual(tryTimeout({ timeouts: { requestMs: 100, backendMs: 50 } }, 60), { ms: 40, ends: "request" });
  assert.deepEqual(tryTimeout({ timeouts: { requestMs: 100 } }, 160), { ms: 0, ends: "request" });
});
