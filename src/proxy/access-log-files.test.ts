import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AccessLogFiles } from "./access-log-files.ts";

test("a full file goes aside, the one before it goes, and whoever writes late still meets a file", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "gateway.log");
  const read = () => [file, `${file}.1`].map((name) => readFileSync(name, "utf8"));
  const log = new AccessLogFiles(file, 10);
  const write = (text: string, to = log.current) => void writeSync(log.descriptors[to], text);
  write("first\n");
  assert.equal(log.turn(), false);
  write("second\n");
  assert.equal(log.turn(), true);
  assert.deepEqual(read(), ["", "first\nsecond\n"]);
  write("third\n");
  write("late\n", 0);
  assert.deepEqual(read(), ["third\n", "first\nsecond\nlate\n"]);
  write("fourth\n");
  assert.equal(log.turn(), true);
  assert.deepEqual(read(), ["", "third\nfourth\n"], "two files are all that there ever is");
  log.close();

  const again = new AccessLogFiles(file, 10);
  writeSync(again.descriptors[again.current], "after a restart\n");
  assert.deepEqual(read(), ["after a restart\n", "third\nfourth\n"]);
  assert.deepEqual(readdirSync(folder).sort(), ["gateway.log", "gateway.log.1"]);
  again.close();
});
