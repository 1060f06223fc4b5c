import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { test, type TestContext } from "node:test";
import { FolderWatch } from "./folder.ts";
import { isNoise } from "./ignore.ts";

/** A folder that is watched, and what was told of it: each burst a list of paths. */
class Watched {
  readonly root: string;
  readonly bursts: string[][] = [];
  readonly watch: FolderWatch;
  tooMany: string | undefined;
  #told: () => void = () => {};

  constructor(t: TestContext, files: readonly string[], foldersMax?: number) {
    const base = mkdtempSync(join(tmpdir(), "wherry-watch-"));
    this.root = join(base, "project");
    mkdirSync(this.root);
    for (const file of files) this.write(file);
    this.watch = new FolderWatch({
      root: this.root,
      ...(foldersMax !== undefined && { foldersMax }),
      wants: (path) => !isNoise(relative(this.root, path)),
      onChange: (changed) => {
        this.bursts.push(changed.map((path) => relative(this.root, path)));
        this.#told();
      },
      onTooMany: (folder) => (this.tooMany = relative(this.root, folder)),
    });
    this.watch.start();
    t.after(() => {
      this.watch.close();
      rmSync(base, { recursive: true, force: true });
    });
  }
  write(file: string, text = `${Math.random()}`): void {
    mkdirSync(dirname(join(this.root, file)), { recursive: true });
    writeFileSync(join(this.root, file), text);
  }
  /** The next burst; what came before it must have been taken. */
  async next(): Promise<string[]> {
    while (this.bursts.length === 0) await new Promise<void>((resolve) => (this.#told = resolve));
    return this.bursts.shift()!;
  }
}

test("saves of every kind are one change of one file", async (t) => {
  const watched = new Watched(t, ["a.js", "lib/b.js"]);
  const path = (file: string) => join(watched.root, file);
  const saves: [string, () => void][] = [
    ["in place", () => watched.write("a.js")],
    ["in pieces", () => (writeFileSync(path("a.js"), ""), writeFileSync(path("a.js"), "half"), writeFileSync(path("a.js"), "halfwhole"))],
    ["a new one moved over it", () => (watched.write("a.js.tmp.123"), renameSync(path("a.js.tmp.123"), path("a.js")))],
    ["vim: moved aside, written anew, the old one removed", () => (watched.write("4913"), rmSync(path("4913")), renameSync(path("a.js"), path("a.js~")), watched.write("a.js"), rmSync(path("a.js~")))],
    ["emacs: with a lock and an auto-save beside it", () => (watched.write(".#a.js"), watched.write("#a.js#"), watched.write("a.js"), rmSync(path(".#a.js")), rmSync(path("#a.js#")))],
    ["IntelliJ: by two names of its own", () => (watched.write("a.js___jb_tmp___"), renameSync(path("a.js"), path("a.js___jb_old___")), renameSync(path("a.js___jb_tmp___"), path("a.js")), rmSync(path("a.js___jb_old___")))],
    ["removed", () => rmSync(path("a.js"))],
  ];
  for (const [name, save] of saves) {
    save();
    assert.deepEqual(await watched.next(), ["a.js"], name);
  }
  assert.deepEqual(watched.bursts, []);
});

test("folders come, go, are moved and replaced; what is in them counts", async (t) => {
  const watched = new Watched(t, ["lib/a.js", "lib/deep/b.js", "other/c.js"]);
  const path = (file: string) => join(watched.root, file);
  watched.write("new/deeper/d.js");
  assert.deepEqual(await watched.next(), ["new/deeper/d.js"]);
  watched.write("new/deeper/d.js");
  assert.deepEqual(await watched.next(), ["new/deeper/d.js"], "and is watched from then on");
  renameSync(path("lib"), path("moved"));
  assert.deepEqual(await watched.next(), ["lib/a.js", "lib/deep/b.js", "moved/a.js", "moved/deep/b.js"]);
  watched.write("moved/deep/b.js");
  assert.deepEqual(await watched.next(), ["moved/deep/b.js"]);
  // Another folder of the same name: a checkout.
  renameSync(path("moved"), `${watched.root}-aside`);
  watched.write("moved/deep/b.js");
  assert.deepEqual(await watched.next(), ["moved/a.js", "moved/deep/b.js"]);
  watched.write("moved/deep/b.js");
  assert.deepEqual(await watched.next(), ["moved/deep/b.js"]);
  rmSync(path("moved"), { recursive: true });
  assert.deepEqual(await watched.next(), ["moved/deep/b.js"]);
  // The root itself, as `git worktree` or a sync tool may do it.
  renameSync(watched.root, `${watched.root}-old`);
  assert.deepEqual(await watched.next(), ["new/deeper/d.js", "other/c.js"]);
  watched.write("e.js");
  assert.deepEqual(await watched.next(), ["e.js"]);
});

test("a checkout of many files is one change; what no program is made of is not even looked into", async (t) => {
  const files = Array.from({ length: 300 }, (_, n) => `src/part-${n % 10}/file-${n}.js`);
  const watched = new Watched(t, [...files, "node_modules/lib/index.js", ".git/HEAD"]);
  for (const file of files) watched.write(file);
  watched.write("node_modules/lib/index.js");
  watched.write("node_modules/new/index.js");
  watched.write(".git/index.lock");
  const seen = new Set<string>();
  while (seen.size < files.length) for (const file of await watched.next()) seen.add(file);
  assert.deepEqual([...seen].sort(), [...files].sort());
  const inode = (folder: string) => statSync(join(watched.root, folder)).ino;
  assert.deepEqual(["src", "src/part-3", "node_modules", "node_modules/lib", ".git"].map((folder) => watchedInodes().has(inode(folder))), [true, true, false, false, false]);
});

test("the number of folders is bounded, and it is said; a watch that is closed leaves nothing in the kernel", async (t) => {
  const watched = new Watched(t, ["a/1.js", "b/2.js", "c/3.js"], 3);
  assert.equal(watched.tooMany, "c");
  watched.write("c/3.js");
  watched.write("b/2.js");
  assert.deepEqual(await watched.next(), ["b/2.js"]);
  const inode = statSync(join(watched.root, "b")).ino;
  assert.ok(watchedInodes().has(inode));
  watched.watch.close();
  while (watchedInodes().has(inode)) await new Promise((resolve) => setImmediate(resolve));
});

/** What the kernel watches for this process. Source of the format: proc_pid_fdinfo(5). */
function watchedInodes(): Set<number> {
  const inodes = new Set<number>();
  for (const fd of readdirSync("/proc/self/fdinfo")) {
    try {
      for (const [, ino] of readFileSync(`/proc/self/fdinfo/${fd}`, "latin1").matchAll(/^inotify wd:\w+ ino:(\w+)/gm)) inodes.add(parseInt(ino!, 16));
    } catch {
      // Closed meanwhile.
    }
  }
  return inodes;
}
