import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { dirname } from "node:path";

/**
 * `npm test` and `npm run conformance`: the suites in order, cheapest first, and at the end one line with what
 * passed, failed and was skipped for want of a tool.
 */
const root = dirname(import.meta.dirname);
const conformance = process.argv.includes("--conformance");
const suites: { name: string; files: string[]; concurrency: number }[] = [
  { name: "unit", files: ["src/**/*.test.ts", "tools/**/*.test.ts", "test/scenarios/transcript.test.ts"], concurrency: 2 },
  { name: "examples", files: ["examples/*/test/**/*.test.ts"], concurrency: 1 },
  { name: "simulation", files: ["test/simulation/**/*.test.ts"], concurrency: 2 },
  { name: "conformance", files: ["test/conformance/**/*.test.ts"], concurrency: 2 },
  // Whole stacks, one at a time: two cores cannot run two roll-outs and keep their deadlines.
  { name: "scenarios", files: ["test/scenarios/!(transcript).test.ts"], concurrency: 1 },
];
const only = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const totals = { pass: 0, fail: 0, skipped: 0 };
let failed = false;
const began = performance.now();

for (const suite of suites) {
  if (only.length > 0 && !only.includes(suite.name)) continue;
  const files = suite.files.flatMap((pattern) => globSync(pattern, { cwd: root })).sort();
  if (files.length === 0) continue;
  process.stdout.write(`\n── ${suite.name}: ${files.length} files\n`);
  const output = await run(["--test", `--test-concurrency=${suite.concurrency}`, "--test-timeout=600000", "--test-reporter=spec", ...files]);
  failed ||= output.code !== 0;
  for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += Number(new RegExp(`^ℹ ${key} (\\d+)$`, "m").exec(output.text)?.[1] ?? 0);
}
const seconds = ((performance.now() - began) / 1000).toFixed(0);
process.stdout.write(`\n${failed ? "FAILED" : "passed"}: ${totals.pass} passed, ${totals.fail} failed, ${totals.skipped} skipped for want of a tool, in ${seconds} s\n`);
process.exitCode = failed ? 1 : 0;

function run(args: string[]): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...(conformance && { WHERRY_CONFORMANCE: "1" }) } });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      process.stdout.write(chunk);
      text += chunk.toString();
    });
    child.on("close", (code) => resolve({ code: code ?? 1, text }));
  });
}
