import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { silentLog } from "../../base/log.ts";
import { createSandbox, type SandboxOptions } from "./index.ts";
import { allPids, identify } from "./processes.ts";
import type { ContainerExit, ContainerProcess, ContainerSpec, ExecSpec, PodSandbox, PodSandboxSpec, Sandbox } from "./sandbox.ts";

/** For tests of the sandbox itself: a started one in a folder of its own, and short ways to run things in it. */
export class SandboxHarness implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly dataDir: string;
  #pods = 0;

  private constructor(sandbox: Sandbox, dataDir: string) {
    this.sandbox = sandbox;
    this.dataDir = dataDir;
  }
  static async start(options: Partial<SandboxOptions> = {}): Promise<SandboxHarness> {
    const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "wherry-sandbox-"));
    const sandbox = await createSandbox({ isolation: "isolated", log: silentLog, ...options, dataDir });
    try {
      await sandbox.start();
    } catch (error) {
      rmSync(dataDir, { recursive: true, force: true });
      throw error;
    }
    return new SandboxHarness(sandbox, dataDir);
  }
  async pod(more: Partial<PodSandboxSpec> = {}): Promise<PodSandbox & { dir: string; hostUid: number }> {
    const n = ++this.#pods;
    const dir = join(this.dataDir, "pods", `uid-${n}`);
    mkdirSync(dir, { recursive: true });
    // Other uids than those of the test files that run meanwhile: some of these end everything that they may signal.
    const hostUid = 100_000 + (process.pid % 500) * 130 + n;
    const pod = await this.sandbox.createPod({
      uid: `uid-${n}`, namespace: "default", name: `pod-${n}`, hostname: `pod-${n}`, dir, hostUid, hostAliases: [{ ip: "10.1.2.3", hostnames: ["legacy"] }],
      dns: { nameservers: [this.sandbox.network.dnsIP], searches: ["default.svc.cluster.local"], options: ["ndots:5"] },
      ...more,
    });
    return Object.assign(pod, { dir, hostUid });
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox.stop(AbortSignal.abort());
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

export function containerSpec(argv: readonly string[], more: Partial<ContainerSpec> = {}): ContainerSpec {
  return { name: "main", argv, env: { PATH: "/usr/local/bin:/usr/bin:/bin" }, workingDir: "/", uid: 1000, gid: 1000, userName: "app", homeDir: "/home/app", mounts: [], readOnlyRoot: false, limits: {}, stdin: false, tty: false, ...more };
}

/** Runs a program to its end. */
export async function runIn(pod: PodSandbox, argv: readonly string[], more: Partial<ContainerSpec> = {}): Promise<ContainerExit & { stdout: string; stderr: string }> {
  const container = await pod.startContainer(containerSpec(argv, more));
  const [exit, stdout, stderr] = await Promise.all([container.exited, text(container.stdout), text(container.stderr)]);
  return { ...exit, stdout, stderr };
}

export async function execIn(container: ContainerProcess, argv: readonly string[], more: Partial<ExecSpec> = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  const process = await container.exec({ argv, stdin: false, tty: false, ...more });
  const [code, stdout, stderr] = await Promise.all([process.exited, text(process.stdout), text(process.stderr)]);
  return { code, stdout, stderr };
}

/** Waits until no such process lives; a killed one takes a moment to die. */
export async function gone(pid: number): Promise<void> {
  for (let tries = 0; identify(pid) !== undefined; tries++) {
    if (tries > 1000) throw new Error(`process ${pid} still runs`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Resolves when the stream has said `word`; what was said till then. */
export function said(stream: NodeJS.ReadableStream, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = "";
    const listen = (chunk: Buffer) => {
      heard += chunk.toString();
      if (!heard.includes(word)) return;
      stream.off("data", listen);
      resolve(heard);
    };
    stream.on("data", listen);
    stream.once("end", () => reject(new Error(`ended before saying ${JSON.stringify(word)}: ${heard}`)));
  });
}

/** Programs of the machine with exactly this command line. */
export const running = (words: string): number[] =>
  allPids().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim() === words && identify(pid) !== undefined;
    } catch {
      return false;
    }
  });

export async function until(what: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !what(); await new Promise((resolve) => setTimeout(resolve, 10))) if (performance.now() > end) throw new Error(`not so: ${what.toString()}`);
}
