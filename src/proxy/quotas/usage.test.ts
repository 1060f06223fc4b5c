import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { QuotaOwner } from "./owner.ts";
import { usageIn } from "./usage.ts";

test("what has been counted is read while somebody counts, and nothing of the file is touched", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-usage-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [file, clock] = [join(folder, "quotas.counts"), new FakeClock(Date.UTC(2026, 5, 15))];
  assert.deepEqual(usageIn(file, clock), [], "nobody has counted yet");
  const owner = new QuotaOwner({ file, clock, log: silentLog });
  t.after(() => owner.close());
  const ask = (id: string, unit: "minute" | "month", key: string, cost: number) => owner.takeAll([{ id, unit, key, limit: 100, cost }]);
  ask("policy/shop/wide/global/1 HTTPRoute/shop/web", "month", "ann", 7);
  ask("policy/shop/all/global/0", "month", "", 40);
  ask("plan/shop/pets.prod/gold/", "month", "bob", 3);
  ask("plan/shop/pets.prod/gold/POST /pets", "month", "bob", 2);
  ask("policy/shop/short/global/0", "minute", "ann", 9);
  clock.advance(61_000);
  const before = readFileSync(file);
  const until = "2026-07-01T00:00:00Z";
  assert.deepEqual(usageIn(file, clock), [
    { key: "", count: 40, unit: "month", until, of: "BackendTrafficPolicy shop/all, rule 0" },
    { key: "ann", count: 7, unit: "month", until, of: "BackendTrafficPolicy shop/wide, rule 1, HTTPRoute/shop/web" },
    { key: "bob", count: 3, unit: "month", until, of: "API shop/pets.prod, plan gold" },
    { key: "bob", count: 2, unit: "month", until, of: "API shop/pets.prod, plan gold for POST /pets" },
  ]);
  assert.deepEqual(readFileSync(file), before);
  assert.equal(ask("plan/shop/pets.prod/gold/", "month", "bob", 98)[0]!.allowed, false);
});
