import assert from "node:assert/strict";
import { test } from "node:test";
import { randomInt, seededRandom } from "../../base/random.ts";
import { compilePattern } from "../pattern.ts";
import { compileRegular } from "./regular.ts";

test("patterns of plain classes say the same on both engines, and a long text costs its length", () => {
  const random = seededRandom(8);
  const letters = "aZ09_ .,:@/#-\n\u00e9";
  for (const source of ["^[a-z0-9-]+$", "^[A-Z]{2}[0-9]*$", "^[a-z]?$", "^[\\w]+$", "^[a-z]{1,3}$", "^[a-z]{2}$", "^[0-9]{2,}$", "^[a-z.,:@/# -]*$", "^[a-z][0-9]$", "^[a-z]+[0-9]+$", "^[a-z]$|^[0-9]+$", "^$"]) {
    const [ours, re2] = [compileRegular(source, "pattern"), compilePattern(source, { whole: false }, "pattern")];
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: randomInt(random, 5) }, () => letters[randomInt(random, letters.length)]).join("");
      assert.equal(ours.test(text), re2.test(text), `${source} on ${JSON.stringify(text)}`);
    }
    assert.equal(ours.test(`${"a".repeat(1_000_000)}!`), false, source);
  }
  assert.throws(() => compileRegular("^[z-a]+$", "pattern"), /pattern/);
});
