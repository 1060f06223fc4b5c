import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";

/** More than this at once is a checkout: the first replica tells. */
const filesMax = 8;

/**
 * Whether Node can read the changed files at all: the message of the first that it cannot, as Node prints it, or undefined.
 * It only parses; nothing of the file runs. Other languages are left to the program's own start.
 */
export async function syntaxError(files: readonly string[]): Promise<string | undefined> {
  const found = await Promise.all(files.slice(0, filesMax).map((file) => (/\.[cm]?[jt]s$/.test(file) ? nodeCheck(file) : file.endsWith('.json') ? jsonCheck(file) : undefined)));
  return found.find((message) => message !== undefined);
}

function nodeCheck(file: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(process.execPath, ["--no-warnings", "--check", file], { timeout: 5000, env: {} }, (error, _stdout, stderr) => {
      // Removed meanwhile, or a dialect that needs a compiler of its own, is not for us to judge.
      if (!error || !/SyntaxError/.test(stderr) || /UNSUPPORTED_TYPESCRIPT/.test(stderr)) return resolve(undefined);
      resolve(stderr.replace(/\n\s+at [^]*$/, "").trim());
    });
  });
}

function jsonCheck(file: string): string | undefined {
  try {
    JSON.parse(readFileSync(file, "utf8"));
    return undefined;
  } catch (error) {
    return error instanceof SyntaxError && file.endsWith('package.json') ? `${file}\n${error.name}: ${error.message}` : undefined;
  }
}
