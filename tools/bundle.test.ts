import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";

const root = dirname(import.meta.dirname);
const programs = ["wherry", "api", "apply", "net", "sqlite-worker"];

/** The project with a few words of its own, so that nobody's work on the real one is in the way. */
function projectCopy(): string {
  const folder = mkdtempSync(join(tmpdir(), "wherry-bundle-"));
  for (const name of ["src", "bin", "tools", "package.json"]) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  return folder;
}

const run = (folder: string, ...words: string[]) => spawnSync(process.execPath, words, { cwd: folder, encoding: "utf8", env: { PATH: process.env["PATH"], HOME: folder } });
/** Which file would be taken for a command or program, as a process of its own sees it. */
const chosen = (folder: string, call: string): string => run(folder, "--input-type=module", "-e", `import { bundleOf, bundleNamed } from "./bin/bundle.mjs"; console.log(${call} ?? "sources")`).stdout.trim();

test("one file a process, taken while it is what the sources say", (t) => {
  const folder = projectCopy();
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const bundled = join(folder, ".cache", "bundle");
  assert.equal(chosen(folder, 'bundleOf("up")'), "sources", "before there is any");
  const made = run(folder, "tools/bundle.mjs");
  assert.equal(made.status, 0, made.stderr);
  for (const name of programs) assert.equal(chosen(folder, `bundleNamed("${name}")`), join(bundled, `${name}.cjs`));
  assert.equal(chosen(folder, 'bundleOf("up")'), join(bundled, "wherry.cjs"));
  assert.equal(chosen(folder, 'bundleOf("status")'), "sources");
  assert.equal(chosen(folder, 'bundleOf("toString")'), "sources");

  // Each holds what its process needs, and nothing of the others.
  const inputs = (name: string) => (JSON.parse(readFileSync(join(bundled, `${name}.json`), "utf8")) as [string][]).map(([file]) => file);
  assert.ok(inputs("api").includes("src/apiserver/admission/limit-ranger.ts"), "what is loaded late is in it");
  assert.ok(!inputs("api").some((file) => file.startsWith("src/node/sandbox/")), inputs("api").filter((file) => file.startsWith("src/node/")).join());
  assert.ok(!inputs("wherry").some((file) => /^src\/(apiserver\/http|controllers)\//.test(file)));
  assert.ok(!inputs("net").some((file) => /^src\/(api\/kinds|node|apiserver)\//.test(file)));

  // A source that changed, also by a word of the same length, makes stale whoever holds it, and no other.
  appendFileSync(join(folder, "src", "proxy", "listeners.ts"), "// more\n");
  assert.deepEqual(programs.filter((name) => chosen(folder, `bundleNamed("${name}")`) === "sources"), ["net"]);
  utimesSync(join(folder, "src", "wherry-api.ts"), new Date(), new Date());
  assert.deepEqual(programs.filter((name) => chosen(folder, `bundleNamed("${name}")`) === "sources"), ["api", "net"]);
  run(folder, "tools/bundle.mjs");
  assert.deepEqual(programs.filter((name) => chosen(folder, `bundleNamed("${name}")`) === "sources"), []);

  // One that does not compile leaves no bundle of it, and the setup goes on without.
  writeFileSync(join(folder, "src", "store", "sqlite-worker.ts"), "const = ;\n");
  const broken = run(folder, "tools/bundle.mjs");
  assert.notEqual(broken.status, 0);
  assert.equal(chosen(folder, 'bundleNamed("sqlite-worker")'), "sources");
});

test("a command that is bundled says the same as its sources", (t) => {
  const folder = projectCopy();
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const say = () => {
    const { stdout, stderr, status } = run(folder, "bin/wherry.mjs", "up", "--isolation", "none");
    return { stdout, stderr, status };
  };
  const fromSources = say();
  assert.equal(fromSources.status, 2);
  assert.match(fromSources.stderr, /must be auto, isolated or plain/);
  assert.equal(run(folder, "tools/bundle.mjs").status, 0);
  // Its sources are away: nothing else can have answered.
  mkdirSync(join(folder, "empty"));
  const manifest = join(folder, ".cache", "bundle", "wherry.json");
  writeFileSync(manifest, "[]");
  rmSync(join(folder, "src"), { recursive: true });
  assert.deepEqual(say(), fromSources);
  assert.equal(existsSync(join(folder, "src")), false);
});
