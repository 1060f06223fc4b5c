import assert from "node:assert/strict";
import { test } from "node:test";
import { gateway, mesh } from "./features.ts";
import { reportFile, suiteArguments, summary, writtenSummary } from "./report.ts";

const { profiles } = gateway;

test("the whole suite writes the report, a part of it does not", () => {
  const whole = suiteArguments(gateway, [], 40);
  assert.ok(whole.includes(`--report-output=${reportFile(gateway)}`) && whole.includes(`--conformance-profiles=${profiles.join(",")}`));
  assert.ok(whole.find((word) => word.startsWith("--supported-features="))!.split(",").includes("HTTPRoute"));
  const part = suiteArguments(gateway, ["--run-test=HTTPRouteWeight"], 40);
  assert.deepEqual(part.filter((word) => word.startsWith("--report-output") || word.startsWith("--conformance-profiles")), []);
  assert.equal(part.at(-1), "--run-test=HTTPRouteWeight");
  // The last word counts: a report may be asked for elsewhere.
  assert.equal(suiteArguments(gateway, ["--report-output=/elsewhere.yaml"], 40).at(-1), "--report-output=/elsewhere.yaml");
});

const profile = (name: string) => `- name: ${name}\n  core:\n    result: success\n    statistics: {Passed: 33, Failed: 0, Skipped: 0}\n  extended:\n    result: partial\n    statistics: {Passed: 20, Failed: 1, Skipped: 2}\n`;
const head = "apiVersion: gateway.networking.k8s.io/v1\nkind: ConformanceReport\ngatewayAPIVersion: v1.6.1\ngatewayAPIChannel: experimental\nprofiles:\n";

test("what a report says, and what is none", () => {
  const lines = summary(gateway, head + profiles.map(profile).join(""));
  assert.deepEqual([lines.length, lines[0]], [profiles.length, `${profiles[0]} (Gateway API v1.6.1, experimental): core 33 passed, 0 failed, 0 skipped; extended 20 passed, 1 failed, 2 skipped`]);
  assert.throws(() => summary(gateway, head + profiles.slice(1).map(profile).join("")), new RegExp(`lacks the profiles ${profiles[0]}`));
  assert.throws(() => summary(gateway, "kind: Pod\n"), /not a ConformanceReport/);
  assert.throws(() => summary(gateway, "{}"), /not a ConformanceReport/);
  // The one that is kept here is the suite's own.
  assert.equal(writtenSummary(mesh, 0).length, mesh.profiles.length);
  assert.throws(() => writtenSummary(mesh, Date.now() + 60_000), /wrote no report/, "one of an earlier run is not this one's");
  assert.throws(() => writtenSummary({ ...gateway, report: "nowhere.yaml" }, 0), /wrote no report/);
});
