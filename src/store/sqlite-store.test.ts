import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import type { Worker } from "node:worker_threads";
import { WherryError } from "../base/errors.ts";
import { silentLog } from "../base/log.ts";
import { openSqliteStore } from "./sqlite-store.ts";
import { type Entry, KeyConflictError, RevisionCompactedError, StorageError, type Store } from "./store.ts";

const root = mkdtempSync(join(tmpdir(), "wherry-store-test-"));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const freshFolder = (): string => {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  return folder;
};
const open = (dataDir: string) => openSqliteStore({ dataDir, log: silentLog, lockWaitMs: 50 });

const put = (store: Store, key: string, value: string): Promise<Entry> =>
  store.put(key, store.get(key)?.revision ?? 0, (revision) => {
    const object = { key, value, revision };
    return { object, bytes: Buffer.from(JSON.stringify(object)) };
  });
const remove = (store: Store, key: string): Promise<Entry> => store.delete(key, store.get(key)!.revision, (revision) => ({ object: { key, revision }, bytes: Buffer.from(JSON.stringify({ key, revision })) }));
const contents = (store: Store) => store.range("").map(({ key, revision, bytes, object }) => ({ key, revision, text: bytes.toString(), object }));

test("what was written is there after a restart, and history is not", async () => {
  const folder = freshFolder();
  let store = await open(folder);
  assert.equal(store.revision, 1);
  await Promise.all(["b", "a", "ä", "c/é\u{1f6f6}"].map((key) => put(store, `/x/${key}`, `value of ${key}`)));
  await put(store, "/x/a", "changed");
  await remove(store, "/x/b");
  // Larger than one part of the load, and than a page by far.
  await put(store, "/x/large", "z".repeat(5 * 1024 * 1024));
  const [revision, expected] = [store.revision, contents(store)];
  await store.close();
  assert.ok(!existsSync(join(folder, "store.db-wal")), "closing empties the log");

  store = await open(folder);
  assert.equal(store.revision, revision);
  assert.equal(store.compactedRevision, revision);
  assert.deepEqual(contents(store), expected);
  assert.throws(() => store.rangeAt("", revision - 1), RevisionCompactedError);
  assert.throws(() => store.watch("", revision - 1, { onEvents() {}, onEnd() {} }), RevisionCompactedError);
  const seen = Promise.withResolvers<number>();
  store.watch("", revision, { onEvents: (events) => seen.resolve(events[0]!.entry.revision), onEnd: seen.reject });
  await put(store, "/x/later", "");
  assert.equal(await seen.promise, revision + 1);
  await store.close();
});

test("a conflict is judged against what is accepted, though it cannot be read yet", async () => {
  const store = await open(freshFolder());
  const first = put(store, "/x", "first");
  assert.equal(store.get("/x"), undefined, "not durable, not seen");
  await assert.rejects(store.put("/x", 0, () => assert.fail("must not be encoded")), (error) => error instanceof KeyConflictError && error.actual === 2);
  await store.put("/x", 2, () => ({ object: {}, bytes: Buffer.from("{}") }));
  assert.equal((await first).revision, 2);
  await assert.rejects(store.delete("/y", 0, () => assert.fail("must not be encoded")), KeyConflictError);
  await store.close();
  await assert.rejects(put(store, "/x", "late"), /closed/);
});

test("many objects come back in order, in several parts", async () => {
  const folder = freshFolder();
  let store = await open(folder);
  const keys = Array.from({ length: 3_000 }, (_, i) => `/k/${(i * 7919) % 3_000}`);
  await Promise.all(keys.map((key) => put(store, key, "v".repeat(4_000))));
  await store.close();
  store = await open(folder);
  assert.deepEqual(store.range("/k/").map(({ key }) => key), [...keys].sort());
  assert.equal(store.count("/k/1"), keys.filter((key) => key.startsWith("/k/1")).length);
  await store.close();
});

describe("a log that power loss has cut", () => {
  const source = join(root, "cut");
  const perBatch = 5;
  const batches = 40;
  let size = 0;
  before(async () => {
    mkdirSync(source);
    const store = await open(source);
    for (let batch = 0; batch < batches; batch++) await Promise.all(Array.from({ length: perBatch }, (_, i) => put(store, `/k/${i}`, `${batch} ${"x".repeat(700)}`)));
    // As a crash would leave them: the log is not yet in the database.
    for (const name of ["store.db", "store.db-wal"]) copyFileSync(join(source, name), join(source, `crashed-${name}`));
    size = statSync(join(source, "crashed-store.db-wal")).size;
    await store.close();
  });
  for (const [name, cut] of [["whole", 1], ["nearly whole", 0.999], ["half", 0.5], ["its head", 0.03], ["nothing of it", 0]] as const) {
    test(`${name}: whole batches up to there, nothing of the one that was cut`, async () => {
      const folder = freshFolder();
      for (const file of ["store.db", "store.db-wal"]) copyFileSync(join(source, `crashed-${file}`), join(folder, file));
      truncateSync(join(folder, "store.db-wal"), Math.floor(size * cut));
      const store = await open(folder);
      if (cut === 1) assert.equal(store.revision, 1 + batches * perBatch);
      assert.equal((store.revision - 1) % perBatch, 0);
      const batch = (store.revision - 1) / perBatch - 1;
      assert.deepEqual(contents(store).map(({ revision, object }) => [revision, (object as { value: string }).value.split(" ")[0]]), batch < 0 ? [] : Array.from({ length: perBatch }, (_, i) => [batch * perBatch + i + 2, String(batch)]));
      await put(store, "/k/0", "goes on");
      await store.close();
    });
  }
});

describe("a data directory that cannot be used", () => {
  const source = join(root, "sound");
  before(async () => {
    mkdirSync(source);
    const store = await open(source);
    for (let i = 0; i < 50; i++) await put(store, `/k/${i}`, `needle ${"y".repeat(9_000)}`);
    await store.close();
  });
  const database = (folder: string) => join(folder, "store.db");
  const edit = (file: string, change: (content: Buffer) => void) => {
    const content = readFileSync(file);
    change(content);
    writeFileSync(file, content);
  };
  const execute = (file: string, sql: string) => {
    const other = new DatabaseSync(file);
    other.exec(sql);
    other.close();
  };
  /** In each value, wherever a copy of it lies: SQLite leaves old ones in the unused part of a page. */
  const changeValues = (content: Buffer) => {
    for (let at = content.indexOf("needle"); at >= 0; at = content.indexOf("needle", at + 1)) content[at + 50] = 0x59;
  };
  const cases: { name: string; spoil: (folder: string) => void; code: string; message: RegExp }[] = [
    { name: "the database is empty", spoil: (folder) => truncateSync(database(folder), 0), code: "DATA_DIR_DAMAGED", message: /lost its beginning/ },
    { name: "the database is cut in half", spoil: (folder) => truncateSync(database(folder), statSync(database(folder)).size / 2), code: "DATA_DIR_DAMAGED", message: /malformed|corrupt/ },
    { name: "its head is overwritten", spoil: (folder) => edit(database(folder), (content) => content.fill("?", 0, 100)), code: "DATA_DIR_DAMAGED", message: /not a database/ },
    { name: "a byte of a value has changed", spoil: (folder) => edit(database(folder), changeValues), code: "DATA_DIR_DAMAGED", message: /\/k\/\d+ at revision \d+ does not match its checksum/ },
    { name: "it is something else", spoil: (folder) => writeFileSync(database(folder), "This is a letter to my grandmother. ".repeat(200)), code: "DATA_DIR_DAMAGED", message: /not a database/ },
    { name: "it is another program's database", spoil: (folder) => { rmSync(database(folder)); execute(database(folder), "CREATE TABLE recipes (name TEXT)"); }, code: "DATA_DIR_DAMAGED", message: /not a database of Wherry/ },
    { name: "a newer Wherry has written it", spoil: (folder) => execute(database(folder), "PRAGMA user_version = 99"), code: "DATA_DIR_DAMAGED", message: /newer Wherry.*format 99/ },
    { name: "the store is a folder", spoil: (folder) => { rmSync(database(folder)); mkdirSync(database(folder)); }, code: "DATA_DIR_UNREADABLE", message: /store\.db/ },
    { name: "the folder is not there", spoil: (folder) => rmSync(folder, { recursive: true }), code: "DATA_DIR_UNREADABLE", message: /ENOENT/ },
    { name: "the folder is a file", spoil: (folder) => { rmSync(folder, { recursive: true }); writeFileSync(folder, ""); }, code: "DATA_DIR_UNREADABLE", message: /not a folder/ },
  ];
  for (const { name, spoil, code, message } of cases) {
    test(`${name}: ${code}`, async () => {
      const folder = freshFolder();
      copyFileSync(database(source), database(folder));
      spoil(folder);
      const before = existsSync(database(folder)) && statSync(database(folder)).isFile() ? readFileSync(database(folder)) : undefined;
      await assert.rejects(open(folder), (error) => error instanceof WherryError && error.code === code && message.test(error.message) && error.message.includes(folder));
      if (before) assert.ok(readFileSync(database(folder)).equals(before), "what is damaged is not made worse");
    });
  }

  test("a folder of another user: DATA_DIR_UNREADABLE", (context) => {
    if (process.getuid?.() !== 0) return context.skip("needs root, which can make a folder of another user");
    const folder = freshFolder();
    chmodSync(folder, 0o700);
    const script = `import { openSqliteStore } from ${JSON.stringify(join(import.meta.dirname, "sqlite-store.ts"))}; import { silentLog } from ${JSON.stringify(join(import.meta.dirname, "../base/log.ts"))};
      process.setgroups([]); process.setgid(65534); process.setuid(65534);
      await openSqliteStore({ dataDir: ${JSON.stringify(folder)}, log: silentLog }).catch((error) => console.log(error.code, error.message));`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    assert.match(stdout, /^DATA_DIR_UNREADABLE the data directory .* cannot be used: .*EACCES/, stderr);
  });

  test("a store that is open already: DATA_DIR_LOCKED", async () => {
    const folder = freshFolder();
    const store = await open(folder);
    await assert.rejects(open(folder), (error) => error instanceof WherryError && error.code === "DATA_DIR_LOCKED");
    await put(store, "/x", "still mine");
    await store.close();
  });
});

test("when the store's thread is lost, writers are refused, readers are served, and the owner is told", async () => {
  const created = once(process, "worker") as Promise<[Worker]>;
  const fatal = Promise.withResolvers<Error>();
  const store = await openSqliteStore({ dataDir: freshFolder(), log: silentLog, onFatal: fatal.resolve });
  const [thread] = await created;
  await put(store, "/x", "kept");
  const waiting = put(store, "/y", "on its way");
  await thread.terminate();
  await assert.rejects(waiting, StorageError);
  assert.match((await fatal.promise).message, /thread ended/);
  await assert.rejects(put(store, "/z", "too late"), StorageError);
  assert.deepEqual(contents(store).map(({ key }) => key), ["/x"]);
  await store.close();
});
