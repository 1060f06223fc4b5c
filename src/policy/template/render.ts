import { checkPaths } from "./check.ts";
import { callMethod } from "./methods.ts";
import { parseTemplate } from "./parse.ts";
import { type Access, type Expression, type Operator, type Part, type Reference, TemplateError } from "./syntax.ts";
import { Host, isMembers, member, newMembers, putMember, textOf, type Work } from "./values.ts";

export { TemplateError } from "./syntax.ts";

/** Parts, values, rounds and calls of one rendering. */
const stepsMax = 200_000;
const rangeMax = 10_000;
/** Of texts in between, for each character of the result that is allowed. */
const madeFactor = 8;
const templateBytesMax = 300_000;

export interface Rendering {
  /** What the template begins with: `input`, `context` and so on. */
  names: Record<string, unknown>;
  charactersMax: number;
}
export type Template = (rendering: Rendering) => string;

/**
 * A template, read once. It has values, and no way out of them: names that a {@link Host} does not list are not there, and what it
 * costs is counted. Nobody can wait for it: it is done in one turn, or fails.
 * @throws TemplateError, also when it is rendered
 */
export function compileTemplate(text: string): Template {
  if (text.length > templateBytesMax) throw new TemplateError(1, `must not be longer than ${templateBytesMax} characters`);
  const parts = parseTemplate(text);
  checkPaths(parts);
  return ({ names, charactersMax }) => new Renderer(names, charactersMax).render(parts);
}

type Signal = "stop" | "break" | undefined;

class Renderer implements Work {
  readonly #names = new Map<string, unknown>();
  readonly #given: ReadonlySet<string>;
  readonly #charactersMax: number;
  #out: string[] = [];
  #length = 0;
  #madeLeft: number;
  #stepsLeft = stepsMax;
  #line = 1;

  constructor(names: Record<string, unknown>, charactersMax: number) {
    for (const [name, value] of Object.entries(names)) this.#names.set(name, value);
    this.#given = new Set(Object.keys(names));
    this.#charactersMax = charactersMax;
    this.#madeLeft = charactersMax * madeFactor;
  }
  render(parts: readonly Part[]): string {
    this.#run(parts);
    return this.#out.join("");
  }

  step(cost = 1): void {
    this.#stepsLeft -= cost;
    if (this.#stepsLeft < 0) this.fail("takes too many steps");
  }
  made(text: string): string {
    this.make(text.length);
    return text;
  }
  make(characters: number): void {
    this.#madeLeft -= characters;
    if (this.#madeLeft < 0) this.fail("makes too much text");
  }
  fail(message: string): never {
    throw new TemplateError(this.#line, message);
  }
  #write(text: string): void {
    this.#length += text.length;
    if (this.#length > this.#charactersMax) this.fail(`makes more than ${this.#charactersMax} characters`);
    this.#out.push(text);
  }

  #run(parts: readonly Part[]): Signal {
    for (const part of parts) {
      this.step();
      switch (part.type) {
        case "text":
          this.#write(part.text);
          break;
        case "reference":
          this.#write(textOf(this.#valueOf(part.reference), this));
          break;
        case "set":
          this.#set(part.target, this.#value(part.value));
          break;
        case "if": {
          const signal = this.#run(part.branches.find(({ condition }) => isTrue(this.#value(condition)))?.body ?? part.otherwise);
          if (signal) return signal;
          break;
        }
        case "foreach":
          if (this.#each(part) === "stop") return "stop";
          break;
        default:
          return part.type;
      }
    }
    return undefined;
  }

  #each({ name, list, body, line }: Extract<Part, { type: "foreach" }>): Signal {
    this.#line = line;
    const value = this.#value(list);
    // A map's values, as Velocity has it; of a list that grows meanwhile, what was there.
    const items = Array.isArray(value) ? [...(value as unknown[])] : isMembers(value) ? Object.values(value) : value === null || value === undefined ? [] : this.fail("#foreach needs a list or a map");
    this.step(items.length);
    if (this.#given.has(name)) this.fail(`$${name} cannot be set`);
    const before = [name, "foreach", "velocityCount"].map((one) => [one, this.#names.get(one)] as const);
    const parent = this.#names.get("foreach");
    let signal: Signal;
    for (let i = 0; i < items.length && !signal; i++) {
      this.step();
      this.#names.set(name, items[i]);
      this.#names.set("foreach", new Host({ index: () => i, count: () => i + 1, hasNext: () => i < items.length - 1, first: () => i === 0, last: () => i === items.length - 1, parent: () => parent }, { hasNext: () => i < items.length - 1, isFirst: () => i === 0, isLast: () => i === items.length - 1, getIndex: () => i, getCount: () => i + 1 }));
      this.#names.set("velocityCount", i + 1);
      signal = this.#run(body);
    }
    for (const [one, old] of before) this.#names.set(one, old);
    return signal === "stop" ? "stop" : undefined;
  }

  #set({ name, accesses, line }: Reference, value: unknown): void {
    this.#line = line;
    if (accesses.length === 0) {
      if (this.#given.has(name)) this.fail(`$${name} cannot be set`);
      this.#names.set(name, value);
      return;
    }
    const last = accesses.at(-1)!;
    const holder = this.#follow(this.#names.get(name), accesses.slice(0, -1));
    const key = last.type === "index" ? this.#value(last.index) : (last as Extract<Access, { type: "property" }>).name;
    if (Array.isArray(holder)) {
      if (typeof key !== "number" || !Number.isInteger(key) || key < 0 || key >= holder.length) this.fail("a list has no such item to set");
      (holder as unknown[])[key as number] = value ?? null;
    } else if (isMembers(holder)) {
      putMember(holder, textOf(key, this), value ?? null);
    } else {
      this.fail(`$${name} has no member that could be set`);
    }
  }

  #valueOf({ name, accesses, line }: Reference): unknown {
    this.#line = line;
    return this.#follow(this.#names.get(name), accesses);
  }
  #follow(from: unknown, accesses: readonly Access[]): unknown {
    let value = from;
    for (const access of accesses) {
      this.step();
      if (access.type === "call") {
        value = callMethod(value, access.name, access.parameters.map((parameter) => this.#value(parameter)), this);
        continue;
      }
      const key = access.type === "property" ? access.name : this.#value(access.index);
      if (value instanceof Host) value = typeof key === "string" ? value.properties.get(key)?.() : undefined;
      else if (Array.isArray(value)) value = typeof key === "number" ? (value as unknown[])[key < 0 ? value.length + key : key] : undefined;
      else if (isMembers(value)) value = member(value, textOf(key, this));
      else value = undefined;
    }
    return value;
  }

  #value(expression: Expression): unknown {
    this.step();
    switch (expression.type) {
      case "literal":
        return expression.value;
      case "interpolated": {
        const [out, length] = [this.#out, this.#length];
        this.#out = [];
        this.#length = 0;
        this.#run(expression.parts);
        const text = this.#out.join("");
        [this.#out, this.#length] = [out, length];
        return this.made(text);
      }
      case "reference":
        return this.#valueOf(expression.reference);
      case "list":
        return expression.items.map((item) => this.#value(item));
      case "range":
        return this.#range(this.#value(expression.from), this.#value(expression.to));
      case "map": {
        const map = newMembers();
        for (const [key, value] of expression.entries) putMember(map, textOf(this.#value(key), this), this.#value(value) ?? null);
        return map;
      }
      case "not":
        return !isTrue(this.#value(expression.operand));
      case "negative": {
        const value = this.#value(expression.operand);
        return typeof value === "number" ? -value : null;
      }
      default:
        return this.#binary(expression.operator, expression.left, expression.right);
    }
  }
  #range(from: unknown, to: unknown): number[] {
    if (!Number.isInteger(from) || !Number.isInteger(to)) return this.fail("a range goes from an integer to an integer");
    const [first, last] = [from as number, to as number];
    const count = Math.abs(last - first) + 1;
    if (count > rangeMax) this.fail(`a range has at most ${rangeMax} items`);
    this.step(count);
    return Array.from({ length: count }, (_, i) => (last >= first ? first + i : first - i));
  }
  #binary(operator: Operator, left: Expression, right: Expression): unknown {
    if (operator === "&&") return isTrue(this.#value(left)) && isTrue(this.#value(right));
    if (operator === "||") return isTrue(this.#value(left)) || isTrue(this.#value(right));
    const [a, b] = [this.#value(left), this.#value(right)];
    switch (operator) {
      case "==":
        return isEqual(a, b, this);
      case "!=":
        return !isEqual(a, b, this);
      case "+":
        if (typeof a === "number" && typeof b === "number") return a + b;
        return typeof a === "string" || typeof b === "string" ? this.made(textOf(a, this) + textOf(b, this)) : null;
      default:
        break;
    }
    if (typeof a === "string" && typeof b === "string" && operator.length <= 2 && "<>".includes(operator[0]!)) return compared(operator, a < b ? -1 : a > b ? 1 : 0);
    // Of what is no number nothing is made, as Velocity has it: conditions are false.
    if (typeof a !== "number" || typeof b !== "number") return null;
    const areIntegers = Number.isInteger(a) && Number.isInteger(b);
    switch (operator) {
      case "-":
        return a - b;
      case "*":
        return a * b;
      case "/":
        return b === 0 ? null : areIntegers ? Math.trunc(a / b) : a / b;
      case "%":
        return b === 0 ? null : a % b;
      default:
        return compared(operator, a - b);
    }
  }
}

const compared = (operator: Operator, sign: number): boolean => (operator === "<" ? sign < 0 : operator === "<=" ? sign <= 0 : operator === ">" ? sign > 0 : sign >= 0);

/** Nothing and false are not; everything else is, also "" and 0, as in Velocity 1.7. */
const isTrue = (value: unknown): boolean => value !== null && value !== undefined && value !== false;

function isEqual(a: unknown, b: unknown, work: Work): boolean {
  if (a === null || a === undefined || b === null || b === undefined) return (a ?? null) === (b ?? null);
  if (typeof a === "number" && typeof b === "number") return a === b;
  if (a instanceof Host || b instanceof Host) return a === b;
  if (typeof a === "string" && typeof b === "string") {
    if (a.length === b.length) work.step(a.length >> 8);
    return a === b;
  }
  return a === b || textOf(a, work) === textOf(b, work);
}

