import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, chownSync, existsSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { WherryError } from "../../base/errors.ts";
import { silentLog } from "../../base/log.ts";
import { lockDataDir, openStore } from "../../wherry.ts";
import { formatVersion } from "./archive.ts";
import { createBackup } from "./create.ts";
import { restoreBackup } from "./restore.ts";
import { end, header, padding, type TarEntry } from "./tar.ts";

const isRoot = process.getuid?.() === 0;
const pvKey = "/core/persistentvolumes/pv";

function folderFor(t: TestContext): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "wherry-backup-")));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The data directory of a stack that does not run, with one volume and one object that names it. */
async function stackIn(folder: string, name = "data"): Promise<{ dataDir: string; volume: string }> {
  const dataDir = join(folder, name);
  mkdirSync(dataDir, { mode: 0o700 });
  const store = await openStore(dataDir, silentLog);
  await store.put(pvKey, 0, (revision) => {
    const object = { apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "pv", uid: "u-1", resourceVersion: String(revision) }, spec: { local: { path: join(dataDir, "volumes", "pv") } } };
    return { object, bytes: Buffer.from(JSON.stringify(object)) };
  });
  await store.close();
  mkdirSync(join(dataDir, "pki"), { mode: 0o700 });
  writeFileSync(join(dataDir, "pki", "ca.key"), "a key", { mode: 0o600 });
  writeFileSync(join(dataDir, "settings.json"), "{}");
  const volume = join(dataDir, "volumes", "pv");
  mkdirSync(volume, { recursive: true });
  chmodSync(join(dataDir, "volumes"), 0o711);
  return { dataDir, volume };
}

const backup = (dataDir: string, file: string, signal = new AbortController().signal) => createBackup({ dataDir, file, signal, onProgress() {} });
const refusal = (code: string, message: RegExp) => (error: unknown) => error instanceof WherryError && error.code === code && message.test(error.message) || assert.fail(`${(error as WherryError).code}: ${(error as Error).message}`);

/** What can be seen of a tree: each path with its type, mode, owner, time and content. */
function look(folder: string, below = ""): string[] {
  return readdirSync(join(folder, below)).sort().flatMap((name) => {
    const path = join(below, name);
    const stat = lstatSync(join(folder, path));
    const facts = `${path} ${(stat.mode & 0o7777).toString(8)} ${stat.uid}:${stat.gid}`;
    if (stat.isSymbolicLink()) return [`${path} → ${readlinkSync(join(folder, path))}`];
    if (stat.isDirectory()) return [`${facts} ${Math.floor(stat.mtimeMs)}/`, ...look(folder, path)];
    return [`${facts} ${Math.floor(stat.mtimeMs)} ${stat.size} ${createHash("sha1").update(readFileSync(join(folder, path))).digest("hex")}`];
  });
}

test("whatever a volume holds comes back as it was", async (t) => {
  const folder = folderFor(t);
  const { dataDir, volume } = await stackIn(folder);
  const deep = join(volume, "a".repeat(120), "b".repeat(120), "ü and \n a line");
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, "file"), Buffer.from([0, 1, 2, 255]));
  writeFileSync(join(volume, "empty"), "");
  writeFileSync(join(volume, "block"), Buffer.alloc(512, 7));
  writeFileSync(join(volume, "large"), Buffer.alloc(700_000, "large "));
  writeFileSync(join(volume, "script"), "#!/bin/sh", { mode: 0o755 });
  writeFileSync(join(volume, "locked"), "mine", { mode: 0o400 });
  utimesSync(join(volume, "script"), 1_000_000_000, 1_000_000_000.25);
  linkSync(join(volume, "large"), join(volume, "large.link"));
  symlinkSync("/etc/passwd", join(volume, "absolute"));
  symlinkSync("x".repeat(150), join(volume, "dangling"));
  mkdirSync(join(volume, "closed"), { mode: 0o500 });
  if (isRoot) {
    chownSync(join(volume, "locked"), 100_103, 100_103);
    chownSync(join(volume, "block"), 3_000_000, 3_000_000); // more than seven octal digits
  }
  writeFileSync(join(volume, "sparse"), "");
  truncateSync(join(volume, "sparse"), 50 << 20);
  writeFileSync(join(volume, "sparse"), "end", { flag: "r+" });
  const server = createServer().listen(join(dataDir, "s"));
  await new Promise((resolve) => server.once("listening", resolve));
  // A socket in the volume, by a name that is short enough to bind.
  execFileSync("mv", [join(dataDir, "s"), join(volume, "socket")]);
  execFileSync("mkfifo", [join(volume, "pipe")]);

  const file = join(folder, "made.wherry");
  const made = await backup(dataDir, file);
  server.close();
  assert.deepEqual(made.leftOut.toSorted(), ["volumes/pv/pipe", "volumes/pv/socket"]);
  assert.equal(made.pausedMs, undefined, "nothing ran");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.ok(made.bytes < 200_000, `${made.bytes} bytes: holes and repetitions cost nothing`);

  const restored = join(folder, "restored");
  const { description } = await restoreBackup(file, restored);
  assert.equal(description.revision, made.revision);
  for (const name of ["pipe", "socket"]) rmSync(join(volume, name));
  const before = look(volume);
  assert.deepEqual(look(join(restored, "volumes", "pv")), before);
  assert.equal(lstatSync(join(restored, "volumes", "pv", "large")).ino, lstatSync(join(restored, "volumes", "pv", "large.link")).ino, "one file with two names");
  assert.ok(statSync(join(restored, "volumes", "pv", "sparse")).blocks * 512 < 1 << 20, "a hole is a hole");
  assert.equal(readFileSync(join(restored, "pki", "ca.key"), "utf8"), "a key");
  assert.equal(statSync(join(restored, "volumes")).mode & 0o777, 0o711);
  assert.deepEqual(readdirSync(restored).sort(), ["pki", "settings.json", "store.db", "volumes"]);

  await t.test("the object names the new place, and is otherwise the same", async () => {
    const store = await openStore(restored, silentLog);
    t.after(() => store.close());
    const { object, revision } = store.get(pvKey)!;
    const { metadata, spec } = object as unknown as { metadata: { uid: string; resourceVersion: string }; spec: { local: { path: string } } };
    assert.deepEqual([metadata.uid, spec.local.path, metadata.resourceVersion], ["u-1", join(restored, "volumes", "pv"), String(revision)]);
  });

  await t.test("any tar reads it", () => {
    const { status, stdout, stderr } = spawnSync("tar", ["--zstd", "-tf", file], { encoding: "utf8" });
    if (/zstd.*(not found|Cannot exec)/.test(stderr)) return;
    assert.equal(status, 0, stderr);
    const names = stdout.trim().split("\n");
    assert.deepEqual([names[0], names.at(-1)], ["wherry-backup.json", "wherry-backup.end.json"]);
    assert.ok(names.includes(`volumes/pv/${"a".repeat(120)}/${"b".repeat(120)}/ü and \\n a line/file`) || names.some((name) => name.includes("and \\n a line/file")), "long names");
  });
});

test("a backup has nothing of one run: locks, sockets, logs, copies that another left", async (t) => {
  const folder = folderFor(t);
  const { dataDir } = await stackIn(folder);
  for (const name of ["kubeconfig", "wherry.log", "audit.log", "audit-2026-01-01.log", "store.db-wal", "x.tmp"]) if (name !== "store.db-wal") writeFileSync(join(dataDir, name), "no");
  for (const name of ["images", "sandbox", ".backup-999999999", "pods/u-1/logs", "pods/u-1/volumes/cache"]) mkdirSync(join(dataDir, name), { recursive: true });
  writeFileSync(join(dataDir, "pods/u-1/volumes/cache/file"), "emptyDir");
  await backup(dataDir, join(folder, "b"));
  assert.equal(existsSync(join(dataDir, ".backup-999999999")), false, "what a killed backup left is removed");
  await restoreBackup(join(folder, "b"), join(folder, "restored"));
  assert.deepEqual(readdirSync(join(folder, "restored")).sort(), ["pki", "pods", "settings.json", "store.db", "volumes"]);
  assert.deepEqual(readdirSync(join(folder, "restored", "pods", "u-1")), ["volumes"]);
  assert.equal(readFileSync(join(folder, "restored/pods/u-1/volumes/cache/file"), "utf8"), "emptyDir");
});

// ---- refusals -------------------------------------------------------------------------------------------------

const entry = (path: string, more: Partial<TarEntry> & { body?: string } = {}): Buffer => {
  const body = Buffer.from(more.body ?? "");
  return Buffer.concat([header({ path, type: "file", mode: 0o600, uid: 0, gid: 0, size: body.length, mtimeMs: 0, target: "", ...more }), body, padding(body.length)]);
};
const said = (format: number = formatVersion) => entry("wherry-backup.json", { body: JSON.stringify({ format, wherry: "9.9.9", createdAt: "2026-01-01T00:00:00Z", revision: 1, dataDir: "/elsewhere", leftOut: [] }) });
/** A file that is whole, of these entries. */
function sealed(...entries: Buffer[]): Buffer {
  const all = Buffer.concat(entries);
  const closing = entry("wherry-backup.end.json", { body: JSON.stringify({ bytes: all.length, sha256: createHash("sha256").update(all).digest("hex") }) });
  return zstdCompressSync(Buffer.concat([all, closing, end()]));
}

type Refused = [what: string, file: (good: Buffer) => Buffer, code: string, message: RegExp];
const cut = (share: number) => (good: Buffer) => good.subarray(0, Math.floor(good.length * share));
const refused: Refused[] = [
  ["an empty file", () => Buffer.alloc(0), "BACKUP_DAMAGED", /it is empty/],
  ["a file of something else", () => Buffer.from("PK\x03\x04 a zip"), "BACKUP_DAMAGED", /begins with the bytes 504b0304, not with those of zstd/],
  ["nothing but the magic", (good) => good.subarray(0, 4), "BACKUP_DAMAGED", /not a whole backup/],
  ["cut after a tenth", cut(0.1), "BACKUP_DAMAGED", /not a whole backup/],
  ["cut in the middle", cut(0.5), "BACKUP_DAMAGED", /not a whole backup/],
  ["without its last byte", (good) => good.subarray(0, -1), "BACKUP_DAMAGED", /not a whole backup/],
  ["a flipped bit", (good) => Buffer.from(good.map((byte, index) => (index === Math.floor(good.length / 2) ? byte ^ 1 : byte))), "BACKUP_DAMAGED", /not a whole backup/],
  ["one that is not sealed", () => zstdCompressSync(Buffer.concat([said(), entry("store.db"), end()])), "BACKUP_DAMAGED", /without its closing entry/],
  ["sealed with another sum", () => zstdCompressSync(Buffer.concat([said(), entry("wherry-backup.end.json", { body: '{"bytes":1,"sha256":"x"}' }), end()])), "BACKUP_DAMAGED", /does not match its checksum/],
  ["another tar", () => zstdCompressSync(Buffer.concat([entry("hello"), end()])), "BACKUP_DAMAGED", /it begins with hello/],
  ["a newer format", () => sealed(said(formatVersion + 1), entry("store.db")), "BACKUP_TOO_NEW", new RegExp(`written by Wherry 9.9.9 in format ${formatVersion + 1}; this one reads up to format ${formatVersion}`)],
  ["no format", () => sealed(said("1" as never)), "BACKUP_DAMAGED", /does not say its format/],
  ["no store", () => sealed(said(), entry("settings.json")), "BACKUP_DAMAGED", /it has no store.db/],
  ["a store that is none", () => sealed(said(), entry("store.db", { body: "x".repeat(200) })), "BACKUP_DAMAGED", /its store: .*not a database/],
  ["an entry twice", () => sealed(said(), entry("store.db"), entry("store.db")), "BACKUP_DAMAGED", /holds store.db twice/],
  ["an entry of a type that is not ours", () => sealed(said(), Buffer.from(retyped(entry("volumes/device"), "3"))), "BACKUP_DAMAGED", /an entry has the type "3"/],
  ["an entry behind its end", () => {
    const all = said();
    const closing = entry("wherry-backup.end.json", { body: JSON.stringify({ bytes: all.length, sha256: createHash("sha256").update(all).digest("hex") }) });
    return zstdCompressSync(Buffer.concat([all, closing, entry("volumes/late"), end()]));
  }, "BACKUP_DAMAGED", /goes on with volumes\/late behind its end/],
  ...["../outside", "/etc/cron.d/x", "volumes/../../outside", "volumes//x", "volumes/./x", "", ".", "lock", ".restoring/x", "sandbox/processes.json", "api.sock", "store.db-wal", "pods/u/containers/x", ".profile"].map((path): Refused => [`an entry for ${JSON.stringify(path)}`, () => sealed(said(), entry(path)), "BACKUP_DAMAGED", /an entry would be written to/]),
  ["a link to a file outside", () => sealed(said(), entry("volumes/x", { type: "hardlink", target: "../../etc/passwd" })), "BACKUP_DAMAGED", /an entry would be written to/],
  ["a link to what it does not hold", () => sealed(said(), entry("volumes/x", { type: "hardlink", target: "volumes/y" })), "BACKUP_DAMAGED", /is a link to volumes\/y, which it does not hold/],
];

/** Another type flag, with the sum that belongs to it. */
function retyped(block: Buffer, type: string): Buffer {
  const made = Buffer.from(block);
  made.write(type, 156, "latin1");
  made.write("        ", 148, "latin1");
  made.write(`${made.subarray(0, 512).reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return made;
}

test("a file that is not a whole backup changes nothing", async (t) => {
  const folder = folderFor(t);
  const { dataDir, volume } = await stackIn(folder);
  for (let index = 0; index < 20; index++) writeFileSync(join(volume, `file-${index}`), createHash("sha512").update(String(index)).digest("hex").repeat(50));
  await backup(dataDir, join(folder, "good"));
  const good = readFileSync(join(folder, "good"));
  for (const [what, make, code, message] of refused) {
    await t.test(what, async () => {
      writeFileSync(join(folder, "bad"), make(good));
      await assert.rejects(restoreBackup(join(folder, "bad"), join(folder, "new", "data")), refusal(code, message));
      assert.equal(existsSync(join(folder, "new")), false, "the folders that were made are gone");
    });
  }
  await t.test("a file that is not there", () => assert.rejects(restoreBackup(join(folder, "none"), join(folder, "new")), refusal("USAGE", /--from .*none: ENOENT/)));
});

test("nothing is written through a symbolic link of the backup", async (t) => {
  const folder = folderFor(t);
  const outside = join(folder, "outside");
  mkdirSync(outside);
  writeFileSync(join(folder, "bad"), sealed(said(), entry("volumes/way", { type: "symlink", target: outside }), entry("volumes/way/file", { body: "through" })));
  await assert.rejects(restoreBackup(join(folder, "bad"), join(folder, "data")), refusal("BACKUP_DAMAGED", /paths contradict/));
  assert.deepEqual(readdirSync(outside), []);
  assert.equal(existsSync(join(folder, "data")), false);
});

test("a backup is restored into an empty folder only; what a killed restore left is no data", async (t) => {
  const folder = folderFor(t);
  const { dataDir } = await stackIn(folder);
  await backup(dataDir, join(folder, "b"));
  await assert.rejects(restoreBackup(join(folder, "b"), dataDir), refusal("DATA_DIR_NOT_EMPTY", /holds pki, settings.json, store.db, …/));
  const target = join(folder, "target");
  mkdirSync(join(target, ".restoring", "volumes"), { recursive: true });
  writeFileSync(join(target, "lock"), JSON.stringify({ pid: 999_999_999, started: "1", boot: "of another day" }));
  await restoreBackup(join(folder, "b"), target);
  assert.deepEqual(readdirSync(target).sort(), ["pki", "settings.json", "store.db", "volumes"]);
});

test("an interrupted backup or restore leaves nothing", async (t) => {
  const folder = folderFor(t);
  const { dataDir, volume } = await stackIn(folder);
  for (let index = 0; index < 50; index++) writeFileSync(join(volume, `file-${index}`), "x");
  const before = look(dataDir);
  const ending = new AbortController();
  let files = 0;
  await assert.rejects(createBackup({ dataDir, file: join(folder, "b"), signal: ending.signal, onProgress: () => void (++files === 25 && ending.abort()) }), { name: "AbortError" });
  assert.deepEqual(look(dataDir), before);
  assert.deepEqual(readdirSync(folder), ["data"]);
  await backup(dataDir, join(folder, "b"));
  await assert.rejects(restoreBackup(join(folder, "b"), join(folder, "new"), { signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.deepEqual(readdirSync(folder).sort(), ["b", "data"]);
});

test("what cannot be written to is said before anything is copied", async (t) => {
  const folder = folderFor(t);
  const { dataDir } = await stackIn(folder);
  const before = look(dataDir);
  for (const [file, message] of [[join(folder, "none", "b"), /there is no folder/], [folder, /it is a folder/], [join(dataDir, "b"), /lies in the data directory/]] as const) {
    await assert.rejects(backup(dataDir, file), refusal("USAGE", message));
  }
  await assert.rejects(backup(join(folder, "nothing"), join(folder, "b")), refusal("NOT_RUNNING", /holds no stack/));
  const lock = lockDataDir(dataDir);
  // Its owner lives, and answers nobody.
  await assert.rejects(backup(dataDir, join(folder, "b")), refusal("NOT_RUNNING", /does not answer/));
  lock.release();
  assert.deepEqual(look(dataDir), before);
  assert.deepEqual(readdirSync(folder), ["data"]);
});
