/**
 * Structured log lines on stderr: `time level part message key=value …`. A part gets its own child logger.
 * Errors travel up to somebody who can act; a line is written once, where the error ends.
 */
export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  child(part: string): Log;
}

export type Fields = Readonly<Record<string, unknown>>;

const levels = ["debug", "info", "warn", "error"] as const;
type Level = (typeof levels)[number];

function render(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.stack ?? value.message);
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
  return typeof value === "string" && /[\s"=]/.test(text) ? JSON.stringify(text) : text;
}

/** A logger that writes lines of at least `minimum` level to `write` (stderr unless told otherwise). */
export function createLog(part: string, minimum: Level = (process.env["WHERRY_LOG"] as Level | undefined) ?? "warn", write: (line: string) => void = (line) => void process.stderr.write(line)): Log {
  const threshold = levels.indexOf(minimum);
  const at = (level: Level) => (message: string, fields: Fields = {}) => {
    if (levels.indexOf(level) < threshold) return;
    const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${render(value)}`);
    write(`${new Date().toISOString()} ${level} ${part} ${message}${pairs.join("")}\n`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), child: (name) => createLog(`${part}/${name}`, minimum, write) };
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog };
