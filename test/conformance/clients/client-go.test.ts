import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startWherry } from "../../harness.ts";
import { needs } from "../../needs.ts";
import { goProgram } from "./build.ts";

test("client-go 0.35: informers, apply configurations, discovery, events, leader election", { timeout: 900_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("building client-go takes minutes: npm run conformance");
  if (!needs(t, "go", "python3")) return;
  const program = goProgram("client-go", join(import.meta.dirname, "client-go"));
  if (!program) return t.skip("the program could not be built here");
  await using wherry = await startWherry({ test: t });
  const { stdout } = await promisify(execFile)(program, { env: wherry.env, timeout: 120_000 }).catch((error: { stdout?: string; stderr?: string }) => {
    throw new Error(`${error.stdout}\n${error.stderr}`);
  });
  t.diagnostic(`${stdout.trim().split("\n").length} checks`);
});
