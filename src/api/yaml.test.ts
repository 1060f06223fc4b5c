import assert from "node:assert/strict";
import { test } from "node:test";
import { parseYaml } from "./yaml.ts";

test("parseYaml() reads scalars as kubectl does", () => {
  const cases: [string, unknown][] = [
    ["no", false],
    ["Yes", true],
    ["on", true],
    ["0777", 511],
    ["0x1F", 31],
    ["1_000", 1000],
    ["1e3", 1000],
    ["12:30:45", "12:30:45"],
    ["2001-01-01", "2001-01-01"],
    ["~", null],
    ['"no"', "no"],
    ["100m", "100m"],
    ["1.5", 1.5],
  ];
  for (const [text, value] of cases) assert.deepEqual(parseYaml(`a: ${text}`), [{ a: value }], text);
});

test("parseYaml() gives every document and skips empty ones", () => {
  assert.deepEqual(parseYaml("---\na: 1\n---\n# nothing\n---\nb: 2\n"), [{ a: 1 }, { b: 2 }]);
});

test("parseYaml() refuses duplicate keys", () => {
  assert.throws(() => parseYaml("a: 1\na: 2\n"), /duplicate/i);
});
