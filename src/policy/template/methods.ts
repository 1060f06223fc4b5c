import { compilePattern, type Pattern } from "../pattern.ts";
import { PolicyError } from "../policy-error.ts";
import { Host, isMembers, member, type Members, putMember, textOf, type Work } from "./values.ts";

type Method = (value: never, parameters: unknown[], work: Work) => unknown;

const text = (parameters: unknown[], i: number, work: Work): string => {
  if (i >= parameters.length) work.fail(`parameter ${i + 1} is missing`);
  return textOf(parameters[i], work);
};
const integer = (parameters: unknown[], i: number, work: Work): number => {
  const value = typeof parameters[i] === "string" ? Number(parameters[i]) : parameters[i];
  if (typeof value !== "number" || !Number.isInteger(value)) work.fail(`parameter ${i + 1} must be an integer`);
  return value as number;
};
const within = (index: number, length: number, work: Work): number => {
  if (index < 0 || index > length) work.fail(`index ${index} is not within 0 and ${length}`);
  return index;
};

const patternsMax = 200;
const patterns = new Map<string, Pattern>();
/** Java's patterns as RE2 has them; kept, for most are the same for each request. */
function patternOf(source: string, whole: boolean, work: Work): Pattern {
  const key = `${whole}${source}`;
  let pattern = patterns.get(key);
  if (!pattern) {
    work.step(500);
    if (source.length > 1000) work.fail("the pattern is longer than 1000 characters");
    try {
      pattern = compilePattern(source, { whole }, "pattern");
    } catch (error) {
      work.fail(error instanceof PolicyError ? `${source} is not a pattern: ${error.reason}` : "that is not a pattern");
    }
    if (patterns.size >= patternsMax) patterns.clear();
    patterns.set(key, pattern!);
  }
  return pattern!;
}

/**
 * With an unbounded repetition in something that may be left out (`a.*b|a`, `a(.*b)?`) one match can look at all that is left, and the
 * next one again; others look hardly further than they match.
 */
function looksFar(source: string): boolean {
  // At the end of an alternative it matches as far as it looks.
  const plain = source.includes("(") ? source : source.replace(/(?:[*+]|\{\d+,\})\??(?=\||$)/g, "");
  return /[*+]|\{\d+,\}/.test(plain) && /\||\)[?*{]/.test(plain);
}
function lookedAt(source: string, value: string, work: Work): (at: number, end: number) => void {
  const far = looksFar(source);
  return (at, end) => work.step(1 + (far ? (value.length - at) >> 2 : (end - at) >> 4));
}

function replaced(value: string, source: string, substitution: string, all: boolean, work: Work): string {
  const pattern = patternOf(source, false, work);
  const looked = lookedAt(source, value, work);
  work.step(1 + (value.length >> 4));
  const pieces: string[] = [];
  let from = 0;
  let at = 0;
  while (at <= value.length) {
    const found = pattern.find(value, at);
    if (!found) break;
    looked(at, found.end);
    // As Java's: "$1" is a group, "\$" a dollar sign.
    const piece = value.slice(from, found.start) + substitution.replace(/\\([\s\S])|\$(\d)/g, (_, literal?: string, group?: string) => literal ?? found.groups[Number(group)] ?? "");
    work.make(piece.length);
    pieces.push(piece);
    from = found.end;
    at = found.end > found.start ? found.end : found.end + 1;
    if (!all) break;
  }
  work.make(value.length - from);
  return pieces.join("") + value.slice(from);
}

const strings: Record<string, (value: string, parameters: unknown[], work: Work) => unknown> = {
  length: (value) => value.length,
  isEmpty: (value) => value === "",
  isBlank: (value) => value.trim() === "",
  toString: (value: string) => value,
  trim: (value) => value.trim(),
  strip: (value) => value.trim(),
  toLowerCase: (value, _, work) => work.made(value.toLowerCase()),
  toUpperCase: (value, _, work) => work.made(value.toUpperCase()),
  concat: (value, parameters, work) => work.made(value + text(parameters, 0, work)),
  contains: (value, parameters, work) => value.includes(text(parameters, 0, work)),
  startsWith: (value, parameters, work) => value.startsWith(text(parameters, 0, work)),
  endsWith: (value, parameters, work) => value.endsWith(text(parameters, 0, work)),
  equals: (value, parameters) => value === parameters[0],
  equalsIgnoreCase: (value, parameters, work) => value.toLowerCase() === text(parameters, 0, work).toLowerCase(),
  compareTo: (value, parameters, work) => (value < text(parameters, 0, work) ? -1 : value > text(parameters, 0, work) ? 1 : 0),
  indexOf: (value, parameters, work) => value.indexOf(text(parameters, 0, work)),
  lastIndexOf: (value, parameters, work) => value.lastIndexOf(text(parameters, 0, work)),
  charAt: (value, parameters, work) => value[within(integer(parameters, 0, work), value.length - 1, work)] ?? "",
  substring(value, parameters, work) {
    const from = within(integer(parameters, 0, work), value.length, work);
    const to = parameters.length > 1 ? within(integer(parameters, 1, work), value.length, work) : value.length;
    if (to < from) work.fail(`index ${to} is before ${from}`);
    return work.made(value.slice(from, to));
  },
  replace(value, parameters, work) {
    const [from, to] = [text(parameters, 0, work), text(parameters, 1, work)];
    const parts = value.split(from);
    work.step(1 + (value.length >> 4));
    if (parts.length * to.length > 1 << 24) work.fail("the text has become too long");
    return work.made(parts.join(to));
  },
  replaceAll: (value, parameters, work) => replaced(value, text(parameters, 0, work), text(parameters, 1, work), true, work),
  replaceFirst: (value, parameters, work) => replaced(value, text(parameters, 0, work), text(parameters, 1, work), false, work),
  matches(value, parameters, work) {
    work.step(1 + (value.length >> 4));
    return patternOf(text(parameters, 0, work), true, work).test(value);
  },
  split(value, parameters, work) {
    const pattern = patternOf(text(parameters, 0, work), false, work);
    const looked = lookedAt(text(parameters, 0, work), value, work);
    work.step(1 + (value.length >> 4));
    const parts: string[] = [];
    let from = 0;
    for (let at = 0; at < value.length; ) {
      const found = pattern.find(value, at);
      if (!found || found.start >= value.length) break;
      looked(at, found.end);
      if (found.end > found.start || found.start > 0) parts.push(value.slice(from, found.start));
      from = found.end;
      at = Math.max(found.end, found.start + 1);
    }
    parts.push(value.slice(from));
    // As Java's: nothing at the end is left out.
    while (parts.length > 1 && parts.at(-1) === "") parts.pop();
    return parts;
  },
  toCharArray: (value, _, work) => (work.step(value.length), [...value]),
};

const sameAs = (a: unknown, b: unknown): boolean => a === b || (typeof a !== "object" && typeof b !== "object" && String(a) === String(b));
const lists: Record<string, (value: unknown[], parameters: unknown[], work: Work) => unknown> = {
  size: (value) => value.length,
  length: (value) => value.length,
  isEmpty: (value) => value.length === 0,
  get: (value, parameters, work) => value[within(integer(parameters, 0, work), value.length - 1, work)],
  contains: (value, parameters, work) => (work.step(value.length), value.some((item) => sameAs(item, parameters[0]))),
  indexOf: (value, parameters, work) => (work.step(value.length), value.findIndex((item) => sameAs(item, parameters[0]))),
  add: (value, parameters) => (value.push(parameters.at(-1) ?? null), true),
  addAll: (value, parameters, work) => {
    const [others] = parameters;
    if (!Array.isArray(others)) return work.fail("parameter 1 must be a list");
    work.step(others.length);
    value.push(...others.slice(0, 100_000));
    return true;
  },
  set: (value, parameters, work) => {
    const index = within(integer(parameters, 0, work), value.length - 1, work);
    const before = value[index];
    value[index] = parameters[1] ?? null;
    return before;
  },
  remove: (value, parameters, work) => (work.step(value.length >> 6), value).splice(within(integer(parameters, 0, work), value.length - 1, work), 1)[0],
  subList: (value, parameters, work) => (work.step(value.length), value.slice(within(integer(parameters, 0, work), value.length, work), within(integer(parameters, 1, work), value.length, work))),
  toString: (value: unknown, _: unknown[], work: Work) => textOf(value, work),
};

function sizeOf(value: Members, work: Work): number {
  const size = Object.keys(value).length;
  work.step(size >> 4);
  return size;
}
const maps: Record<string, (value: Members, parameters: unknown[], work: Work) => unknown> = {
  size: (value, _, work) => sizeOf(value, work),
  isEmpty: (value, _, work) => sizeOf(value, work) === 0,
  get: (value, parameters, work) => member(value, text(parameters, 0, work)),
  getOrDefault: (value, parameters, work) => member(value, text(parameters, 0, work)) ?? parameters[1],
  put: (value, parameters, work) => {
    const name = text(parameters, 0, work);
    const before = member(value, name);
    putMember(value, name, parameters[1] ?? null);
    return before;
  },
  putAll: (value, parameters, work) => {
    if (!isMembers(parameters[0])) return work.fail("parameter 1 must be a map");
    for (const [name, inner] of Object.entries(parameters[0])) {
      work.step();
      putMember(value, name, inner);
    }
    return null;
  },
  remove: (value, parameters, work) => {
    const name = text(parameters, 0, work);
    const before = member(value, name);
    // Never of an object whose members are not its own.
    if (Object.hasOwn(value, name)) delete value[name];
    return before;
  },
  containsKey: (value, parameters, work) => Object.hasOwn(value, text(parameters, 0, work)),
  containsValue: (value, parameters, work) => (work.step(Object.keys(value).length), Object.values(value).some((inner) => sameAs(inner, parameters[0]))),
  keySet: (value, _, work) => (work.step(Object.keys(value).length), Object.keys(value)),
  values: (value, _, work) => (work.step(Object.keys(value).length), Object.values(value)),
  entrySet: (value, _, work) => (work.step(Object.keys(value).length), entriesOf(value)),
  toString: (value: unknown, _: unknown[], work: Work) => textOf(value, work),
};

export const entriesOf = (value: Members): Host[] => Object.entries(value).map(([name, inner]) => new Host({ key: () => name, value: () => inner }, { getKey: () => name, getValue: () => inner }));

const numbers: Record<string, (value: number, parameters: unknown[], work: Work) => unknown> = {
  toString: (value: number) => String(value),
  intValue: (value) => Math.trunc(value),
  longValue: (value) => Math.trunc(value),
  doubleValue: (value) => value,
  equals: (value, parameters) => value === parameters[0],
  // Velocity's templates read numbers by any number: `$x.parseInt("5")`, and so does Integer.
  parseInt: (_value, parameters, work) => integer(parameters, 0, work),
  compareTo: (value, parameters, work) => Math.sign(value - integer(parameters, 0, work)),
};
const flags: Record<string, (value: boolean, parameters: unknown[], work: Work) => unknown> = { toString: (value: boolean) => String(value), equals: (value, parameters) => value === parameters[0] };

const listed = (methods: Record<string, unknown>): ReadonlyMap<string, Method> => new Map(Object.entries(methods)) as ReadonlyMap<string, Method>;
const [ofStrings, ofLists, ofMaps, ofNumbers, ofFlags] = [strings, lists, maps, numbers, flags].map(listed) as [ReadonlyMap<string, Method>, ReadonlyMap<string, Method>, ReadonlyMap<string, Method>, ReadonlyMap<string, Method>, ReadonlyMap<string, Method>];

/** What `$value.name(parameters)` gives. Of nothing comes nothing; what is not in these lists is an error. */
export function callMethod(value: unknown, name: string, parameters: unknown[], work: Work): unknown {
  work.step();
  if (typeof value === "string") {
    // A method may look at all of a text, and what looks for one text in another can take as long as the product of both.
    work.step(value.length >> 4);
    for (const parameter of parameters) if (typeof parameter === "string") work.step((1 + (value.length >> 4)) * (parameter.length >> 4));
  }
  if (value === null || value === undefined) return null;
  if (value instanceof Host) {
    const method = value.methods.get(name);
    if (!method) return work.fail(`there is no method ${name}; there are ${[...value.methods.keys()].join(", ") || "none"}`);
    return method(parameters, work);
  }
  const [what, methods] = typeof value === "string" ? (["a text", ofStrings] as const) : typeof value === "number" ? (["a number", ofNumbers] as const) : typeof value === "boolean" ? (["a boolean", ofFlags] as const) : Array.isArray(value) ? (["a list", ofLists] as const) : (["a map", ofMaps] as const);
  const method = methods.get(name);
  if (!method) return work.fail(`${what} has no method ${name} that is honoured here; there are ${[...methods.keys()].join(", ")}`);
  return method(value as never, parameters, work);
}

