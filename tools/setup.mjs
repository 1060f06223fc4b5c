// Runs before `npm start` and `npm test` under whatever Node happens to be there (18 or newer): installs the
// locked modules when they are missing or older than the lock, here and in the examples, and says so; puts the chassis into
// the examples that are built on it; then makes one file of each process.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const major = Number(process.versions.node.split(".")[0]);
if (major < 18) {
  console.error(`wherry needs Node 18 or newer to install itself; this is ${process.version}. Install a newer Node and try again.`);
  process.exit(1);
}

const examples = join(root, "examples");
const workspaces = [root, ...(existsSync(examples) ? readdirSync(examples).map((name) => join(examples, name)) : [])].filter((folder) => existsSync(join(folder, "package-lock.json")));

// This folder comes first: what the examples need is made with its modules.
for (const folder of workspaces) {
  if (folder !== root) await vendored();
  const lock = createHash("sha256").update(readFileSync(join(folder, "package-lock.json"))).digest("hex");
  const stamp = join(folder, "node_modules", ".wherry-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) continue;
  const shown = folder === root ? "." : folder.slice(root.length + 1);
  console.error(`installing the modules of ${shown} (npm ci; once) …`);
  const result = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
  if (result.status !== 0) {
    console.error(`npm ci failed in ${shown}. Check that the npm registry can be reached, then try again.`);
    process.exit(result.status ?? 1);
  }
  writeFileSync(stamp, lock);
}

/** Before their own modules, among which it is linked. */
async function vendored() {
  const { vendorChassis } = await import("./vendor-chassis.mjs");
  await vendorChassis();
}

// Only speed is lost without it: each process then starts from the sources.
await import("./bundle.mjs").then(({ bundlePrograms }) => bundlePrograms()).catch((error) => console.error(`the programs are not bundled: ${error.message.split("\n").slice(0, 3).join("\n")}`));
