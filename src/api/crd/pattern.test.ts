import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { compilePattern, PatternError, quantityPattern } from "./pattern.ts";

test("the pattern of quantities, matched without the engine, matches what the engine does", () => {
  const { RE2JS } = createRequire(import.meta.url)("re2js") as typeof import("re2js");
  const engine = RE2JS.compile(quantityPattern);
  const parts = ["", "+", "-", "1", "0", "12", ".", ".5", "1.", "K", "Ki", "k", "m", "n", "u", "i", "M", "Ei", "e", "E", "e3", "E-3", "e+.5", "\n", " ", "é", "٣"];
  let matches = 0;
  for (const first of parts) {
    for (const second of parts) {
      for (const third of parts) {
        const text = first + second + third;
        const found = compilePattern(quantityPattern).test(text);
        assert.equal(found, engine.matcher(text).find(), JSON.stringify(text));
        matches += Number(found);
      }
    }
  }
  assert.ok(matches > 300, `${matches} of them are quantities`);
});

test("what is no pattern is said in Go's words", () => {
  assert.throws(() => compilePattern("(a"), (error: Error) => error instanceof PatternError && /missing closing \)/.test(error.message));
  assert.ok(compilePattern("^a+$").test("aaa"));
  assert.ok(!compilePattern("^a+$").test("ab"));
});
