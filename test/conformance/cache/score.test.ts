import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { reasons } from "./reasons.ts";
import { faults, type Group, reportOf, scoreOf, unanswered } from "./score.ts";

const groups: Group[] = [
  { id: "a", name: "A", tests: [{ id: "must", name: "must" }, { id: "may", name: "may", kind: "optimal" }, { id: "asked", name: "asked", kind: "check" }] },
  { id: "b", name: "B", tests: [{ id: "late", name: "late", kind: "required" }, { id: "browser", name: "browser", browser_only: true }, { id: "lost", name: "lost", kind: "optimal" }] },
];

test("what passed and what did not, by kind; what was not run did not pass", () => {
  const results = { must: true as const, may: ["Assertion", "a | b"] as [string, string], asked: ["Assertion", "no"] as [string, string], late: ["AbortError", "aborted"] as [string, string] };
  const score = scoreOf(groups, results);
  assert.deepEqual([score.passed, score.total], [{ required: 1, optimal: 0, check: 0 }, { required: 2, optimal: 2, check: 1 }]);
  assert.deepEqual(score.failed.map(({ id }) => id), ["may", "late", "lost"]);
  assert.deepEqual(unanswered(results), ["late"]);
  assert.deepEqual(faults(score, { may: "so", late: "so", must: "not any more" }), ["lost (optimal): not run", "must passes: its reason can go"]);
  const report = reportOf([{ name: "ours", score }], { may: "so" });
  assert.match(report, /^\| ours \| 1 of 2 \| 0 of 2 \| 0 of 1 \|$/m);
  assert.match(report, /^\| may \| optimal \| a \\\| b \| so \|$/m);
  assert.match(report, /^\| lost \| optimal \| not run \| \*\*not explained\*\* \|$/m);
});

test("the report that is kept here explains whatever is done otherwise", () => {
  const report = readFileSync(join(import.meta.dirname, "report.md"), "utf8");
  const told = [...report.slice(report.indexOf("## What")).matchAll(/^\| ([\w-]+) \| (?:required|optimal) \| .* \| (.*) \|$/gm)].map(([, id, why]) => [id, why]);
  assert.deepEqual(told.toSorted(), Object.entries(reasons).toSorted());
  assert.match(report, /^\| Wherry \| \d+ of \d+ \|/m);
});
