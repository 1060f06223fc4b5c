import { chmodSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { entry } from "../../src/wherry.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { examples } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const root = dirname(examples);
const pages = ["limit"];

test("the how-to pages of policies, as printed", { timeout: 300_000 }, async (t) => {
  if (!process.env["WHERRY_CONFORMANCE"]) return t.skip("set WHERRY_CONFORMANCE=1; npm run conformance does");
  if (!needs(t, "kubectl", "curl")) return;
  await using wherry = await startWherry({ test: t });
  const program = join(dirname(wherry.dataDir), "bin", "wherry");
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(program, 0o755);
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  const only = process.env["PAGES"]?.split(",");
  for (const page of pages.filter((page) => only?.includes(page) ?? true)) {
    await t.test(page, () => runTranscript(join(root, "docs", "how-to", `${page}.md`), { cwd: root, env: { ...wherry.env, WHERRY_DATA_DIR: wherry.dataDir }, ...(process.env["STEPS"] && { onStep }) }));
  }
});
