import assert from "node:assert/strict";
import { test } from "node:test";
import { firstFree, formatIndexes, hasIndex, overlapOf, parseIndexes, totalOf, withIndexes } from "./indexes.ts";

test("ranges of indexes", () => {
  const written: [text: string, completions: number, again: string, total: number][] = [
    ["", 9, "", 0],
    ["3", 9, "3", 1],
    ["0-2,5", 9, "0-2,5", 4],
    ["1,2", 9, "1,2", 2],
    ["1,2,3", 9, "1-3", 3],
    ["1-3,4-6", 9, "1-6", 6],
    ["1,7-20", 9, "1,7,8", 3],
    ["9,10", 9, "", 0],
    ["x,2,-1,4-", 9, "2", 1],
  ];
  for (const [text, completions, again, total] of written) {
    const indexes = parseIndexes(text, completions);
    assert.equal(formatIndexes(indexes), again, text);
    assert.equal(totalOf(indexes), total, text);
  }
  const some = parseIndexes("1-3,7", 99);
  assert.deepEqual([0, 1, 2, 3, 4, 6, 7, 8].filter((index) => hasIndex(some, index)), [1, 2, 3, 7]);
  assert.equal(formatIndexes(withIndexes(some, [5, 4, 0, 7])), "0-5,7");
  assert.deepEqual(firstFree(some, 4, 9), [0, 4, 5, 6]);
  assert.deepEqual(firstFree(some, 4, 3), [0]);
  assert.equal(overlapOf(parseIndexes("0-4,8-9", 99), parseIndexes("2-8", 99)), 4);
});
