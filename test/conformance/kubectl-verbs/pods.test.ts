import { dirname, join } from "node:path";
import { mkdirSync } from "node:fs";
import { test } from "node:test";
import { hasKubectl } from "../../harness-api.ts";
import { startWherry } from "../../harness.ts";
import { kubectl, needs } from "../../needs.ts";
import { runTranscript } from "../../scenarios/transcript.ts";
import { runVerbs } from "./verbs.ts";

// Over SPDY, over SPDY with the newer wording, and over WebSocket.
for (const minor of ["1.27", "1.30", "1.33"]) {
  test(`kubectl ${minor}: the verbs that need running pods`, { timeout: 600_000 }, async (t) => {
    if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("it takes minutes: npm run conformance");
    if (!needs(t, "python3", "curl", "script") || !(await hasKubectl(t, minor))) return;
    await using wherry = await startWherry({ test: t, kubectlMinor: minor });
    const folder = join(dirname(wherry.dataDir), "verbs");
    mkdirSync(folder);
    await runVerbs({ file: join(import.meta.dirname, "pods.transcript"), kubectl: kubectl(minor)!, minor, kubeconfig: wherry.kubeconfig, folder, pair: { cert: "", key: "" } }, (file, options) => runTranscript(file, { ...options, onStep: (command, ms) => t.diagnostic(`${ms.toFixed(0)} ms ${command}`) }));
  });
}
