import assert from "node:assert/strict";
import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { TreeCopy } from "./tree-copy.ts";

function foldersFor(t: TestContext): { from: string; to: string; outside: string } {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "wherry-copy-")));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const folders = { from: join(folder, "from"), to: join(folder, "to"), outside: join(folder, "outside") };
  mkdirSync(folders.from);
  mkdirSync(folders.outside);
  writeFileSync(join(folders.outside, "secret"), "of the machine");
  return folders;
}

/** What programs do between two passes → the bytes that the second one copies. The copy is equal in each case. */
const changes: [what: string, bytes: number, change: (from: string) => void][] = [
  ["nothing", 0, () => {}],
  ["a file is written", 5, (from) => writeFileSync(join(from, "a"), "after")],
  ["a file is written with the same length and its old time is set again", 6, (from) => {
    const { atime, mtime } = statSync(join(from, "a"));
    writeFileSync(join(from, "a"), "other!");
    utimesSync(join(from, "a"), atime, mtime);
  }],
  ["a file is removed", 0, (from) => unlinkSync(join(from, "a"))],
  ["a file is renamed", 6, (from) => renameSync(join(from, "a"), join(from, "b"))],
  ["a file is replaced by another of its name", 6, (from) => (writeFileSync(join(from, "new"), "second"), renameSync(join(from, "new"), join(from, "a")))],
  ["a file becomes a folder", 2, (from) => (unlinkSync(join(from, "a")), mkdirSync(join(from, "a")), writeFileSync(join(from, "a", "x"), "in"))],
  ["a folder becomes a file", 3, (from) => (rmSync(join(from, "sub"), { recursive: true }), writeFileSync(join(from, "sub"), "now"))],
  ["a file becomes a link", 0, (from) => (unlinkSync(join(from, "a")), symlinkSync("elsewhere", join(from, "a")))],
  ["a folder is removed", 0, (from) => rmSync(join(from, "sub"), { recursive: true })],
  ["a file gets another mode", 6, (from) => chmodSync(join(from, "a"), 0o400)],
  ["a file gets a second name", 6, (from) => linkSync(join(from, "a"), join(from, "twin"))],
];

const look = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).sort().map((name) => {
    const path = join(folder, name);
    if (!existsSync(path)) return `${name} dangles`;
    const stat = statSync(path);
    return `${name} ${stat.mode.toString(8)} ${stat.isFile() ? readFileSync(path, "utf8") : ""}`;
  });

for (const [what, bytes, change] of changes) {
  test(`between two passes: ${what}`, async (t) => {
    const { from, to } = foldersFor(t);
    writeFileSync(join(from, "a"), "before");
    writeFileSync(join(from, "still"), "the same");
    mkdirSync(join(from, "sub"));
    writeFileSync(join(from, "sub", "y"), "y");
    const copy = new TreeCopy(from, to);
    assert.equal((await copy.pass()).bytes, 15);
    change(from);
    const second = await copy.pass();
    assert.deepEqual(look(to), look(from));
    assert.equal(second.bytes, bytes);
    assert.equal((await new TreeCopy(from, `${to}-at-once`).pass()).totalBytes, second.totalBytes);
  });
}

test("a program that swaps folders for links while it is copied gets no file of the machine into the copy", async (t) => {
  const { from, to, outside } = foldersFor(t);
  for (let index = 0; index < 30; index++) {
    mkdirSync(join(from, `folder-${index}`));
    for (const name of ["a", "b", "c", "secret"]) writeFileSync(join(from, `folder-${index}`, name), "of the pod");
  }
  // In a thread of its own: at any moment a folder may be a link, and be a folder again.
  const state = new Int32Array(new SharedArrayBuffer(8));
  const hostile = new Worker(
    `const { renameSync, symlinkSync, unlinkSync } = require("node:fs");
    const { from, outside, state } = require("node:worker_threads").workerData;
    while (Atomics.load(state, 0) === 0) {
      const folder = from + "/folder-" + (Atomics.add(state, 1, 1) % 30);
      renameSync(folder, from + "-aside");
      symlinkSync(outside, folder);
      unlinkSync(folder);
      renameSync(from + "-aside", folder);
    }`,
    { eval: true, workerData: { from, outside, state } },
  );
  const ended = new Promise((resolve, reject) => (hostile.once("exit", resolve), hostile.once("error", reject)));
  while (Atomics.load(state, 1) === 0) await new Promise((resolve) => setImmediate(resolve));
  t.after(() => Atomics.store(state, 0, 1));
  const copy = new TreeCopy(from, to);
  for (let pass = 0; pass < 30; pass++) {
    await copy.pass();
    for (const name of readdirSync(to)) {
      const file = join(to, name, "secret");
      // A link is copied as one, and leads nowhere that restoring would read.
      if (existsSync(file) && realpathSync(file).startsWith(to)) assert.equal(readFileSync(file, "utf8"), "of the pod");
    }
  }
  Atomics.store(state, 0, 1);
  await ended;
  assert.ok(state[1]! > 100, `${state[1]} swaps`);
  await copy.pass();
  assert.deepEqual(look(to), look(from));
});

test("it is ended between two files", async (t) => {
  const { from, to } = foldersFor(t);
  for (let index = 0; index < 10; index++) writeFileSync(join(from, `file-${index}`), "x");
  const ending = new AbortController();
  let files = 0;
  await assert.rejects(new TreeCopy(from, to).pass({ signal: ending.signal, onFile: () => void (++files === 4 && ending.abort()) }), { name: "AbortError" });
  assert.equal(readdirSync(to).length, 4);
});
