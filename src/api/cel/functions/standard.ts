import { CelEvaluationError } from "../errors.ts";
import { calendar, durationOf, formatDuration, formatTimestamp, parseDuration, parseTimestamp, timestampOf } from "../time.ts";
import { CelMap, codePoints, compare, Duration, equal, identity, isNumber, Optional, plainNumber, semanticsOf, keyText, markList, Timestamp, TypeValue, typeNameOf, Uint } from "../values.ts";
import { type Declaration, declare, type Frame } from "./declare.ts";
import { matcherOf } from "./patterns.ts";

/** Operators and what CEL itself defines. Source: CEL's language definition, "List of Standard Definitions". */
const intMin = -(1n << 63n);
const intMax = (1n << 63n) - 1n;
const uintMax = (1n << 64n) - 1n;

/** Arguments are as loose as the declarations' own; what comes out is an int. */
export const int = (value: any): bigint => {
  if (value < intMin || value > intMax) throw new CelEvaluationError("integer overflow");
  return value;
};
const uint = (value: any): Uint => {
  if (value < 0n || value > uintMax) throw new CelEvaluationError("unsigned integer overflow");
  return new Uint(value);
};
const nonZero = (value: bigint, text: string): bigint => {
  if (value === 0n) throw new CelEvaluationError(text);
  return value;
};
const noOverload = (): never => {
  throw new CelEvaluationError("no such overload");
};

const arithmetic: Declaration[] = [
  ["_+_", "(int, int): int", ([a, b]) => int(a + b)],
  ["_-_", "(int, int): int", ([a, b]) => int(a - b)],
  ["_*_", "(int, int): int", ([a, b]) => int(a * b)],
  ["_/_", "(int, int): int", ([a, b]) => int(a / nonZero(b, "division by zero"))],
  ["_%_", "(int, int): int", ([a, b]) => int(a % nonZero(b, "modulus by zero"))],
  ["-_", "(int): int", ([a]) => int(-a)],
  ["_+_", "(uint, uint): uint", ([a, b]) => uint(a.value + b.value)],
  ["_-_", "(uint, uint): uint", ([a, b]) => uint(a.value - b.value)],
  ["_*_", "(uint, uint): uint", ([a, b]) => uint(a.value * b.value)],
  ["_/_", "(uint, uint): uint", ([a, b]) => uint(a.value / nonZero(b.value, "division by zero"))],
  ["_%_", "(uint, uint): uint", ([a, b]) => uint(a.value % nonZero(b.value, "modulus by zero"))],
  ["_+_", "(double, double): double", ([a, b]) => a + b],
  ["_-_", "(double, double): double", ([a, b]) => a - b],
  ["_*_", "(double, double): double", ([a, b]) => a * b],
  ["_/_", "(double, double): double", ([a, b]) => a / b],
  ["-_", "(double): double", ([a]) => -a],
  ["_+_", "(string, string): string", ([a, b]) => a + b],
  ["_+_", "(bytes, bytes): bytes", ([a, b], frame) => (frame.work(a.length + b.length), Uint8Array.from(Buffer.concat([a, b])))],
  ["_+_", "(list<T>, list<T>): list<T>", ([a, b], frame) => concatenate(a, b, frame)],
  ["_+_", "(duration, duration): duration", ([a, b]) => durationOf(a.nanos + b.nanos)],
  ["_+_", "(duration, timestamp): timestamp", ([a, b]) => timestampOf(a.nanos + b.nanos)],
  ["_+_", "(timestamp, duration): timestamp", ([a, b]) => timestampOf(a.nanos + b.nanos)],
  ["_-_", "(duration, duration): duration", ([a, b]) => durationOf((a.nanos as bigint) - b.nanos)],
  ["_-_", "(timestamp, duration): timestamp", ([a, b]) => timestampOf((a.nanos as bigint) - b.nanos)],
  ["_-_", "(timestamp, timestamp): duration", ([a, b]) => durationOf((a.nanos as bigint) - b.nanos)],
  ["-_", "(duration): duration", ([a]) => durationOf(-(a.nanos as bigint))],
  ["!_", "(bool): bool", ([a]) => !a],
  ["_==_", "(T, T): bool", ([a, b]) => equal(a, b)],
  ["_!=_", "(T, T): bool", ([a, b]) => !equal(a, b)],
  ["@in", "(T, list<T>): bool", ([a, b]) => b.some((element: unknown) => equal(a, element))],
  ["@in", "(K, map<K, V>): bool", ([a, b]) => b.has(a)],
];

/** Sets and maps by schema keep what they are: those of the left, with what the right adds or replaces. */
function concatenate(a: readonly unknown[], b: readonly unknown[], frame: Frame): unknown[] {
  frame.work(a.length + b.length);
  const how = semanticsOf(a);
  if (!how) return [...a, ...b];
  const text = (element: unknown): string => (how.listType === "set" ? identity(element) : keyText(element, how.keys));
  const merged = new Map(a.map((element) => [text(element), element]));
  for (const element of b) if (how.listType === "map" || !merged.has(text(element))) merged.set(text(element), element);
  const list = [...merged.values()];
  markList(list, how);
  return list;
}

const ordered = ["bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"];
const numbers = ["int", "uint", "double"];
const comparisons: Declaration[] = (
  [
    ["_<_", (order) => order < 0],
    ["_<=_", (order) => order <= 0],
    ["_>_", (order) => order > 0],
    ["_>=_", (order) => order >= 0],
  ] as [string, (order: number) => boolean][]
).flatMap(([name, test]) => {
  const call: Declaration[2] = ([a, b]) => {
    const order = compare(a, b);
    return order === undefined ? (isNumber(a) && isNumber(b) ? false : noOverload()) : test(order);
  };
  const pairs = [...ordered.map((type) => [type, type]), ...numbers.flatMap((left) => numbers.filter((right) => right !== left).map((right) => [left, right]))];
  return pairs.map(([left, right]): Declaration => [name, `(${left}, ${right}): bool`, call]);
});

/** Element or entry. */
export function index(container: unknown, key: unknown): unknown {
  if (Array.isArray(container)) {
    const at = typeof key === "bigint" ? Number(key) : isNumber(key) && Number.isInteger(Number(plainNumber(key))) ? Number(plainNumber(key)) : undefined;
    if (at === undefined) throw new CelEvaluationError(`unsupported index type '${typeNameOf(key)}' in list`);
    if (at < 0 || at >= container.length) throw new CelEvaluationError(`index out of bounds: ${at}`);
    return container[at];
  }
  if (!(container instanceof CelMap)) return noOverload();
  const value = container.get(key);
  if (value === undefined) throw new CelEvaluationError(`no such key: ${typeof key === "object" ? typeNameOf(key) : String(key)}`);
  return value;
}
/** The same, absent instead of an error. */
export function optionalIndex(container: unknown, key: unknown): Optional {
  if (container instanceof Optional) return container.value === undefined ? Optional.none : optionalIndex(container.value, key);
  const value = Array.isArray(container) ? (typeof key === "bigint" && key >= 0n ? container[Number(key)] : undefined) : container instanceof CelMap ? container.get(key) : noOverload();
  return value === undefined ? Optional.none : new Optional(value);
}

const access: Declaration[] = [
  ["_[_]", "(list<T>, int): T", ([list, at]) => index(list, at)],
  ["_[_]", "(map<K, V>, K): V", ([map, key]) => index(map, key)],
  ["_[_]", "(optional<list<T>>, int): optional<T>", ([list, at]) => optionalIndex(list, at)],
  ["_[_]", "(optional<map<K, V>>, K): optional<V>", ([map, key]) => optionalIndex(map, key)],
  ["_[?_]", "(list<T>, int): optional<T>", ([list, at]) => optionalIndex(list, at)],
  ["_[?_]", "(map<K, V>, K): optional<V>", ([map, key]) => optionalIndex(map, key)],
  ["_[?_]", "(optional<list<T>>, int): optional<T>", ([list, at]) => optionalIndex(list, at)],
  ["_[?_]", "(optional<map<K, V>>, K): optional<V>", ([map, key]) => optionalIndex(map, key)],
];

const both = (name: string, receiver: string, call: Declaration[2]): Declaration[] => [
  [name, `(${receiver}): int`, call],
  [name, `${receiver}.(): int`, call],
];
const sizes: Declaration[] = [
  ...both("size", "string", ([text]) => BigInt(codePoints(text))),
  ...both("size", "bytes", ([bytes]) => BigInt(bytes.length)),
  ...both("size", "list<T>", ([list]) => BigInt(list.length)),
  ...both("size", "map<K, V>", ([map]) => BigInt(map.size)),
];

const texts: Declaration[] = [
  ["contains", "string.(string): bool", ([text, part]) => text.includes(part)],
  ["startsWith", "string.(string): bool", ([text, part]) => text.startsWith(part)],
  ["endsWith", "string.(string): bool", ([text, part]) => text.endsWith(part)],
  ["matches", "string.(string): bool", ([text, pattern]) => matcherOf(pattern).matcher(text).find()],
  ["matches", "(string, string): bool", ([text, pattern]) => matcherOf(pattern).matcher(text).find()],
];

/** As Go prints it with %g: CEL's text of a double. */
export function formatDouble(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  if (Object.is(value, -0)) return "-0";
  const [digits = "", exponentText = "0"] = value.toExponential().split("e");
  const exponent = Number(exponentText);
  if (exponent >= -4 && exponent < 21) return value.toString().includes("e") ? BigInt(value).toString() : value.toString();
  return `${digits}e${exponent < 0 ? "-" : "+"}${Math.abs(exponent).toString().padStart(2, "0")}`;
}
const wholePart = (value: number, low: number, high: number, text: string): bigint => {
  if (!(value > low && value < high)) throw new CelEvaluationError(text);
  return BigInt(Math.trunc(value));
};
const parseNumber = (text: string, form: RegExp, type: string): string => {
  // No number that fits is longer, and none so long is worth reading.
  if (text.length > 400 || !form.test(text)) throw new CelEvaluationError(`type conversion error from 'string' to '${type}'`);
  return text;
};
const bools: Record<string, boolean> = { "1": true, t: true, T: true, TRUE: true, true: true, True: true, "0": false, f: false, F: false, FALSE: false, false: false, False: false };

const same = (type: string): Declaration => [type, `(${type}): ${type}`, ([value]) => value];
const conversions: Declaration[] = [
  ...["bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"].map(same),
  ["bool", "(string): bool", ([text]) => bools[text] ?? parseNumber("", /x/, "bool")],
  ["int", "(uint): int", ([value]) => int(value.value)],
  ["int", "(double): int", ([value]) => wholePart(value, -(2 ** 63), 2 ** 63, "integer overflow")],
  ["int", "(string): int", ([text]) => int(BigInt(parseNumber(text, /^[-+]?\d+$/, "int").replace(/^\+/, "")))],
  ["int", "(timestamp): int", ([value]) => value.nanos / 1_000_000_000n - (value.nanos % 1_000_000_000n < 0n ? 1n : 0n)],
  ["int", "(duration): int", ([value]) => value.nanos],
  ["uint", "(int): uint", ([value]) => uint(value)],
  ["uint", "(double): uint", ([value]) => uint(wholePart(value, -1, 2 ** 64, "unsigned integer overflow"))],
  ["uint", "(string): uint", ([text]) => uint(BigInt(parseNumber(text, /^\d+$/, "uint")))],
  ["double", "(int): double", ([value]) => Number(value)],
  ["double", "(uint): double", ([value]) => Number(value.value)],
  ["double", "(string): double", ([text]) => (/^[-+]?inf(inity)?$/i.test(text) ? (text.startsWith("-") ? -Infinity : Infinity) : /^nan$/i.test(text) ? Number.NaN : Number(parseNumber(text, /^[-+]?(\d+(?:\.\d*)?|\.\d+)([eE][-+]?\d+)?$/, "double")))],
  ["string", "(int): string", ([value]) => value.toString()],
  ["string", "(uint): string", ([value]) => value.value.toString()],
  ["string", "(double): string", ([value]) => formatDouble(value)],
  ["string", "(bool): string", ([value]) => String(value)],
  ["string", "(bytes): string", ([value]) => decodeUtf8(value)],
  ["string", "(timestamp): string", ([value]) => formatTimestamp(value)],
  ["string", "(duration): string", ([value]) => formatDuration(value)],
  ["bytes", "(string): bytes", ([text], frame) => (frame.work(text.length), Uint8Array.from(Buffer.from(text)))],
  ["timestamp", "(string): timestamp", ([text]) => parseTimestamp(text)],
  ["timestamp", "(int): timestamp", ([seconds]) => timestampOf((seconds as bigint) * 1_000_000_000n)],
  ["duration", "(string): duration", ([text]) => parseDuration(text)],
  ["duration", "(int): duration", ([nanos]) => durationOf(nanos)],
  ["dyn", "(T): dyn", ([value]) => value],
  ["type", "(T): type<T>", ([value]) => new TypeValue(typeNameOf(value))],
];

export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CelEvaluationError("invalid UTF-8 in bytes, cannot convert to string");
  }
}

const calendarFields: Record<string, (date: Date) => number> = {
  getFullYear: (date) => date.getUTCFullYear(),
  getMonth: (date) => date.getUTCMonth(),
  getDate: (date) => date.getUTCDate(),
  getDayOfMonth: (date) => date.getUTCDate() - 1,
  getDayOfWeek: (date) => date.getUTCDay(),
  getDayOfYear: (date) => Math.floor((Date.UTC(2000, date.getUTCMonth(), date.getUTCDate()) - Date.UTC(2000, 0, 1)) / 86_400_000) - (date.getUTCMonth() > 1 && !isLeap(date.getUTCFullYear()) ? 1 : 0),
  getHours: (date) => date.getUTCHours(),
  getMinutes: (date) => date.getUTCMinutes(),
  getSeconds: (date) => date.getUTCSeconds(),
  getMilliseconds: (date) => date.getUTCMilliseconds(),
};
const isLeap = (year: number): boolean => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
const durationUnits: Record<string, bigint> = { getHours: 3_600_000_000_000n, getMinutes: 60_000_000_000n, getSeconds: 1_000_000_000n };

const times: Declaration[] = [
  ...Object.entries(calendarFields).flatMap(([name, read]): Declaration[] => [
    [name, "timestamp.(): int", ([moment]: readonly Timestamp[]) => BigInt(read(calendar(moment!, "UTC")))],
    [name, "timestamp.(string): int", ([moment, zone]) => BigInt(read(calendar(moment, zone)))],
  ]),
  ...Object.entries(durationUnits).map(([name, unit]): Declaration => [name, "duration.(): int", ([span]: readonly Duration[]) => span!.nanos / unit]),
  ["getMilliseconds", "duration.(): int", ([span]: readonly Duration[]) => span!.nanos / 1_000_000n],
];

export const standard = declare([...arithmetic, ...comparisons, ...access, ...sizes, ...texts, ...conversions, ...times]);

/** The implementation that is chosen for arguments of one type. */
export const functionOf = (name: string, type: string) => standard.find((overload) => overload.name === name && overload.params.every(({ kind }) => kind === type))!.call;
