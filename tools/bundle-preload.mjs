// Bundles src/preload into one CommonJS file that any Node from 18 on can --require. Runs before start and test;
// does nothing while the bundle is newer than what it is made of.
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const output = join(root, ".cache", "preload.cjs");
const sources = ["src/preload", "src/base", "src/policy", "tools/bundle-preload.mjs"];

function newest(path) {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).filter((name) => !name.endsWith(".test.ts")).map((name) => newest(join(path, name))));
}

/** The bundle's path; built first when it is missing or older than its sources. */
export async function bundlePreload() {
  const made = existsSync(output) ? statSync(output).mtimeMs : 0;
  if (made > Math.max(...sources.map((path) => newest(join(root, path))))) return output;
  const { build } = await import("esbuild");
  mkdirSync(dirname(output), { recursive: true });
  // Another run may be bundling too: the file appears whole or not at all.
  const half = `${output}.${process.pid}`;
  await build({ entryPoints: [join(root, "src/preload/main.ts")], outfile: half, bundle: true, platform: "node", target: "node18", format: "cjs", legalComments: "none", logLevel: "error" });
  renameSync(half, output);
  return output;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.log(await bundlePreload());
