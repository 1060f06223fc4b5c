import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientAffinity } from "./client-affinity.ts";

test("affinity ends after its timeout, is renewed by use, and forgets the longest silent client", () => {
  const affinity = new ClientAffinity(10_000, 2);
  affinity.set("a", "one", 0);
  assert.equal(affinity.get("a", 9_999), "one");
  assert.equal(affinity.get("a", 10_000), undefined);
  affinity.set("a", "one", 0);
  affinity.set("a", "one", 9_000);
  assert.equal(affinity.get("a", 18_000), "one");
  affinity.set("b", "two", 1);
  affinity.set("a", "one", 2);
  affinity.set("c", "three", 3);
  assert.deepEqual([affinity.get("a", 4), affinity.get("b", 4), affinity.get("c", 4), affinity.size], ["one", undefined, "three", 2]);
});
