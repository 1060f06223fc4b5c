import { chmodSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { policyResources } from "../../src/api/envoy/kinds.ts";
import { apiResource } from "../../src/api/product/kinds.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
import { entry } from "../../src/wherry.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { examples } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const root = dirname(examples);
const pages = ["limit", "cache", "validate", "transform"];

test("the how-to pages of policies, as printed", { timeout: 300_000 }, async (t) => {
  if (!process.env["WHERRY_CONFORMANCE"]) return t.skip("set WHERRY_CONFORMANCE=1; npm run conformance does");
  if (!needs(t, "kubectl", "curl")) return;
  // As on a machine with two cores, which is what the page about caches says it shows.
  await using wherry = await startWherry({ test: t, netWorkers: 1 });
  // Kinds that are there from the start come a moment after it, sooner than a reader types.
  for (const resource of [...Object.values(policyResources), apiResource]) await eventually(() => wherry.client.list(resource, { limit: 1 }), 60_000);
  const program = join(dirname(wherry.dataDir), "bin", "wherry");
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(program, 0o755);
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  const only = process.env["PAGES"]?.split(",");
  for (const page of pages.filter((page) => only?.includes(page) ?? true)) {
    await t.test(page, () => runTranscript(join(root, "docs", "how-to", `${page}.md`), { cwd: root, env: { ...wherry.env, WHERRY_DATA_DIR: wherry.dataDir }, ...(process.env["STEPS"] && { onStep }) }));
  }
});
