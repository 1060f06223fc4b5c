import { cpSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { entry } from "../../src/wherry.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { runTranscript } from "./transcript.ts";

test("routes attached to Services, as pods of two namespaces meet them", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  const folder = join(dirname(wherry.dataDir), "mesh");
  cpSync(join(import.meta.dirname, "mesh"), folder, { recursive: true });
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  await runTranscript(join(import.meta.dirname, "mesh.transcript"), { cwd: folder, env: { ...wherry.env, WHERRY_DATA_DIR: wherry.dataDir }, variables: { WHERRY: `${process.execPath} ${entry}` }, ...(process.env["STEPS"] && { onStep }) });
});
