import { spawnSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";
// @ts-expect-error a build tool without types
import { bundlePrograms } from "./bundle.mjs";
// @ts-expect-error a build tool without types
import { bundlePreload } from "./bundle-preload.mjs";

/**
 * `npm pack` runs this: src/ as JavaScript in lib/, file by file, and one file of each process. Node strips no types below
 * node_modules, so the package brings none. Types become spaces: lines and columns in a stack trace are those of the source.
 */
const root = dirname(import.meta.dirname);
const [from, to] = [join(root, "src"), join(root, "lib")];
const isTest = (file: string) => /\.test\.ts$|(^|\/)testdata(\/|$)|^[^/]+\/.*\btesting\//.test(file);

rmSync(to, { recursive: true, force: true });
if (process.argv[2] !== "--clean") {
  for (const entry of globSync("**/*", { cwd: from, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name).slice(from.length + 1);
    if (!entry.isFile() || isTest(file)) continue;
    const target = join(to, file.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(target), { recursive: true });
    if (file.endsWith(".ts")) writeFileSync(target, named(stripTypeScriptTypes(readFileSync(join(from, file), "utf8"))));
    else cpSync(join(from, file), target);
  }
  // The doors that other programs import have types of their own.
  const typed = spawnSync(join(root, "node_modules", ".bin", "tsc"), ["-p", "tools/tsconfig.package.json"], { cwd: root, stdio: "inherit" });
  if (typed.status !== 0) process.exit(1);
  for (const file of globSync("{testing,chassis,base,policy,api}/**/*.d.ts", { cwd: to })) writeFileSync(join(to, file), named(readFileSync(join(to, file), "utf8")));
  await bundlePreload();
  await bundlePrograms({ from: "lib", force: true });
}

/** Files of ours go by their new names: in imports, and where one is started or copied. */
function named(text: string): string {
  return text.replace(/(["'])((?:[\w-]+|\.{1,2})(?:\/[\w.-]+)*)\.ts\1/g, (whole, quote: string, path: string) => (path.endsWith(".d") ? whole : `${quote}${path}.js${quote}`));
}
