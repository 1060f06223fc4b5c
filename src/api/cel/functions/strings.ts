import { CelEvaluationError } from "../errors.ts";
import { formatDuration, formatTimestamp } from "../time.ts";
import { CelMap, codePoints, Duration, Opaque, Timestamp, TypeValue, typeNameOf, Uint } from "../values.ts";
import { declare, type Frame } from "./declare.ts";
import { decodeUtf8, formatDouble } from "./standard.ts";

/** Positions count code points. Source: cel-go's ext/strings.go, version 2. */
const outOfRange = (at: bigint): never => {
  throw new CelEvaluationError(`index out of range: ${at}`);
};
const asNumber = (value: bigint, low: number, high: number): number => (value < low || value > high ? outOfRange(value) : Number(value));

/** Of a part in text, from `start` on and not before 0; -1. */
function indexOf(text: string, part: string, start: bigint): bigint {
  const characters = [...text];
  if (start > characters.length) return -1n;
  const from = asNumber(start, 0, characters.length);
  const rest = characters.slice(from).join("");
  const at = rest.indexOf(part);
  return at < 0 ? -1n : BigInt(from + codePoints(rest.slice(0, at)));
}
function lastIndexOf(text: string, part: string, start: bigint | undefined): bigint {
  const characters = [...text];
  const wanted = [...part];
  if (wanted.length === 0) return start === undefined ? BigInt(characters.length) : BigInt(asNumber(start, 0, characters.length));
  if (start !== undefined && start >= characters.length) return -1n;
  const from = start === undefined ? characters.length - wanted.length : Math.min(asNumber(start, 0, characters.length), characters.length - wanted.length);
  // By code units, which find it fast, then counted in code points.
  const limit = characters.slice(0, Math.max(from, 0)).join("").length;
  const at = from < 0 ? -1 : text.lastIndexOf(part, limit);
  return at < 0 ? -1n : BigInt(codePoints(text.slice(0, at)));
}
function substring(text: string, start: bigint, end?: bigint): string {
  const characters = [...text];
  const last = end === undefined ? characters.length : asNumber(end, 0, characters.length);
  if (end !== undefined && start > end) throw new CelEvaluationError(`invalid substring range. start: ${start}, end: ${end}`);
  return characters.slice(asNumber(start, 0, characters.length), last).join("");
}
const ascii = (text: string, form: RegExp, change: (part: string) => string): string => text.replaceAll(form, change);
/** Unicode's white space. */
const space = /^\p{White_Space}$/u;
function trim(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && space.test(text[start]!)) start++;
  while (end > start && space.test(text[end - 1]!)) end--;
  return text.slice(start, end);
}

function replace(text: string, part: string, other: string, limit: bigint, frame: Frame): string {
  const count = limit < 0n ? Infinity : Number(limit);
  const pieces = part === "" ? ["", ...text] : text.split(part);
  frame.work(text.length + Math.min(count, pieces.length) * other.length);
  if (count >= pieces.length) return part === "" ? pieces.join(other) + other : pieces.join(other);
  return pieces.slice(0, count + 1).join(other) + (pieces.length > count + 1 ? part + pieces.slice(count + 1).join(part) : "");
}
function split(text: string, separator: string, limit: bigint, frame: Frame): string[] {
  if (limit === 0n) return [];
  const pieces = separator === "" ? [...text] : text.split(separator);
  frame.work(pieces.length);
  const count = limit < 0n ? pieces.length : Number(limit);
  return pieces.length <= count ? pieces : [...pieces.slice(0, count - 1), pieces.slice(count - 1).join(separator)];
}
const escapes: Record<string, string> = { "\x07": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"' };
// eslint-disable-next-line no-control-regex -- these are what is escaped
const quote = (text: string): string => `"${text.toWellFormed().replaceAll(/[\x07\b\f\n\r\t\v\\"]/g, (character) => escapes[character]!)}"`;

/** A value inside a text: bare by itself, quoted inside a list or map. */
function show(value: unknown, inside = false): string {
  if (typeof value === "string") return inside ? JSON.stringify(value) : value;
  if (inside && typeof value === "number" && Number.isFinite(value)) return value.toFixed(6);
  if (typeof value === "bigint" || typeof value === "boolean" || value === null) return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? formatDouble(value) : Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  if (value instanceof Uint) return value.value.toString();
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value);
  if (value instanceof Uint8Array) return decodeUtf8(value);
  if (value instanceof TypeValue) return value.name;
  if (Array.isArray(value)) return `[${value.map((element) => show(element, true)).join(", ")}]`;
  if (value instanceof CelMap) return `{${[...value.keys()].map((key) => `${show(key, true)}:${show(value.get(key), true)}`).toSorted().join(", ")}}`;
  if (value instanceof Opaque) return value.toString();
  throw new CelEvaluationError(`could not convert argument to string`);
}
const wrong = (clause: string, needs: string, value: unknown): never => {
  throw new CelEvaluationError(`error during formatting: ${clause} clause can only be used on ${needs}, was given ${typeNameOf(value)}`);
};
const whole = (value: unknown): bigint | undefined => (typeof value === "bigint" ? value : value instanceof Uint ? value.value : undefined);
const real = (value: unknown, clause: string): number => (typeof value === "number" ? value : value === "NaN" ? Number.NaN : value === "Infinity" ? Infinity : value === "-Infinity" ? -Infinity : whole(value) !== undefined ? Number(whole(value)) : wrong(clause, "doubles", value));
const special = (value: number): string | undefined => (Number.isFinite(value) ? undefined : Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "-∞");
const superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹";
/** "1.05×10⁰³" */
function exponential(value: number, digits: number): string {
  const [mantissa, exponent] = value.toExponential(digits).split("e") as [string, string];
  const raised = [...exponent.slice(1).padStart(2, "0")].map((digit) => superscripts[Number(digit)]).join("");
  return `${mantissa}×10${exponent.startsWith("-") ? "⁻" : ""}${raised}`;
}

function hex(value: unknown, upper: boolean): string {
  const text = whole(value)?.toString(16) ?? (typeof value === "string" ? Buffer.from(value).toString("hex") : value instanceof Uint8Array ? Buffer.from(value).toString("hex") : wrong("hex", "integers, byte buffers, and strings", value));
  return upper ? text.toUpperCase() : text;
}

function format(pattern: string, values: readonly unknown[], frame: Frame): string {
  let next = 0;
  const text = pattern.replaceAll(/%(?:(%)|(?:\.(\d+))?(.)?)/gsu, (_, percent: string | undefined, precisionText: string | undefined, clause: string | undefined) => {
    if (percent) return "%";
    if (clause === undefined) throw new CelEvaluationError("could not parse formatting clause: unexpected end of string");
    if (!"sdfebxXo".includes(clause)) throw new CelEvaluationError(`could not parse formatting clause: unrecognized formatting clause "${clause}"`);
    if (next >= values.length) throw new CelEvaluationError(`index ${next} out of range`);
    const value = values[next++];
    const precision = precisionText === undefined ? 6 : Number(precisionText);
    if (precision > 100) throw new CelEvaluationError("precision is too large");
    switch (clause) {
      case "s":
        return show(value);
      case "d":
        return typeof value === "number" ? (special(value) ?? wrong("decimal", "integers", value)) : (whole(value) ?? wrong("decimal", "integers", value)).toString();
      case "f":
        return special(real(value, "fixed-point")) ?? real(value, "fixed-point").toFixed(precision);
      case "e":
        if (typeof value === "bigint" || value instanceof Uint) return wrong("scientific", "doubles", value);
        return special(real(value, "scientific")) ?? exponential(real(value, "scientific"), precision);
      case "b":
        return typeof value === "boolean" ? (value ? "1" : "0") : (whole(value) ?? wrong("binary", "integers and bools", value)).toString(2);
      case "o":
        return (whole(value) ?? wrong("octal", "integers", value)).toString(8);
      default:
        return hex(value, clause === "X");
    }
  });
  frame.work(text.length);
  return text;
}

function join(list: readonly unknown[], separator: string, frame: Frame): string {
  if (!list.every((element) => typeof element === "string")) throw new CelEvaluationError("no such overload");
  frame.work(list.reduce((sum, element) => sum + element.length + separator.length, 0));
  return list.join(separator);
}

export const strings = declare([
  ["charAt", "string.(int): string", ([text, at]) => [...text][asNumber(at, 0, [...text].length)] ?? ""],
  ["indexOf", "string.(string): int", ([text, part]) => indexOf(text, part, 0n)],
  ["indexOf", "string.(string, int): int", ([text, part, start]) => indexOf(text, part, start)],
  ["lastIndexOf", "string.(string): int", ([text, part]) => lastIndexOf(text, part, undefined)],
  ["lastIndexOf", "string.(string, int): int", ([text, part, start]) => lastIndexOf(text, part, start)],
  ["lowerAscii", "string.(): string", ([text]) => ascii(text, /[A-Z]+/g, (part) => part.toLowerCase())],
  ["upperAscii", "string.(): string", ([text]) => ascii(text, /[a-z]+/g, (part) => part.toUpperCase())],
  ["replace", "string.(string, string): string", ([text, part, other], frame) => replace(text, part, other, -1n, frame)],
  ["replace", "string.(string, string, int): string", ([text, part, other, limit], frame) => replace(text, part, other, limit, frame)],
  ["split", "string.(string): list<string>", ([text, separator], frame) => split(text, separator, -1n, frame)],
  ["split", "string.(string, int): list<string>", ([text, separator, limit], frame) => split(text, separator, limit, frame)],
  ["join", "list<string>.(): string", ([list], frame) => join(list, "", frame)],
  ["join", "list<string>.(string): string", ([list, separator], frame) => join(list, separator, frame)],
  ["substring", "string.(int): string", ([text, start]) => substring(text, start)],
  ["substring", "string.(int, int): string", ([text, start, end]) => substring(text, start, end)],
  ["trim", "string.(): string", ([text]) => trim(text)],
  ["format", "string.(list<dyn>): string", ([pattern, values], frame) => format(pattern, values, frame)],
  ["strings.quote", "(string): string", ([text]) => quote(text)],
]);
