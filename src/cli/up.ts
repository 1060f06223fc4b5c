import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { WherryError } from "../base/errors.ts";
import { type AccessFiles, entry, makeDataDir, ownerOf, startWherry, type StartOptions, type Wherry, wherryVersion } from "../wherry.ts";
import type { ApplyRequest } from "./internal-apply.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

const usage = {
  line: "up [PATH…] [OPTIONS]",
  about: `Start the stack in the foreground and apply what the given folders hold: manifests, a kustomization.yaml, or a
skaffold.yaml (its artifacts tell which image comes from which folder). Then watch them: saved code is reloaded in the
pods that run it, a changed manifest is applied. Ctrl-C stops everything and keeps the data.`,
  positionals: true,
  options: {
    link: { type: "string", multiple: true, value: "PATH", help: "know the images of this folder without applying its manifests (repeatable)" },
    name: { type: "string", value: "NAME", help: "the stack's name; its data goes to .wherry-NAME" },
    "data-dir": dataDirOption,
    port: { type: "string", value: "PORT", help: "the API's port on 127.0.0.1 (default: last time's, else 6443, else a free one)" },
    isolation: { type: "string", value: "MODE", help: "auto, isolated or plain (default: auto; `wherry doctor` explains)" },
    "egress-port": { type: "string", multiple: true, value: "PORT", help: "a further port that pods may dial outside, beside 80 and 443 (repeatable)" },
    "host-path": { type: "string", multiple: true, value: "DIR", help: "a folder below which hostPath volumes may point (the given PATHs always are)" },
    "authentication-config": { type: "string", value: "FILE", help: "an AuthenticationConfiguration: whose tokens (OIDC) are taken beside the stack's own" },
    "audit-policy-file": { type: "string", value: "FILE", help: "an audit Policy: which requests are recorded" },
    "audit-log-path": { type: "string", value: "FILE", help: "where they are recorded, as lines of JSON (default: audit.log in the data directory)" },
    "audit-log-maxsize": { type: "string", value: "MB", help: "at this size the file is put aside and a new one begun (default: 100)" },
    "audit-log-maxage": { type: "string", value: "DAYS", help: "what was put aside is deleted after so many days (default: 0, never)" },
    "audit-log-maxbackup": { type: "string", value: "N", help: "so many of them are kept; 0 keeps all (default: 10)" },
    "encryption-provider-config": { type: "string", value: "FILE", help: "an EncryptionConfiguration: with which keys Secrets are stored" },
    "encryption-provider-config-automatic-reload": { type: "boolean", help: "read it again when it changes; looked at every minute" },
    from: { type: "string", value: "FILE", help: "begin with what `wherry backup` wrote; the data directory must be empty" },
    inspect: { type: "boolean", help: "every Node pod gets a debugger address on loopback; `wherry status` lists them" },
    prune: { type: "boolean", help: "delete what a manifest had made when the manifest is removed while `up` watches (never namespaces, volumes and definitions)" },
    "no-watch": { type: "boolean", help: "do not watch the folders: what is saved later is neither reloaded nor applied" },
    detach: { type: "boolean", help: "return as soon as everything is Ready; `wherry down` stops it" },
  },
  examples: ["wherry up", "wherry up examples/shop", "wherry up --link examples/shop", "wherry up --name second --detach"],
} as const;

export async function run(argv: string[]): Promise<number | void> {
  const parsed = parseOptions(usage as never, argv);
  if (!parsed) return;
  const { values, positionals } = parsed;
  const many = (name: string) => (values[name] as string[] | undefined) ?? [];
  const name = values["name"] as string | undefined;
  if (name !== undefined && !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name)) throw new WherryError("USAGE", `--name ${name}: lower-case letters, digits and dashes only`);
  const dataDir = name !== undefined && values["data-dir"] === undefined ? resolve(`.wherry-${name}`) : dataDirOf(values);
  const isolation = (values["isolation"] as string | undefined) ?? "auto";
  if (!["auto", "isolated", "plain"].includes(isolation)) throw new WherryError("USAGE", `--isolation ${isolation}: must be auto, isolated or plain`);
  const file = (option: string) => (values[option] === undefined ? undefined : resolve(values[option] as string));
  if (values["from"] !== undefined && !(await restoreFrom(resolve(values["from"] as string), dataDir, [...positionals, ...many("link")].length > 0, file("encryption-provider-config")))) return 130;
  if (values["detach"]) return detach(withoutFrom(argv), dataDir);

  const access: AccessFiles = definedOf({ authentication: file("authentication-config"), auditPolicy: file("audit-policy-file"), auditLog: file("audit-log-path"), encryption: file("encryption-provider-config") });
  if (values["encryption-provider-config-automatic-reload"]) access.encryptionReload = true;
  if (access.encryptionReload && access.encryption === undefined) throw new WherryError("USAGE", "--encryption-provider-config-automatic-reload: there is no --encryption-provider-config to read again");
  const rotation = rotationOf(values);
  if (Object.keys(rotation).length > 0) access.auditRotation = rotation;
  const auditOption = Object.keys(values).find((option) => option.startsWith("audit-log-"));
  if (auditOption !== undefined && access.auditPolicy === undefined) throw new WherryError("USAGE", `--${auditOption}: nothing is recorded without --audit-policy-file`);
  if (values["audit-log-path"] === "-") throw new WherryError("USAGE", "--audit-log-path -: standard output belongs to the stack; name a file");

  const request: ApplyRequest = { dataDir, paths: positionals, links: many("link"), watch: values["no-watch"] !== true, prune: values["prune"] === true };
  const options: StartOptions = {
    dataDir,
    ...(name !== undefined && { name }),
    ...(values["port"] !== undefined && { port: portOf(values["port"] as string, "--port") }),
    isolation: isolation as "auto",
    ...(values["inspect"] === true && { inspect: true }),
    egressPorts: many("egress-port").map((text) => portOf(text, "--egress-port")),
    hostPathRoots: [...positionals, ...many("host-path")].map((path) => resolve(path)),
    ...(Object.keys(access).length > 0 && { access }),
    onProgress: (message) => process.stdout.write(`${message}\n`),
  };

  // Signals first: a Ctrl-C during the start must stop what has begun.
  const interrupted = new Promise<"fast" | "graceful">((done) => {
    process.on("SIGINT", () => done("fast"));
    process.on("SIGTERM", () => done("graceful"));
    process.on("SIGHUP", () => done("graceful"));
  });
  request.startedMs = Date.now();
  const wherry = await startWherry(options);
  greet(wherry);
  request.podUsers = wherry.mode === "plain" && process.getuid?.() === 0;
  const child = spawn(process.execPath, [...childFlags, entry, "internal:apply", JSON.stringify(request)], { stdio: ["ignore", "inherit", "inherit", "ipc"], detached: true });
  // It says that all is applied, and goes on watching; or it ends.
  const applied = new Promise<number>((done) => {
    child.on("message", () => done(0));
    child.on("exit", (code) => {
      done(code ?? 0);
      if (code && !stopping) process.stdout.write("the folders are not watched any more; start `wherry up` again to have them watched\n");
    });
  });
  let stopping = false;
  const first = await Promise.race([interrupted, applied]);
  if (typeof first === "number" && first !== 0) {
    // Nothing of a bad file was applied; a stack that somebody believes complete must not stay up without it.
    stopping = true;
    await wherry.stop("fast");
    return first;
  }
  if (typeof first === "number") process.stdout.write("\nPress Ctrl-C to stop; the data is kept.\n");
  const how = typeof first === "string" ? first : await interrupted;
  stopping = true;
  child.kill("SIGTERM");
  const began = performance.now();
  let exitCode = how === "fast" ? 130 : 0;
  if (how === "graceful") {
    process.stdout.write("\nstopping: every pod gets its grace period; Ctrl-C stops at once\n");
    process.on("SIGINT", () => {
      exitCode = 130;
      void wherry.stop("fast");
    });
  }
  await wherry.stop(how);
  process.stdout.write(`\nstopped in ${((performance.now() - began) / 1000).toFixed(1)} s; the data is in ${relative(process.cwd(), dataDir) || "."}\n`);
  // Whatever still holds the loop (a terminal, a socket) must not keep a stopped stack alive.
  process.exit(exitCode);
}

/** The child reads saved modules before it has them run. */
export const childFlags = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning"];

/** False: interrupted, and nothing was left behind. */
async function restoreFrom(file: string, dataDir: string, hasFolders: boolean, encryption: string | undefined): Promise<boolean> {
  const { restoreBackup } = await import("./backup/restore.ts");
  const ending = new AbortController();
  const end = () => ending.abort();
  for (const signal of endings) process.on(signal, end);
  const restored = await restoreBackup(file, dataDir, { encryption, signal: ending.signal }).catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });
  for (const signal of endings) process.off(signal, end);
  if (!restored) {
    process.stderr.write("interrupted; nothing was left behind\n");
    return false;
  }
  const { description, missing } = restored;
  process.stdout.write(`restored ${file}: written ${description.createdAt} by Wherry ${description.wherry}, objects at revision ${description.revision}\n`);
  for (const { image, context } of missing) process.stdout.write(`  image ${image} was linked to ${context}, which is not here\n`);
  if (missing.length > 0 && !hasFolders) process.stdout.write("  A backup holds no code: give its folder to `wherry up PATH` (or --link PATH) and these pods will start.\n");
  return true;
}

const endings = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** The same words for a child that finds everything restored. */
const withoutFrom = (argv: readonly string[]): string[] => argv.filter((word, at) => word !== "--from" && !word.startsWith("--from=") && argv[at - 1] !== "--from");

function greet(wherry: Wherry): void {
  const missing = wherry.findings.filter(({ enforced }) => !enforced);
  process.stdout.write(`Wherry ${wherryVersion()}: ${wherry.mode} pods, API at ${wherry.apiUrl}\n`);
  for (const { message, remedy } of missing) process.stdout.write(`  not enforced: ${message}${remedy && `\n    to lift it: ${remedy}`}\n`);
  process.stdout.write(`\n  export KUBECONFIG=${wherry.kubeconfig}\n\n`);
}

function portOf(text: string, option: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new WherryError("USAGE", `${option} ${text}: must be a number between 1 and 65535`);
  return port;
}

/** Without what is undefined. */
/** As kube-apiserver takes them: whole numbers, none below 0. */
function rotationOf(values: Readonly<Record<string, unknown>>): NonNullable<AccessFiles["auditRotation"]> {
  const numberOf = (option: string): number | undefined => {
    const text = values[option] as string | undefined;
    if (text === undefined) return undefined;
    if (!/^\d{1,9}$/.test(text)) throw new WherryError("USAGE", `--${option} ${text}: must be a whole number, 0 or more`);
    return Number(text);
  };
  const [sizeMbMax, ageDaysMax, backupsMax] = [numberOf("audit-log-maxsize"), numberOf("audit-log-maxage"), numberOf("audit-log-maxbackup")];
  return { ...(sizeMbMax !== undefined && { sizeMbMax }), ...(ageDaysMax !== undefined && { ageDaysMax }), ...(backupsMax !== undefined && { backupsMax }) };
}

const definedOf = (files: Record<Exclude<keyof AccessFiles, "encryptionReload" | "auditRotation">, string | undefined>): AccessFiles => Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined));

/** Starts the same command in a session of its own and waits until it says that it is up, or ends. */
async function detach(argv: string[], dataDir: string): Promise<number> {
  const { undo } = makeDataDir(dataDir);
  const file = join(dataDir, "wherry.log");
  const isNew = !existsSync(file);
  // Refused here already: the file is the log of the stack that runs.
  const owner = ownerOf(dataDir);
  if (owner) throw new WherryError("DATA_DIR_LOCKED", `${dataDir} belongs to a running Wherry, process ${owner.pid}`);
  const log = openSync(file, "w", 0o600);
  const child = spawn(process.execPath, [entry, "up", ...argv.filter((word) => word !== "--detach")], { stdio: ["ignore", log, log], detached: true });
  closeSync(log);
  child.unref();
  const ended = new Promise<number>((done) => child.on("exit", (code) => done(code ?? 1)));
  for (;;) {
    const code = await Promise.race([ended, new Promise<undefined>((done) => setTimeout(() => done(undefined), 100))]);
    const text = readFileSync(file, "utf8");
    if (code !== undefined) {
      process.stderr.write(text);
      if (isNew) rmSync(file);
      undo();
      return code;
    }
    if (text.includes("Press Ctrl-C to stop")) {
      process.stdout.write(text.replace(/\n?Press Ctrl-C.*\n/, `\nRunning as process ${child.pid}; \`wherry down\` stops it. Log: ${file}\n`));
      return 0;
    }
  }
}
