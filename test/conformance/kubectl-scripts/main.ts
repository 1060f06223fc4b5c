import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { kubectl as kubectlOf } from "../../needs.ts";
import { startScriptCluster } from "./cluster.ts";
import { copyTree, kubernetesTree, runSuite, suiteNames } from "./suites.ts";

/** `node test/conformance/kubectl-scripts/main.ts [SUITE…]`: runs them, output into .cache/kubectl-scripts/log. `KUBECTL` is the program to test. */
const tree = kubernetesTree();
const wish = process.env["KUBECTL"];
const program = wish === undefined ? kubectlOf("1.33") : resolve(wish);
if (!tree || !program) throw new Error("needs Go, its module proxy and kubectl 1.33");
const logs = join(import.meta.dirname, "..", "..", "..", ".cache", "kubectl-scripts", "log");
mkdirSync(logs, { recursive: true });
const copy = copyTree(tree);
await using cluster = await startScriptCluster();
const wanted = process.argv.slice(2);
let failed = 0;
for (const name of wanted.length > 0 ? wanted : suiteNames(tree)) {
  const { ok, output, elapsedMs } = await runSuite(name, { cluster, tree: copy, kubectl: program });
  if (!ok) failed++;
  writeFileSync(join(logs, `${name}.log`), output);
  process.stdout.write(`${ok ? "ok  " : "FAIL"} ${name} ${(elapsedMs / 1000).toFixed(1)} s\n`);
}
rmSync(copy, { recursive: true, force: true });
process.exitCode = failed === 0 ? 0 : 1;
