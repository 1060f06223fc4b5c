import { hexValues, tokens, values } from "./bytes.ts";

/**
 * Reads a chunked body (RFC 9112 §7.1), strictly, split anywhere. The data of all chunks within one piece is moved together
 * in place, so that it can be sent on in one. Extensions end here; trailers are kept for who wants them.
 *
 *   size ─▶ extensions ─▶ CR LF ─▶ data ─▶ CR LF ─┬▶ size …
 *                     last chunk: CR LF ─▶ trailers ─▶ CR LF, done
 */
const [sizeFirst, size, sizeLf, blank, extName, inExtName, afterName, extValue, inExtValue, quoted, escaped, afterQuoted, data, dataCr, dataLf, trailer, trailerLf, lastLf] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17];
const CR = 13;
const LF = 10;
/** 2^52 at the most. */
const sizeDigitsMax = 16;
/** Of a whole body: bytes that carry nothing, and that a client may not make us read without end. */
const extensionBytesMax = 16 * 1024;
const trailerBytesMax = 8 * 1024;
const trailersMax = 32;
/** RFC 9110 §6.5.1: what frames, routes, authenticates or says how to read the content came too late. */
export const lateNames = /^(transfer-encoding|content-length|host|connection|te|trailer|upgrade|expect|authorization|proxy-.*|cookie|set-cookie|content-.*|range|cache-control|max-forwards|x-forwarded-.*|forwarded)$/;

export class ChunkReader {
  /** Where the data of the last piece lies. */
  dataStart = 0;
  dataEnd = 0;
  done = false;
  error: string | undefined;
  trailers: [name: string, value: string][] = [];
  #state = sizeFirst;
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  #line = "";

  /** Index behind what it used of bytes[from, to): `to`, unless it is done or has found an error. */
  read(bytes: Buffer, from: number, to: number): number {
    let i = from;
    let state = this.#state;
    this.dataStart = this.dataEnd = from;
    while (i < to) {
      if (state === data) {
        const length = Math.min(this.#left, to - i);
        if (this.dataEnd === this.dataStart) this.dataStart = this.dataEnd = i;
        else bytes.copyWithin(this.dataEnd, i, i + length);
        this.dataEnd += length;
        this.#left -= length;
        i += length;
        if (this.#left === 0) state = dataCr;
        continue;
      }
      const c = bytes[i]!;
      switch (state) {
        case sizeFirst:
        case size: {
          const digit = hexValues[c]!;
          if (digit !== 255) {
            if (++this.#digits > sizeDigitsMax) return this.#fail("a chunk size of too many digits", i);
            this.#left = this.#left * 16 + digit;
            if (this.#left > 2 ** 52) return this.#fail("a chunk size that is too large", i);
            state = size;
          } else if (state === sizeFirst) {
            return this.#fail("a chunk without a size", i);
          } else {
            state = c === CR ? sizeLf : c === 0x3b ? extName : c === 0x20 || c === 9 ? blank : -1;
          }
          break;
        }
        case blank:
          state = c === 0x3b ? extName : c === 0x20 || c === 9 ? blank : -1;
          break;
        case extName:
          state = c === 0x20 || c === 9 ? extName : tokens[c] ? inExtName : -1;
          break;
        case inExtName:
          if (!tokens[c]) state = c === 0x3d ? extValue : c === 0x3b ? extName : c === CR ? sizeLf : c === 0x20 || c === 9 ? afterName : -1;
          break;
        case afterName:
          state = c === 0x3d ? extValue : c === 0x3b ? extName : c === 0x20 || c === 9 ? afterName : -1;
          break;
        case extValue:
          state = c === 0x22 ? quoted : c === 0x20 || c === 9 ? extValue : tokens[c] ? inExtValue : -1;
          break;
        case inExtValue:
          if (!tokens[c]) state = c === 0x3b ? extName : c === CR ? sizeLf : c === 0x20 || c === 9 ? blank : -1;
          break;
        case quoted:
          state = c === 0x22 ? afterQuoted : c === 0x5c ? escaped : values[c] ? quoted : -1;
          break;
        case escaped:
          state = values[c] ? quoted : -1;
          break;
        case afterQuoted:
          state = c === 0x3b ? extName : c === CR ? sizeLf : c === 0x20 || c === 9 ? blank : -1;
          break;
        case sizeLf:
          if (c !== LF) return this.#fail("a chunk size that does not end in CR LF", i);
          state = this.#left === 0 ? trailer : data;
          this.#digits = 0;
          break;
        case dataCr:
          if (c !== CR) return this.#fail("a chunk longer than its size", i);
          state = dataLf;
          break;
        case dataLf:
          if (c !== LF) return this.#fail("a chunk longer than its size", i);
          state = sizeFirst;
          break;
        case trailer: {
          let end = i;
          while (end < to && values[bytes[end]!]) end++;
          if ((this.#trailerBytes += end - i + 1) > trailerBytesMax) return this.#fail("trailers that are too large", i);
          this.#line += bytes.latin1Slice(i, end);
          if (end === to) {
            i = to - 1;
          } else {
            if (bytes[end] !== CR) return this.#fail("a trailer has a control character", end);
            i = end;
            state = this.#line === "" ? lastLf : trailerLf;
          }
          break;
        }
        case trailerLf: {
          if (c !== LF) return this.#fail("a trailer that does not end in CR LF", i);
          const error = this.#trailer(this.#line);
          if (error) return this.#fail(error, i);
          this.#line = "";
          state = trailer;
          break;
        }
        case lastLf:
          if (c !== LF) return this.#fail("a chunked body that does not end in CR LF", i);
          this.done = true;
          this.#state = state;
          return i + 1;
      }
      if (state === -1) return this.#fail("a chunk size or extension with a character that it may not have", i);
      if (state >= blank && state <= afterQuoted && ++this.#extensionBytes > extensionBytesMax) return this.#fail("chunk extensions that are too large", i);
      i++;
    }
    this.#state = state;
    return i;
  }

  #trailer(line: string): string | undefined {
    const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):(.*)$/.exec(line);
    if (!match) return "a trailer that is not a field";
    const name = match[1]!.toLowerCase();
    if (lateNames.test(name.replaceAll("_", "-"))) return `${name} as a trailer`;
    if (this.trailers.length === trailersMax) return "too many trailers";
    this.trailers.push([name, withoutBlanks(match[2]!)]);
    return undefined;
  }

  #fail(error: string, at: number): number {
    this.error = error;
    return at;
  }
}

/** A pattern for blanks at the end would look at each long row of them again and again. */
function withoutBlanks(text: string): string {
  const isBlank = (at: number): boolean => text[at] === " " || text[at] === "\t";
  let [from, to] = [0, text.length];
  while (from < to && isBlank(from)) from++;
  while (to > from && isBlank(to - 1)) to--;
  return text.slice(from, to);
}
