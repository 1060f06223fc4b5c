import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Clock } from "../../base/clock.ts";
import { limits } from "../../base/limits.ts";

// A line longer than this is cut into partial lines (tag P), as container runtimes do.
const lineBytesMax = 16 * 1024;

/**
 * Writes what a container says in the CRI log format (`2026-11-21T04:57:57.123000000Z stdout F text`), one file
 * an incarnation: `<dir>/<restart>.log`, rotated to `<restart>.log.<n>` at the size bound. When the disk is slow
 * the program's pipe fills up and it waits; nothing is dropped.
 */
export class LogWriter {
  readonly path: string;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  readonly #filesMax: number;
  #file: FileHandle | undefined;
  /** Appends happen one after the other, whichever stream they come from. */
  #appended: Promise<void> = Promise.resolve();
  #bytes = 0;
  #rotations = 0;
  readonly #restart: number;
  readonly #pumps: Promise<void>[] = [];

  constructor(dir: string, restart: number, clock: Clock, bounds: { bytesMax?: number; filesMax?: number } = {}) {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    this.path = join(dir, `${restart}.log`);
    this.#restart = restart;
    // What stays readable: this incarnation and the one before it.
    for (const name of readdirSync(dir)) if (Number(/^(\d+)\./.exec(name)?.[1] ?? restart) < restart - 1) rmSync(join(dir, name), { force: true });
    this.#clock = clock;
    this.#bytesMax = bounds.bytesMax ?? limits.containerLogBytesMax;
    this.#filesMax = bounds.filesMax ?? limits.containerLogFilesMax;
    writeFileSync(this.path, "", { flag: "a", mode: 0o640 });
  }

  /** Reads a stream to its end. `tee` sees every chunk as it comes (attach). */
  pump(stream: Readable, name: "stdout" | "stderr", tee?: (chunk: Buffer) => void): void {
    this.#pumps.push(this.#pump(stream, name, tee));
  }

  async #pump(stream: Readable, name: string, tee?: (chunk: Buffer) => void): Promise<void> {
    let rest: Buffer = Buffer.alloc(0);
    try {
      for await (const piece of stream) {
        const chunk = piece as Buffer;
        tee?.(chunk);
        let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        const parts: Buffer[] = [];
        for (;;) {
          const end = data.indexOf(10);
          if (end >= 0 && end <= lineBytesMax) {
            parts.push(this.#prefix(name, "F"), data.subarray(0, end + 1));
            data = data.subarray(end + 1);
          } else if (data.length > lineBytesMax) {
            parts.push(this.#prefix(name, "P"), data.subarray(0, lineBytesMax), newline);
            data = data.subarray(lineBytesMax);
          } else break;
        }
        rest = Buffer.from(data);
        if (parts.length > 0) await this.#write(Buffer.concat(parts));
      }
    } catch {
      // The pipe broke: what was read so far is the log.
    }
    if (rest.length > 0) await this.#write(Buffer.concat([this.#prefix(name, "F"), rest, newline]));
  }

  #prefix(name: string, tag: "F" | "P"): Buffer {
    return Buffer.from(`${new Date(this.#clock.now()).toISOString().slice(0, -1)}000000Z ${name} ${tag} `);
  }

  /** Resolves when the lines are in the file: until then the stream they came from is not read. */
  #write(lines: Buffer): Promise<void> {
    return (this.#appended = this.#appended.then(() => this.#append(lines)));
  }

  async #append(lines: Buffer): Promise<void> {
    try {
      if (this.#bytes > 0 && this.#bytes + lines.length > this.#bytesMax) await this.#rotate();
      this.#file ??= await open(this.path, "a", 0o640);
      await this.#file.appendFile(lines);
      this.#bytes += lines.length;
    } catch {
      // A full disk must end neither the agent nor the pod: its output is lost until there is room again.
      await this.#closeFile();
    }
  }

  async #rotate(): Promise<void> {
    await this.#closeFile();
    await rename(this.path, `${this.path}.${String(++this.#rotations).padStart(6, "0")}`);
    this.#bytes = 0;
    for (const old of rotatedFiles(this.path).slice(0, -(this.#filesMax - 1) || undefined)) rmSync(old, { force: true });
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => {});
  }

  /** Resolves when all pumped streams have ended and what they said is in the file; followers then stop. */
  async close(): Promise<void> {
    await Promise.all(this.#pumps);
    await this.#appended;
    await this.#closeFile();
    try {
      writeFileSync(join(this.path, "..", endMarker(this.#restart)), "");
    } catch {
      // The pod's folder is gone already, or the disk is full: followers notice the next incarnation.
    }
  }

  /** The end of the log without its prefixes, for termination messages. */
  async tail(bytes: number): Promise<string> {
    const handle = await open(this.path).catch(() => undefined);
    if (!handle) return "";
    try {
      const { size } = await handle.stat();
      // Prefixes take space too; lines of one byte would need most.
      const length = Math.min(size, bytes * 45);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
      const text = buffer
        .toString("utf8", 0, bytesRead)
        .split("\n")
        .map((line) => line.replace(/^\S+ (?:stdout|stderr) [FP] ?/, ""))
        .join("\n");
      return text.slice(-bytes);
    } finally {
      await handle.close();
    }
  }
}

const newline = Buffer.from("\n");

/** The file whose presence says that an incarnation's log is complete. */
export const endMarker = (restart: number) => `${restart}.end`;

/** Files that were rotated away from `path`, oldest first. */
export function rotatedFiles(path: string): string[] {
  const at = path.lastIndexOf("/");
  const dir = path.slice(0, at);
  const prefix = `${path.slice(at + 1)}.`;
  try {
    return readdirSync(dir)
      .filter((name) => name.startsWith(prefix))
      .sort()
      .map((name) => join(dir, name));
  } catch {
    return [];
  }
}
