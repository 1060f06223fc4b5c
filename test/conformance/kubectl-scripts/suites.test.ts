import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { find } from "../../needs.ts";
import { startScriptCluster } from "./cluster.ts";
import { copyTree, kubernetesTree, runSuite, suiteNames, suitesVersion } from "./suites.ts";

/** Suites that do not pass, and why. One that begins to pass is a failure too: its line is to be deleted. */
const misses: Record<string, string> = {
  run_multi_resources_tests: "its last step reads a manifest from the internet; all before it passes",
};

test(`kubectl's own suites, test/cmd/*.sh of Kubernetes ${suitesVersion}`, { timeout: 3_600_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("they take twenty minutes: npm run conformance");
  const kubectl = find(".cache/oracle/kubectl");
  if (!kubectl) return t.skip("needs kubectl of the suites' release: node tools/build-oracle.mjs");
  const tree = kubernetesTree();
  if (!tree) return t.skip("needs Go and Kubernetes' module");
  const copy = copyTree(tree);
  t.after(() => rmSync(copy, { recursive: true, force: true }));
  await using cluster = await startScriptCluster();
  // A function that is not there must fail, or nothing here means anything.
  assert.equal((await runSuite("run_no_such_tests", { cluster, tree: copy, kubectl })).ok, false);
  const names = suiteNames(tree);
  assert.ok(names.length > 85, `${names.length} suites were found`);
  let passed = 0;
  for (const name of names) {
    await t.test(name, async () => {
      const { ok, output } = await runSuite(name, { cluster, tree: copy, kubectl });
      if (ok) passed++;
      assert.equal(ok, misses[name] === undefined, ok ? `it passes now: delete its line` : output.split("\n").slice(-30).join("\n"));
    });
  }
  t.diagnostic(`${passed} of ${names.length} suites pass`);
});
