import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { projects, type Source } from "./projects.ts";

/**
 * Brings what projects.ts names into `.cache/crds/<repository>@<revision>`, with git, once: `node
 * test/conformance/crds/fetch.ts`. `WHERRY_GIT` is where repositories lie, `<there>/<owner>/<name>`; GitHub unless said.
 */
export const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "crds");
export const folderOf = ({ repository, revision }: Source): string => join(folder, `${repository.replace("/", "+")}@${revision}`);

if (import.meta.main) {
  mkdirSync(folder, { recursive: true });
  const failed = projects.flatMap(({ sources }) => sources).filter((source) => !existsSync(folderOf(source)) && !fetchSource(source));
  for (const { repository, revision } of failed) process.stderr.write(`${repository}@${revision} could not be fetched\n`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

function fetchSource(source: Source): boolean {
  const { repository, revision, definitions = [], samples = [], invalid = [] } = source;
  const work = mkdtempSync(join(folder, ".fetch-"));
  const git = (...args: string[]) => spawnSync("git", ["-C", work, ...args], { stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  try {
    const url = `${process.env["WHERRY_GIT"] ?? "https://github.com"}/${repository}`;
    const paths = [...definitions, ...samples, ...invalid];
    // Commits and trees first, then only the files that are named.
    const ok = git("init", "--quiet") && git("config", "gc.auto", "0") && git("remote", "add", "origin", url) && git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", revision) && git("checkout", "--quiet", "FETCH_HEAD", "--", ...paths);
    if (!ok) return false;
    rmSync(join(work, ".git"), { recursive: true });
    cpSync(work, folderOf(source), { recursive: true });
    return true;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
