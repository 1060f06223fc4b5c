import { basename, resolve } from "node:path";
import { createBackup, megabytes } from "./backup/create.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

const usage = {
  line: "backup [--data-dir DIR] [--output FILE]",
  about: `Write the whole stack into one file, while it runs or not: objects, volumes, keys. Programs with volumes stand still
while those are copied, so that databases are consistent. The file holds every Secret: keep it as one.
\`wherry up --from FILE\` makes a stack of it, anywhere.`,
  options: { "data-dir": dataDirOption, output: { type: "string", short: "o", value: "FILE", help: "where to write (default: NAME-TIME.wherry here)" } },
  examples: ["wherry backup", "wherry backup -o /mnt/backups/shop.wherry"],
} as const;

/** No line of progress for what is over in a moment. */
const patienceMs = 1000;

export async function run(argv: string[]): Promise<number | void> {
  const parsed = parseOptions(usage as never, argv);
  if (!parsed) return;
  const dataDir = dataDirOf(parsed.values);
  const file = resolve((parsed.values["output"] as string | undefined) ?? defaultName(dataDir));
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => ending.abort());
  let saidMs = performance.now();
  const onProgress = (message: string) => {
    if (performance.now() - saidMs < patienceMs) return;
    saidMs = performance.now();
    process.stdout.write(`  ${message}\n`);
  };
  try {
    const made = await createBackup({ dataDir, file, signal: ending.signal, onProgress });
    const paused = made.pausedMs === undefined ? "" : `; programs stood still for ${(made.pausedMs / 1000).toFixed(2)} s`;
    process.stdout.write(`${file}: ${megabytes(made.bytes)}, objects at revision ${made.revision}, ${megabytes(made.volumeBytes)} of volumes${paused}\n`);
    if (made.leftOut.length > 0) process.stdout.write(`  left out, since sockets, pipes and devices hold no data: ${made.leftOut.join(", ")}\n`);
    process.stdout.write(`  It holds every Secret and key of the stack. Restore it with \`wherry up --from ${basename(file)}\`.\n`);
  } catch (error) {
    if (!ending.signal.aborted) throw error;
    process.stderr.write("interrupted; nothing was left behind\n");
    return 130;
  }
}

function defaultName(dataDir: string): string {
  const time = new Date().toISOString().replace(/\.\d+Z$/, "Z").replaceAll(":", "");
  return `${basename(dataDir).replace(/^\.+/, "") || "wherry"}-${time}.wherry`;
}
