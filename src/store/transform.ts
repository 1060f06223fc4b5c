import { WherryError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Journal, JournalRecord, Recovered } from "./journal.ts";

/** How values lie on the disk (encrypted, or as they are); keys and revisions are never changed. */
export interface Transform {
  toDisk(key: string, bytes: Buffer): Transformed;
  /** Throws an Error that says why the value cannot be read. */
  fromDisk(key: string, bytes: Buffer): Transformed;
  /** By what `toDisk` would make this key's value now. */
  writerOf(key: string): string;
}
export interface Transformed {
  readonly bytes: Buffer;
  /** By what the bytes on disk are made, and can be read: a provider and its key. "": as they are. */
  readonly by: string;
}

/** What every encrypted value begins with; no JSON object does. */
export const encryptedPrefix = "k8s:enc:";
export const isEncrypted = (bytes: Uint8Array): boolean => bytes[0] !== 0x7b && Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, encryptedPrefix.length)).toString("latin1") === encryptedPrefix;

/** A key, and by what its value was made; undefined: it was deleted. */
type Written = [key: string, by: string | undefined];

/** Without a configuration. */
export const asTheyAre: Transform = {
  toDisk: (_, bytes) => ({ bytes, by: "" }),
  fromDisk(_, bytes) {
    if (isEncrypted(bytes)) throw new Error("it is encrypted, and no EncryptionConfiguration is given");
    return { bytes, by: "" };
  },
  writerOf: () => "",
};

/** What is on disk, by what it was made. The iterator throws WherryError DATA_ENCRYPTED at its end if some of it could not be read. */
export function readBy(transform: Transform, { revision, objects }: Recovered, file: string, note?: (key: string, by: string) => void, done?: () => void): Recovered {
  return {
    revision,
    objects: {
      *[Symbol.iterator]() {
        const unreadable: string[] = [];
        for (const { key, revision, bytes: stored } of objects) {
          try {
            const { bytes, by } = transform.fromDisk(key, stored);
            note?.(key, by);
            yield { key, revision, bytes };
          } catch (error) {
            unreadable.push(`unable to transform key ${JSON.stringify(key)}: ${(error as Error).message}`);
          }
        }
        if (unreadable.length > 0) throw new WherryError("DATA_ENCRYPTED", `${unreadable.length === 1 ? "an object" : `${unreadable.length} objects`} in ${file} cannot be read:\n  ${unreadable.slice(0, 3).join("\n  ")}${unreadable.length > 3 ? "\n  …" : ""}`);
        done?.();
      },
    },
  };
}

/** A journal whose file can be freed of what was once in it, and remembers that it was. */
export interface ScrubbingJournal extends Journal {
  scrub(): Promise<void>;
  /** The file may hold remains again. */
  soil(): void;
}

/**
 * A journal that stores values transformed. It knows by what each value on disk was made: what is stale, that is
 * made otherwise than it would be now, is worth writing again even when nothing changes. When the last stale value is
 * gone, the file is scrubbed: SQLite leaves in it what it overwrites and deletes, and a key is taken out of use, or
 * encryption begun, so that these remains cannot be read.
 */
export class TransformingJournal implements Journal {
  readonly #inner: ScrubbingJournal;
  readonly #log: Log;
  readonly #madeBy = new Map<string, string>();
  readonly #stale = new Set<string>();
  /** Given to the disk, not yet durable. */
  readonly #underWay = new Set<readonly Written[]>();
  #transform: Transform;
  /** Whether the file is known to hold no remains. */
  #clean: boolean;
  #closed = false;

  constructor(inner: ScrubbingJournal, transform: Transform, log: Log, clean: boolean) {
    this.#inner = inner;
    this.#transform = transform;
    this.#log = log;
    this.#clean = clean;
  }

  /** The objects as they were given to a journal like this one. */
  recover(recovered: Recovered, file: string): Recovered {
    return readBy(this.#transform, recovered, file, (key, by) => this.#note(key, by), () => this.#tidy());
  }

  async append(batch: readonly JournalRecord[]): Promise<void> {
    const written: Written[] = [];
    const records = batch.map((record) => {
      if (record.type === "delete") {
        written.push([record.key, undefined]);
        return record;
      }
      const { bytes, by } = this.#transform.toDisk(record.key, record.bytes);
      written.push([record.key, by]);
      return bytes === record.bytes ? record : { ...record, bytes };
    });
    this.#underWay.add(written);
    try {
      await this.#inner.append(records);
    } finally {
      this.#underWay.delete(written);
    }
    const before = this.#stale.size;
    for (const [key, by] of written) this.#note(key, by);
    if (before !== this.#stale.size) this.#tidy();
  }

  isStale(key: string): boolean {
    return this.#stale.has(key);
  }

  /** How many values were made by what, where that is not what would make them now. */
  staleBy(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const key of this.#stale) counts.set(this.#madeBy.get(key)!, (counts.get(this.#madeBy.get(key)!) ?? 0) + 1);
    return counts;
  }

  /** Goes on with another one. Gives a value that it could not read, and by what that is made, and changes nothing then. */
  use(transform: Transform, canRead: (by: string, key: string) => boolean): { key: string; by: string } | undefined {
    for (const [key, by] of [...this.#madeBy, ...[...this.#underWay].flat()]) if (by !== undefined && !canRead(by, key)) return { key, by };
    this.#transform = transform;
    this.#stale.clear();
    for (const [key, by] of this.#madeBy) this.#note(key, by);
    this.#tidy();
    return undefined;
  }

  copyTo(file: string): Promise<number> {
    return this.#inner.copyTo!(file);
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#inner.close();
  }

  #note(key: string, by: string | undefined): void {
    if (by === undefined) this.#madeBy.delete(key);
    else this.#madeBy.set(key, by);
    if (by === undefined || by === this.#transform.writerOf(key)) this.#stale.delete(key);
    else this.#stale.add(key);
  }

  #tidy(): void {
    if (this.#stale.size > 0) {
      if (this.#clean) this.#inner.soil();
      this.#clean = false;
    } else if (!this.#clean && !this.#closed) {
      this.#clean = true;
      this.#inner.scrub().then(
        () => this.#log.info("the store's file holds nothing any more that another key, or none, could read"),
        (error: Error) => {
          this.#clean = false;
          if (!this.#closed) this.#log.warn("remains of what was stored before are still in the store's file; the next start tries again to remove them", { error });
        },
      );
    }
  }
}
