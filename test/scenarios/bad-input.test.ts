import { cpSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { runTranscript } from "./transcript.ts";

test("bad input on the whole stack: each mistake in upstream's words, and the rest keeps running", { timeout: 180_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl", "python3")) return;
  await using wherry = await startWherry({ test: t });
  const folder = join(dirname(wherry.dataDir), "bad-input");
  cpSync(join(import.meta.dirname, "bad-input"), folder, { recursive: true });
  const big = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "big" } };
  writeFileSync(join(folder, "ten-megabytes.json"), JSON.stringify({ ...big, data: { a: "x".repeat(10_000_000) } }));
  writeFileSync(join(folder, "two-megabytes.json"), JSON.stringify({ ...big, data: { a: "x".repeat(2_000_000) } }));
  await runTranscript(join(import.meta.dirname, "bad-input.transcript"), {
    cwd: folder,
    env: wherry.env,
    variables: { API: wherry.apiUrl },
    onStep: process.env["STEPS"] ? (command, ms) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`) : () => {},
  });
});
