import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type Payload, writePayload } from "./atomic.ts";
import { giveTree, makeFolder, openBelow } from "./open.ts";

const isRoot = process.getuid?.() === 0;
function withFolder(run: (dir: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const dir = mkdtempSync(join(tmpdir(), "wherry-open-"));
    try {
      await run(dir);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  };
}

test("openBelow() reaches folders and files, makes what is missing, and says what it found", withFolder(async (dir) => {
  mkdirSync(join(dir, "a"));
  writeFileSync(join(dir, "a", "file"), "");
  const file = await openBelow(dir, "a/file");
  const { dev, ino } = statSync(join(dir, "a", "file"));
  assert.deepEqual(file, { path: join(dir, "a", "file"), identity: `${dev}:${ino}`, isDirectory: false });
  await assert.rejects(openBelow(dir, "a/b/c"), /ENOENT/);
  assert.equal((await openBelow(dir, "./a//b/c/", { create: "folder" })).path, join(dir, "a/b/c"));
  assert.ok(statSync(join(dir, "a/b/c")).isDirectory());
  assert.equal((await openBelow(dir, "")).path, dir);
}));

test("openBelow() follows no link and leaves its base by no way", withFolder(async (dir) => {
  const secret = join(dir, "secret");
  mkdirSync(join(dir, "base", "deep"), { recursive: true });
  mkdirSync(secret);
  symlinkSync(secret, join(dir, "base", "link"));
  symlinkSync("/etc/passwd", join(dir, "base", "deep", "passwd"));
  symlinkSync("../..", join(dir, "base", "deep", "up"));
  execFileSync("mkfifo", [join(dir, "base", "pipe")]);
  const base = join(dir, "base");
  for (const [path, why] of [["link", /not followed/], ["link/x", /not followed/], ["deep/passwd", /not followed/], ["deep/up/secret", /not followed/], ["../secret", /must not contain ".."/], ["deep/../../secret", /must not contain ".."/], ["pipe", /neither a folder nor a file/]] as const) {
    await assert.rejects(openBelow(base, path, { create: "folder" }), why, path);
  }
  assert.deepEqual(readdirSync(secret), []);
}));

test("giveTree() gives files, folders and links themselves, not what links point to", { skip: !isRoot && "needs root" }, withFolder(async (dir) => {
  const tree = join(dir, "tree");
  const outside = join(dir, "outside");
  mkdirSync(join(tree, "sub"), { recursive: true });
  mkdirSync(outside);
  writeFileSync(join(outside, "file"), "");
  writeFileSync(join(tree, "sub", "file"), "");
  symlinkSync(outside, join(tree, "sub", "folder-link"));
  symlinkSync(join(outside, "file"), join(tree, "file-link"));
  await giveTree(tree, { uid: 100_123, gid: 100_123, shared: false });
  const owner = (...path: string[]) => lstatSync(join(...path)).uid;
  assert.deepEqual([owner(tree), owner(tree, "sub"), owner(tree, "sub", "file"), owner(tree, "sub", "folder-link"), owner(tree, "file-link")], [100_123, 100_123, 100_123, 100_123, 100_123]);
  assert.deepEqual([owner(outside), owner(outside, "file")], [0, 0]);
}));

test("a tree that a group shares: its bits are set, links lead nowhere, and whose top has them all is left alone unless always", { skip: !isRoot && "needs root" }, withFolder(async (dir) => {
  const tree = join(dir, "tree");
  mkdirSync(join(tree, "sub"), { recursive: true, mode: 0o700 });
  const file = join(tree, "sub", "file");
  writeFileSync(file, "", { mode: 0o600 });
  writeFileSync(join(dir, "outside"), "", { mode: 0o600 });
  symlinkSync(join(dir, "outside"), join(tree, "link"));
  execFileSync("mkfifo", ["-m", "600", join(tree, "pipe")]);
  const owner = { uid: 100_123, gid: 150_000, shared: true };
  const seen = (path: string) => [lstatSync(path).uid, lstatSync(path).gid, (lstatSync(path).mode & 0o7777).toString(8)];
  await giveTree(tree, owner);
  for (const path of [tree, join(tree, "sub")]) assert.deepEqual(seen(path).slice(0, 2), [100_123, 150_000]);
  assert.equal(lstatSync(tree).mode & 0o2770, 0o2770);
  assert.equal(lstatSync(join(tree, "sub")).mode & 0o2770, 0o2770);
  assert.deepEqual(seen(file), [100_123, 150_000, "660"]);
  assert.deepEqual(seen(join(tree, "pipe")), [100_123, 150_000, "600"]);
  assert.deepEqual(seen(join(dir, "outside")), [0, 0, "600"]);
  execFileSync("chmod", ["600", file]);
  await giveTree(tree, owner);
  assert.deepEqual(seen(file), [100_123, 150_000, "600"], "OnRootMismatch");
  await giveTree(tree, owner, true);
  assert.deepEqual(seen(file), [100_123, 150_000, "660"], "Always");
  execFileSync("chmod", ["600", file]);
  await giveTree(tree, { ...owner, gid: 150_001 });
  assert.deepEqual(seen(file), [100_123, 150_001, "660"], "another group");
}));

test("makeFolder() sets the mode of what it makes, and leaves the mode of what is there", withFolder(async (dir) => {
  const folder = join(dir, "data");
  await makeFolder(folder, 0o777, undefined);
  assert.equal(statSync(folder).mode & 0o777, 0o777);
  execFileSync("chmod", ["700", folder]);
  await makeFolder(folder, 0o777, undefined);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
}));

test("a payload that a group shares is readable for it, whatever its mode", { skip: !isRoot && "needs root" }, withFolder(async (dir) => {
  writePayload(dir, payload({ "a/token": "x" }, 0o400), Date.UTC(2026, 10, 21), { uid: 100_123, gid: 150_000, shared: true });
  const stat = statSync(join(dir, "a", "token"));
  assert.deepEqual([stat.uid, stat.gid, stat.mode & 0o7777], [100_123, 150_000, 0o440]);
  for (const path of [dir, join(dir, "..data"), join(dir, "a")]) assert.deepEqual([statSync(path).gid, statSync(path).mode & 0o7777], [150_000, 0o2755], path);
}));

const payload = (files: Record<string, string>, mode = 0o644): Payload => new Map(Object.entries(files).map(([path, text]) => [path, { data: Buffer.from(text), mode }]));

test("writePayload() swaps all files at once behind ..data, and removes what is gone", withFolder(async (dir) => {
  const nowMs = Date.UTC(2026, 10, 21, 4, 57, 57);
  assert.equal(writePayload(dir, payload({ a: "1", "deep/b": "2", old: "x" }, 0o440), nowMs), true);
  assert.equal(readlinkSync(join(dir, "a")), "..data/a");
  assert.match(readlinkSync(join(dir, "..data")), /^\.\.2026_11_21_04_57_57\./);
  assert.equal(statSync(join(dir, "deep", "b")).mode & 0o777, 0o440);
  const before = readlinkSync(join(dir, "..data"));
  assert.equal(writePayload(dir, payload({ a: "1", "deep/b": "2", old: "x" }, 0o440), nowMs + 1000), false, "nothing changed");
  assert.equal(writePayload(dir, payload({ a: "new", "deep/b": "2" }), nowMs), true);
  assert.notEqual(readlinkSync(join(dir, "..data")), before);
  assert.equal(readFileSync(join(dir, "a"), "utf8"), "new");
  assert.deepEqual(readdirSync(dir).filter((name) => !name.startsWith("..2")).sort(), ["..data", "a", "deep"]);
  assert.equal(readdirSync(dir).filter((name) => name.startsWith("..2")).length, 1, "one generation is kept");
}));
