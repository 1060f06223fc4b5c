import assert from "node:assert/strict";
import { test } from "node:test";
import type { QuotaUnit } from "../exchange.ts";
import { quotaUnits, windowOf } from "./windows.ts";

const cases: [unit: QuotaUnit, at: string, start: string, end: string][] = [
  ["second", "2026-11-21T21:44:21.999Z", "2026-11-21T21:44:21Z", "2026-11-21T21:44:22Z"],
  ["minute", "2026-11-21T21:44:21Z", "2026-11-21T21:44:00Z", "2026-11-21T21:45:00Z"],
  ["hour", "2026-12-31T23:59:59.999Z", "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z"],
  ["day", "2028-02-29T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"],
  ["week", "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"],
  ["week", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"],
  ["week", "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"],
  ["month", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"],
  ["month", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"],
  ["year", "2028-12-31T23:59:59Z", "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z"],
];
for (const [unit, at, start, end] of cases) {
  test(`the ${unit} of ${at}`, () => {
    assert.deepEqual(windowOf(unit, Date.parse(at)), { startMs: Date.parse(start), endMs: Date.parse(end) });
  });
}

test("windows follow one another without a gap", () => {
  for (const unit of quotaUnits) {
    let { endMs } = windowOf(unit, Date.UTC(2026, 0, 1));
    for (let i = 0; i < 30; i++) {
      const next = windowOf(unit, endMs);
      assert.equal(next.startMs, endMs, unit);
      assert.deepEqual(windowOf(unit, next.endMs - 1), next, unit);
      ({ endMs } = next);
    }
  }
});
