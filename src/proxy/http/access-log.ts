import { performance } from "node:perf_hooks";
import { writeSpiffeId } from "../../base/spiffe.ts";
import type { HttpExchange } from "./exchange.ts";
import { queryWithoutSecrets, withoutSecrets } from "./secrets.ts";

/** Lines wait for so long, or until there are so many bytes of them. */
const flushMs = 100;
const pieceBytes = 64 * 1024;
const textMax = 2048;
/** The longest line: texts may be escaped to six times their length. */
const lineBytesMax = 6 * 7 * textMax + 1024;
const waysMax = 256;
const hexDigits = "0123456789abcdef";

/**
 * One JSON line a request, written as bytes: making strings of it cost as much as the rest of the engine. Whatever a client
 * sends is a JSON string and of bounded length, so that nobody writes lines of his own. Lines are handed on a few times a
 * second.
 */
export class AccessLog {
  readonly #write: (lines: Buffer) => void;
  readonly #piece = Buffer.allocUnsafeSlow(pieceBytes + lineBytesMax);
  #at = 0;
  #timer: NodeJS.Timeout | undefined;
  /** By the endpoint: the last way that led there. */
  readonly #ways = new Map<string, { listener: string; rule: string; upstream: string | undefined; bytes: Buffer }>();
  /** Of all rules that there have been: which one was meant by who has met none, nobody knows. */
  #secrets: readonly string[] = [];
  #second = 0;
  #secondText = "";

  /** The bytes are `write`'s until it returns. */
  constructor(write: (lines: Buffer) => void) {
    this.#write = write;
  }

  /** Parameters that are left out where no rule says which. */
  hides(names: readonly string[]): void {
    const more = names.filter((name) => !this.#secrets.includes(name));
    if (more.length > 0) this.#secrets = [...this.#secrets, ...more];
  }
  add(exchange: HttpExchange): void {
    const { request, client } = exchange;
    this.#begin();
    this.#put(',"method":"');
    this.#escape(request.method);
    this.#put('","host":"');
    this.#escape(request.host);
    this.#put('","path":"');
    this.#escape(request.path);
    if (request.query !== "") {
      this.#put("?");
      this.#escape(queryWithoutSecrets(request.query, exchange.secrets ?? this.#secrets));
    }
    this.#put('","protocol":"');
    this.#put(client.protocol);
    this.#put('","status":');
    this.#number(exchange.status);
    this.#put(',"receivedBytes":');
    this.#number(exchange.receivedBytes);
    this.#put(',"sentBytes":');
    this.#number(exchange.sentBytes);
    this.#put(',"ms":');
    this.#milliseconds(performance.now() - exchange.startedAt);
    this.#put(',"client":"');
    this.#put(request.client);
    this.#put('","requestId":"');
    this.#put(exchange.requestId);
    this.#way(client.listener.id, exchange.rule, exchange.upstream, exchange.endpoint);
    if (exchange.upstream !== undefined) {
      this.#put(',"upstreamMs":');
      this.#milliseconds(exchange.latencyMs);
      this.#put(',"tries":');
      this.#number(exchange.tries);
    }
    const caller = client.listener.peer ?? exchange.judged?.caller;
    if (caller) {
      this.#put(',"peer":"');
      this.#escape(writeSpiffeId(caller));
      this.#put('"');
    }
    if (exchange.judged && exchange.judged.note !== "") {
      this.#put(',"policy":"');
      this.#escape(exchange.judged.note);
      this.#put('"');
    }
    if (exchange.notes) {
      this.#put(',"notes":"');
      this.#escape(exchange.notes.join("; "));
      this.#put('"');
    }
    this.#end(exchange.flag, exchange.reason);
  }
  /** From where to where: a third of a line, and the same for many. */
  #way(listener: string, rule: string, upstream: string | undefined, endpoint: string): void {
    const known = this.#ways.get(endpoint);
    if (known && known.rule === rule && known.listener === listener && known.upstream === upstream) {
      this.#at += known.bytes.copy(this.#piece, this.#at);
      return;
    }
    const from = this.#at;
    this.#put('","listener":"');
    this.#escape(listener);
    if (rule !== "") {
      this.#put('","rule":"');
      this.#escape(rule);
    }
    if (upstream !== undefined) {
      this.#put('","upstream":"');
      this.#escape(upstream);
      this.#put('","endpoint":"');
      this.#put(endpoint);
    }
    this.#put('"');
    if (this.#ways.size >= waysMax) this.#ways.clear();
    this.#ways.set(endpoint, { listener, rule, upstream, bytes: Buffer.from(this.#piece.subarray(from, this.#at)) });
  }
  /** What was refused before it was a request. */
  addRefused(client: string, listener: string, status: number, flag: string, reason: string): void {
    this.#begin();
    this.#put(',"status":');
    this.#number(status);
    this.#put(',"client":"');
    this.#put(client);
    this.#put('","listener":"');
    this.#escape(listener);
    this.#put('"');
    this.#end(flag, reason);
  }

  #begin(): void {
    if (this.#at > pieceBytes) this.flush();
    this.#timer ??= setTimeout(() => this.flush(), flushMs).unref();
    this.#put('{"time":"');
    this.#time();
  }
  #end(flag: string, reason: string): void {
    if (flag === "") return this.#put("}\n");
    this.#put(',"flag":"');
    this.#put(flag);
    this.#put('","reason":"');
    this.#escape(withoutSecrets(reason));
    this.#put('"}\n');
  }
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#at > 0) this.#write(this.#piece.subarray(0, this.#at));
    this.#at = 0;
  }

  #put(text: string): void {
    const piece = this.#piece;
    const { length } = text;
    let at = this.#at;
    for (let i = 0; i < length; i++) piece[at++] = text.charCodeAt(i);
    this.#at = at;
  }
  #escape(text: string): void {
    const piece = this.#piece;
    const length = Math.min(text.length, textMax);
    let at = this.#at;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x20 && code < 0x7f && code !== 0x22 && code !== 0x5c) {
        piece[at++] = code;
        continue;
      }
      piece[at++] = 0x5c;
      piece[at++] = 0x75;
      for (let shift = 12; shift >= 0; shift -= 4) piece[at++] = hexDigits.charCodeAt((code >> shift) & 15);
    }
    this.#at = at;
    if (text.length > textMax) this.#put("\\u2026");
  }
  #number(value: number): void {
    if (value >= 1e9 || value < 0) return this.#put(String(value));
    if (value < 10) return void (this.#piece[this.#at++] = 0x30 + value);
    let divisor = 1;
    while (divisor * 10 <= value) divisor *= 10;
    for (let left = value; divisor >= 1; divisor /= 10) {
      const digit = Math.floor(left / divisor);
      this.#piece[this.#at++] = 0x30 + digit;
      left -= digit * divisor;
    }
  }
  /** To the microsecond. */
  #milliseconds(ms: number): void {
    const whole = Math.floor(ms);
    this.#number(whole);
    this.#put(".");
    this.#thousandths(Math.floor((ms - whole) * 1000));
  }
  #thousandths(value: number): void {
    this.#piece[this.#at++] = 0x30 + Math.floor(value / 100);
    this.#piece[this.#at++] = 0x30 + (Math.floor(value / 10) % 10);
    this.#piece[this.#at++] = 0x30 + (value % 10);
  }
  #time(): void {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, 20);
    }
    this.#put(this.#secondText);
    this.#thousandths(now - second * 1000);
    this.#put('Z"');
  }
}
