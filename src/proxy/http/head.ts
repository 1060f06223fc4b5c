import { HeadFields, fieldsMax, stride } from "./head-fields.ts";
import { ids, isText, knownName, methodBytes, nameOfId, pathBytes, queryBytes, tokens, values } from "./bytes.ts";
import { hostAt, hostOf, normalPath } from "./target.ts";

/**
 * One strict parser of request and response heads (RFC 9112), over bytes that may arrive split anywhere. It makes no
 * strings: a head is a line of offsets into its bytes. What is ambiguous is refused, never repaired.
 *
 *   start ─▶ method ─▶ target ─▶ version ─┐                        ┌─▶ the end
 *   start ─▶ version and status ─▶ reason ┴▶ field: name ─▶ value ─┴─▶ field …
 *
 * `parse` goes on where it stopped, so that a head fed byte by byte costs as much as one fed at once.
 */

const [start, method, target, version, lineEnd, field, name, leading, value, valueEnd, headEnd, status, reason] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const CR = 13;
const LF = 10;
const versionText = "HTTP/1.";

export const incomplete = 0;
export const complete = 1;
export const refused = 2;
export type Parsed = typeof incomplete | typeof complete | typeof refused;

/** Our name in Via (RFC 9110 §7.6.3). */
export const pseudonym = "wherry";
/** More digits than a length may have; beyond, sums of two would lose bits. */
const lengthDigitsMax = 15;
/** Fields that a message may have once: two of them are read differently by different programs. */
const singletons = new Set([ids.contentType, ids.authorization, ids.expect, ids.upgrade, ids.date]);

export class Head extends HeadFields {
  readonly isRequest: boolean;
  lineMax: number;
  #state = start;
  #at = 0;
  #mark = 0;
  #sawUnderscore = false;
  #emptyLines = 0;

  /** Why it was refused, and what the client is told. */
  error = "";
  errorStatus = 400;

  /** Offsets from the head's base. */
  methodStart = 0;
  methodEnd = 0;
  targetStart = 0;
  targetEnd = 0;
  /** Of "?", or targetEnd. */
  queryStart = 0;
  fieldsStart = 0;
  minorVersion = 1;
  status = 0;
  /** The path has something that the normal form may not. */
  unusualPath = false;
  absolute = false;
  asterisk = false;
  host = "";
  #path: string | undefined;

  contentLength = -1;
  chunked = false;
  connectionClose = false;
  connectionKeepAlive = false;
  connectionUpgrade = false;
  /** Field numbers, -1 for none. */
  hostField = -1;
  upgradeField = -1;
  keepAliveField = -1;
  forwardedForField = -1;
  requestIdField = -1;
  expectContinue = false;
  hasDate = false;
  hasTrailers = false;
  /** How often Via says that it went through a gateway of ours. */
  passes = 0;
  /** What Connection names besides options. */
  #nominated: string[] | undefined;

  constructor(isRequest: boolean, bytesMax: number, lineMax = bytesMax) {
    super(bytesMax);
    this.isRequest = isRequest;
    this.lineMax = lineMax;
    this.#state = isRequest ? start : status;
  }

  reset(): void {
    this.forget();
    this.#state = this.isRequest ? start : status;
    this.#at = 0;
    this.#mark = 0;
    this.#sawUnderscore = false;
    this.#emptyLines = 0;
    this.error = "";
    this.errorStatus = 400;
    this.minorVersion = 1;
    this.status = 0;
    this.unusualPath = false;
    this.absolute = false;
    this.asterisk = false;
    this.host = "";
    this.#path = undefined;
    this.contentLength = -1;
    this.chunked = false;
    this.connectionClose = false;
    this.connectionKeepAlive = false;
    this.connectionUpgrade = false;
    this.hostField = -1;
    this.upgradeField = -1;
    this.keepAliveField = -1;
    this.forwardedForField = -1;
    this.requestIdField = -1;
    this.expectContinue = false;
    this.hasDate = false;
    this.hasTrailers = false;
    this.passes = 0;
    this.#nominated = undefined;
  }

  /** Nothing of the head has come yet, besides empty lines. */
  get isFresh(): boolean {
    return this.#state === start;
  }

  /** After {@link feed} was complete: the input's index behind the head. */
  next = 0;

  /** Takes the connection's next bytes. A head that comes in one piece is not copied: it lies in the input, for the moment. */
  feed(input: Buffer, from: number, to: number): Parsed {
    const before = this.stored;
    if (before === 0) {
      const result = this.parse(input, from, to);
      if (result === complete) {
        this.bytes = input;
        this.base = from;
        this.next = from + this.end;
      } else if (result === incomplete) {
        this.append(input, from, to);
      }
      return result;
    }
    this.append(input, from, Math.min(to, from + this.bytesMax - before));
    const result = this.parse(this.store, 0, this.stored);
    this.bytes = this.store;
    this.base = 0;
    this.next = from + this.end - before;
    return result;
  }

  /**
   * Looks at bytes[base, to): the head so far, all of it since its beginning. `complete`: `end` says where it ends.
   * After `refused` the connection cannot be used any more.
   */
  parse(bytes: Buffer, base: number, to: number): Parsed {
    const limit = Math.min(to, base + this.bytesMax);
    let i = base + this.#at;
    let state = this.#state;
    let mark = this.#mark + base;
    while (i < limit) {
      const c = bytes[i]!;
      switch (state) {
        case field:
          if (c === CR) {
            state = headEnd;
            i++;
            break;
          }
          if (this.count === fieldsMax) return this.#refuse("too many header fields", 431);
          this.dropped[this.count] = 0;
          mark = i;
          state = name;
          break;
        case name: {
          let kind = tokens[c]!;
          while (kind !== 0) {
            if (kind === 2) this.#sawUnderscore = true;
            if (++i === limit) break;
            kind = tokens[bytes[i]!]!;
          }
          if (i === limit) break;
          if (bytes[i] !== 0x3a || i === mark) return this.#refuse("a header name has a character that it may not have");
          const at = this.count * stride;
          this.offsets[at] = mark - base;
          this.offsets[at + 1] = i - base;
          this.fieldIds[this.count] = knownName(bytes, mark, i);
          mark = ++i;
          state = leading;
          break;
        }
        case leading:
          if (c === 0x20 || c === 9) {
            i++;
            break;
          }
          this.plain[this.count] = i === mark + 1 && bytes[mark] === 0x20 ? 1 : 0;
          mark = i;
          state = value;
          break;
        case value: {
          while (values[bytes[i]!] === 1 && ++i < limit);
          if (i === limit) break;
          if (bytes[i] !== CR) return this.#refuse(bytes[i] === LF ? "a line ends in a bare LF" : "a header value has a control character");
          let last = i;
          while (last > mark && (bytes[last - 1] === 0x20 || bytes[last - 1] === 9)) last--;
          if (last !== i) this.plain[this.count] = 0;
          const at = this.count * stride;
          this.offsets[at + 2] = mark - base;
          this.offsets[at + 3] = last - base;
          i++;
          state = valueEnd;
          break;
        }
        case valueEnd: {
          if (c !== LF) return this.#refuse("a bare CR in a header value");
          i++;
          state = field;
          const id = this.fieldIds[this.count]!;
          this.count++;
          if ((id !== 0 || this.#sawUnderscore) && !this.#look(bytes, base, id)) return refused;
          break;
        }
        case headEnd:
          if (c !== LF) return this.#refuse("a bare CR");
          this.end = i + 1 - base;
          this.#state = state;
          this.#at = this.end;
          return this.isRequest ? this.#judgeRequest(bytes, base) : this.#judge();
        case start:
          if (c === CR && this.#emptyLines % 2 === 0 && this.#emptyLines < 4) {
            this.#emptyLines++;
            i++;
            break;
          }
          if (this.#emptyLines % 2 === 1) {
            if (c !== LF) return this.#refuse("a bare CR");
            this.#emptyLines++;
            i++;
            break;
          }
          mark = i;
          this.methodStart = i - base;
          state = method;
          break;
        case method:
          while (methodBytes[bytes[i]!] === 1 && ++i < limit);
          if (i === limit) break;
          if (bytes[i] !== 0x20 || i === mark) return this.#refuse(tokens[bytes[i]!] ? "a method in letters other than capitals" : "a method has a character that it may not have", tokens[bytes[i]!] ? 501 : 400);
          this.methodEnd = i - base;
          mark = ++i;
          this.targetStart = mark - base;
          this.queryStart = -1;
          state = target;
          break;
        case target: {
          if (this.queryStart < 0) {
            let before = i > mark ? bytes[i - 1]! : 0;
            while (i < limit) {
              const b = bytes[i]!;
              const kind = pathBytes[b]!;
              if (kind === 0) break;
              if (kind === 2 && (b !== 0x2f ? b !== 0x2e || before === 0x2f : before === 0x2f)) this.unusualPath = true;
              before = b;
              i++;
            }
            if (i < limit && bytes[i] === 0x3f) this.queryStart = i - base;
          }
          if (this.queryStart >= 0) while (i < limit && queryBytes[bytes[i]!] === 1) i++;
          if (i - base - this.targetStart > this.lineMax) return this.#refuse("the request target is too long", 414);
          if (i === limit) break;
          if (bytes[i] !== 0x20 || i === mark) return this.#refuse("the request target has a character that it may not have");
          this.targetEnd = i - base;
          if (this.queryStart < 0) this.queryStart = this.targetEnd;
          mark = ++i;
          state = version;
          break;
        }
        case version: {
          const at = i - mark;
          if (at < 7 ? c !== versionText.charCodeAt(at) : c !== 0x30 && c !== 0x31) return this.#refuse("not HTTP/1.1 or HTTP/1.0", at === 5 && c >= 0x32 && c <= 0x39 ? 505 : 400);
          i++;
          if (at === 7) {
            this.minorVersion = c - 0x30;
            mark = i;
            state = lineEnd;
          }
          break;
        }
        case lineEnd:
          if (c !== (i === mark ? CR : LF)) return this.#refuse("the first line does not end in CR LF");
          i++;
          if (i === mark + 2) {
            this.fieldsStart = i - base;
            state = field;
          }
          break;
        case status: {
          // "HTTP/1.x nnn"
          const at = i - mark;
          const digit = c >= 0x30 && c <= 0x39;
          if (!(at < 7 ? c === versionText.charCodeAt(at) : at === 7 ? c === 0x30 || c === 0x31 : at === 8 ? c === 0x20 : digit)) return this.#refuse("not the status line of HTTP/1.1");
          if (at === 7) this.minorVersion = c - 0x30;
          else if (at > 8) this.status = this.status * 10 + c - 0x30;
          i++;
          if (at !== 11) break;
          if (this.status < 100 || this.status > 599) return this.#refuse("a status outside of 100 to 599");
          this.methodEnd = i - base;
          mark = i;
          state = reason;
          break;
        }
        case reason:
          if (i === mark && c !== 0x20 && c !== CR) return this.#refuse("not the status line of HTTP/1.1");
          while (values[bytes[i]!] === 1 && ++i < limit);
          if (i === limit) break;
          if (bytes[i] !== CR) return this.#refuse("the reason has a control character");
          this.targetEnd = i - base;
          mark = i;
          state = lineEnd;
          break;
      }
    }
    this.#at = i - base;
    this.#mark = mark - base;
    this.#state = state;
    if (i - base < this.bytesMax) return incomplete;
    return state === method || state === target || state === start ? this.#refuse("the request line is too long", 414) : this.#refuse("the header fields are too large", 431);
  }

  /** One field that means something; false when it is refused. */
  #look(bytes: Buffer, base: number, id: number): boolean {
    const index = this.count - 1;
    const at = index * stride;
    const from = base + this.offsets[at + 2]!;
    const to = base + this.offsets[at + 3]!;
    if (this.#sawUnderscore) {
      this.#sawUnderscore = false;
      return this.isRequest ? this.#twin(bytes, base, index) : true;
    }
    switch (id) {
      case ids.host:
        if (this.hostField >= 0) return this.#deny("more than one Host");
        this.hostField = index;
        return true;
      case ids.contentLength: {
        if (this.contentLength >= 0) return this.#deny("more than one Content-Length");
        if (from === to || (bytes[from] === 0x30 && to > from + 1)) return this.#deny("Content-Length is not a number");
        let length = 0;
        for (let i = from; i < to; i++) {
          const digit = bytes[i]! - 0x30;
          if (digit < 0 || digit > 9) return this.#deny("Content-Length is not a number");
          length = length * 10 + digit;
        }
        if (to - from > lengthDigitsMax) return this.#deny("Content-Length is too large", 413);
        this.contentLength = length;
        return true;
      }
      case ids.transferEncoding:
        if (this.chunked) return this.#deny("more than one Transfer-Encoding");
        // Codings other than chunked have no user, and each is a way to be misread (RFC 9112 §6.1 allows 501).
        if (!isText(bytes, from, to, "chunked")) return this.#deny("a Transfer-Encoding other than chunked", 501);
        this.chunked = true;
        return true;
      case ids.connection:
        if (isText(bytes, from, to, "keep-alive")) this.connectionKeepAlive = true;
        else if (isText(bytes, from, to, "close")) this.connectionClose = true;
        else return this.#options(bytes.latin1Slice(from, to));
        return true;
      case ids.upgrade:
        this.upgradeField = index;
        break;
      case ids.keepAlive:
        this.keepAliveField = index;
        return true;
      case ids.expect:
        if (!isText(bytes, from, to, "100-continue")) return this.#deny("an expectation other than 100-continue", 417);
        this.expectContinue = true;
        break;
      case ids.forwardedFor:
        // Several lines are one list; it is read by name, from all of them.
        if (this.forwardedForField < 0) this.forwardedForField = index;
        return true;
      case ids.requestId:
        if (this.requestIdField < 0) this.requestIdField = index;
        return true;
      case ids.te:
        if (/(^|,)\s*trailers\s*(,|$)/i.test(bytes.latin1Slice(from, to))) this.hasTrailers = true;
        return true;
      case ids.trailer:
        if (!this.isRequest) this.hasTrailers = true;
        return true;
      case ids.via:
        this.passes += bytes.latin1Slice(from, to).split(` ${pseudonym}`).length - 1;
        return true;
      case ids.date:
        this.hasDate = true;
        break;
    }
    if (singletons.has(id) && this.isRequest) for (let i = 0; i < index; i++) if (this.fieldIds[i] === id) return this.#deny(`more than one ${nameOfId[id]}`);
    return true;
  }

  /** `X_Forwarded_For` is `X-Forwarded-For` for many backends (CGI, WSGI): names that mean something do not pass in that spelling. */
  #twin(bytes: Buffer, base: number, index: number): boolean {
    const at = index * stride;
    const name = Buffer.from(bytes.latin1Slice(base + this.offsets[at]!, base + this.offsets[at + 1]!).replaceAll("_", "-"), "latin1");
    const id = knownName(name, 0, name.length);
    if (id === ids.contentLength || id === ids.transferEncoding || id === ids.host) return this.#deny("a framing header in another spelling");
    if (id !== 0) this.dropped[index] = 1;
    return true;
  }

  #options(list: string): boolean {
    for (const part of list.toLowerCase().split(",")) {
      const option = part.trim();
      if (option === "close") this.connectionClose = true;
      else if (option === "keep-alive") this.connectionKeepAlive = true;
      else if (option === "upgrade") this.connectionUpgrade = true;
      else if (option !== "") (this.#nominated ??= []).push(option);
    }
    return true;
  }

  #judgeRequest(bytes: Buffer, base: number): Parsed {
    const result = this.#judge();
    if (result !== complete) return result;
    if (this.minorVersion === 0 && this.chunked) return this.#refuse("Transfer-Encoding in HTTP/1.0");
    if (this.hostField < 0 && this.minorVersion === 1) return this.#refuse("no Host");
    if (this.hostField >= 0) {
      const at = this.hostField * stride;
      const from = base + this.offsets[at + 2]!;
      const to = base + this.offsets[at + 3]!;
      const host = hostAt(bytes, from, to);
      if (host === undefined) return this.#refuse("Host is not a host");
      this.host = host;
    }
    const first = bytes[base + this.targetStart]!;
    if (bytes[base + this.methodStart] === 0x43 && this.#methodIs(bytes, base, "CONNECT")) return this.#refuse("CONNECT is not served here", 405);
    if (first === 0x2f) return this.unusualPath ? this.#setPath(bytes.latin1Slice(base + this.targetStart, base + this.queryStart)) : complete;
    if (first === 0x2a && this.targetEnd === this.targetStart + 1 && this.#methodIs(bytes, base, "OPTIONS")) {
      this.asterisk = true;
      this.path = "*";
      return complete;
    }
    // absolute-form: its authority counts, whatever Host says (RFC 9112 §3.2.2).
    const match = /^https?:\/\/([^/]+)(\/.*)?$/i.exec(bytes.latin1Slice(base + this.targetStart, base + this.queryStart));
    const host = match ? hostOf(match[1]!) : undefined;
    if (host === undefined) return this.#refuse("the request target is neither a path nor an http address");
    this.absolute = true;
    this.unusualPath = true;
    this.host = host;
    return this.#setPath(match![2] ?? "/");
  }

  /** In its normal form; what has come in it is made a text of when somebody asks. */
  get path(): string {
    return (this.#path ??= this.bytes.latin1Slice(this.base + this.targetStart, this.base + this.queryStart));
  }
  set path(path: string) {
    this.#path = path;
  }

  #setPath(raw: string): Parsed {
    const path = this.unusualPath ? normalPath(raw) : raw;
    if (path === undefined) return this.#refuse("the path has no normal form");
    this.unusualPath &&= this.absolute || path !== raw;
    this.path = path;
    return complete;
  }

  /** What holds for requests and responses. */
  #judge(): Parsed {
    if (this.chunked && this.contentLength >= 0) return this.#refuse("both Content-Length and Transfer-Encoding");
    return complete;
  }

  /** Marks what Connection names. Names that the engine itself acts on are not anybody's to remove. */
  dropNominated(): void {
    if (!this.#nominated) return;
    for (let i = 0; i < this.count; i++) if (this.fieldIds[i] === 0 && this.#nominated.includes(this.nameAt(i))) this.dropped[i] = 1;
  }

  #methodIs(bytes: Buffer, base: number, text: string): boolean {
    if (this.methodEnd - this.methodStart !== text.length) return false;
    for (let i = 0; i < text.length; i++) if (bytes[base + this.methodStart + i] !== text.charCodeAt(i)) return false;
    return true;
  }
  methodIs(text: string): boolean {
    return this.#methodIs(this.bytes, this.base, text);
  }
  #refuse(error: string, status = 400): Parsed {
    this.error = error;
    this.errorStatus = status;
    return refused;
  }
  #deny(error: string, status = 400): boolean {
    this.#refuse(error, status);
    return false;
  }
}
