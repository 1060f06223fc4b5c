import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { WherryError } from "../base/errors.ts";
import { ledgerName, readLedger } from "./trust/ledger.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    { line: "reset [--yes] [--data-dir DIR]", about: "Delete every object, volume and log that the stack has stored.", options: { "data-dir": dataDirOption, yes: { type: "boolean", help: "do not ask" } }, examples: ["wherry reset --yes"] },
    argv,
  );
  if (!options) return;
  const dataDir = dataDirOf(options.values);
  if (!existsSync(dataDir)) return void process.stdout.write(`there is nothing to delete: no ${dataDir}\n`);
  // Deleting a folder is the one thing that cannot be undone: it must look like ours.
  const { isDataDir, lockDataDir } = await import("../wherry.ts");
  if (!isDataDir(readdirSync(dataDir))) throw new WherryError("USAGE", `${dataDir} does not look like a data directory of Wherry; nothing was deleted`);
  if (!options.values["yes"]) {
    if (!process.stdin.isTTY) throw new WherryError("USAGE", "reset asks before it deletes; say --yes where nobody can answer");
    const reader = createInterface({ input: process.stdin, output: process.stdout });
    const answer = await reader.question(`Delete everything in ${dataDir}? [y/N] `);
    reader.close();
    if (!/^y(es)?$/i.test(answer.trim())) return 1;
  }
  const lock = lockDataDir(dataDir);
  // What was done to the machine can be undone later as well.
  const isTrusted = readLedger(dataDir).length > 0;
  for (const name of readdirSync(dataDir)) if (name !== "lock" && !(isTrusted && name === ledgerName)) rmSync(join(dataDir, name), { recursive: true, force: true });
  lock.release();
  process.stdout.write(`deleted what was in ${dataDir}\n`);
  if (isTrusted) process.stdout.write("this machine still trusts the authority that is deleted now: `wherry trust --undo` takes that back\n");
}
