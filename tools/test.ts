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
const named = (...names: string[]): string[] => names.map((name) => `test/scenarios/${name}.test.ts`);
/** Pods of plain mode have the machine's own ports: beside them runs nothing that may want the same one, and so no other of these. Neither beside what makes the package, in the checkout itself. */
const isAlone = (file: string): boolean => named("testing").includes(file) || readFileSync(join(root, file), "utf8").includes('"plain"');
/** What may run beside those all the same: isolated stacks that open nothing on the machine but free ports: no Gateway, Ingress, NodePort or front door with a number of its own. */
const quiet = named("autoscaling", "storage", "vertical", "streams", "jobs", "workloads", "webhook", "bad-input", "runtime-limits");
/** Begun last, one of them would run alone at the end. */
const long = named("shop", "network", "backup");
const suites: { name: string; files: string[]; concurrency: number; stacks?: true }[] = [
  { name: "unit", files: ["src/**/*.test.ts", "tools/**/*.test.ts", "test/scenarios/transcript.test.ts"], concurrency: 2 },
  { name: "examples", files: ["examples/*/test/**/*.test.ts"], concurrency: 1 },
  { name: "simulation", files: ["test/simulation/**/*.test.ts"], concurrency: 2 },
  { name: "conformance", files: ["test/conformance/**/*.test.ts"], concurrency: 2 },
  { name: "scenarios", files: [...long, "test/scenarios/!(transcript).test.ts"], concurrency: 2, stacks: true },
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
let runs = 0;
const began = performance.now();

for (const suite of suites) {
  if (only.length > 0 && !only.some((word) => suite.name.startsWith(word))) continue;
  const files = [...new Set(suite.files.flatMap((pattern) => globSync(pattern, { cwd: root }).sort()))];
  if (files.length === 0) continue;
  process.stdout.write(`\n── ${suite.name}: ${files.length} files\n`);
  if (!suite.stacks) {
    await run(files, suite.concurrency);
    continue;
  }
  // Whole stacks use half of two cores; pods of isolated ones have networks of their own.
  const lane = async (queue: string[]): Promise<void> => {
    for (let file; (file = queue.shift()) !== undefined; ) await run([file], 1);
  };
  await Promise.all([lane(files.filter(isAlone)), lane(files.filter((file) => quiet.includes(file)))]);
  const others = files.filter((file) => !isAlone(file) && !quiet.includes(file));
  await Promise.all(Array.from({ length: suite.concurrency }, () => lane(others)));
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

/** Runs test files, and adds what came of them. What they write is shown as it comes, or, of a single file, at its end: another may run beside it. */
async function run(files: string[], concurrency: number): Promise<void> {
  const report = join(folder, String(runs++));
  const args = ["--test", `--test-concurrency=${concurrency}`, "--test-timeout=600000", "--test-reporter=spec", "--test-reporter-destination=stdout", `--test-reporter=${join(import.meta.dirname, "test-report.ts")}`, `--test-reporter-destination=${report}`, ...files];
  const { code, text } = await new Promise<{ code: number | null; text: string }>((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...compileCache, ...(conformance && { WHERRY_CONFORMANCE: "1" }) } });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      if (files.length > 1) process.stdout.write(chunk);
      text += chunk.toString();
    });
    child.on("close", (code) => resolve({ code, text }));
  });
  if (files.length === 1) process.stdout.write(text.replace(/^ℹ (?:tests|suites|pass|cancelled|skipped|todo|duration_ms) .*\n/gm, ""));
  failed ||= code !== 0;
  for (const line of readFileSync(report, "utf8").split("\n")) {
    if (line === "") continue;
    const of = JSON.parse(line) as TestReport;
    const file = relative(root, of.file);
    if ("ms" in of) times.push({ ...of, file });
    else failures.push({ ...of, file });
  }
  for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += Number(new RegExp(`^ℹ ${key} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
}
