// Puts `wherry/chassis` into each example that asks for it (`"wherry": "file:vendor/wherry"`), as JavaScript, so that the example's
// folder is whole: it can be mounted into a pod or sent to `docker build` without the rest of this repository, and without a registry.
// Runs before start and test; does nothing while what it was made of has not changed.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join("vendor", "wherry");

/** Examples whose package.json names it. */
export function examplesOnChassis() {
  const examples = join(root, "examples");
  const manifestOf = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {});
  return existsSync(examples) ? readdirSync(examples).map((name) => join(examples, name)).filter((path) => manifestOf(join(path, "package.json")).dependencies?.wherry === `file:${folder}`) : [];
}

const stateOf = (file) => {
  const { size, mtimeMs } = statSync(join(root, file));
  return [file, size, mtimeMs];
};

function isFresh(target) {
  try {
    const inputs = JSON.parse(readFileSync(join(target, "inputs.json"), "utf8"));
    return inputs.every(([file, size, mtimeMs]) => stateOf(file).join() === [file, size, mtimeMs].join());
  } catch {
    return false;
  }
}

/** Makes those that are missing or stale. */
export async function vendorChassis() {
  const stale = examplesOnChassis().map((path) => join(path, folder)).filter((target) => !isFresh(target));
  if (stale.length === 0) return;
  const { version, license, exports: doors, dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const chassis = Object.entries(doors).filter(([door]) => door.startsWith("./chassis"));
  const { build } = await import("esbuild");
  // Split, not copied: what two doors share (a class, the context of a request) is one thing.
  const { metafile, outputFiles } = await build({
    entryPoints: chassis.map(([, { default: file }]) => join(root, file.replace("./lib/", "src/").replace(/\.js$/, ".ts"))),
    outbase: join(root, "src"),
    outdir: join(root, "lib"),
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node18",
    packages: "external",
    legalComments: "none",
    logLevel: "error",
    metafile: true,
    write: false,
  });
  const manifest = {
    name: "wherry",
    version,
    license,
    type: "module",
    exports: Object.fromEntries(chassis.map(([door, { default: file }]) => [door, file])),
    peerDependencies: { fastify: dependencies.fastify },
  };
  const inputs = [...Object.keys(metafile.inputs), "package.json", "tools/vendor-chassis.mjs"].map(stateOf);
  for (const target of stale) {
    // Beside it, and then in its place: a pod may be reading.
    const half = `${target}.${process.pid}`;
    for (const { path, contents } of outputFiles) {
      const file = join(half, path.slice(root.length + 1));
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, contents);
    }
    writeFileSync(join(half, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
    writeFileSync(join(half, "inputs.json"), JSON.stringify(inputs));
    rmSync(target, { recursive: true, force: true });
    renameSync(half, target);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await vendorChassis();
