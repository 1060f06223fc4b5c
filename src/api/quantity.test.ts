import assert from "node:assert/strict";
import { test } from "node:test";
import { addQuantity, canonicalQuantity, compareQuantity, formatQuantity, parseQuantity, quantityMilliValue, quantityValue, subtractQuantity } from "./quantity.ts";

const form = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const numeric = "unable to parse numeric part of quantity";
const suffix = "unable to parse quantity's suffix";

test("canonicalQuantity() prints what upstream prints", () => {
  // given canonical
  const cases = `
    0 0 | 0m 0 | 0Ki 0 | -0 0 | 00 0 | 0.0 0
    1000m 1 | 100m 100m | 0.5 500m | .5 500m | 1. 1 | +1 1 | -1.5 -1500m | 1.50 1500m
    0.1m 100u | 0.0001 100u | 1n 1n | 0.1n 1n | 0.0000000001 1n | -0.1n -1n
    1000 1k | 1001 1001 | 1000000 1M | 1.001k 1001 | 1000k 1M | 999k 999k | 12000E 12000E | 10E 10E
    1024Ki 1Mi | 1.5Gi 1536Mi | 1.0Ki 1Ki | 1100Ki 1100Ki | 500Mi 500Mi | 0.5Ki 512 | 2048Ki 2Mi | 1Ei 1Ei | 1048576Gi 1Pi
    0.1Ki 102400m | 0.001Mi 1048576m | -1.5Gi -1536Mi | 1023 1023 | 2048 2048
    1e3 1e3 | 1E6 1e6 | 1.5e3 1500 | 1e2 100 | 12345e-3 12345e-3 | 4e9 4e9 | 100e6 100e6 | 1e-9 1e-9 | 1e-20 1e-9 | 1E 1E
    123456789012345678901234567890 123456789012345678901234567890
    16Ei 9223372036854775807
  `;
  for (const pair of cases.trim().split(/\s*[|\n]\s*/)) {
    const [given, expected] = pair.trim().split(" ") as [string, string];
    assert.equal(canonicalQuantity(given), expected, given);
    assert.equal(compareQuantity(parseQuantity(canonicalQuantity(given)), parseQuantity(given)), 0, `${given} keeps its value`);
  }
  for (const [given, message] of [["", form], ["abc", form], ["1Zi", form], ["1.2.3", form], ["1 2", form], ["--1", suffix], [".", numeric], ["-", numeric], ["Ki", numeric], ["e3", numeric], ["1e999999999", numeric], ["1e", suffix], ["12Kii", suffix], ["1K", suffix], ["1Ke3", suffix], ["1mm", suffix], ["1mi", suffix]] as const) {
    assert.throws(() => parseQuantity(given), { message }, given);
  }
  assert.equal(canonicalQuantity("0.1m", true), "1m");
  assert.equal(canonicalQuantity("1500u", true), "2m");
});

test("quantities compare, add and convert exactly", () => {
  const order = ["-1Gi", "-1", "0", "1n", "100m", "0.5", "1", "1Ki", "1025", "1M", "1Mi", "1e9", "1Gi", "1E", "1Ei"].map((text) => parseQuantity(text));
  for (let index = 1; index < order.length; index++) assert.ok(compareQuantity(order[index - 1]!, order[index]!) < 0, String(index));
  assert.equal(compareQuantity(parseQuantity("1024Mi"), parseQuantity("1Gi")), 0);
  const sum = (...texts: string[]) => formatQuantity(texts.map(parseQuantity).reduce(addQuantity));
  assert.equal(sum("100m", "0.9"), "1");
  assert.equal(sum("1Gi", "512Mi"), "1536Mi");
  assert.equal(sum("0", "512Mi", "512Mi"), "1Gi");
  assert.equal(sum("512", "0.5Ki", "1Ki"), "2048");
  assert.equal(formatQuantity(subtractQuantity(parseQuantity("1"), parseQuantity("250m"))), "750m");
  assert.equal(formatQuantity(subtractQuantity(parseQuantity("1Gi"), parseQuantity("1Gi"))), "0");
  for (const [text, value, milli] of [["1", 1, 1000], ["250m", 1, 250], ["1.5", 2, 1500], ["1Ki", 1024, 1024000], ["0.1m", 1, 1], ["-1.5", -1, -1500]] as const) {
    assert.equal(quantityValue(text), value, text);
    assert.equal(quantityMilliValue(text), milli, text);
  }
});
