import assert from "node:assert/strict";
import { test } from "node:test";
import { normal } from "../../policy/cache/store.ts";
import { ChunkReader } from "./chunks.ts";
import { queryWithoutSecrets } from "./secrets.ts";

/** Far more than the work takes, and far less than it takes when each blank of a row is the beginning of another try. */
const deadlineMs = 30_000;
function inTime(times: number, work: () => void): void {
  const from = performance.now();
  for (let i = 0; i < times; i++) work();
  assert.ok(performance.now() - from < deadlineMs);
}

test("a long row of blanks within a trailer is looked at once", () => {
  const row = " ".repeat(8_000);
  const body = Buffer.from(`0\r\nX-A: \t a${row}b \t\r\n\r\n`, "latin1");
  inTime(300, () => {
    const chunks = new ChunkReader();
    chunks.read(body, 0, body.length);
    assert.deepEqual(chunks.trailers, [["x-a", `a${row}b`]]);
  });
});

test("one within a header that answers differ by, too", () => {
  const row = " ".repeat(32_000);
  inTime(200, () => assert.equal(normal("accept-language", ` A${row}B ,${row}c `), `a${row}b,c`));
});

test("a query of escapes alone is logged as it is", () => {
  const query = "%41".repeat(10_000);
  inTime(200, () => assert.equal(queryWithoutSecrets(query, []), query));
});
