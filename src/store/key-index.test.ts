import assert from "node:assert/strict";
import { test } from "node:test";
import { randomInt, seededRandom } from "../base/random.ts";
import { KeyIndex } from "./key-index.ts";

test("it holds what a sorted set holds, through splits and emptied chunks", () => {
  const random = seededRandom(4);
  const index = new KeyIndex();
  let model = new Set<string>();
  const keyOf = (n: number) => `/r${n % 7}/${(n * 2654435761) % 100_003}`;
  for (let round = 0; round < 6; round++) {
    // Grow, then shrink: chunks split, then vanish.
    for (let i = 0; i < 4_000; i++) {
      const key = keyOf(randomInt(random, 3_000));
      const verb = random.next() < (round % 2 ? 0.2 : 0.8) ? "add" : "delete";
      index[verb](key);
      model[verb](key);
    }
    if (round === 4) {
      for (const key of model) index.delete(key);
      model = new Set();
    }
    const sorted = [...model].sort();
    assert.deepEqual([...index.range("")], sorted);
    for (const prefix of ["", "/", "/r3/", "/r3/1", "/r9/", "/r6/9"]) {
      const below = sorted.filter((key) => key.startsWith(prefix));
      assert.deepEqual([...index.range(prefix)], below);
      assert.equal(index.count(prefix), below.length);
      for (const start of ["", "/r3/5", "/r4", "/zzz", ...below.slice(0, 3), below.at(-1) ?? ""]) {
        assert.deepEqual([...index.range(prefix, start)], below.filter((key) => key >= start));
        assert.equal(index.count(prefix, start), below.filter((key) => key >= start).length);
      }
    }
  }
});

test("sorted keys are loaded as they are", () => {
  for (const size of [0, 1, 341, 342, 5_000]) {
    const keys = Array.from({ length: size }, (_, i) => `/k/${String(i).padStart(6, "0")}`);
    const index = new KeyIndex();
    index.load(keys);
    assert.deepEqual([...index.range("/k/")], keys);
    assert.equal(index.count("/k/"), size);
    index.add("/k/000000x");
    assert.equal(index.count("/k/"), size + 1);
  }
});
