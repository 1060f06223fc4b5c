import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { type ProcessIdentity, identify, signalProcess } from "./processes.ts";

/** What asks either program about a device, and what it says of one that is not there. */
const questions = {
  ip: { ask: (device: string) => `link show dev ${device}`, absent: (device: string) => `"${device}" does not exist` },
  tc: { ask: (device: string) => `qdisc show dev ${device}`, absent: (device: string) => `Cannot find device "${device}"` },
};

/**
 * One `ip -batch`, or `tc -batch`, that stays in the pod network and works off lines as pods come and go: no fork, no nsenter a
 * pod. A question about a device that cannot exist marks the end of each request, because both answer errors at once and in order.
 */
export class BatchStream {
  readonly #program: "ip" | "tc";
  readonly #argv: string[];
  readonly #env: Record<string, string>;
  readonly #record: (process: ProcessIdentity) => void;
  #child: ChildProcess | undefined;
  #identity: ProcessIdentity | undefined;
  #waiting: { marker: string; resolve: () => void; reject: (error: Error) => void }[] = [];
  #text = "";
  #count = 0;
  #stopped = false;

  constructor(program: "ip" | "tc", argv: string[], env: Record<string, string>, record: (process: ProcessIdentity) => void) {
    this.#program = program;
    this.#argv = argv;
    this.#env = env;
    this.#record = record;
  }
  #open(): ChildProcess {
    if (this.#child) return this.#child;
    const child = spawn(this.#argv[0]!, this.#argv.slice(1), { env: this.#env, stdio: ["pipe", "ignore", "pipe"], detached: true });
    this.#child = child;
    this.#identity = child.pid === undefined ? undefined : identify(child.pid);
    if (this.#identity) this.#record(this.#identity);
    child.stdin!.on("error", () => {});
    child.stderr!.on("data", (chunk: Buffer) => this.#read(chunk.toString()));
    child.on("error", () => this.#closed(child));
    child.on("exit", () => this.#closed(child));
    child.unref();
    (child.stdin as Socket).unref();
    return child;
  }
  #closed(child: ChildProcess): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    const said = this.#text.trim();
    this.#text = "";
    for (const request of this.#waiting.splice(0)) request.reject(new Error(`${this.#program} ended unexpectedly: ${said}`));
  }
  send(lines: readonly string[]): Promise<void> {
    if (this.#stopped) return Promise.reject(new Error("the pod network is stopped"));
    return new Promise((resolve, reject) => {
      const marker = `mark${this.#count++}`;
      const child = this.#open();
      this.#waiting.push({ marker, resolve, reject });
      // Only an open question keeps Wherry running.
      (child.stderr as Socket).ref();
      child.stdin!.write(`${[...lines, questions[this.#program].ask(marker)].join("\n")}\n`);
    });
  }
  #read(text: string): void {
    this.#text += text;
    for (;;) {
      const request = this.#waiting[0];
      if (!request) return;
      const end = this.#text.indexOf(questions[this.#program].absent(request.marker));
      if (end < 0) return;
      const errors = this.#text.slice(0, end).split("\n").slice(0, -1).filter((line) => line !== "" && !line.startsWith("Command failed"));
      // The marker's own "Command failed" line may come with the next request's output and is dropped there.
      this.#text = this.#text.slice(this.#text.indexOf("\n", end) + 1 || this.#text.length);
      this.#waiting.shift();
      if (this.#waiting.length === 0) (this.#child?.stderr as Socket | undefined)?.unref();
      if (errors.length > 0) request.reject(new Error(`${this.#program}: ${errors.join("; ")}`));
      else request.resolve();
    }
  }
  stop(): void {
    this.#stopped = true;
    this.#child?.stdin!.end();
    if (this.#identity) signalProcess(this.#identity, "SIGKILL");
  }
}
