import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { writeFilesAtomic } from "./files.ts";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "wherry-files-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("several files are written whole, for us alone, over what was there", async (t) => {
  const place = folder(t);
  writeFileSync(join(place, "a"), "a longer text that was there before");
  await writeFilesAtomic(new Map<string, string | Buffer>([[join(place, "a"), "new"], [join(place, "b"), Buffer.from("two")]]));
  assert.deepEqual(readdirSync(place).map((name) => [name, readFileSync(join(place, name), "utf8"), statSync(join(place, name)).mode & 0o777]), [["a", "new", 0o600], ["b", "two", 0o600]]);
  await writeFilesAtomic(new Map());
});

test("what cannot be written is said, and leaves nothing half", async (t) => {
  const place = folder(t);
  mkdirSync(join(place, "taken"));
  await assert.rejects(writeFilesAtomic(new Map([[join(place, "taken"), "x"]])), { code: "EISDIR" });
  await assert.rejects(writeFilesAtomic(new Map([[join(place, "none", "x"), "x"]])), { code: "ENOENT" });
  assert.deepEqual(readdirSync(place), ["taken"]);
});
