import { currentContext } from "./context.ts";

/**
 * Log lines as JSON, one object a line: `{"time":"…","level":"info","service":"shop",…,"msg":"…","trace_id":"…"}`. Called as
 * pino is, which Fastify's users know: `log.info("text")`, `log.info({ user: 7 }, "text")`, `log.error(error, "text")`.
 *
 * Lines of one turn of the event loop are written at once, and before the process ends in any orderly way.
 */
export interface ServiceLog {
  level: LevelName | "silent";
  trace: LogMethod;
  debug: LogMethod;
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
  fatal: LogMethod;
  /** Fastify asks for it. */
  silent: LogMethod;
  child(fields: Record<string, unknown>): ServiceLog;
  isLevelEnabled(level: LevelName): boolean;
  /** Writes what is held back. */
  flush(): void;
}

export interface LogMethod {
  (message: string): void;
  (fields: object, message?: string): void;
  (fields: unknown, message?: string, ...rest: unknown[]): void;
}

const levels = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60 } as const;
export type LevelName = keyof typeof levels;

export interface LogOptions {
  /** "info" unless said; names of levels that do not exist are refused. */
  level?: string | undefined;
  /** In every line. */
  fields?: Record<string, unknown>;
  /** Where text of one or more lines goes; stdout unless said. */
  write?: (lines: string) => void;
  now?: () => number;
}

/** @throws Error on a level that does not exist */
export function createServiceLog(options: LogOptions = {}): ServiceLog {
  const level = options.level ?? "info";
  if (level !== "silent" && !(level in levels)) throw new Error(`log level: Unsupported value: "${level}": supported values: ${Object.keys(levels).join(", ")}, silent`);
  return new JsonLog(new Sink(options.write ?? ((lines) => void process.stdout.write(lines)), options.now ?? Date.now), level as LevelName | "silent", partsOf(options.fields ?? {}));
}

const flushChars = 32_768;

/** Shared by a log and its children: their lines keep their order. */
class Sink {
  readonly #write: (lines: string) => void;
  readonly #now: () => number;
  #held = "";
  #second = -1;
  #secondText = "";

  constructor(write: (lines: string) => void, now: () => number) {
    this.#write = write;
    this.#now = now;
    openSinks.add(new WeakRef(this));
    flushAtExit();
  }

  take(line: string): void {
    if (this.#held === "") setImmediate(() => this.flush());
    this.#held += line;
    if (this.#held.length > flushChars) this.flush();
  }

  flush(): void {
    if (this.#held === "") return;
    const lines = this.#held;
    this.#held = "";
    this.#write(lines);
  }

  /** RFC 3339 with milliseconds; all but these are made once a second. */
  time(): string {
    const now = this.#now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, 20);
    }
    const ms = now - second * 1000;
    return `${this.#secondText}${ms < 10 ? "00" : ms < 100 ? "0" : ""}${Math.floor(ms)}Z`;
  }
}

const openSinks = new Set<WeakRef<Sink>>();
let isListening = false;
function flushAtExit(): void {
  if (isListening) return;
  isListening = true;
  const flush = () => {
    for (const reference of openSinks) reference.deref()?.flush();
  };
  process.on("exit", flush);
  process.on("uncaughtExceptionMonitor", flush);
}

class JsonLog implements ServiceLog {
  readonly #sink: Sink;
  /** `,"key":value` of what every line has. */
  readonly #parts: string;
  #level: LevelName | "silent" = "silent";
  #threshold = Infinity;

  constructor(sink: Sink, level: LevelName | "silent", parts: string) {
    this.#sink = sink;
    this.#parts = parts;
    this.level = level;
  }

  get level(): LevelName | "silent" {
    return this.#level;
  }
  set level(level: LevelName | "silent") {
    this.#level = level;
    this.#threshold = level === "silent" ? Infinity : levels[level];
  }

  isLevelEnabled(level: LevelName): boolean {
    return levels[level] >= this.#threshold;
  }

  // Bound: `const { info } = log` and `promise.catch(log.error)` are common.
  readonly trace: LogMethod = (fields: unknown, message?: string) => this.#line("trace", fields, message);
  readonly debug: LogMethod = (fields: unknown, message?: string) => this.#line("debug", fields, message);
  readonly info: LogMethod = (fields: unknown, message?: string) => this.#line("info", fields, message);
  readonly warn: LogMethod = (fields: unknown, message?: string) => this.#line("warn", fields, message);
  readonly error: LogMethod = (fields: unknown, message?: string) => this.#line("error", fields, message);
  readonly fatal: LogMethod = (fields: unknown, message?: string) => {
    this.#line("fatal", fields, message);
    this.flush();
  };
  readonly silent: LogMethod = () => {};

  child(fields: Record<string, unknown>): ServiceLog {
    return new JsonLog(this.#sink, this.#level, this.#parts + partsOf(fields));
  }

  flush(): void {
    this.#sink.flush();
  }

  #line(level: LevelName, fields: unknown, message: string | undefined): void {
    if (levels[level] < this.#threshold) return;
    let line = `{"time":"${this.#sink.time()}","level":"${level}"${this.#parts}`;
    if (typeof fields === "string") line += `,"msg":${quoted(message === undefined ? fields : `${fields} ${message}`)}`;
    else {
      if (fields instanceof Error) line += partOf("err", fields);
      else if (typeof fields === "object" && fields !== null) line += partsOf(fields as Record<string, unknown>);
      const text = message ?? (fields instanceof Error ? fields.message : undefined);
      if (text !== undefined) line += `,"msg":${quoted(text)}`;
    }
    const trace = currentContext()?.trace;
    if (trace) line += `,"trace_id":"${trace.traceId}","span_id":"${trace.spanId}"`;
    this.#sink.take(`${line}}\n`);
  }
}

function partsOf(fields: Record<string, unknown>): string {
  let text = "";
  for (const name in fields) text += partOf(name, fields[name]);
  return text;
}

function partOf(name: string, value: unknown): string {
  if (value === undefined || typeof value === "function") return "";
  return `,${quoted(name)}:${valueOf(value)}`;
}

function valueOf(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : `"${value}"`;
  if (typeof value === "boolean" || value === null) return String(value);
  if (value instanceof Error) return JSON.stringify(errorFields(value, 0));
  try {
    return JSON.stringify(value, plain) ?? '"[undefined]"';
  } catch (error) {
    // A circle, say. A log line must never be what fails.
    return quoted(`[${(error as Error).message.split("\n")[0]}]`);
  }
}

const plain = (_: string, value: unknown): unknown => (typeof value === "bigint" ? value.toString() : value instanceof Error ? errorFields(value, 0) : value);

const causesMax = 5;
function errorFields(error: Error & { code?: unknown; statusCode?: unknown }, depth: number): object {
  const { code, statusCode, cause } = error;
  return {
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...(code !== undefined && { code }),
    ...(statusCode !== undefined && { statusCode }),
    ...(cause instanceof Error && depth < causesMax && { cause: errorFields(cause, depth + 1) }),
  };
}

// Most texts need nothing done: JSON.stringify is called for those that do.
// oxlint-disable-next-line no-control-regex
const special = /[\u0000-\u001f"\\\u007f-\uffff]/;
function quoted(text: string): string {
  return special.test(text) ? JSON.stringify(text) : `"${text}"`;
}
