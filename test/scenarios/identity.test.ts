import { chmodSync, cpSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { runTranscript } from "./transcript.ts";

const isWhole = Boolean(process.env["WHERRY_CONFORMANCE"]);

test("SecurityPolicy with kubectl: tokens of an issuer whose keys change, who may write, partners' keys", { timeout: 180_000, skip: isWhole ? false : "npm run conformance plays it" }, async (t) => {
  if (!needs(t, "kubectl", "curl")) return;
  await using wherry = await startWherry({ test: t });
  const folder = join(dirname(wherry.dataDir), "identity");
  cpSync(join(import.meta.dirname, "identity"), folder, { recursive: true });
  for (const script of ["get", "token"]) chmodSync(join(folder, script), 0o755);
  await runTranscript(join(import.meta.dirname, "identity.transcript"), { cwd: folder, env: wherry.env });
});
