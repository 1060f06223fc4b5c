import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needs } from "../../needs.ts";
import { buildSuites, folder, nameOf, sourcesOf, writeAssets } from "./build.ts";
import { module, type Suite, suites } from "./suites.ts";

interface Outcome {
  name: string;
  state: "passed" | "failed" | "pending";
}
interface Report {
  SpecReports: { LeafNodeType: string; LeafNodeText: string; ContainerHierarchyTexts: string[] | null; State: string }[] | null;
}

test(`controller-runtime ${module.version} with Wherry as envtest's kube-apiserver`, { timeout: 3_600_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("building and running controller-runtime's suites takes a quarter of an hour: npm run conformance");
  if (!needs(t, "go", "kubectl")) return;
  const programs = buildSuites();
  if (!programs) return t.skip("controller-runtime could not be built here");
  const assets = writeAssets();
  const total = { passed: 0, missed: 0, skipped: 0, pending: 0 };
  for (const suite of suites) {
    await t.test(suite.package, async (inner) => {
      const outcomes = await run(suite, join(programs, nameOf(suite.package)), assets);
      const named = (state: Outcome["state"]) => outcomes.filter((outcome) => outcome.state === state).map(({ name }) => name);
      const failed = named("failed");
      total.passed += named("passed").length;
      total.missed += failed.length;
      total.skipped += suite.skipped?.count ?? 0;
      total.pending += named("pending").length;
      inner.diagnostic(`${named("passed").length} passed, ${failed.length} failed, ${named("pending").length} pending upstream`);
      assert.ok(outcomes.length > 0, "no spec was run");
      assert.deepEqual(failed.sort(), Object.keys(suite.misses ?? {}).sort());
    });
  }
  const { passed, missed, skipped, pending } = total;
  t.diagnostic(`${passed} of ${passed + missed + skipped} pass; ${missed} fail and ${skipped} are not run, each with its reason in suites.ts; ${pending} are pending upstream`);
  assert.ok(passed >= 0.9 * (passed + missed + skipped));
});

/** Both kinds of tests: specs by ginkgo's report, plain Go tests by their lines, of which only the innermost count. */
async function run({ package: name, skipped }: Suite, program: string, assets: string): Promise<Outcome[]> {
  const file = join(folder, `${nameOf(name)}.json`);
  const isPlain = name === "client/apiutil";
  const args = isPlain ? ["-test.v", ...(skipped ? ["-test.skip", skipped.pattern] : [])] : ["--ginkgo.no-color", `--ginkgo.json-report=${file}`];
  const output = await new Promise<string>((resolve) => {
    execFile(program, ["-test.timeout=20m", ...args], { cwd: sourcesOf(name), env: { ...process.env, KUBEBUILDER_ASSETS: assets }, maxBuffer: 1 << 28 }, (_, stdout, stderr) => resolve(stdout + stderr));
  });
  if (isPlain) {
    const lines = [...output.matchAll(/^ *--- (PASS|FAIL): (\S+)/gm)].map(([, word, test]) => ({ name: test!, state: word === "PASS" ? ("passed" as const) : ("failed" as const) }));
    return lines.filter(({ name: test }) => !lines.some((other) => other.name.startsWith(`${test}/`)));
  }
  let reports: Report[];
  try {
    reports = JSON.parse(readFileSync(file, "utf8")) as Report[];
  } catch {
    throw new Error(`${name} gave no report:\n${output.slice(-4000)}`);
  }
  return reports.flatMap(({ SpecReports }) => SpecReports ?? []).flatMap((spec): Outcome[] => {
    // What prepares a suite is no spec, unless it fails.
    if (spec.LeafNodeType !== "It" && spec.State === "passed") return [];
    const state = spec.State === "passed" || spec.State === "pending" || spec.State === "skipped" ? (spec.State === "passed" ? "passed" : "pending") : "failed";
    return [{ name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(" ") || spec.LeafNodeType, state }];
  });
}
