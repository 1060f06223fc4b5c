import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

/**
 * The layout as a test: who may import whom, which calls are banned (and what to use instead), and what no file
 * may contain. A failure names the file, the line and the edge.
 */
const root = dirname(import.meta.dirname);
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 })
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)));
const sources = files.filter((file) => /^(src|test|tools|bench|bin)\/.*\.(ts|mjs)$/.test(file));
const read = (file: string) => readFileSync(join(root, file), "utf8");

const servers = ["store", "apiserver", "controllers", "node", "policy", "proxy", "broker", "telemetry", "registry"];
/** Folder of src → folders it may import besides itself. */
const allowed: Record<string, string[]> = {
  base: [],
  api: ["base"],
  ...Object.fromEntries(servers.map((name) => [name, ["base", "api"]])),
  apiserver: ["base", "api", "store"],
  proxy: ["base", "api", "policy"],
  preload: ["base", "policy"],
  chassis: ["base", "policy", "api"],
  testing: [], // runs in a user's program, under his Node
};

const imports = function* (file: string): Generator<{ line: number; target: string }> {
  for (const [index, text] of read(file).split("\n").entries()) {
    for (const match of text.matchAll(/(?:from\s+|import\s*\(\s*|import\s+)["'](\.{1,2}\/[^"']+)["']/g)) {
      yield { line: index + 1, target: relative(root, resolve(root, dirname(file), match[1]!)) };
    }
  }
};
const isTest = (file: string) => /\.test\.ts$|^src\/.+\/testing\/|^(?!src).*\/testing\//.test(file);

test("imports follow the rule of DESIGN §3", () => {
  const broken: string[] = [];
  for (const file of sources) {
    const folder = /^src\/([^/]+)\//.exec(file)?.[1];
    if (!folder || isTest(file)) continue;
    for (const { line, target } of imports(file)) {
      const to = /^src\/([^/]+)(\/|$)/.exec(target)?.[1];
      if (!to || to === folder) continue;
      const free = folder === "cli" && (to === "wherry.ts" || to === "wherry-api.ts" || to === "base" || to === "api");
      if (!free && !allowed[folder]?.includes(to)) broken.push(`${file}:${line}: ${folder} → ${to} (${target})`);
    }
  }
  assert.deepEqual(broken, []);
});

const bans: { pattern: RegExp; instead: string; only?: RegExp; except?: RegExp }[] = [
  { pattern: /\bstructuredClone\(/, instead: "copy the path that changes", only: /^src\//, except: /\.test\.ts$/ },
  { pattern: /\bDate\.now\(\)|\bMath\.random\(\)/, instead: "a Clock or Random handed in", only: /^src\/(controllers|policy|store)\//, except: /\.test\.ts$|\/testing\// },
  { pattern: /process\.kill\(/, instead: "the sandbox's checked signal (start time, never a foreign pid)", only: /^src\//, except: /^src\/node\/sandbox\/|^src\/store\/lock\.ts$|^src\/preload\/|\.test\.ts$|process\.kill\([^,]+, 0\)/ },
  { pattern: /\benum\s+\w+\s*\{/, instead: "a union of string literals", only: /\.ts$/ },
  { pattern: /(\/\/|\*)\s*(FIXME|XXX|HACK)\b/, instead: "a decision, or an issue" },
  { pattern: /\b(pkill|killall)\b/, instead: "the exact pid of a process you started", except: /^tools\/tidy\.test\.ts$/ },
];

test("banned calls are absent", () => {
  const found: string[] = [];
  for (const file of sources) {
    for (const ban of bans) {
      if ((ban.only && !ban.only.test(file)) || ban.except?.test(file)) continue;
      for (const [index, line] of read(file).split("\n").entries()) {
        if (ban.pattern.test(line) && !ban.except?.test(line) && !/^\s*(\/\/|\*)/.test(line)) found.push(`${file}:${index + 1}: use ${ban.instead}: ${line.trim()}`);
      }
    }
  }
  assert.deepEqual(found, []);
});

/** Files that are long for a reason, which stands behind them. */
const longFiles: Record<string, string> = {};
const linesMax = 500;

test(`source files stay below ${linesMax} lines`, () => {
  const tooLong = sources.filter((file) => file.endsWith(".ts") && !isTest(file) && !longFiles[file] && read(file).split("\n").length > linesMax + 1);
  assert.deepEqual(tooLong.map((file) => `${file}: ${read(file).split("\n").length} lines; look for the second noun in it`), []);
});

test("every source file is reachable: imported, an entry, or a test", () => {
  const imported = new Set<string>();
  for (const file of sources) for (const { target } of imports(file)) imported.add(target);
  const text = sources.map(read).join("\n") + read("package.json");
  const dead = sources.filter((file) => /^src\/.*\.ts$/.test(file) && !isTest(file) && !imported.has(file) && !text.includes(file.split("/").at(-1)!));
  assert.deepEqual(dead, []);
});

test("no path of a machine and no registry address in any file", () => {
  const found: string[] = [];
  for (const file of files.filter((name) => !/\.(png|gz|pb|ico)$/.test(name))) {
    const text = read(file);
    if (/\/work\/(main|shared)|"resolved":\s*"http/.test(text)) found.push(file);
  }
  assert.deepEqual(found.filter((file) => file !== "tools/tidy.test.ts"), []);
});

test("each dependency has its line of reason", () => {
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;
  const page = read("docs/decisions/dependencies.md");
  const missing = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies }).filter(([name, version]) => !page.includes(`\`${name}\` ${version}`));
  assert.deepEqual(missing.map(([name, version]) => `docs/decisions/dependencies.md lacks \`${name}\` ${version}`), []);
});

test("links in the documents lead somewhere", () => {
  const broken: string[] = [];
  for (const file of files.filter((name) => name.endsWith(".md"))) {
    for (const [index, line] of read(file).split("\n").entries()) {
      for (const match of line.matchAll(/\]\(([^)#\s]+)(#[^)]*)?\)/g)) {
        const target = match[1]!;
        if (/^[a-z]+:/.test(target)) continue;
        if (!existsSync(resolve(root, dirname(file), target))) broken.push(`${file}:${index + 1}: ${target}`);
      }
    }
  }
  assert.deepEqual(broken, []);
});
