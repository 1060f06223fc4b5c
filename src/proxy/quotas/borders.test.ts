import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../base/log.ts";
import type { QuotaUnit } from "../../policy/exchange.ts";
import { parseDuration } from "../gateway/duration.ts";
import { QuotaOwner } from "./owner.ts";

/** cases/borders.txt: what clocks and ends do to counts, with the file that outlives them. */
const folder = mkdtempSync(join(tmpdir(), "wherry-quotas-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const lines = readFileSync(join(import.meta.dirname, "cases", "borders.txt"), "utf8").split("\n");
for (const [i, line] of lines.entries()) {
  if (line === "" || line.startsWith("#")) continue;
  const [, unit, limit, from, steps] = /^(\w+) of (\d+) from (\S+): (.+)$/.exec(line) ?? assert.fail(`line ${i + 1} is no case: ${line}`);
  test(`line ${i + 1}: ${line}`, () => {
    let [wallMs, monotonicMs] = [Date.parse(from!), 5_000];
    const start = () => new QuotaOwner({ file: join(folder, `${i}.counts`), clock: { now: () => wallMs, monotonicMs: () => monotonicMs }, log: silentLog });
    let owner = start();
    const all = [owner];
    const done: string[] = [];
    for (const step of steps!.split(", ")) {
      const [what, value] = step.split(" ") as [string, string];
      if (what === "pass") {
        wallMs += parseDuration(value);
        monotonicMs += parseDuration(value);
      } else if (what === "set") wallMs = Date.parse(value);
      else if (what === "kill") {
        // Nothing is closed, as nothing is by one that is killed; and the next one's monotonic clock may begin anew.
        monotonicMs = 1_000;
        all.push((owner = start()));
      } else {
        const asks = Array.from({ length: Number(what) }, () => ({ id: "q", unit: unit as QuotaUnit, key: "k", limit: Number(limit), cost: 1 }));
        done.push(`${what} -> ${owner.takeAll(asks).filter(({ allowed }) => allowed).length}`);
        continue;
      }
      done.push(step);
    }
    for (const one of all) one.close();
    assert.equal(done.join(", "), steps);
  });
}
