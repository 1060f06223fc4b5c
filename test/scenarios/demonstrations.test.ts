import { chmodSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { entry } from "../../src/wherry.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { applyFolders, examples } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const root = dirname(examples);
const pages = join(root, "docs", "tour", "demonstrations");

/** In the order of value; `quick`: in `npm test`, for the others there is a minute in `npm run conformance`. */
const demonstrations: { page: string; quick?: true }[] = [
  { page: "breaker", quick: true },
  { page: "slow-dependency" },
  { page: "node-to-node" },
  { page: "consensus" },
  { page: "canary" },
  { page: "blue-green" },
  { page: "self-healing" },
  { page: "roll-out" },
];

test("the demonstrations, as printed on their pages", { timeout: 600_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  const folders = [join(examples, "demonstrations"), join(examples, "go-app")];
  await using wherry = await startWherry({ test: t, hostPathRoots: folders });
  await applyFolders(wherry, [], folders);
  const program = join(dirname(wherry.dataDir), "bin", "wherry");
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(program, 0o755);
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  const play = (page: string) => runTranscript(join(pages, `${page}.md`), { cwd: root, env: { ...wherry.env, WHERRY_DATA_DIR: wherry.dataDir }, ...(process.env["STEPS"] && { onStep }) });
  await play("README");
  await t.test("seed 004: go-app as printed", () => runTranscript(join(import.meta.dirname, "go-app.transcript"), { cwd: join(examples, "go-app"), env: wherry.env, ...(process.env["STEPS"] && { onStep }) }));
  const only = process.env["PAGES"]?.split(",");
  for (const { page, quick } of demonstrations.filter(({ page }) => only?.includes(page) ?? true)) {
    await t.test(page, { skip: quick || only || process.env["WHERRY_CONFORMANCE"] ? false : "npm run conformance runs it" }, () => play(page));
  }
});
