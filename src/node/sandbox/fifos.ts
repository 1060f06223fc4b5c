import { chownSync, closeSync, constants, mkdirSync, openSync, readdirSync, rmSync, unlinkSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { run } from "./command.ts";

/**
 * Pipes for the standard streams of programs. Node's own "pipe" is a socket pair, which a program cannot open again
 * by name: `echo > /dev/stderr` and `access_log /dev/stdout` fail with ENXIO. Node cannot call pipe(2), so named pipes
 * are made in batches by one mkfifo, and each loses its name as soon as both ends are open.
 */
export class FifoPool {
  readonly #dir: string;
  readonly #mkfifo: string;
  #ready: string[] = [];
  #made = 0;
  #making: Promise<void> | undefined;
  static readonly batch = 64;

  constructor(dir: string, mkfifo: string) {
    this.#dir = dir;
    this.#mkfifo = mkfifo;
  }
  async start(): Promise<void> {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#dir)) rmSync(join(this.#dir, name), { force: true });
    await this.#make();
  }
  #make(): Promise<void> {
    this.#making ??= (async () => {
      const names = Array.from({ length: FifoPool.batch }, () => join(this.#dir, String(this.#made++)));
      const result = await run([this.#mkfifo, "-m", "600", "--", ...names]);
      if (result.code !== 0) throw new Error(`mkfifo in ${this.#dir}: ${result.stderr.trim()}`);
      this.#ready.push(...names);
    })().finally(() => (this.#making = undefined));
    return this.#making;
  }
  async #take(): Promise<string> {
    while (this.#ready.length === 0) await this.#make();
    const path = this.#ready.pop()!;
    // Refill early, so that a start rarely waits; a failure shows at the next one.
    if (this.#ready.length < FifoPool.batch / 4) this.#make().catch(() => {});
    return path;
  }
  /** Opens `path` non-blocking here and blocking for the program; `owner` may open it again through /dev/stdout. */
  #open(path: string, program: "reads" | "writes", owner: number | undefined): { ours: number; theirs: number } {
    const opened: number[] = [];
    try {
      // A reader must come first, and a non-blocking one opens without a writer.
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      opened.push(reader);
      const writer = openSync(path, constants.O_WRONLY | (program === "reads" ? constants.O_NONBLOCK : 0));
      opened.push(writer);
      if (owner !== undefined) chownSync(path, owner, owner);
      if (program === "writes") return { ours: reader, theirs: writer };
      const theirs = openSync(path, constants.O_RDONLY);
      closeSync(reader);
      return { ours: writer, theirs };
    } catch (error) {
      for (const fd of opened) closeSync(fd);
      throw error;
    } finally {
      unlinkSync(path);
    }
  }
  /** A pipe whose reading end is a stream here; `fd` goes to the program and must be closed afterwards. */
  async output(owner: number | undefined): Promise<{ stream: Socket; fd: number }> {
    const { ours, theirs } = this.#open(await this.#take(), "writes", owner);
    return { stream: quiet(new Socket({ fd: ours, readable: true, writable: false })), fd: theirs };
  }
  /** A pipe whose writing end is a stream here; `fd` goes to the program and must be closed afterwards. */
  async input(owner: number | undefined): Promise<{ stream: Socket; fd: number }> {
    const { ours, theirs } = this.#open(await this.#take(), "reads", owner);
    return { stream: quiet(new Socket({ fd: ours, readable: false, writable: true })), fd: theirs };
  }
}

/** A program that went away must not take the agent down; its end is told by its exit. */
function quiet(socket: Socket): Socket {
  socket.on("error", () => {});
  return socket;
}
