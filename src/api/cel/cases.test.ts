import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Schema } from "../schema.ts";
import { CelBudgetError, CelCompileError, CelEvaluationError, compileCel, CostBudget, PER_REQUEST_LIMIT } from "./program.ts";

const folder = join(import.meta.dirname, "testdata");

interface Case {
  line: number;
  expression: string;
  expected: string;
  given: Record<string, unknown>;
  schema: Schema | undefined;
}

function* casesOf(text: string): Generator<Case> {
  let given: Record<string, unknown> = {};
  let schema: Schema | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || (line.startsWith("#") && !line.includes("  =>  "))) continue;
    if (line.startsWith("given: ")) given = JSON.parse(line.slice(7)) as Record<string, unknown>;
    else if (line.startsWith("schema: ")) schema = JSON.parse(line.slice(8)) as Schema;
    else {
      const [expression, expected] = line.split("  =>  ") as [string, string];
      yield { line: index + 1, expression, expected, given, schema };
    }
  }
}

/** What the evaluation gave, in the words of a case. */
function outcome({ expression, expected, given, schema }: Case): string {
  try {
    const variables = Object.fromEntries(Object.keys(given).map((name) => [name, name === "self" && schema ? schema : ("dyn" as const)]));
    const program = compileCel(expression, { variables, result: "any" });
    if (expected.startsWith("cost: ")) return `cost: ${program.estimatedCost}`;
    return JSON.stringify(program.evaluate(given, new CostBudget(PER_REQUEST_LIMIT)));
  } catch (error) {
    if (error instanceof CelCompileError) return `compile: ${error.message.split("\n")[0]!.replace("ERROR: <input>:", "")}`;
    if (error instanceof CelEvaluationError) return `error: ${error.message}`;
    if (error instanceof CelBudgetError) return `budget: ${error.message}`;
    throw error;
  }
}

for (const file of readdirSync(folder)) {
  test(`cases of ${file}`, () => {
    const wrong: string[] = [];
    let count = 0;
    for (const one of casesOf(readFileSync(join(folder, file), "utf8"))) {
      count++;
      const found = outcome(one);
      const expected = /^(compile|error|budget|cost): /.test(one.expected) ? one.expected : JSON.stringify(JSON.parse(one.expected));
      if (found !== expected) wrong.push(`${file}:${one.line}: ${one.expression}\n  expected ${expected}\n  found    ${found}`);
    }
    assert.equal(wrong.join("\n"), "");
    assert.ok(count > 40, `${count} cases in ${file}`);
  });
}
