// One file for each process of ours, made of the sources by tools/bundle.mjs: two hundred modules cost a process a tenth
// of a second and twenty megabytes. Taken while it is what the sources say; else the sources are. WHERRY_SOURCES=1: always.
import { readFileSync, statSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const isInstalled = root.includes(`${sep}node_modules${sep}`);
export const bundles = isInstalled ? join(root, "lib", "bundle") : join(root, ".cache", "bundle");

/** Which file holds a command. The others start from their sources. */
const programs = { up: "wherry", "internal:stack": "wherry", "internal:api": "api", "internal:apply": "apply" };

/** The file of a command, if it is there and fresh. */
export const bundleOf = (command) => (Object.hasOwn(programs, command) ? bundleNamed(programs[command]) : undefined);

/** Likewise of a program that is no command: "net", "sqlite-worker". */
export function bundleNamed(name) {
  if (process.env.WHERRY_SOURCES) return undefined;
  try {
    const inputs = JSON.parse(readFileSync(join(bundles, `${name}.json`), "utf8"));
    for (const [file, size, mtimeMs] of inputs) {
      const stat = statSync(join(root, file));
      if (stat.size !== size || stat.mtimeMs !== mtimeMs) return undefined;
    }
    return join(bundles, `${name}.cjs`);
  } catch {
    return undefined;
  }
}
