import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import vm from "node:vm";

/** More than this at once is a checkout: the first replica tells. */
const filesMax = 8;

/**
 * Whether Node can read the changed files at all: the message of the first that it cannot, as Node prints it, or undefined.
 * It only parses; nothing of the file runs. Other languages are left to the program's own start.
 */
export async function syntaxError(files: readonly string[]): Promise<string | undefined> {
  for (const file of files.slice(0, filesMax)) {
    const message = /\.[cm]?[jt]s$/.test(file) ? await codeCheck(file) : /(^|\/)package\.json$/.test(file) && jsonCheck(file);
    if (message) return message;
  }
  return undefined;
}

/** The compiler for TypeScript takes a moment to load: best while a burst of changes is waited for. */
export function warmUp(): void {
  stripTypeScriptTypes("const a: number = 1;");
}

async function codeCheck(file: string): Promise<string | undefined> {
  let code: string;
  try {
    code = readFileSync(file, "utf8");
  } catch {
    return undefined; // Removed meanwhile.
  }
  try {
    if (file.endsWith("ts")) code = stripTypeScriptTypes(code);
  } catch (error) {
    // What it cannot only strip (enums) needs a compiler of the program's own, and is not for us to judge.
    if ((error as NodeJS.ErrnoException).code !== "ERR_INVALID_TYPESCRIPT_SYNTAX") return undefined;
    return `${file}${(error as Error).stack!.replace(/\n\s+at [^]*$/, "").replace(" [ERR_INVALID_TYPESCRIPT_SYNTAX]", "")}`;
  }
  return parses(code) ? undefined : await nodeCheck(file, code);
}

/** Whether it surely is fine, in a millisecond. */
function parses(code: string): boolean {
  const text = code.replace(/^#!.*/, "");
  try {
    vm.compileFunction(text, ["exports", "require", "module", "__filename", "__dirname"]);
    return true;
  } catch {
    // Absent without --experimental-vm-modules, which `up` gives its child.
    if ((vm.SourceTextModule as unknown) === undefined) return false;
  }
  try {
    void new vm.SourceTextModule(text);
    return true;
  } catch {
    return false;
  }
}

/** The last word, and the message as people know it: a Node that only reads. */
function nodeCheck(file: string, code: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    // Types were blanked out, so that lines and columns still are the file's.
    const stdin = file.endsWith("ts");
    const type = /\.m[jt]s$/.test(file) || /^\s*(import|export)\b/m.test(code) ? "module" : "commonjs";
    const child = execFile(process.execPath, ["--no-warnings", "--check", ...(stdin ? [`--input-type=${type}`, "-"] : [file])], { timeout: 5000, env: {} }, (error, _stdout, stderr) => {
      if (!error || !/SyntaxError/.test(stderr)) return resolve(undefined);
      resolve(stderr.replace(/\n\s+at [^]*$/, "").replace(/\n\nNode\.js v[^]*$/, "").trim().replace(/^\[(stdin|eval1?)\]/, file));
    });
    child.stdin?.on("error", () => {}).end(stdin ? code : "");
  });
}

function jsonCheck(file: string): string | undefined {
  try {
    JSON.parse(readFileSync(file, "utf8"));
    return undefined;
  } catch (error) {
    return error instanceof SyntaxError ? `${file}\n${error.name}: ${error.message}` : undefined;
  }
}
