import type { Counters } from "./counters.ts";
import type { HttpExchange } from "./exchange.ts";

/** Lines wait for so long, and so many bytes of them; beyond they are lost, and counted. */
const flushMs = 100;
const waitingBytesMax = 4 * 1024 * 1024;
const textMax = 2048;

/**
 * One JSON line a request. Whatever a client sends is a JSON string and of bounded length, so that nobody writes lines of
 * his own. Lines are handed on a few times a second.
 */
export class AccessLog {
  readonly #write: (lines: string) => void;
  readonly #counters: Counters;
  #waiting: string[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #second = 0;
  #secondText = "";

  constructor(write: (lines: string) => void, counters: Counters) {
    this.#write = write;
    this.#counters = counters;
  }

  add(exchange: HttpExchange): void {
    const { request, client } = exchange;
    const target = request.query === "" ? request.path : `${request.path}?${request.query}`;
    let line = `{"time":"${this.#time()}","method":${text(request.method)},"host":${text(request.host)},"path":${text(target)},"protocol":"${client.protocol}","status":${exchange.status},"receivedBytes":${exchange.receivedBytes},"sentBytes":${exchange.sentBytes},"ms":${round(performance.now() - exchange.startedAt)},"client":"${client.address}","listener":${text(client.listener.id)},"requestId":"${exchange.requestId}"`;
    if (exchange.rule !== "") line += `,"rule":${text(exchange.rule)}`;
    if (exchange.upstream !== undefined) line += `,"upstream":${text(exchange.upstream)},"endpoint":"${exchange.endpoint}","upstreamMs":${round(exchange.latencyMs)},"tries":${exchange.tries}`;
    if (exchange.flag !== "") line += `,"flag":"${exchange.flag}","reason":${text(exchange.reason)}`;
    this.#add(`${line}}\n`);
  }
  /** What was refused before it was a request. */
  addRefused(client: string, listener: string, status: number, flag: string, reason: string): void {
    this.#add(`{"time":"${this.#time()}","status":${status},"client":"${client}","listener":${text(listener)},"flag":"${flag}","reason":${text(reason)}}\n`);
  }

  #add(line: string): void {
    if (this.#bytes + line.length > waitingBytesMax) {
      this.#counters.logLinesLost++;
      return;
    }
    this.#bytes += line.length;
    this.#waiting.push(line);
    this.#timer ??= setTimeout(() => this.flush(), flushMs).unref();
  }
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length === 0) return;
    const lines = this.#waiting.join("");
    this.#waiting = [];
    this.#bytes = 0;
    this.#write(lines);
  }

  #time(): string {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, 20);
    }
    const ms = now % 1000;
    return `${this.#secondText}${ms < 10 ? "00" : ms < 100 ? "0" : ""}${ms}Z`;
  }
}

const round = (ms: number): number => Math.round(ms * 1000) / 1000;
const plain = /^[ !#-[\]-~]*$/;
function text(value: string): string {
  const bounded = value.length > textMax ? `${value.slice(0, textMax)}…` : value;
  return plain.test(bounded) ? `"${bounded}"` : JSON.stringify(bounded);
}
