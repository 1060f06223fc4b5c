import { BackupDamaged } from "./damaged.ts";

/**
 * Entries of a tar archive as every tar reads them: ustar headers, with a pax header before what does not fit one.
 * Source: pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html.
 */
export interface TarEntry {
  /** Relative, without a closing slash. */
  path: string;
  type: "file" | "folder" | "symlink" | "hardlink";
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeMs: number;
  /** Of links. */
  target: string;
}

const block = 512;
const types = { file: "0", hardlink: "1", symlink: "2", folder: "5" } as const;
const typeOf: Record<string, TarEntry["type"]> = { "0": "file", "\0": "file", "1": "hardlink", "2": "symlink", "5": "folder" };
const octalMax = (digits: number): number => 8 ** digits - 1;

/** The blocks before an entry's content. */
export function header(entry: TarEntry): Buffer {
  const path = entry.type === "folder" ? `${entry.path}/` : entry.path;
  const records: Record<string, string> = {};
  if (Buffer.byteLength(path) > 100) records["path"] = path;
  if (Buffer.byteLength(entry.target) > 100) records["linkpath"] = entry.target;
  if (entry.size > octalMax(11)) records["size"] = String(entry.size);
  if (entry.mtimeMs % 1000 !== 0 || entry.mtimeMs < 0) records["mtime"] = (entry.mtimeMs / 1000).toFixed(6);
  for (const name of ["uid", "gid"] as const) if (entry[name] > octalMax(7)) records[name] = String(entry[name]);
  const head = plain({ ...entry, path }, types[entry.type]);
  if (Object.keys(records).length === 0) return head;
  const body = Buffer.from(Object.entries(records).map(([name, value]) => paxRecord(name, value)).join(""));
  return Buffer.concat([plain({ ...entry, path: "pax", target: "", size: body.length, mtimeMs: 0, uid: 0, gid: 0 }, "x"), body, padding(body.length), head]);
}

/** What fills the last block of a content of this size. */
export const padding = (size: number): Buffer => Buffer.alloc((block - (size % block)) % block);
/** The end of an archive. */
export const end = (): Buffer => Buffer.alloc(2 * block);

function plain(entry: Omit<TarEntry, "type">, type: string): Buffer {
  const head = Buffer.alloc(block);
  const octal = (value: number, at: number, digits: number) => head.write(Math.min(Math.max(0, Math.floor(value)), octalMax(digits)).toString(8).padStart(digits, "0"), at, "latin1");
  head.write(entry.path, 0, 100, "utf8");
  octal(entry.mode & 0o7777, 100, 7);
  octal(entry.uid, 108, 7);
  octal(entry.gid, 116, 7);
  octal(entry.size, 124, 11);
  octal(entry.mtimeMs / 1000, 136, 11);
  head.write("        ", 148, "latin1");
  head.write(type, 156, "latin1");
  head.write(entry.target, 157, 100, "utf8");
  head.write("ustar\x0000", 257, "latin1");
  let sum = 0;
  for (const byte of head) sum += byte;
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return head;
}

/** "LENGTH NAME=VALUE\n", where the length counts itself. */
function paxRecord(name: string, value: string): string {
  const rest = Buffer.byteLength(` ${name}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${name}=${value}\n`;
}

/** Bytes of a stream by count, in order. */
class Bytes {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);
  read = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next piece of at most `count` bytes. Throws at the end. */
  async some(count: number): Promise<Buffer> {
    while (this.#held.length === 0) {
      const { done, value } = await this.#source.next();
      if (done) throw new BackupDamaged("it ends too early");
      this.#held = value;
    }
    const piece = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(piece.length);
    this.read += piece.length;
    return piece;
  }
  async exactly(count: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = count; left > 0; left -= pieces.at(-1)!.length) pieces.push(await this.some(left));
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, count);
  }
  async *content(size: number): AsyncGenerator<Buffer> {
    for (let left = size; left > 0; ) {
      const piece = await this.some(left);
      left -= piece.length;
      yield piece;
    }
  }
  /** Reads on to the end, so that checksums behind the last entry are looked at. */
  async drain(): Promise<void> {
    while (!(await this.#source.next()).done);
  }
}

const textMax = 1 << 20;

/** The entries of an archive; each one's content is to be read before the next is asked for. Throws BackupDamaged. */
export async function* entriesOf(source: AsyncIterable<Buffer>): AsyncGenerator<{ entry: TarEntry; at: number; content: AsyncGenerator<Buffer> }> {
  const bytes = new Bytes(source);
  let pax: Record<string, string> = {};
  for (let at = 0; ; ) {
    const head = await bytes.exactly(block);
    if (head.every((byte) => byte === 0)) return await bytes.drain();
    checkSum(head);
    const type = String.fromCharCode(head[156]!);
    const size = pax["size"] === undefined ? octalAt(head, 124, 12) : Number(pax["size"]);
    if (!Number.isSafeInteger(size) || size < 0) throw new BackupDamaged(`an entry has the size ${pax["size"]}`);
    if (type === "x") {
      if (size > textMax) throw new BackupDamaged(`a pax header of ${size} bytes`);
      pax = paxOf(await bytes.exactly(size));
      await bytes.exactly(padding(size).length);
      continue;
    }
    const kind = typeOf[type];
    if (!kind) throw new BackupDamaged(`an entry has the type ${JSON.stringify(type)}`);
    const entry: TarEntry = {
      path: (pax["path"] ?? textAt(head, 0, 100)).replace(/\/$/, ""),
      type: kind,
      mode: octalAt(head, 100, 8),
      uid: pax["uid"] === undefined ? octalAt(head, 108, 8) : Number(pax["uid"]),
      gid: pax["gid"] === undefined ? octalAt(head, 116, 8) : Number(pax["gid"]),
      size,
      mtimeMs: pax["mtime"] === undefined ? octalAt(head, 136, 12) * 1000 : Number(pax["mtime"]) * 1000,
      target: pax["linkpath"] ?? textAt(head, 157, 100),
    };
    pax = {};
    const content = bytes.content(size);
    yield { entry, at, content };
    for await (const _ of content); // what the reader left
    await bytes.exactly(padding(size).length);
    at = bytes.read;
  }
}

function checkSum(head: Buffer): void {
  let sum = 0;
  for (const [index, byte] of head.entries()) sum += index >= 148 && index < 156 ? 32 : byte;
  if (sum !== octalAt(head, 148, 8)) throw new BackupDamaged("the head of an entry does not match its checksum");
}
const textAt = (head: Buffer, at: number, length: number): string => head.toString("utf8", at, at + length).replace(/\0.*$/s, "");
const octalAt = (head: Buffer, at: number, length: number): number => Number.parseInt(textAt(head, at, length).trim() || "0", 8);

function paxOf(body: Buffer): Record<string, string> {
  const records: Record<string, string> = {};
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const length = Number(body.toString("latin1", at, space));
    if (space < 0 || !(length > 0) || at + length > body.length) throw new BackupDamaged("a pax header makes no sense");
    const [, name, value] = /^([^=]+)=(.*)\n$/s.exec(body.toString("utf8", space + 1, at + length)) ?? [];
    if (name === undefined) throw new BackupDamaged("a pax header makes no sense");
    records[name] = value!;
    at += length;
  }
  return records;
}
