import { mkdirSync } from "node:fs";
import { type FileHandle, open, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";

/** As kube-apiserver's flags `--audit-log-maxsize`, `-maxage` and `-maxbackup` have it. */
export interface AuditRotation {
  /** A file this long, in MiB, is put aside. Default: 100. */
  sizeMbMax?: number;
  /** What was put aside is deleted after so many days. 0, the default: never. */
  ageDaysMax?: number;
  /** So many are kept beside the one that is written; 0: all. Default: 10. */
  backupsMax?: number;
}

export interface AuditLogOptions {
  file: string;
  clock: Clock;
  log: Log;
  /** When files are put aside and deleted. */
  rotation?: AuditRotation;
  /** More than that may not wait to be written. */
  waitingBytesMax?: number;
}

const waitingBytesMax = 64 * 1024 * 1024;
const mib = 1024 * 1024;
const dayMs = 86_400_000;

/**
 * Lines into a file, in the order they were given, without holding anybody up. Who asks first whether it
 * {@link AuditLog.takes} more loses none.
 */
export class AuditLog {
  readonly #options: Required<AuditLogOptions>;
  readonly #fileBytesMax: number;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #handle: FileHandle | undefined;
  #bytes = 0;
  #failed = false;
  #closed = false;
  #retry: Timer | undefined;

  constructor(options: AuditLogOptions) {
    this.#options = { waitingBytesMax, rotation: {}, ...options };
    this.#fileBytesMax = (this.#options.rotation.sizeMbMax || 100) * mib;
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
        if (!this.#handle) {
          this.#handle = await this.#open();
          await this.#clear();
        }
        if (this.#bytes > 0 && this.#bytes + text.length > this.#fileBytesMax) await this.#rotate();
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

  /** `audit.log` → `audit-2026-11-21T10-30-21.000.log`. */
  async #rotate(): Promise<void> {
    const { file, clock } = this.#options;
    const [folder, extension] = [dirname(file), extname(file)];
    await this.#handle!.close();
    this.#handle = undefined;
    const names = new Set(await readdir(folder));
    let atMs = clock.now();
    const nameAt = (ms: number): string => `${basename(file, extension)}-${new Date(ms).toISOString().replaceAll(":", "-").replace("Z", "")}${extension}`;
    while (names.has(nameAt(atMs))) atMs++;
    await rename(file, join(folder, nameAt(atMs)));
    await this.#clear();
    this.#handle = await this.#open();
  }

  /** Deletes what is too much or too old of what was put aside. */
  async #clear(): Promise<void> {
    const { file, clock } = this.#options;
    const { backupsMax = 10, ageDaysMax = 0 } = this.#options.rotation;
    const [folder, extension] = [dirname(file), extname(file)];
    const stem = `${basename(file, extension)}-`;
    const backups = (await readdir(folder)).flatMap((name) => {
      if (!name.startsWith(stem) || !name.endsWith(extension)) return [];
      const [, date, hour, minute, rest] = /^(\d{4}-\d\d-\d\dT)(\d\d)-(\d\d)-(\d\d\.\d{3})$/.exec(name.slice(stem.length, name.length - extension.length)) ?? [];
      return date === undefined ? [] : [{ name, atMs: Date.parse(`${date}${hour}:${minute}:${rest}Z`) }];
    });
    backups.sort((a, b) => b.atMs - a.atMs);
    const isTooMuch = (index: number, atMs: number): boolean => (backupsMax > 0 && index >= backupsMax) || (ageDaysMax > 0 && atMs < clock.now() - ageDaysMax * dayMs);
    for (const [index, { name, atMs }] of backups.entries()) if (isTooMuch(index, atMs)) await unlink(join(folder, name));
  }
}
