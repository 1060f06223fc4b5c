import { mkdirSync } from "node:fs";
import { type FileHandle, open, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";

export interface AuditLogOptions {
  file: string;
  clock: Clock;
  log: Log;
  /** A file this long is put aside. */
  fileBytesMax?: number;
  /** So many are kept beside the one that is written. */
  backupsMax?: number;
  /** More than that may not wait to be written. */
  waitingBytesMax?: number;
}

const defaults = { fileBytesMax: 100 * 1024 * 1024, backupsMax: 10, waitingBytesMax: 64 * 1024 * 1024 };

/**
 * Lines into a file, in the order they were given, without holding anybody up. Who asks first whether it
 * {@link AuditLog.takes} more loses none.
 */
export class AuditLog {
  readonly #options: Required<AuditLogOptions>;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #handle: FileHandle | undefined;
  #bytes = 0;
  #failed = false;
  #closed = false;
  #retry: Timer | undefined;

  constructor(options: AuditLogOptions) {
    this.#options = { ...defaults, ...options };
    mkdirSync(dirname(options.file), { recursive: true, mode: 0o700 });
  }

  /** False while the disk does not take what was given before: what cannot be recorded should not happen. */
  get takes(): boolean {
    return !this.#failed && this.#waitingBytes < this.#options.waitingBytesMax;
  }

  write(line: string): void {
    if (this.#closed) return;
    this.#waiting.push(line);
    this.#waitingBytes += line.length + 1;
    this.#begin();
  }

  /** Resolves when all that was given is in the file. */
  async close(): Promise<void> {
    // Answers that were just cut off still have their last line to give.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#writing) await this.#writing;
    // What a full disk held up has one more chance.
    if (this.#waiting.length > 0) this.#begin();
    while (this.#writing) await this.#writing;
    this.#closed = true;
    this.#retry?.cancel();
    await this.#handle?.close();
    this.#handle = undefined;
  }

  #begin(): void {
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = undefined;
      if (this.#waiting.length > 0 && !this.#closed && !this.#failed) this.#begin();
    });
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting.splice(0, 1000);
      const text = Buffer.from(`${lines.join("\n")}\n`);
      try {
        this.#handle ??= await this.#open();
        if (this.#bytes > 0 && this.#bytes + text.length > this.#options.fileBytesMax) await this.#rotate();
        for (let at = 0; at < text.length; ) at += (await this.#handle.write(text, at)).bytesWritten;
        this.#bytes += text.length;
        this.#waitingBytes -= lines.reduce((sum, line) => sum + line.length + 1, 0);
        if (this.#failed) this.#options.log.info("the audit log is written again");
        this.#failed = false;
      } catch (error) {
        this.#waiting = [...lines, ...this.#waiting];
        if (!this.#failed) this.#options.log.error("the audit log cannot be written; what it should record is refused", { file: this.#options.file, error });
        this.#failed = true;
        this.#retry?.cancel();
        this.#retry = this.#options.clock.setTimer(1_000, () => this.#begin());
        return;
      }
    }
  }

  async #open(): Promise<FileHandle> {
    const handle = await open(this.#options.file, "a", 0o600);
    this.#bytes = (await handle.stat()).size;
    return handle;
  }

  /** `audit.log` → `audit-2026-11-21T10-30-21.000.log`; the oldest go. */
  async #rotate(): Promise<void> {
    const { file, clock, backupsMax } = this.#options;
    const [folder, extension] = [dirname(file), extname(file)];
    const stem = basename(file, extension);
    const isBackup = (name: string): boolean => name.startsWith(`${stem}-`) && name.endsWith(extension) && /^\d{4}-\d\d-\d\dT/.test(name.slice(stem.length + 1));
    await this.#handle!.close();
    this.#handle = undefined;
    const names = new Set(await readdir(folder));
    let atMs = clock.now();
    const nameAt = (ms: number): string => `${stem}-${new Date(ms).toISOString().replaceAll(":", "-").replace("Z", "")}${extension}`;
    while (names.has(nameAt(atMs))) atMs++;
    await rename(file, join(folder, nameAt(atMs)));
    for (const name of [...names, nameAt(atMs)].filter(isBackup).sort().toReversed().slice(backupsMax)) await unlink(join(folder, name));
    this.#handle = await this.#open();
  }
}
