import { type BigIntStats, chmodSync, chownSync, closeSync, constants, fstatSync, lchownSync, linkSync, lstatSync, mkdirSync, openSync, readdirSync, readlinkSync, rmSync, statfsSync, symlinkSync, utimesSync } from "node:fs";
import { copyFile, open } from "node:fs/promises";
import { join } from "node:path";

export interface Copied {
  /** Of the files that this pass copied. */
  bytes: number;
  /** Of all files that the copy holds. */
  totalBytes: number;
  /** Sockets, pipes and devices: they hold no data. */
  leftOut: string[];
}

export interface PassOptions {
  /** Ends it between two files. */
  signal?: AbortSignal;
  onFile?: (copied: Copied) => void;
}

/**
 * A copy of a folder that is brought up to date by passes: the first copies everything, each further one what has
 * changed since. So most of it is copied while programs write, and they stand still for the rest alone.
 *
 * Owners (as root), modes, times, links and holes are kept, and blocks shared where the file system can. Programs that
 * write meanwhile may be hostile: every step goes through a folder that is held open and follows no link, so that none
 * can be put in its way. What vanishes is no error.
 */
export class TreeCopy {
  readonly #from: string;
  readonly #to: string;
  readonly #isRoot = process.getuid?.() === 0;
  /** Files of the copy by their path, with what they were when they were copied. */
  #known = new Map<string, string>();

  readonly #wanted: (name: string) => boolean;

  /** `wanted`: which names at the top are copied into a folder that is there; others are left as they are. */
  constructor(from: string, to: string, wanted: (name: string) => boolean = everything) {
    this.#from = from;
    this.#to = to;
    this.#wanted = wanted;
  }

  async pass(options: PassOptions = {}): Promise<Copied> {
    const pass: Pass = { options, copied: { bytes: 0, totalBytes: 0, leftOut: [] }, linked: new Map(), seen: new Map(), before: this.#known };
    const folder = openFolder(this.#from);
    try {
      await this.#folder(pass, folder, "");
    } finally {
      closeSync(folder);
    }
    this.#known = pass.seen;
    return pass.copied;
  }

  async #folder(pass: Pass, folder: number, path: string): Promise<void> {
    const target = join(this.#to, path);
    mkdirSync(target, { recursive: true });
    chmodSync(target, 0o700);
    const wanted = path === "" ? this.#wanted : everything;
    const names = new Set(readdirSync(through(folder)).filter(wanted));
    // What was there at the last pass and is gone.
    for (const name of readdirSync(target).filter(wanted)) if (!names.has(name)) remove(join(target, name));
    for (const name of names) {
      pass.options.signal?.throwIfAborted();
      const below = path === "" ? name : `${path}/${name}`;
      try {
        await this.#entry(pass, `${through(folder)}/${name}`, below);
      } catch (error) {
        const { code, path: where = "" } = error as NodeJS.ErrnoException;
        if (!where.startsWith(descriptors)) throw error;
        // Gone, or another thing has its name (which is no link to read, and no folder to open): the next pass, or nobody, will miss it.
        if (!["ENOENT", "ELOOP", "ENOTDIR", "EINVAL"].includes(code!)) throw new Error(`${join(this.#from, below)} cannot be read: ${code}`, { cause: error });
        remove(join(this.#to, below));
        pass.seen.delete(below);
      }
    }
    if (wanted === everything || path !== "") this.#dress(target, fstatSync(folder, { bigint: true }));
  }

  async #entry(pass: Pass, source: string, path: string): Promise<void> {
    const target = join(this.#to, path);
    const stat = lstatSync(source, { bigint: true });
    if (stat.isDirectory()) {
      const folder = openFolder(source);
      try {
        if (!lstatSync(target, { throwIfNoEntry: false })?.isDirectory()) remove(target);
        return await this.#folder(pass, folder, path);
      } finally {
        closeSync(folder);
      }
    }
    if (stat.isFile()) return this.#file(pass, stat, source, path);
    remove(target);
    if (!stat.isSymbolicLink()) return void pass.copied.leftOut.push(path);
    symlinkSync(readlinkSync(source), target);
    if (this.#isRoot) lchownSync(target, Number(stat.uid), Number(stat.gid));
  }

  async #file(pass: Pass, seen: BigIntStats, source: string, path: string): Promise<void> {
    const target = join(this.#to, path);
    const inode = `${seen.dev}:${seen.ino}`;
    // Links to one file are made anew, lest the copy of one that became two be written through both.
    const twin = seen.nlink > 1n ? pass.linked.get(inode) : undefined;
    if (twin !== undefined) {
      remove(target);
      return linkSync(twin, target);
    }
    if (seen.nlink > 1n) pass.linked.set(inode, target);
    if (seen.nlink > 1n || pass.before.get(path) !== stateOf(seen)) {
      const file = await open(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      try {
        // A page that is mapped and was written lately takes further writes without a trace in the file's times.
        // Written back it does not. (As nobody, on a file system that is read only: there is none.)
        await file.datasync().catch(() => {});
        // Looked at before it is copied: what is written meanwhile makes it another at the next pass.
        seen = await file.stat({ bigint: true });
        if (!seen.isFile()) throw Object.assign(new Error("replaced"), { code: "ENOENT", path: source });
        remove(target);
        if (seen.blocks * 512n < seen.size) await copySparse(through(file.fd), target);
        else await copyFile(through(file.fd), target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      } finally {
        await file.close();
      }
      this.#dress(target, seen);
      pass.copied.bytes += Number(seen.size);
    }
    pass.seen.set(path, stateOf(seen));
    pass.copied.totalBytes += Number(seen.size);
    pass.options.onFile?.(pass.copied);
  }

  #dress(target: string, stat: BigIntStats): void {
    if (this.#isRoot) chownSync(target, Number(stat.uid), Number(stat.gid));
    chmodSync(target, Number(stat.mode) & 0o7777);
    utimesSync(target, stat.atime, stat.mtime);
  }
}

const everything = (): boolean => true;

interface Pass {
  options: PassOptions;
  copied: Copied;
  /** Where the first of several links to one file was copied to. */
  linked: Map<string, string>;
  seen: Map<string, string>;
  before: ReadonlyMap<string, string>;
}

const descriptors = "/proc/self/fd/";
/** What is open here, whatever its path leads to by now. */
const through = (descriptor: number): string => `${descriptors}${descriptor}`;
const openFolder = (path: string): number => openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
const remove = (path: string): void => rmSync(path, { recursive: true, force: true });
const stateOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string => `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;

const holeBytes = 64 << 10;

/** What is zero is not written: a hole stays one. */
async function copySparse(source: string, target: string): Promise<void> {
  const [from, to] = [await open(source, "r"), await open(target, "wx", 0o600)];
  try {
    const piece = Buffer.allocUnsafe(holeBytes);
    let at = 0;
    for (let read = 1; read > 0; at += read) {
      read = (await from.read(piece, 0, piece.length, at)).bytesRead;
      const bytes = piece.subarray(0, read);
      if (!isZero(bytes)) await to.write(bytes, 0, read, at);
    }
    await to.truncate(at);
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
}

const zeros = Buffer.alloc(holeBytes);
/** Of at most 64 KiB. */
export const isZero = (bytes: Buffer): boolean => bytes.length <= zeros.length && bytes.equals(zeros.subarray(0, bytes.length));

/** Source: linux/magic.h, TMPFS_MAGIC. */
const tmpfs = 0x01021994;
/** Memory is never written back, so that writes by a mapping leave no trace in a file's times there: one pass must do. */
export const tellsChanges = (path: string): boolean => statfsSync(path).type !== tmpfs;
