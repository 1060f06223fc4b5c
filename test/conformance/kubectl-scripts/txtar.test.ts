import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { find } from "../../needs.ts";
import { startScriptCluster } from "./cluster.ts";
import { folder, scripts } from "./fetch.ts";
import { copyTree, kubernetesTree } from "./suites.ts";
import { parseTxtar, runTxtar, words } from "./txtar.ts";

test("a script is read as testscript reads it", () => {
  const { lines, files } = parseTxtar("# why\nkubectl get\n\n! stdout 'a b'\n-- one.yaml --\na: 1\n-- two --\nb\n");
  assert.deepEqual(lines, [{ number: 2, text: "kubectl get" }, { number: 4, text: "! stdout 'a b'" }]);
  assert.deepEqual([...files], [["one.yaml", "a: 1\n"], ["two", "b\n"]]);
  const cases: [string, string[]][] = [
    ["a  'b c'd e # f", ["a", "b cd", "e"]],
    ["--image=${IMAGE} $IMAGE/x '$IMAGE'", ["--image=i", "i/x", "$IMAGE"]],
    ["'it''s' '' a#b", ["it's", "", "a#b"]],
    [String.raw`'{.a\.b}' '\(x\)'`, [String.raw`{.a\.b}`, String.raw`\(x\)`]],
  ];
  for (const [line, expected] of cases) assert.deepEqual(words(line, { IMAGE: "i" }), expected, line);
});

test("a script fails at the line that is not so", async (t) => {
  const work = mkdtempSync(join(tmpdir(), "wherry-script-"));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  const program = join(work, "kubectl");
  writeFileSync(program, '#!/bin/sh\necho "$@"; test "$1" != fail\n');
  chmodSync(program, 0o755);
  const cases: [string, string | undefined][] = [
    ["kubectl one\nstdout '^one$'\n! stdout two\n! kubectl fail\nkubectl x\ncp stdout a\ncmp stdout a", undefined],
    ["kubectl one\nstdout two", ":2: stdout two"],
    ["kubectl one\n! stdout one", ":2: ! stdout one"],
    ["kubectl fail", ":1: kubectl fail"],
    ["! kubectl one", ":1: ! kubectl one"],
    ["kubectl one\ncp stdout a\nkubectl two\ncmp stdout a", ":4: cmp"],
    ["kube-retry pods x 'get pods -o jsonpath=y' 0", ":1: kube-retry"],
    ["exec ls", ":1: exec ls"],
  ];
  for (const [text, expected] of cases) {
    const file = join(work, "s.txtar");
    writeFileSync(file, text);
    const why = await runTxtar(file, { kubectl: program, kubeconfig: "", tree: work }).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (expected === undefined) assert.equal(why, undefined);
    else assert.ok(why?.includes(expected), `${text}: ${why}`);
  }
});

const images = { IMAGE_NGINX: "registry.k8s.io/nginx:1.7.9", IMAGE_DEPLOYMENT_R1: "registry.k8s.io/nginx:test-cmd", IMAGE_DEPLOYMENT_R2: "registry.k8s.io/nginx:1.7.9", IMAGE_PERL: "registry.k8s.io/perl" };

test("kubectl's own scripts, test/cmd/testdata/*.txtar", { timeout: 900_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("they are downloaded: npm run conformance");
  const kubectl = find(".cache/oracle/kubectl");
  if (!kubectl) return t.skip("needs kubectl of the scripts' release: node tools/build-oracle.mjs");
  const tree = kubernetesTree();
  if (!tree) return t.skip("needs Go and Kubernetes' module, where hack/testdata lies");
  const copy = copyTree(tree);
  t.after(() => rmSync(copy, { recursive: true, force: true }));
  for (const name of Object.keys(scripts)) {
    await t.test(name, async (t) => {
      const file = join(folder, name);
      if (!existsSync(file)) return t.skip("not fetched: node test/conformance/kubectl-scripts/fetch.ts");
      await using cluster = await startScriptCluster({ controllers: false });
      t.diagnostic(`${await runTxtar(file, { kubectl, kubeconfig: await cluster.scriptKubeconfig(), tree: copy, variables: images })} commands`);
    });
  }
});
