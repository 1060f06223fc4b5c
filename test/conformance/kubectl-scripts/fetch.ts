import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * Brings Kubernetes' test/cmd/testdata/*.txtar into `.cache/kubectl-scripts/testdata`, with git, once: `node
 * test/conformance/kubectl-scripts/fetch.ts`. `WHERRY_GIT` is where repositories lie, `<there>/<owner>/<name>`; GitHub
 * unless said. They are newer than the last release's tree, so each is named with a revision that has it.
 */
export const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "kubectl-scripts", "testdata");
export const scripts: Record<string, string> = {
  "apply.txtar": "b4aaa38d638e97ed83d37cbcc17c06bc3ca7a13f",
  "auth_whoami.txtar": "e8633bb888db800765d87857f0dc182fdafd7236",
  "authorization.txtar": "e33ea27e6e467c9dd66393d52eb70e299edbf78b",
  "batch.txtar": "c22c6d6bb496b6168395dbfc4313dd8a574221f5",
  "certificate.txtar": "e33ea27e6e467c9dd66393d52eb70e299edbf78b",
  "convert.txtar": "e8633bb888db800765d87857f0dc182fdafd7236",
  "create.txtar": "b9298331612e6caf26d8a2740d10e0d3bd36e103",
  "delete.txtar": "c22c6d6bb496b6168395dbfc4313dd8a574221f5",
  "diff.txtar": "e8633bb888db800765d87857f0dc182fdafd7236",
};

if (import.meta.main) {
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, ".fetch-"));
  const git = (...args: string[]) => spawnSync("git", ["-C", work, ...args], { stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  try {
    git("init", "--quiet");
    git("remote", "add", "origin", `${process.env["WHERRY_GIT"] ?? "https://github.com"}/kubernetes/kubernetes`);
    for (const [name, revision] of Object.entries(scripts)) {
      if (existsSync(join(folder, name))) continue;
      const path = `test/cmd/testdata/${name}`;
      // Commits and trees first, then only the file that is named.
      if (git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", revision) && git("checkout", "--quiet", "FETCH_HEAD", "--", path)) renameSync(join(work, path), join(folder, name));
      else {
        process.stderr.write(`${name} could not be fetched\n`);
        process.exitCode = 1;
      }
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
