import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { WherryError } from "../base/errors.ts";
import { lockDataDir, type Owner, ownerOf, signalOwner } from "./lock.ts";

const root = mkdtempSync(join(tmpdir(), "wherry-lock-"));
after(() => rmSync(root, { recursive: true, force: true }));
const freshFolder = () => mkdtempSync(join(root, "data-"));
const lockFile = (folder: string) => join(folder, "lock");
const script = (folder: string) => `import { lockDataDir } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
  try { lockDataDir(${JSON.stringify(folder)}); console.log("mine"); setInterval(() => {}, 1000); } catch (error) { console.log(error.code); }`;
const start = (folder: string): ChildProcess => spawn(process.execPath, ["--input-type=module", "-e", script(folder)], { stdio: ["ignore", "pipe", "inherit"] });
const firstWord = async (child: ChildProcess): Promise<string> => String((await once(child.stdout!, "data"))[0]).trim();
const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
};

test("one owner at a time; released, it can be taken again", () => {
  const folder = freshFolder();
  const lock = lockDataDir(folder);
  assert.equal(ownerOf(folder)?.pid, process.pid);
  assert.throws(() => lockDataDir(folder), (error) => error instanceof WherryError && error.code === "DATA_DIR_LOCKED" && error.message.includes(`process ${process.pid}`));
  lock.release();
  lock.release();
  assert.equal(ownerOf(folder), undefined);
  lockDataDir(folder).release();
  assert.deepEqual(readdirSync(folder), []);
});

test("a living foreign owner is named, not touched; killed -9 it blocks nobody", async () => {
  const folder = freshFolder();
  const child = start(folder);
  try {
    assert.equal(await firstWord(child), "mine");
    assert.throws(() => lockDataDir(folder), (error) => error instanceof WherryError && error.code === "DATA_DIR_LOCKED" && error.message.includes(`process ${child.pid}`));
    assert.equal(child.exitCode, null);
    assert.equal(child.signalCode, null);
  } finally {
    await end(child);
  }
  lockDataDir(folder).release();
});

test("a stale lock is taken over", async (context) => {
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const folder = freshFolder();
  lockDataDir(folder);
  const own = JSON.parse(readFileSync(lockFile(folder), "utf8")) as Owner;
  const cases: Record<string, string> = {
    "of a process that is gone": JSON.stringify({ ...own, pid: dead }),
    "of a process whose pid another has now": JSON.stringify({ ...own, started: "1" }),
    "of another boot": JSON.stringify({ ...own, boot: "00000000-0000-0000-0000-000000000000" }),
    "half-written": JSON.stringify(own).slice(0, 12),
    "empty": "",
    "that is something else": '{"pid":"x"}',
  };
  for (const [name, content] of Object.entries(cases)) {
    await context.test(name, () => {
      writeFileSync(lockFile(folder), content);
      assert.equal(ownerOf(folder), undefined);
      assert.equal(signalOwner(folder, "SIGTERM"), false);
      const lock = lockDataDir(folder);
      assert.deepEqual(JSON.parse(readFileSync(lockFile(folder), "utf8")), own);
      lock.release();
    });
  }
});

test("of many that start at once over a stale lock, one gets it", async () => {
  const folder = freshFolder();
  writeFileSync(lockFile(folder), "stale");
  const children = Array.from({ length: 6 }, () => start(folder));
  try {
    const words = await Promise.all(children.map(firstWord));
    assert.deepEqual(words.sort(), ["DATA_DIR_LOCKED", "DATA_DIR_LOCKED", "DATA_DIR_LOCKED", "DATA_DIR_LOCKED", "DATA_DIR_LOCKED", "mine"]);
  } finally {
    await Promise.all(children.map(end));
  }
});

test("release leaves another's lock alone", () => {
  const folder = freshFolder();
  const lock = lockDataDir(folder);
  writeFileSync(lockFile(folder), JSON.stringify({ pid: 1, started: "1", boot: "x" }));
  lock.release();
  assert.ok(existsSync(lockFile(folder)));
});

test("the owner is signalled; never oneself", async () => {
  const folder = freshFolder();
  const child = start(folder);
  assert.equal(await firstWord(child), "mine");
  const gone = once(child, "exit");
  assert.equal(signalOwner(folder, "SIGTERM"), true);
  assert.deepEqual(await gone, [null, "SIGTERM"]);
  const lock = lockDataDir(folder);
  assert.equal(signalOwner(folder, "SIGTERM"), false);
  lock.release();
});

test("a folder that cannot be written is DATA_DIR_UNREADABLE", () => {
  assert.throws(() => lockDataDir(join(root, "nowhere")), (error) => error instanceof WherryError && error.code === "DATA_DIR_UNREADABLE");
});
