import { inspect } from "node:util";

/**
 * What a configuration consists of: fields with a type, nested as the program wants to read them. The TypeScript type follows
 * from it, so that a field is written down once.
 *
 *   const schema = { port: integer({ default: 8080 }), database: { host: text(), password: secret() }, retryAfter: optional(duration()) };
 *   type Settings = Values<typeof schema>;
 */
export interface Shape {
  readonly [name: string]: Field<unknown> | Shape;
}

export type Values<S> = S extends Field<infer T> ? T : { readonly [K in keyof S]: Values<S[K]> };

export interface FieldOptions<T> {
  /** Without one, and not {@link optional}, it must be given. */
  default?: T;
  /** The variable it is read from; else its path in capitals: `database.maxSize` is DATABASE_MAX_SIZE. */
  env?: string;
}

/** One value: read from text or JSON, judged, of type T. */
export class Field<T> {
  readonly options: FieldOptions<T>;
  /** Never shown, also not when it is wrong; `NAME_FILE` may name the file it is in. */
  readonly isSecret: boolean;
  readonly isOptional: boolean;
  /** Of the given value; throws an Error that says what it must be. */
  readonly read: (raw: unknown) => T;

  constructor(read: (raw: unknown) => T, options: FieldOptions<T> = {}, isSecret = false, isOptional = false) {
    this.read = read;
    this.options = options;
    this.isSecret = isSecret;
    this.isOptional = isOptional;
  }
}

const must = (what: string): never => {
  throw new Error(`must be ${what}`);
};

export interface TextOptions extends FieldOptions<string> {
  pattern?: RegExp;
  minLength?: number;
}
export function text(options: TextOptions = {}): Field<string> {
  const { pattern, minLength = 1 } = options;
  return new Field((raw) => {
    if (typeof raw !== "string") return must("text");
    if (raw.length < minLength) return must(minLength === 1 ? "non-empty" : `at least ${minLength} characters`);
    return pattern && !pattern.test(raw) ? must(`like ${pattern}`) : raw;
  }, options);
}

export interface NumberOptions extends FieldOptions<number> {
  min?: number;
  max?: number;
}
function numberIn(raw: unknown, what: string, isValid: (value: number) => boolean, { min = -Infinity, max = Infinity }: NumberOptions): number {
  const value = typeof raw === "string" && raw.trim() !== "" ? Number(raw) : raw;
  if (typeof value !== "number" || !isValid(value)) return must(what);
  if (value < min || value > max) return must(max === Infinity ? `at least ${min}` : min === -Infinity ? `at most ${max}` : `between ${min} and ${max}`);
  return value;
}
export function integer(options: NumberOptions = {}): Field<number> {
  return new Field((raw) => numberIn(raw, "an integer", Number.isSafeInteger, options), options);
}
export function decimal(options: NumberOptions = {}): Field<number> {
  return new Field((raw) => numberIn(raw, "a number", Number.isFinite, options), options);
}

export function flag(options: FieldOptions<boolean> = {}): Field<boolean> {
  return new Field((raw) => (raw === true || raw === "true" || raw === "1" ? true : raw === false || raw === "false" || raw === "0" ? false : must("true or false")), options);
}

export function choice<const T extends string>(values: readonly T[], options: FieldOptions<T> = {}): Field<T> {
  return new Field((raw) => (values.includes(raw as T) ? (raw as T) : must(`one of ${values.map((value) => `"${value}"`).join(", ")}`)), options);
}

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** In milliseconds; written as "250ms", "3s", "1.5m", "2h" or "7d". */
export function duration(options: NumberOptions = {}): Field<number> {
  return new Field((raw) => {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(raw));
    return match ? numberIn(Number(match[1]) * units[match[2]!]!, "a duration", Number.isFinite, options) : must('a duration such as "250ms", "3s" or "5m"');
  }, options);
}

export interface AddressOptions extends FieldOptions<string> {
  /** "http:" and "https:" unless said. */
  protocols?: readonly string[];
}
/** A URL; without the slash at its end. */
export function address(options: AddressOptions = {}): Field<string> {
  const { protocols = ["http:", "https:"] } = options;
  return new Field((raw) => {
    const url = typeof raw === "string" ? tryUrl(raw) : undefined;
    return url && protocols.includes(url.protocol) ? (raw as string).replace(/\/$/, "") : must(`an address that begins with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`);
  }, options);
}
function tryUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

/** JSON gives a list; text gives its parts between commas. */
export function list<T>(item: Field<T>, options: FieldOptions<readonly T[]> = {}): Field<readonly T[]> {
  return new Field<readonly T[]>(
    (raw) => {
      const parts = typeof raw === "string" ? (raw.trim() === "" ? [] : raw.split(",").map((part) => part.trim())) : raw;
      if (!Array.isArray(parts)) return must("a list");
      return parts.map((part, index) => {
        try {
          return item.read(part);
        } catch (error) {
          throw new Error(`[${index}] ${(error as Error).message}`, { cause: error });
        }
      });
    },
    options,
    item.isSecret,
  );
}

/** Undefined where it is not given. */
export function optional<T>(field: Field<T>): Field<T | undefined> {
  return new Field<T | undefined>(field.read, field.options, field.isSecret, true);
}

export function secret(options: FieldOptions<Secret> = {}): Field<Secret> {
  return new Field((raw) => (typeof raw === "string" && raw !== "" ? new Secret(raw) : must("non-empty")), options, true);
}

/** A value that no log line, error or JSON shows by accident. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  /** For the one place that needs it. */
  reveal(): string {
    return this.#value;
  }
  equals(other: Secret): boolean {
    return this.#value === other.#value;
  }
  toString(): string {
    return "[secret]";
  }
  toJSON(): string {
    return "[secret]";
  }
  [inspect.custom](): string {
    return "[secret]";
  }
}
