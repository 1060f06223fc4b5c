import assert from "node:assert/strict";
import { test } from "node:test";
import { Shelf } from "./shelf.ts";

test("a document is known by its hash, kept while there is room, and made again", () => {
  const shelf = new Shelf(10);
  const made: string[] = [];
  const document = (name: string, hash?: string) => shelf.document("text/plain", () => (made.push(name), Buffer.from(name)), hash);
  const known = document("known", "ABC");
  assert.deepEqual([made, known.hash, known.etag], [[], "ABC", '"ABC"']);
  assert.equal(known.body, known.body);
  const other = document("other");
  assert.equal(other.hash.length, 64);
  assert.deepEqual([made, shelf.bytes], [["known", "other"], 10]);
  assert.equal(known.body.toString(), "known", "was asked for last");
  document("third");
  assert.equal(known.body.toString(), "known");
  assert.deepEqual(made, ["known", "other", "third"]);
  assert.equal(other.body.toString(), "other");
  assert.deepEqual(made, ["known", "other", "third", "other"]);
  const large = document("larger than the shelf");
  assert.deepEqual([large.body.length, shelf.bytes], [21, 10]);
});
