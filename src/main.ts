import { verbs } from "./cli/index.ts";

/** argv → command, nothing else. */
export async function main(argv: readonly string[]): Promise<void> {
  const [name = "help", ...rest] = argv;
  const wanted = name === "--help" || name === "-h" ? "help" : name === "--version" || name === "-v" ? "version" : name;
  const verb = verbs.find((candidate) => candidate.name === wanted);
  if (!verb) {
    process.stderr.write(`wherry: there is no command "${name}". See \`wherry --help\`.\n`);
    process.exitCode = 2;
    return;
  }
  // `wherry … | head`: who reads no further must not end what is under way in the middle.
  if (verb.summary !== "") process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  const { run } = await verb.load();
  try {
    process.exitCode = (await run(rest)) ?? 0;
  } catch (error) {
    const { report } = await import("./cli/report.ts");
    process.exitCode = report(error);
  }
}
