import { cpSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { startWherry } from "../../harness.ts";
import { needs } from "../../needs.ts";
import { runTranscript } from "../../scenarios/transcript.ts";
import { goClient } from "./build.ts";

const version = "v3.19.0";

test(`Helm ${version}: three charts installed, tested, upgraded, rolled back, removed`, { timeout: 900_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("building Helm takes minutes: npm run conformance");
  if (!needs(t, "kubectl", "python3", "go")) return;
  const helm = goClient("helm", `helm.sh/helm/v3/cmd/helm@${version}`);
  if (!helm) return t.skip("Helm could not be built here");
  await using wherry = await startWherry({ test: t });
  const folder = dirname(wherry.dataDir);
  cpSync(join(import.meta.dirname, "charts"), join(folder, "charts"), { recursive: true });
  symlinkSync(helm, join(folder, "bin", "helm"));
  await runTranscript(join(import.meta.dirname, "helm.transcript"), { cwd: folder, env: wherry.env, onStep: (command, ms) => t.diagnostic(`${ms.toFixed(0)} ms ${command}`) });
});
