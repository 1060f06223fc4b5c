import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import { VolumeFolders } from "./folders.ts";

function foldersIn(t: TestContext, pause: () => Promise<{ release(): Promise<void> }> = async () => ({ release: async () => {} })): { folder: string; folders: VolumeFolders } {
  const folder = mkdtempSync(join(tmpdir(), "wherry-folders-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "pv"));
  writeFileSync(join(folder, "pv", "file"), "one");
  return { folder, folders: new VolumeFolders({ folder, clock: new FakeClock(), pause }) };
}
const claim = { namespace: "default", name: "data" };

test("a snapshot stays as it was; volumes are made of it, and go by themselves", async (t) => {
  const { folder, folders } = foldersIn(t);
  await folders.copy({ volume: "pv" }, { snapshot: "s" }, claim);
  writeFileSync(join(folder, "pv", "file"), "two");
  await folders.copy({ snapshot: "s" }, { volume: "new" });
  assert.equal(readFileSync(join(folder, "new", "file"), "utf8"), "one");
  await folders.copy({ volume: "pv" }, { snapshot: "s" }, claim);
  assert.equal(readFileSync(join(folder, ".snapshots", "s", "file"), "utf8"), "one", "made once");
  assert.equal(statSync(join(folder, ".snapshots")).mode & 0o777, 0o700);
  await folders.removeSnapshot("s");
  assert.equal(await folders.hasSnapshot("s"), false);
  await folders.removeVolume("new");
  assert.deepEqual(readdirSync(folder).sort(), [".snapshots", "pv"]);
});

test("what programs write before they stand still is in it, what comes after is not", async (t) => {
  let folder = "";
  const made = foldersIn(t, async () => {
    writeFileSync(join(folder, "pv", "last"), "word");
    return { release: async () => writeFileSync(join(folder, "pv", "late"), "word") };
  });
  folder = made.folder;
  await made.folders.copy({ volume: "pv" }, { snapshot: "s" }, claim);
  assert.deepEqual(readdirSync(join(folder, ".snapshots", "s")).sort(), ["file", "last"]);
});

test("a copy that fails leaves nothing, and one that was cut short is removed at the next start", async (t) => {
  const held = foldersIn(t, async () => Promise.reject(new Error("another backup is under way")));
  await assert.rejects(held.folders.copy({ volume: "pv" }, { snapshot: "s" }, claim), /another backup/);
  assert.deepEqual(readdirSync(held.folder).sort(), [".snapshots", "pv"]);
  assert.equal(await held.folders.hasSnapshot("s"), false);
  const lost = foldersIn(t, async () => ({ release: async () => Promise.reject(new Error("programs stand still for 60 s at most")) }));
  await assert.rejects(lost.folders.copy({ volume: "pv" }, { snapshot: "s" }, claim), /60 s at most/, "they went on before it was whole");
  assert.equal(await lost.folders.hasSnapshot("s"), false);
  mkdirSync(join(lost.folder, ".copying-x"));
  const again = new VolumeFolders({ folder: lost.folder, clock: new FakeClock(), pause: async () => ({ release: async () => {} }) });
  for (let turn = 0; turn < 1000 && existsSync(join(lost.folder, ".copying-x")); turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(existsSync(join(lost.folder, ".copying-x")), false);
  // A claim that nobody has used has no folder yet.
  await again.copy({ volume: "unused" }, { snapshot: "empty" }, claim);
  assert.deepEqual(readdirSync(join(lost.folder, ".snapshots", "empty")), []);
});
