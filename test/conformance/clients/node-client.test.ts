import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startWherry } from "../../harness.ts";
import { find, needs } from "../../needs.ts";

const version = "2.0.1";

test(`@kubernetes/client-node ${version}: informer, watch, exec, port-forward, apply, logs, cp`, { timeout: 300_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("the client is downloaded: npm run conformance");
  if (!needs(t, "python3")) return;
  const entry = client();
  if (!entry) return t.skip("the client could not be installed here");
  await using wherry = await startWherry({ test: t });
  const script = join(import.meta.dirname, "node-client.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, [script, entry], { env: wherry.env, timeout: 150_000 }).catch((error: { stdout?: string; stderr?: string }) => {
    throw new Error(`${error.stdout}\n${error.stderr}`);
  });
  const checks = readFileSync(script, "utf8").split("\n").filter((line) => line.startsWith("expect("));
  assert.equal(stdout.trim().split("\n").length, checks.length, stdout);
  t.diagnostic(`${checks.length} checks`);
});

/** The client's entry in a folder of its own, installed once. */
function client(): string | undefined {
  const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "clients", `node-${version}`);
  const entry = join(folder, "node_modules", "@kubernetes", "client-node", "dist", "index.js");
  if (existsSync(entry)) return entry;
  const npm = find("npm");
  if (!npm) return undefined;
  mkdirSync(folder, { recursive: true });
  spawnSync(npm, ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, `@kubernetes/client-node@${version}`], { stdio: ["ignore", "ignore", "inherit"] });
  return existsSync(entry) ? entry : undefined;
}
