import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { seededRandom, type Random } from "../../base/random.ts";
import { CelBudgetError, CelCompileError, CelEvaluationError, compileCel, CostBudget, PER_CALL_LIMIT, PER_REQUEST_LIMIT } from "./program.ts";

const seed = Number(process.env["WHERRY_SEED"] ?? 20_260_101);
/** One expression with its values; upstream's own limit is the request's. */
const timeMax = 3000;

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;

/** Words of all cases: what a grammar would make, and what nobody would write. */
const words = readdirSync(join(import.meta.dirname, "testdata"))
  .flatMap((file) => readFileSync(join(import.meta.dirname, "testdata", file), "utf8").split("\n"))
  .flatMap((line) => (line.includes("  =>  ") ? [line.split("  =>  ")[0]!] : []));
const parts = [...new Set(words.flatMap((line) => line.match(/[A-Za-z_]\w*|"[^"]*"|\d+|\S/g) ?? []))];

function expressionOf(random: Random): string {
  const kind = random.next();
  if (kind < 0.4) return Array.from({ length: 1 + Math.floor(random.next() * 12) }, () => pick(random, parts)).join(random.next() < 0.5 ? "" : " ");
  if (kind < 0.7) {
    const text = pick(random, words);
    const at = Math.floor(random.next() * text.length);
    return text.slice(0, at) + pick(random, ["", "(", ")", "[", ".", "?", "\\", "\u0000", "é", "'", pick(random, parts)]) + text.slice(at + Math.floor(random.next() * 3));
  }
  return `(${pick(random, words)}) ${pick(random, ["+", "==", "&&", "<", "in", "?"])} (${pick(random, words)})`;
}

function valueOf(random: Random, depth = 0): unknown {
  const kind = random.next();
  if (depth > 3 || kind < 0.5) return pick(random, [null, true, 0, -1, 1.5, 2 ** 60, 1e300, "", "a", "1Gi", "10.0.0.0/8", "2024-01-01T00:00:00Z", "\ud800", "é😀", "x".repeat(1000)]);
  if (kind < 0.75) return Array.from({ length: Math.floor(random.next() * 5) }, () => valueOf(random, depth + 1));
  return Object.fromEntries(Array.from({ length: Math.floor(random.next() * 5) }, () => [pick(random, ["a", "name", "labels", "__proto__", "constructor", "ports"]), valueOf(random, depth + 1)]));
}

test("no expression and no value breaks it, or takes long", (t) => {
  const random = seededRandom(seed);
  t.diagnostic(`seed ${seed}`);
  let evaluated = 0;
  let compiled = 0;
  for (let round = 0; round < 4000; round++) {
    const expression = expressionOf(random);
    const started = performance.now();
    try {
      const program = compileCel(expression, { variables: { self: "dyn", list: "dyn", text: "dyn" }, result: "any" });
      compiled++;
      assert.ok(program.estimatedCost >= 0, expression);
      JSON.stringify(program.evaluate({ self: valueOf(random), list: valueOf(random), text: valueOf(random) }, new CostBudget(PER_REQUEST_LIMIT)));
      evaluated++;
    } catch (error) {
      if (!(error instanceof CelCompileError || error instanceof CelEvaluationError || error instanceof CelBudgetError)) throw new Error(`round ${round}: ${expression}`, { cause: error });
    }
    assert.ok(performance.now() - started < timeMax, `round ${round}: ${expression}`);
  }
  // A generator that makes nothing that runs would prove nothing.
  assert.ok(compiled > 400 && evaluated > 250, `${compiled} compiled, ${evaluated} evaluated`);
});

const long = Array.from({ length: 20_000 }, (_, index) => index);
const hostile: Record<string, { expression: string; self?: unknown; stops: typeof CelBudgetError | typeof CelCompileError | typeof CelEvaluationError }> = {
  "loops in loops": { expression: "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))", self: long, stops: CelBudgetError },
  "a list that doubles": { expression: `[[1, 2, 3]]${".map(a, a + a)".repeat(40)}.size()`, stops: CelBudgetError },
  "a text that doubles": { expression: `["0123456789"]${".map(a, a + a)".repeat(60)}.size()`, stops: CelBudgetError },
  "a pattern that backtracks": { expression: "self.all(x, text.matches('(a+)+$'))", self: long, stops: CelBudgetError },
  "deep brackets": { expression: `${"(".repeat(10_000)}1${")".repeat(10_000)}`, stops: CelCompileError },
  "deep lists": { expression: `${"[".repeat(10_000)}${"]".repeat(10_000)}`, stops: CelCompileError },
  "a long chain": { expression: Array.from({ length: 20_000 }, () => "1").join("+"), stops: CelCompileError },
  "many signs": { expression: `${"!".repeat(50_001)}1`, stops: CelCompileError },
  "too much text": { expression: `"${"x".repeat(100_001)}"`, stops: CelCompileError },
  "deep values": { expression: "self == self && self.a", self: Array.from({ length: 200 }).reduce((inner) => ({ a: inner }), 1), stops: CelEvaluationError },
};
for (const [name, { expression, self, stops }] of Object.entries(hostile)) {
  test(`is stopped: ${name}`, () => {
    const started = performance.now();
    assert.throws(() => compileCel(expression, { variables: { self: "dyn", text: "dyn" }, result: "any" }).evaluate({ self: self ?? null, text: "a".repeat(1000) }, new CostBudget(PER_REQUEST_LIMIT)), stops);
    assert.ok(performance.now() - started < timeMax);
  });
}

test("long chains of && and || are no depth", () => {
  const expression = Array.from({ length: 10_000 }, () => "true").join(" && ");
  assert.equal(compileCel(expression, { variables: {}, result: "bool" }).evaluate({}, new CostBudget(PER_REQUEST_LIMIT)), true);
});

test("a budget is spent by all who share it, one call stops by itself", () => {
  const budget = new CostBudget(25);
  const program = compileCel("self.all(x, x >= 0)", { variables: { self: "dyn" }, result: "bool" });
  assert.equal(program.evaluate({ self: [1, 2] }, budget), true);
  assert.equal(budget.remaining, 13);
  assert.throws(() => program.evaluate({ self: [1, 2, 3] }, budget), /validation failed due to running out of cost budget, no further validation rules will be run/);
  const large = new CostBudget(100 * PER_CALL_LIMIT);
  assert.throws(() => program.evaluate({ self: Array.from({ length: 300_000 }, () => 1) }, large), /^CelBudgetError: operation cancelled: actual cost limit exceeded$/);
});

test("what a result must be, and which variables are named", () => {
  assert.throws(() => compileCel("self", { variables: { self: "dyn" }, result: "bool" }), { name: "CelCompileError", message: "must evaluate to bool" });
  assert.throws(() => compileCel("1", { variables: {}, result: "string" }), { message: "must evaluate to string" });
  assert.deepEqual([...compileCel("self.a == oldSelf.a && [1].all(other, other > 0)", { variables: { self: "dyn", oldSelf: "dyn", other: "dyn" }, result: "bool" }).variables], ["self", "oldSelf"]);
});
