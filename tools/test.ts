import { spawn } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import type { TestReport } from "./test-report.ts";

/**
 * `npm test` and `npm run conformance`: the suites in order, cheapest first; at the end the files that took longest, what
 * failed and why (the last thing on the screen, where a long log is cut last), and one line with what passed, failed and was
 * skipped for want of a tool.
 */
const root = dirname(import.meta.dirname);
const conformance = process.argv.includes("--conformance");
/** Pods of plain mode have the machine's own ports: two stacks of such files may want the same one. */
const isPlain = (file: string): boolean => /\bplain\b/.test(readFileSync(join(root, file), "utf8"));
const suites: { name: string; files: string[]; concurrency: number; has?: (file: string) => boolean }[] = [
  { name: "unit", files: ["src/**/*.test.ts", "tools/**/*.test.ts", "test/scenarios/transcript.test.ts"], concurrency: 2 },
  { name: "examples", files: ["examples/*/test/**/*.test.ts"], concurrency: 1 },
  { name: "simulation", files: ["test/simulation/**/*.test.ts"], concurrency: 2 },
  { name: "conformance", files: ["test/conformance/**/*.test.ts"], concurrency: 2 },
  // Whole stacks use half of two cores; their pods' networks are apart.
  { name: "scenarios", files: ["test/scenarios/!(transcript).test.ts"], concurrency: 2, has: (file) => !isPlain(file) },
  { name: "scenarios-plain", files: ["test/scenarios/!(transcript).test.ts"], concurrency: 1, has: isPlain },
];
const only = process.argv.slice(2).filter((word) => !word.startsWith("--"));
/** Each file is a process of its own, which would strip and compile hundreds of modules anew: twice the time of most. */
const compileCache = { NODE_COMPILE_CACHE: join(root, ".cache", "compile"), NODE_COMPILE_CACHE_PORTABLE: "1" };
const slowest = 25;
const folder = mkdtempSync(join(tmpdir(), "wherry-test-"));
const times: { file: string; ms: number }[] = [];
const failures: { file: string; failed: string; error: string }[] = [];
/** Of an error's text: enough for the message and the place, so that a few failures fit on a screen. */
const errorLines = 12;
const totals = { pass: 0, fail: 0, skipped: 0 };
let failed = false;
const began = performance.now();

for (const suite of suites) {
  if (only.length > 0 && !only.some((word) => suite.name.startsWith(word))) continue;
  const files = suite.files.flatMap((pattern) => globSync(pattern, { cwd: root })).filter(suite.has ?? (() => true)).sort();
  if (files.length === 0) continue;
  process.stdout.write(`\n── ${suite.name}: ${files.length} files\n`);
  const output = await run(["--test", `--test-concurrency=${suite.concurrency}`, "--test-timeout=600000", "--test-reporter=spec", "--test-reporter-destination=stdout", `--test-reporter=${join(import.meta.dirname, "test-report.ts")}`, `--test-reporter-destination=${join(folder, suite.name)}`, ...files]);
  for (const line of readFileSync(join(folder, suite.name), "utf8").split("\n")) {
    if (line === "") continue;
    const report = JSON.parse(line) as TestReport;
    const file = relative(root, report.file);
    if ("ms" in report) times.push({ ...report, file });
    else failures.push({ ...report, file });
  }
  failed ||= output.code !== 0;
  for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += Number(new RegExp(`^ℹ ${key} (\\d+)$`, "m").exec(output.text)?.[1] ?? 0);
}
rmSync(folder, { recursive: true });
times.sort((a, b) => b.ms - a.ms);
process.stdout.write(`\n── the ${Math.min(slowest, times.length)} slowest files, in seconds\n${times.slice(0, slowest).map(({ file, ms }) => `${(ms / 1000).toFixed(1).padStart(7)}  ${file}\n`).join("")}`);
for (const { file, failed: name, error } of failures) process.stdout.write(`\n✗ ${file}: ${name}\n${excerpt(error).map((line) => `    ${line.slice(0, 300)}\n`).join("")}`);
const seconds = ((performance.now() - began) / 1000).toFixed(0);
process.stdout.write(`\n${failed ? "FAILED" : "passed"}: ${totals.pass} passed, ${totals.fail} failed, ${totals.skipped} skipped for want of a tool, in ${seconds} s\n`);
process.exitCode = failed ? 1 : 0;

/** The first lines, and the cause, which comes after the places. */
function excerpt(error: string): string[] {
  const lines = error.split("\n");
  return [...lines.slice(0, errorLines), ...lines.slice(errorLines).filter((line) => line.startsWith("caused by "))];
}

function run(args: string[]): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...compileCache, ...(conformance && { WHERRY_CONFORMANCE: "1" }) } });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      process.stdout.write(chunk);
      text += chunk.toString();
    });
    child.on("close", (code) => resolve({ code: code ?? 1, text }));
  });
}
