/**
 * What templates see: JSON values, and objects of ours that say themselves what may be asked of them. Nothing of JavaScript's own shows: no
 * prototype, no constructor, no function that is not in a list here.
 */
export type Members = Record<string, unknown>;

/** Something with methods and properties of its own. */
export class Host {
  readonly properties: ReadonlyMap<string, () => unknown>;
  readonly methods: ReadonlyMap<string, (parameters: unknown[], work: Work) => unknown>;

  constructor(properties: Record<string, () => unknown>, methods: Record<string, (parameters: unknown[], work: Work) => unknown>) {
    this.properties = new Map(Object.entries(properties));
    this.methods = new Map(Object.entries(methods));
  }
  toJSON(): null {
    return null;
  }
}

/** Counts what a template costs. Both throw when it is too much. */
export interface Work {
  step(cost?: number): void;
  /** A text that was made. */
  made(text: string): string;
  /** So many characters will be. */
  make(characters: number): void;
  fail(message: string): never;
}

/** An object that inherits nothing: a member may have any name. */
export const newMembers = (): Members => Object.create(null) as Members;

export function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Host);
}
export function member(value: Members, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}
/** `value[name] = …` without setters, whatever the name. */
export function putMember(value: Members, name: string, inner: unknown): void {
  Object.defineProperty(value, name, { value: inner, writable: true, enumerable: true, configurable: true });
}

const levelsMax = 32;
/** As Velocity writes it, which is as Java does: `{a=1, b=[x, y]}`; of nothing, nothing. */
export function textOf(value: unknown, work: Work, level = 0): string {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return level === 0 ? "" : "null";
  if (typeof value !== "object") return String(value);
  if (level >= levelsMax) work.fail(`what is nested in more than ${levelsMax} levels, or in itself, cannot be written`);
  if (value instanceof Host) return "";
  work.step();
  if (Array.isArray(value)) return work.made(`[${value.map((item) => textOf(item, work, level + 1)).join(", ")}]`);
  return work.made(`{${Object.entries(value).map(([name, inner]) => `${name}=${textOf(inner, work, level + 1)}`).join(", ")}}`);
}

/** As JSON; what stands in itself cannot be. What it comes to is known before it is written: a value may stand in many places. */
export function jsonOf(value: unknown, work: Work): string {
  weigh(value, work, 0);
  return work.made(JSON.stringify(value ?? null));
}
function weigh(value: unknown, work: Work, level: number): void {
  work.step(typeof value === "string" ? 1 + (value.length >> 8) : 1);
  if (typeof value === "string") work.make(value.length);
  if (typeof value !== "object" || value === null || value instanceof Host) return;
  if (level >= 500) work.fail("what is nested in more than 500 levels, or in itself, cannot be written as JSON");
  if (Array.isArray(value)) for (const item of value) weigh(item, work, level + 1);
  else {
    for (const name of Object.keys(value)) {
      work.make(name.length);
      weigh((value as Members)[name], work, level + 1);
    }
  }
}
