import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startWherry } from "../../harness.ts";
import { find, needs } from "../../needs.ts";

const version = "37.0.2";
const run = promisify(execFile);

test(`the Python client ${version}: typed and dynamic calls, watches, exec, apply`, { timeout: 300_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("the client is downloaded: npm run conformance");
  if (!needs(t, "python3")) return;
  const python = pythonWith(version);
  if (!python) return t.skip("the client could not be installed here");
  await using wherry = await startWherry({ test: t });
  const script = join(import.meta.dirname, "python-client.py");
  const { stdout } = await run(python, [script], { env: wherry.env, timeout: 120_000 });
  // A refusal that did not come would leave its check out.
  const checks = readFileSync(script, "utf8").split("\n").filter((line) => /^\s*expect\(/.test(line));
  assert.equal(stdout.trim().split("\n").length, checks.length, stdout);
  t.diagnostic(`${checks.length} checks`);
});

/** A virtual environment of its own, made once. */
function pythonWith(wanted: string): string | undefined {
  const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "clients", `python-${wanted}`);
  const python = join(folder, "bin", "python");
  if (!existsSync(python) && spawnSync(find("python3")!, ["-m", "venv", folder]).status !== 0) return undefined;
  return spawnSync(python, ["-m", "pip", "-q", "install", `kubernetes==${wanted}`], { stdio: ["ignore", "ignore", "inherit"] }).status === 0 ? python : undefined;
}
