import assert from "node:assert/strict";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { workerProgram } from "./program.ts";
import { endWorker, spawnWorker } from "./worker-process.ts";

const isRoot = process.getuid?.() === 0;
const enter = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];

test("a worker of another user starts from sources and a Node that it may not read", { skip: isRoot ? false : "only root changes users" }, async () => {
  const home = mkdtempSync(join(tmpdir(), "wherry-home-"));
  assert.equal(statSync(home).mode & 0o777, 0o700);
  cpSync(dirname(import.meta.dirname), join(home, "src"), { recursive: true });
  symlinkSync(process.execPath, join(home, "node"));
  const program = workerProgram(enter, join(home, "src"), join(home, "node"));
  assert.ok(!program.file.startsWith(home) && program.nodeFd !== undefined);
  const child = spawnWorker(enter, program);
  const [message] = (await Promise.race([once(child, "message"), once(child, "exit")])) as [{ type?: string }];
  assert.equal(message.type, "net/started");
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
  assert.match(status, /^CapEff:\t0+$/m);
  await endWorker(child, AbortSignal.timeout(5_000));
  program.dispose();
  assert.equal(existsSync(dirname(dirname(program.file))), false);
  rmSync(home, { recursive: true });
});

test("without a change of user everything stays where it is", () => {
  const program = workerProgram([]);
  assert.equal(program.file, join(import.meta.dirname, "worker.ts"));
  assert.equal(program.node, process.execPath);
  program.dispose();
  assert.ok(existsSync(program.file));
});
