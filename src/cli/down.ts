import { WherryError } from "../base/errors.ts";
import { lives, ownerOf, signalOwner } from "../wherry.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    { line: "down [--data-dir DIR]", about: "Stop the stack of this data directory. Every pod gets its full grace period; the data is kept.", options: { "data-dir": dataDirOption }, examples: ["wherry down"] },
    argv,
  );
  if (!options) return;
  const dataDir = dataDirOf(options.values);
  const owner = ownerOf(dataDir);
  if (!owner) throw new WherryError("NOT_RUNNING", `no Wherry runs on ${dataDir}`);
  process.stdout.write(`stopping process ${owner.pid} (pods get their grace period) …\n`);
  signalOwner(dataDir, "SIGTERM");
  // The lock is given back a moment before the process is gone.
  while (lives(owner)) await new Promise((resolve) => setTimeout(resolve, 50));
  process.stdout.write("stopped; the data is kept\n");
}
