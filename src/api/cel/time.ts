import { CelEvaluationError } from "./errors.ts";
import { Duration, Timestamp } from "./values.ts";

const units: Record<string, bigint> = { ns: 1n, us: 1000n, "µs": 1000n, "μs": 1000n, ms: 1_000_000n, s: 1_000_000_000n, m: 60_000_000_000n, h: 3_600_000_000_000n };
const durationMax = (1n << 63n) - 1n;
const second = 1_000_000_000n;
const earliest = -62_135_596_800n * second;
const latest = 253_402_300_800n * second;

const notA = (type: string): CelEvaluationError => new CelEvaluationError(`type conversion error from 'string' to 'google.protobuf.${type}'`);

/** Go's form: "1h30m", "-1.5s". @throws CelEvaluationError */
export function parseDuration(text: string): Duration {
  const body = text.replace(/^[-+]/, "");
  let nanos = 0n;
  if (body !== "0") {
    const parts = [...body.matchAll(/(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/gy)];
    if (parts.length === 0 || parts.reduce((sum, part) => sum + part[0].length, 0) !== body.length || parts.some((part) => (part[1] ?? "") + (part[2] ?? "") === "")) throw notA("Duration");
    for (const [, whole = "", fraction = "", unit] of parts) nanos += BigInt(whole || "0") * units[unit!]! + (fraction ? (BigInt(fraction.slice(0, 18)) * units[unit!]!) / 10n ** BigInt(Math.min(fraction.length, 18)) : 0n);
  }
  if (nanos > durationMax) throw notA("Duration");
  return new Duration(text.startsWith("-") ? -nanos : nanos);
}

/** RFC 3339. @throws CelEvaluationError */
export function parseTimestamp(text: string): Timestamp {
  const match = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?([Zz]|[-+]\d\d:\d\d)$/.exec(text);
  const fail = (): never => {
    throw notA("Timestamp");
  };
  if (!match) return fail();
  const [, year, month, day, hour, minute, secondOf, fraction = "", zone] = match;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  date.setUTCHours(Number(hour), Number(minute), Number(secondOf));
  if (date.getUTCDate() !== Number(day) || Number(month) > 12 || Number(hour) > 23 || Number(minute) > 59 || Number(secondOf) > 59) return fail();
  const shift = /[Zz]/.test(zone!) ? 0 : (zone!.startsWith("-") ? -1 : 1) * (Number(zone!.slice(1, 3)) * 3600 + Number(zone!.slice(4)) * 60);
  return timestampOf(BigInt(date.getTime() / 1000 - shift) * second + BigInt(fraction.slice(0, 9).padEnd(9, "0")));
}

/** From year 1 to the end of 9999. */
export function timestampOf(nanos: bigint): Timestamp {
  if (nanos < earliest || nanos >= latest) throw new CelEvaluationError("timestamp overflow");
  return new Timestamp(nanos);
}
export function durationOf(nanos: bigint): Duration {
  if (nanos > durationMax || nanos < -durationMax - 1n) throw new CelEvaluationError("duration overflow");
  return new Duration(nanos);
}

const trimmed = (nanos: bigint): string => (nanos === 0n ? "" : `.${nanos.toString().padStart(9, "0").replace(/0+$/, "")}`);
const floorDivide = (a: bigint, b: bigint): bigint => a / b - (a % b < 0n ? 1n : 0n);

/** "2024-02-29T12:00:00.5Z" */
export function formatTimestamp({ nanos }: Timestamp): string {
  const seconds = floorDivide(nanos, second);
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}${trimmed(nanos - seconds * second)}Z`;
}
/** "90s", "1.5s": CEL has no other unit. */
export function formatDuration({ nanos }: Duration): string {
  const size = nanos < 0n ? -nanos : nanos;
  return `${nanos < 0n ? "-" : ""}${size / second}${trimmed(size % second)}s`;
}

const zoneFormats = new Map<string, Intl.DateTimeFormat>();

/** Calendar fields of a moment in a zone: "UTC", "Europe/Berlin", "-08:00". */
export function calendar({ nanos }: Timestamp, zone: string): Date {
  const milliseconds = Number(floorDivide(nanos, 1_000_000n));
  const offset = /^([-+])?(\d\d):(\d\d)$/.exec(zone);
  if (offset) return new Date(milliseconds + (offset[1] === "-" ? -1 : 1) * (Number(offset[2]) * 60 + Number(offset[3])) * 60_000);
  if (zone === "UTC" || zone === "") return new Date(milliseconds);
  let format = zoneFormats.get(zone);
  if (!format) {
    try {
      format = new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", era: "short", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
    } catch {
      throw new CelEvaluationError(`unknown time zone ${zone}`);
    }
    // The names that Intl knows are a few hundred.
    zoneFormats.set(zone, format);
  }
  const parts = Object.fromEntries(format.formatToParts(milliseconds).map(({ type, value }) => [type, value]));
  const date = new Date(0);
  date.setUTCFullYear(parts.era === "BC" ? 1 - Number(parts.year) : Number(parts.year), Number(parts.month) - 1, Number(parts.day));
  date.setUTCHours(Number(parts.hour), Number(parts.minute), Number(parts.second), ((milliseconds % 1000) + 1000) % 1000);
  return date;
}
