import { closeSync, fstatSync, ftruncateSync, openSync, renameSync } from "node:fs";

/**
 * The access log of all workers: FILE, and FILE.1 with what came before it. Both are opened here and inherited by the workers,
 * who write themselves and may not open anything; so a full file is not closed: the other one is emptied, the names change
 * places, and the workers are told to write into that. A line is in one of them, whole, or has been dropped with its file.
 */
export class AccessLogFiles {
  /** The workers inherit both. */
  readonly descriptors: readonly [number, number];
  readonly #file: string;
  readonly #bytesMax: number;
  #current: 0 | 1 = 0;

  /** Throws what opening a file throws. */
  constructor(file: string, bytesMax: number) {
    this.#file = file;
    this.#bytesMax = bytesMax;
    this.descriptors = [openSync(file, "a", 0o600), openSync(`${file}.1`, "a", 0o600)];
  }

  /** Which of the descriptors is written to. */
  get current(): 0 | 1 {
    return this.#current;
  }

  /** Changes the files when the present one is full; whether it did. */
  turn(): boolean {
    if (fstatSync(this.descriptors[this.#current]).size <= this.#bytesMax) return false;
    const next = this.#current === 0 ? 1 : 0;
    ftruncateSync(this.descriptors[next]);
    renameSync(this.#file, `${this.#file}.turning`);
    renameSync(`${this.#file}.1`, this.#file);
    renameSync(`${this.#file}.turning`, `${this.#file}.1`);
    this.#current = next;
    return true;
  }

  close(): void {
    for (const descriptor of this.descriptors) closeSync(descriptor);
  }
}
