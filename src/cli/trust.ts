import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { WherryError } from "../base/errors.ts";
import { writeFileAtomic } from "../base/files.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";
import { isRoot, sudoLine } from "./root.ts";
import { type Authority, readAuthority } from "./trust/authority.ts";
import { type Entry, readLedger, writeLedger } from "./trust/ledger.ts";
import { browserDatabases, browserStores, type Machine, type Store, systemStore } from "./trust/stores.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    {
      line: "trust [--undo] [--data-dir DIR]",
      about: `Have this machine trust the certificates that the stack issues: its authority's certificate goes into the system's store, and,
where certutil is there, into the databases of your browsers. It says what it did; what needs root it leaves to a command
that it prints (exit code 1 then). The authority is for names that are nobody's on the Internet (example.com, localhost, lan, …)
and those that DIR/trust/names has; whoever can read DIR/trust could pretend to be one of these, and DIR is yours alone.`,
      options: { undo: { type: "boolean", help: "take back exactly what was done" }, "data-dir": dataDirOption },
      examples: ["wherry trust", "wherry trust --undo"],
    },
    argv,
  );
  if (!options) return;
  const dataDir = dataDirOf(options.values);
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  return options.values["undo"] ? undo(dataDir, say) : trust(dataDir, say);
}

type Say = (line: string) => void;

function trust(dataDir: string, say: Say): number {
  const authority = readAuthority(dataDir, Date.now());
  const machine = thisMachine();
  // Databases belong to whoever runs the browsers; root, asked by sudo, leaves them alone.
  const isForAnother = isRoot() && process.env["SUDO_UID"] !== undefined && process.env["SUDO_UID"] !== "0";
  const system = systemStore(machine, authority);
  const stores = [...(system ? [system] : []), ...(isForAnother ? [] : browserStores(machine, authority))];
  say(`${authority.subject}, valid until ${authority.validTo}, SHA-256 ${authority.fingerprint}`);
  let left = 0;
  for (const store of stores) {
    if (isTrustedIn(store, authority, readLedger(dataDir))) say(`  ${store.name}: trusted already${store.file ? `, by ${store.file}` : ""}`);
    else if (store.needsRoot && !isRoot()) left++;
    else for (const line of add(dataDir, store, authority)) say(`  ${line}`);
  }
  if (left > 0) say(`\nThe machine's own store needs root:\n  ${sudoLine(["trust", "--data-dir", dataDir])}`);
  else if (!system) say(`  the system's store: none of those that are known is here; give ${authority.file} to your programs`);
  if (!isForAnother && browserDatabases(machine).length > 0 && !machine.which("certutil")) say("\nBrowsers here have databases of their own, which certutil could tell (package libnss3-tools, or nss-tools).");
  say(`\nPrograms that look elsewhere:\n  Node     export NODE_EXTRA_CA_CERTS=${authority.file}\n  Python   export REQUESTS_CA_BUNDLE=${system?.bundle ?? authority.file}\n  curl     --cacert ${authority.file} (without the system's store)`);
  return left > 0 ? 1 : 0;
}

function isTrustedIn({ name, file, bundle, remove }: Store, { text }: Authority, ledger: readonly Entry[]): boolean {
  if (!file) return ledger.some((entry) => entry.store === name && entry.remove.join(" ") === remove.join(" "));
  return contentOf(file) === text && (!bundle || holds(bundle, text));
}

/** What was done, for people. Throws MACHINE_UNCHANGED, with everything as it was. */
function add(dataDir: string, store: Store, { text, file: source }: Authority): string[] {
  const { name, needsRoot, file, remove, bundle } = store;
  if (file && existsSync(file) && contentOf(file) !== text) throw new WherryError("MACHINE_UNCHANGED", `${file} is there and holds something else: nothing was changed`);
  const entry: Entry = { store: name, needsRoot, ...(file && { file: { path: file, sha256: sha256(text) } }), remove };
  const told: string[] = [];
  // An authority that was replaced is trusted no longer.
  const ledger = readLedger(dataDir);
  for (const before of ledger) if (before.store === name && before.file?.path !== file) told.push(...takeBack(before));
  const others = ledger.filter((other) => other.store !== name);
  writeLedger(dataDir, [...others, entry]);
  if (file) {
    writeFileAtomic(file, text, 0o644);
    // Whatever the umask says: it is for everybody to read.
    chmodSync(file, 0o644);
    told.push(`written  ${file} (a copy of ${source})`);
  }
  try {
    execute(store.add);
    if (bundle && !holds(bundle, text)) throw new WherryError("MACHINE_UNCHANGED", `${store.add.join(" ")} succeeded, but ${bundle} does not hold the certificate`);
  } catch (error) {
    takeBack(entry);
    writeLedger(dataDir, others);
    throw error;
  }
  told.push(`run      ${store.add.join(" ")}`);
  if (bundle) told.push(`now in   ${bundle}`);
  return told;
}

function undo(dataDir: string, say: Say): number {
  const ledger = readLedger(dataDir);
  if (ledger.length === 0) return say("nothing to undo: `wherry trust` has done nothing for this data directory"), 0;
  let left = ledger;
  for (const entry of ledger) {
    if (entry.needsRoot && !isRoot()) continue;
    for (const line of takeBack(entry)) say(`  ${line}`);
    left = left.filter((other) => other !== entry);
    writeLedger(dataDir, left);
  }
  if (left.length > 0) say(`\nThe machine's own store needs root:\n  ${sudoLine(["trust", "--undo", "--data-dir", dataDir])}`);
  return left.length > 0 ? 1 : 0;
}

function takeBack({ store, file, remove }: Entry): string[] {
  const told: string[] = [];
  if (file) {
    const present = contentOf(file.path);
    if (present === undefined) told.push(`gone     ${file.path}, before`);
    else if (sha256(present) !== file.sha256) return [`left     ${file.path}: somebody has changed it since`];
    else {
      rmSync(file.path);
      told.push(`removed  ${file.path}`);
    }
  }
  try {
    execute(remove);
    told.push(`run      ${remove.join(" ")}`);
  } catch (error) {
    // A database of a browser that was deleted meanwhile, or another hand was first.
    told.push(`${store}: ${(error as Error).message}`);
  }
  return told;
}

function execute([program, ...words]: string[]): void {
  const { status, signal, error, stdout, stderr } = spawnSync(program!, words, { encoding: "utf8", timeout: 120_000, env: { ...process.env, PATH: folders().join(delimiter) } });
  if (status === 0) return;
  throw new WherryError("MACHINE_UNCHANGED", `${[program, ...words].join(" ")} ${error ? `could not be run: ${error.message}` : `ended with ${signal ?? status}`}\n${`${stdout ?? ""}${stderr ?? ""}`.trim()}`.trimEnd(), { cause: error });
}

const folders = (): string[] => [...new Set([...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])].filter((folder) => folder.startsWith("/"));

function thisMachine(): Machine {
  return {
    platform: process.platform,
    home: process.env["HOME"] ?? homedir(),
    exists: existsSync,
    entries: (folder) => (existsSync(folder) ? readdirSync(folder) : []),
    which: (program) => folders().map((folder) => join(folder, program)).find(existsSync),
  };
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
/** Bundles have certificates one after another, with line ends of their own. */
const holds = (bundle: string, text: string): boolean => (contentOf(bundle) ?? "").replace(/\s/g, "").includes(text.replace(/\s/g, ""));
