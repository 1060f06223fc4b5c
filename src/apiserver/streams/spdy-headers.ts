import { createInflate, type Inflate } from "node:zlib";

/**
 * Header blocks of SPDY/3: name-value pairs in one zlib stream a connection, seeded with the dictionary that the
 * protocol fixes. Source: draft-mbelshe-httpbis-spdy-00 (§2.6.10), whose dictionary is length-prefixed words and a tail.
 */
const words =
  "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status";
const rest =
  "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505" +
  "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable" +
  "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT" +
  "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

function prefixed(text: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, Buffer.from(text, "latin1")]);
}
export const dictionary = Buffer.concat([...[...words.split(" "), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"].map(prefixed), Buffer.from(rest, "latin1")]);

/** What the headers of one stream may take, unpacked. */
const headerBytesMax = 64 * 1024;
const headersMax = 256;

/** Names are lower case; of a repeated one the first value counts. */
export type Headers = ReadonlyMap<string, string>;

/** Unpacks the header blocks of one connection, in the order in which they came. */
export class HeaderReader {
  readonly #inflate: Inflate = createInflate({ dictionary });
  #pieces: Buffer[] = [];
  #size = 0;
  #fail: (error: Error) => void = () => {};

  constructor() {
    this.#inflate.on("data", (piece: Buffer) => {
      this.#size += piece.length;
      if (this.#size > headerBytesMax) this.#inflate.destroy(new Error(`SPDY headers over ${headerBytesMax} bytes`));
      else this.#pieces.push(piece);
    });
    this.#inflate.on("error", (error) => this.#fail(error));
  }

  read(block: Uint8Array): Promise<Headers> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      this.#pieces = [];
      this.#size = 0;
      this.#inflate.write(block, (error) => {
        if (error) return reject(error);
        // What was unpacked is handed over in a later tick than this callback.
        setImmediate(() => {
          try {
            resolve(parse(Buffer.concat(this.#pieces)));
          } catch (problem) {
            reject(problem as Error);
          }
        });
      });
    });
  }
  close(): void {
    this.#inflate.destroy();
  }
}

function parse(bytes: Buffer): Headers {
  const headers = new Map<string, string>();
  let at = 0;
  const number = () => {
    at += 4;
    return bytes.readUInt32BE(at - 4);
  };
  const text = () => {
    const length = number();
    if (length > bytes.length - at) throw new Error("SPDY header block ends inside a value");
    at += length;
    return bytes.toString("latin1", at - length, at);
  };
  const count = number();
  if (count > headersMax) throw new Error(`${count} SPDY headers, at most ${headersMax} are allowed`);
  for (let index = 0; index < count; index++) {
    const name = text().toLowerCase();
    const [value] = text().split("\0");
    if (!headers.has(name)) headers.set(name, value!);
  }
  return headers;
}

/** An empty stored block: Go's reader hands over what it has only when it meets one. */
const syncFlush = Buffer.from([0, 0, 0, 0xff, 0xff]);

/**
 * Packs header blocks as stored (uncompressed) deflate blocks: what a server says is a few bytes a stream, and a
 * stored block needs no state but the zlib header before the first.
 */
export class HeaderWriter {
  #began = false;

  write(headers: Iterable<readonly [string, string]> = []): Buffer {
    const pairs = [...headers];
    const count = Buffer.alloc(4);
    count.writeUInt32BE(pairs.length);
    const plain = Buffer.concat([count, ...pairs.flatMap(([name, value]) => [prefixed(name.toLowerCase()), prefixed(value)])]);
    const head = Buffer.alloc(5);
    head.writeUInt16LE(plain.length, 1);
    head.writeUInt16LE(plain.length ^ 0xffff, 3);
    // 0x7820: deflate, 32 KiB window, with a preset dictionary, whose Adler-32 follows.
    const zlibHeader = this.#began ? [] : [Buffer.from([0x78, 0x20, 0xe3, 0xc6, 0xa7, 0xc2])];
    this.#began = true;
    return Buffer.concat([...zlibHeader, head, plain, syncFlush]);
  }
}
