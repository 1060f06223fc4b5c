import assert from "node:assert/strict";
import { test } from "node:test";
import { randomInt, seededRandom } from "../../base/random.ts";
import { globOf } from "./resources.ts";

test("wildcards fit what a plain reading of them fits, and a hostile pattern takes no time", () => {
  const plain = (pattern: string, text: string): boolean => (pattern === "" ? text === "" : pattern[0] === "*" ? plain(pattern.slice(1), text) || (text !== "" && plain(pattern, text.slice(1))) : text !== "" && (pattern[0] === "?" || pattern[0] === text[0]) && plain(pattern.slice(1), text.slice(1)));
  const random = seededRandom(1);
  const made = (letters: string, length: number): string => Array.from({ length: randomInt(random, length + 1) }, () => letters[randomInt(random, letters.length)]).join("");
  let fitting = 0;
  for (let i = 0; i < 20_000; i++) {
    const [pattern, text] = [made("ab*?", 6), made("ab", 7)];
    const expected = plain(pattern, text);
    assert.equal(globOf(pattern)(text), expected, `${pattern} ${text}`);
    fitting += Number(expected);
  }
  assert.ok(fitting > 1_000);
  assert.equal(globOf(`${"*a".repeat(500)}*b`)("a".repeat(8_192)), false);
  assert.equal(globOf(`${"*?a".repeat(300)}*b`)("a".repeat(8_192)), false);
});
