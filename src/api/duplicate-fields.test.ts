import assert from "node:assert/strict";
import { test } from "node:test";
import { duplicateFields } from "./duplicate-fields.ts";

test("duplicateFields() names keys given twice, with their paths", () => {
  const cases: [text: string, names: string[]][] = [
    ["{}", []],
    ['{"a":1,"b":1}', []],
    ['{"a":1,"a":2}', ["a"]],
    ['{"a":1,"a":2,"a":3}', ["a", "a"]],
    ['{"spec":{"replicas":1,"replicas":2}}', ["spec.replicas"]],
    ['{"spec":{"x":[{"n":1},{"n":1,"n":2}]}}', ["spec.x[1].n"]],
    ['{"spec":{"x":[[1,{"n":1,"n":2}]]}}', ["spec.x[0][1].n"]],
    ['{"a":{"x":1},"b":{"x":1}}', []],
    ['[{"x":1},{"x":1}]', []],
    ['{"a":"{\\"b\\":1,\\"b\\":2}"}', []],
    ['{"a\\"":1,"a\\"":2}', ['a"']],
    ['{"\\u0061":1,"a":2}', ["a"]],
    ['{"a":"\\\\","b":1,"b":2}', ["b"]],
    [' { "a" : [ ] , "a" : { } } ', ["a"]],
    ['{"a":["x","y",{"k":"v","k":"w"}]}', ["a[2].k"]],
  ];
  for (const [text, names] of cases) {
    JSON.parse(text);
    assert.deepEqual(duplicateFields(text), names.map((name) => `duplicate field ${JSON.stringify(name)}`), text);
  }
});
