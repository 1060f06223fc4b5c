import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { HeldMounts } from "./processes.ts";

const canUnshare = spawnSync("unshare", ["-Urm", "true"]).status === 0;

test("mounts that are held keep their name to themselves: what is made later is nobody's to end", { skip: !canUnshare && "no user namespaces here" }, async () => {
  const start = async () => {
    const child = spawn("unshare", ["-Urm", "sh", "-c", "echo there; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
    await once(child.stdout!, "data");
    return child;
  };
  const end = async (child: ChildProcess) => {
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  const first = await start();
  const held = HeldMounts.of(first.pid!)!;
  assert.deepEqual(held.processes().map(({ pid }) => pid), [first.pid]);
  await end(first);
  // Without the hold the first of these has the name that has just come free.
  const later = [await start(), await start(), await start()];
  assert.deepEqual(held.processes(), []);
  held.close();
  assert.deepEqual(held.processes(), []);
  for (const child of later) await end(child);
  assert.equal(HeldMounts.of(process.pid), undefined, "our own are nobody's to end either");
});
