import assert from "node:assert/strict";
import { test } from "node:test";
import { fromText } from "./grpc-web.ts";

/** What stands there, and what it is; undefined: it is not base64. */
const texts: [text: string, bytes: string | undefined][] = [
  ["", ""],
  ["aGVsbG8=", "hello"],
  ["aGVsbG8=aGVsbG8=", "hellohello"],
  ["aA==aGU=aGVs", "hhehel"],
  ["aGVsbG8", undefined],
  ["aGVsbG8=\n", undefined],
  ["aGVs bG8=", undefined],
  ["aGVsbG9=", undefined],
  ["aB==", undefined],
  ["====", undefined],
  ["a===", undefined],
  ["aG=s", undefined],
  ["=GVs", undefined],
  ["-_-_", undefined],
  ["aGVs\0\0\0\0", undefined],
  ["%61GVs", undefined],
];
for (const [text, bytes] of texts) test(`base64: ${JSON.stringify(text)}`, () => assert.equal(fromText(Buffer.from(text, "latin1"))?.toString("latin1"), bytes));

test("base64: all bytes, however they are cut into padded pieces", () => {
  const bytes = Buffer.from(Array.from({ length: 1021 }, (_, i) => (i * 7) & 255));
  for (const size of [1, 2, 3, 5, 256, 2000]) {
    let text = "";
    for (let i = 0; i < bytes.length; i += size) text += bytes.subarray(i, i + size).toString("base64");
    assert.deepEqual(fromText(Buffer.from(text)), bytes);
  }
});
