import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptedEncoding } from "./accepted-encoding.ts";

/** Accept-Encoding, and which of ours ("gzip br" in this order) is chosen; "" for none. */
const cases: [accepts: string | undefined, chosen: string][] = [
  [undefined, ""],
  ["", ""],
  ["gzip", "gzip"],
  ["GZIP", "gzip"],
  ["br, gzip", "gzip"],
  ["br;q=1.0, gzip;q=0.8", "br"],
  ["br;q=0.001, gzip;q=0", "br"],
  ["gzip;q=0, br;q=0", ""],
  ["*", "gzip"],
  ["*;q=0", ""],
  ["gzip;q=0, *", "br"],
  ["gzip;q=0.5, *;q=0.9", "br"],
  ["identity", ""],
  ["identity, gzip;q=0.5", ""],
  ["identity;q=0.5, gzip;q=0.5", "gzip"],
  ["identity;q=0, br", "br"],
  ["deflate, zstd", ""],
  ["gzip ; q=0.5 , br ; q=0.9", "br"],
  ["gzip;q=2, br;q=0.1", "br"],
  ["gzip;q=, br;q=0.1", "br"],
  ["gzip;q=-1", ""],
  ["gzip;q=0.1234", ""],
  [",,gzip,,", "gzip"],
];
for (const [accepts, chosen] of cases) test(`Accept-Encoding: ${accepts}`, () => assert.equal(acceptedEncoding(accepts, ["gzip", "br"]) ?? "", chosen));
