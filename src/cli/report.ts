import { StatusError } from "../api/status.ts";
import { WherryError } from "../base/errors.ts";

/** Tells a person what went wrong and what to do, on stderr; gives the exit code. */
export function report(error: unknown): number {
  if (error instanceof WherryError) {
    process.stderr.write(`wherry: ${error.message}\n        ${error.remedy}\n`);
    return error.exitCode;
  }
  if (error instanceof StatusError) {
    process.stderr.write(`wherry: ${error.message}\n`);
    return 1;
  }
  if ((error as NodeJS.ErrnoException).code === "ERR_PARSE_ARGS_UNKNOWN_OPTION" || String((error as NodeJS.ErrnoException).code).startsWith("ERR_PARSE_ARGS")) {
    process.stderr.write(`wherry: ${(error as Error).message}\n        See \`wherry --help\`.\n`);
    return 2;
  }
  process.stderr.write(`wherry: ${(error as Error).stack ?? String(error)}\n        This is a bug in Wherry; please report it with the lines above.\n`);
  return 70;
}
