import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { realpathSync } from "node:fs";
import type { TestContext } from "node:test";

/**
 * What a test needs of the machine. At a user's, a missing tool skips the test and the summary counts it; in CI
 * (WHERRY_CI=1) it is a failure, because there the tools are installed for it.
 */
export function needs(context: TestContext, ...names: string[]): boolean {
  const missing = names.filter((name) => !find(name));
  if (missing.length === 0) return true;
  if (process.env["WHERRY_CI"] === "1") throw new Error(`this machine lacks ${missing.join(", ")}, which CI must have`);
  context.skip(`needs ${missing.join(", ")}`);
  return false;
}

/** The path of a program, or of a folder such as "../shared/data" that lies beside the project. */
export function find(name: string): string | undefined {
  if (name.startsWith("kubectl.")) return kubectl(name.slice("kubectl.".length));
  if (name.includes("/")) {
    const path = join(dirname(import.meta.dirname), name);
    return existsSync(path) ? path : undefined;
  }
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin", "/usr/local/go/bin"];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}

/**
 * kubectl of one minor version, called directly: an installed dispatcher picks by the server's version, and its
 * siblings lie beside it. Undefined when that version is not there: another one must not pass under its name.
 */
export function kubectl(minor: string): string | undefined {
  const dispatcher = find("kubectl");
  if (!dispatcher) return undefined;
  const beside = join(dirname(realpathSync(dispatcher)), `kubectl.${minor}`);
  return existsSync(beside) ? beside : undefined;
}
