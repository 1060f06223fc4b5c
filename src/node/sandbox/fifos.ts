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
  /** Both ends of a new pipe. `owner` may open it again through /dev/stdout; close `write` once the program has it. */
  async open(owner: number | undefined): Promise<{ read: number; write: number }> {
    while (this.#ready.length === 0) await this.#make();
    const path = this.#ready.pop()!;
    // Refill early, so that a start rarely waits; a failure shows at the next open.
    if (this.#ready.length < FifoPool.batch / 4) this.#make().catch(() => {});
    const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const write = openSync(path, constants.O_WRONLY);
      if (owner !== undefined) chownSync(path, owner, owner);
      return { read, write };
    } catch (error) {
      closeSync(read);
      throw error;
    } finally {
      unlinkSync(path);
    }
  }
  /** A pipe whose reading end is a stream here; `fd` goes to the program and must be closed afterwards. */
  async output(owner: number | undefined): Promise<{ stream: Socket; fd: number }> {
    const { read, write } = await this.open(owner);
    const stream = new Socket({ fd: read, readable: true, writable: false });
    // A reader that went away must not take the agent down.
    stream.on("error", () => {});
    return { stream, fd: write };
  }
}
