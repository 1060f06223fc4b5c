import { spawn, type ChildProcess } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { needs } from "../needs.ts";

/**
 * A machine within the machine: mounts and a network of its own, so that ports 80 and 443 are free, and copies lie over the
 * files and folders that are given, or other text over files, or nothing over folders. What is written there is never written on the machine itself.
 *
 *   await using machine = await privateMachine(t, { folder, over: [{ path: "/etc/hosts" }] });   undefined: cannot be had, the test is skipped
 *   spawn(machine.enter[0], [...machine.enter.slice(1), program, …])
 */
export interface PrivateMachine extends AsyncDisposable {
  /** The command prefix that starts a program there. */
  enter: string[];
}

export async function privateMachine(test: TestContext, { folder, over }: { folder: string; over: readonly { path: string; text?: string; empty?: boolean }[] }): Promise<PrivateMachine | undefined> {
  if (process.getuid?.() !== 0) return void test.skip("needs root: a namespace of mounts in which ports 80 and 443 can be bound");
  if (!needs(test, "unshare", "nsenter", "ip")) return undefined;
  const mounts = over.map(({ path, text, empty }) => {
    const copy = join(folder, "copies", path);
    mkdirSync(join(copy, ".."), { recursive: true });
    if (empty) mkdirSync(copy);
    else if (text !== undefined) writeFileSync(copy, text);
    else cpSync(path, copy, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    return `mount --bind '${copy}' '${path}'`;
  });
  // It ends when its input does: with this process at the latest.
  const script = ["set -e", "ip link set lo up", ...mounts, "echo ready", "read -r end || true"].join("\n");
  const child = spawn("unshare", ["--mount", "--propagation", "private", "--net", "/bin/sh", "-c", script], { stdio: ["pipe", "pipe", "pipe"] });
  const why = await readiness(child);
  if (why !== undefined) return void test.skip(`no namespace can be had here: ${why}`);
  return {
    enter: ["nsenter", "--target", String(child.pid), "--mount", "--net"],
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.on("close", resolve));
      if (child.exitCode !== null) return;
      child.stdin!.end();
      await ended;
    },
  };
}

/** Undefined when it stands; else why not. */
function readiness(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = "";
    child.stdout!.on("data", (chunk: Buffer) => chunk.toString().includes("ready") && resolve(undefined));
    child.stderr!.on("data", (chunk: Buffer) => (said += chunk.toString()));
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code) => resolve(said.trim() || `unshare ended with ${code}`));
  });
}
