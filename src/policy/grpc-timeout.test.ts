import assert from "node:assert/strict";
import { test } from "node:test";
import { grpcTimeoutMs } from "./grpc-timeout.ts";

const cases: [value: string | undefined, ms: number | undefined][] = [
  ["5S", 5_000],
  ["250m", 250],
  ["2M", 120_000],
  ["1H", 3_600_000],
  ["1500u", 2],
  ["1n", 1],
  ["0m", 1],
  ["99999999S", undefined],
  ["123456789m", undefined],
  ["-1S", undefined],
  ["1.5S", undefined],
  ["1s", undefined],
  ["S", undefined],
  ["", undefined],
  [undefined, undefined],
];
for (const [value, ms] of cases) test(`grpc-timeout ${value} is ${ms} ms`, () => assert.equal(grpcTimeoutMs(value), ms));
