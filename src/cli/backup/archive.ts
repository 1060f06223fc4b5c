import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, type Stats } from "node:fs";
import { lstat, open, readdir, readlink, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import { WherryError } from "../../base/errors.ts";
import { BackupDamaged } from "./damaged.ts";
import { end, entriesOf, header, padding, type TarEntry } from "./tar.ts";

/**
 * The file: tar, compressed by zstd.
 *
 *   wherry-backup.json       what it is (Description), first
 *   store.db pki/ … volumes/ pods/<uid>/volumes/
 *   wherry-backup.end.json   bytes before this entry and their SHA-256: without it the file is not whole
 */
export interface Description {
  format: number;
  /** The version that wrote it. */
  wherry: string;
  createdAt: string;
  /** The last revision in the copy of the store. */
  revision: number;
  /** Where the stack's data lay: paths below it move when it is restored elsewhere. */
  dataDir: string;
  /** What could not be taken along: sockets, devices. */
  leftOut: string[];
}

export const formatVersion = 1;
const descriptionName = "wherry-backup.json";
const endName = "wherry-backup.end.json";
const jsonMax = 16 << 20;

/** Packs a folder. The file appears, whole and durable, or not at all; only its owner may read it. */
export async function writeArchive(folder: string, file: string, description: Description, options: { signal?: AbortSignal; onBytes?: (bytes: number) => void } = {}): Promise<number> {
  const draft = join(dirname(file), `.${basename(file)}.${process.pid}.tmp`);
  try {
    const compress = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 1 } });
    await pipeline(Readable.from(tarOf(folder, description, options.onBytes)), compress, createWriteStream(draft, { flags: "wx", mode: 0o600 }), { ...(options.signal && { signal: options.signal }) });
    const handle = await open(draft, "r");
    await handle.sync();
    const { size } = await handle.stat();
    await handle.close();
    await rename(draft, file);
    return size;
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

async function* tarOf(folder: string, description: Description, onBytes: (bytes: number) => void = () => {}): AsyncGenerator<Buffer> {
  const sum = createHash("sha256");
  let bytes = 0;
  const counted = (piece: Buffer): Buffer => {
    sum.update(piece);
    onBytes((bytes += piece.length));
    return piece;
  };
  yield counted(textEntry(descriptionName, JSON.stringify(description, null, 2)));
  for await (const piece of packed(folder)) yield counted(piece);
  yield textEntry(endName, JSON.stringify({ bytes, sha256: sum.digest("hex") }));
  yield end();
}

function textEntry(path: string, text: string): Buffer {
  const body = Buffer.from(`${text}\n`);
  return Buffer.concat([header({ path, type: "file", mode: 0o600, uid: 0, gid: 0, size: body.length, mtimeMs: 0, target: "" }), body, padding(body.length)]);
}

async function* packed(folder: string): AsyncGenerator<Buffer> {
  const linked = new Map<string, string>();
  const below = async function* (relative: string): AsyncGenerator<Buffer> {
    for (const name of (await readdir(join(folder, relative))).sort()) {
      const path = relative === "" ? name : `${relative}/${name}`;
      const stat = await lstat(join(folder, path));
      const known = stat.nlink > 1 && stat.isFile() ? linked.get(`${stat.dev}:${stat.ino}`) : undefined;
      if (known !== undefined) yield header(entryOf(path, stat, "hardlink", known));
      else if (stat.isSymbolicLink()) yield header(entryOf(path, stat, "symlink", await readlink(join(folder, path))));
      else if (stat.isDirectory()) {
        yield header(entryOf(path, stat, "folder"));
        yield* below(path);
      } else {
        if (stat.nlink > 1) linked.set(`${stat.dev}:${stat.ino}`, path);
        yield header(entryOf(path, stat, "file"));
        let left = stat.size;
        for await (const piece of createReadStream(join(folder, path), { highWaterMark: 1 << 18 })) yield ((left -= (piece as Buffer).length), piece as Buffer);
        if (left !== 0) throw new Error(`${join(folder, path)} changed its size while it was read`);
        yield padding(stat.size);
      }
    }
  };
  yield* below("");
}

const entryOf = (path: string, stat: Stats, type: TarEntry["type"], target = ""): TarEntry => ({ path, type, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, size: type === "file" ? stat.size : 0, mtimeMs: Math.floor(stat.mtimeMs), target });

/**
 * Reads a backup: `onDescription` before anything else, then each entry with its content. Returns once the whole file
 * has proved to be what was written. Throws WherryError BACKUP_DAMAGED, BACKUP_TOO_NEW, USAGE.
 */
export async function readArchive(file: string, onDescription: (description: Description) => void, onEntry: (entry: TarEntry, content: AsyncIterable<Buffer>) => Promise<void>): Promise<void> {
  const damaged = (why: string, cause?: unknown) => new WherryError("BACKUP_DAMAGED", `${file} is not a whole backup of Wherry: ${why}`, { cause });
  await checkMagic(file, damaged);
  const sum = createHash("sha256");
  let bytes = 0;
  let finished = false;
  let isFirst = true;
  let position = 0;
  // The sum covers what lies before the closing entry: hashed up to where each entry begins.
  const pending: Buffer[] = [];
  const hashUpTo = (at: number): void => {
    while (position < at) {
      const piece = pending[0]!;
      const part = piece.subarray(0, at - position);
      sum.update(part);
      position += part.length;
      if (part.length === piece.length) pending.shift();
      else pending[0] = piece.subarray(part.length);
    }
  };
  const source = createReadStream(file, { highWaterMark: 1 << 18 });
  const plain = createZstdDecompress();
  source.on("error", (error) => plain.destroy(error));
  source.pipe(plain);
  const tapped = async function* (): AsyncGenerator<Buffer> {
    for await (const piece of plain as AsyncIterable<Buffer>) {
      if (!finished) pending.push(piece);
      yield piece;
    }
  };
  try {
    for await (const { entry, at, content } of entriesOf(tapped())) {
      if (finished) throw new BackupDamaged(`it goes on with ${entry.path} behind its end`);
      if (isFirst) {
        if (entry.path !== descriptionName) throw new BackupDamaged(`it begins with ${entry.path}`);
        isFirst = false;
        const description = (await jsonOf(entry, content)) as Description;
        if (!Number.isInteger(description.format)) throw new BackupDamaged("it does not say its format");
        if (description.format > formatVersion) throw new WherryError("BACKUP_TOO_NEW", `${file} was written by Wherry ${description.wherry} in format ${description.format}; this one reads up to format ${formatVersion}`);
        onDescription(description);
      } else if (entry.path === endName) {
        hashUpTo(at);
        finished = true;
        pending.length = 0;
        const said = (await jsonOf(entry, content)) as { bytes: number; sha256: string };
        if (said.bytes !== at || said.sha256 !== sum.digest("hex")) throw new BackupDamaged("its content does not match its checksum");
      } else {
        hashUpTo(at);
        await onEntry(entry, hashing(content, () => {
          // What was read is hashed as it goes, so that a large file is not held in memory.
          while (pending.length > 1) hashUpTo(position + pending[0]!.length);
        }));
      }
      bytes = at;
    }
    if (!finished) throw new BackupDamaged(`it ends after ${bytes} bytes, without its closing entry`);
  } catch (error) {
    if (error instanceof BackupDamaged) throw damaged(error.message, error);
    const code = (error as NodeJS.ErrnoException).code ?? "";
    // What zlib says of bytes that are no zstd any more, or of their end before the end.
    if (/^(Z_|ZSTD_|ERR_ZSTD|ERR_STREAM_PREMATURE)/.test(code)) throw damaged((error as Error).message, error);
    throw error;
  } finally {
    source.destroy();
    plain.destroy();
  }
}

async function* hashing(content: AsyncIterable<Buffer>, tick: () => void): AsyncGenerator<Buffer> {
  for await (const piece of content) {
    tick();
    yield piece;
  }
}

async function jsonOf(entry: TarEntry, content: AsyncIterable<Buffer>): Promise<unknown> {
  if (entry.size > jsonMax) throw new BackupDamaged(`${entry.path} has ${entry.size} bytes`);
  const pieces: Buffer[] = [];
  for await (const piece of content) pieces.push(Buffer.from(piece));
  try {
    return JSON.parse(Buffer.concat(pieces).toString("utf8"));
  } catch {
    throw new BackupDamaged(`${entry.path} is no JSON`);
  }
}

/** zstd's magic number, RFC 8878 §3.1.1. */
const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

async function checkMagic(file: string, damaged: (why: string) => WherryError): Promise<void> {
  let head = Buffer.alloc(magic.length);
  try {
    const handle = await open(file, "r");
    try {
      const { bytesRead } = await handle.read(head, 0, head.length, 0);
      head = head.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new WherryError("USAGE", `--from ${file}: ${(error as Error).message}`, { cause: error });
  }
  if (!head.equals(magic)) throw damaged(head.length === 0 ? "it is empty" : `it begins with the bytes ${head.toString("hex")}, not with those of zstd`);
}
