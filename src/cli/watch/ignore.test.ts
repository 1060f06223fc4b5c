import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Artifact } from "../../api/artifacts.ts";
import { ignoreRules, isNoise } from "./ignore.ts";
import { coverOf } from "./watch.ts";

test("ignoreRules() leaves out what a .dockerignore does", () => {
  const cases: [rules: string, ignored: string[], kept: string[]][] = [
    ["docs", ["docs", "docs/a/b.md"], ["a/docs", "docs2"]],
    ["*.md\n!README.md", ["a.md"], ["README.md", "a/b.md"]],
    ["**/*.md", ["a.md", "a/b/c.md"], ["a.mdx"]],
    ["/build/\n./out", ["build/x", "out/x"], ["a/build"]],
    ["# a comment\n\n temp? ", ["temp1", "tempa/x"], ["temp", "temp12"]],
    ["*\n!src", ["a", "lib/x"], ["src", "src/x"]],
    ["a/**/z", ["a/z", "a/b/c/z/x"], ["z"]],
    ["a.(b)+c", ["a.(b)+c"], ["aX(b)+c"]],
  ];
  for (const [rules, ignored, kept] of cases) {
    const test = ignoreRules(rules);
    assert.deepEqual([ignored.filter((path) => !test(path)), kept.filter((path) => test(path))], [[], []], rules);
  }
});

test("isNoise() knows what editors and tools leave beside source, and takes no source for it", () => {
  for (const path of [".git/HEAD", "a/node_modules/b/c.js", "x~", ".#a.js", "#a.js#", "a/.a.js.swp", "4913", "a.js___jb_tmp___", ".DS_Store", "yarn.lock.tmp", ".wherry/store.db", ".wherry-second/x", "data.sqlite-wal", "__pycache__/a.pyc", ".venv/lib/x.py"]) assert.ok(isNoise(path), path);
  for (const path of ["a.js", "src/git/a.js", "package-lock.json", "data.sql", "logs/logger.ts", "tmp.js", ".env", ".dockerignore", "wherry/a.js", "k8s/a.yaml", "index.html"]) assert.ok(!isNoise(path), path);
});

test("coverOf(): a file counts for an image when a COPY brings it in and no .dockerignore leaves it out", () => {
  const context = mkdtempSync(join(tmpdir(), "wherry-cover-"));
  try {
    writeFileSync(join(context, ".dockerignore"), "dist\n**/*.test.js\n");
    const artifact = (mounts: string[]) => ({ image: "a", tag: "", context, dockerfile: join(context, "Dockerfile"), mounts: mounts.map((contextPath) => ({ imagePath: "/x", contextPath })) }) as unknown as Artifact;
    const cases: [mounts: string[], yes: string[], no: string[]][] = [
      [["."], ["a.js", "lib/b.js", "package.json"], ["Dockerfile", ".dockerignore", "dist/a.js", "a.test.js", "node_modules/x/i.js", "../outside.js"]],
      [["src", "package.json"], ["src/a.js", "package.json"], ["srcs/a.js", "lib/b.js", "src/a.test.js"]],
      // Copied by its name, because a skipped RUN line makes it here.
      [["dist"], ["dist/a.js"], ["a.js"]],
      [["node_modules"], [], ["node_modules/a.js"]],
    ];
    for (const [mounts, yes, no] of cases) {
      const covers = coverOf(artifact(mounts));
      assert.deepEqual([yes.filter((path) => !covers(join(context, path))), no.filter((path) => covers(join(context, path)))], [[], []], mounts.join());
    }
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
});
