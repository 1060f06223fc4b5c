import { isObject } from "../../base/is-object.ts";

/**
 * JSONPath as Kubernetes has it: `.spec.a`, `['a']`, `\.` inside a name, `[0]`, `[-1]`, `[1:3]`, `[0:6:2]`, `[0,2]`,
 * `[*]`, `..name`, `[?(@.type=="Ready")]`. What is missing gives nothing.
 * Source of the rules: k8s.io/client-go/util/jsonpath.
 */
export type JsonPath = (value: unknown) => unknown[];

/** The path is none. */
export class JsonPathError extends Error {}

/** Parses a path without its braces (".spec.replicas"). Throws JsonPathError. */
export function parseJsonPath(text: string): JsonPath {
  const parser = new Parser(text);
  const steps = parser.steps("");
  return (value) => evaluate(steps, [value]);
}

type Step = (values: readonly unknown[]) => unknown[];
const evaluate = (steps: readonly Step[], values: unknown[]): unknown[] => steps.reduce((found, step) => step(found), values);

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Steps up to the end of the text, or to one of the characters in `ends`. */
  steps(ends: string): Step[] {
    const steps: Step[] = [];
    while (this.#at < this.#text.length && !ends.includes(this.#text[this.#at]!)) {
      const character = this.#text[this.#at]!;
      if (character === "@" || character === "$" || character === " ") this.#at++;
      else if (this.#text.startsWith("..", this.#at)) {
        this.#at += 2;
        steps.push(descend);
        if (this.#at < this.#text.length && this.#text[this.#at] !== "[" && this.#text[this.#at] !== ".") steps.push(this.#name());
      } else if (character === ".") {
        this.#at++;
        if (this.#text[this.#at] !== "[" && this.#at < this.#text.length) steps.push(this.#name());
      } else if (character === "[") steps.push(this.#bracket());
      else if (steps.length === 0 && /[A-Za-z_]/.test(character)) throw new JsonPathError(`unrecognized identifier ${this.#word()}`);
      else throw new JsonPathError(`unrecognized character in action: U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")} '${character}'`);
    }
    return steps;
  }

  #word(): string {
    let word = "";
    while (this.#at < this.#text.length && !/[\s.[\],()@$&|=!<>"'*:?]/.test(this.#text[this.#at]!)) {
      if (this.#text[this.#at] === "\\") this.#at++;
      word += this.#text[this.#at++] ?? "";
    }
    return word;
  }

  #name(): Step {
    if (this.#text[this.#at] === "*") {
      this.#at++;
      return children;
    }
    const name = this.#word();
    if (name === "") throw new JsonPathError("unexpected end of a path");
    return field(name);
  }

  #bracket(): Step {
    const inside = this.#inside();
    const filter = /^\s*\?\(([\s\S]*)\)\s*$/.exec(inside);
    if (filter) return parseFilter(filter[1]!);
    const parts = splitOutsideQuotes(inside, ",").map((part) => part.trim());
    const steps = parts.map(indexStep);
    return steps.length === 1 ? steps[0]! : (values) => steps.flatMap((step) => step(values));
  }

  /** What lies between this bracket and its other half. */
  #inside(): string {
    const start = ++this.#at;
    let depth = 1;
    let quote = "";
    for (; this.#at < this.#text.length; this.#at++) {
      const character = this.#text[this.#at]!;
      if (quote !== "") {
        if (character === "\\") this.#at++;
        else if (character === quote) quote = "";
      } else if (character === '"' || character === "'") quote = character;
      else if (character === "[") depth++;
      else if (character === "]" && --depth === 0) return this.#text.slice(start, this.#at++);
    }
    throw new JsonPathError("unterminated array");
  }
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = [""];
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quote !== "" && character === quote && text[at - 1] !== "\\") quote = "";
    else if (quote === "" && (character === '"' || character === "'")) quote = character;
    if (character === separator && quote === "") parts.push("");
    else parts[parts.length - 1] += character;
  }
  return parts;
}


const field = (name: string): Step => (values) => values.flatMap((value) => (isObject(value) && Object.hasOwn(value, name) ? [value[name]] : []));
const children: Step = (values) => values.flatMap((value) => (Array.isArray(value) ? (value as unknown[]) : isObject(value) ? Object.keys(value).sort().map((key) => value[key]) : []));
const descend: Step = (values) => values.flatMap(function below(value: unknown): unknown[] {
  const inner = children([value]);
  return [value, ...inner.flatMap(below)];
});

function indexStep(text: string): Step {
  if (text === "*") return children;
  const quoted = /^(['"])([\s\S]*)\1$/.exec(text);
  if (quoted) return field(quoted[2]!.replace(/\\(.)/g, "$1"));
  const numbers = /^(-?\d*)(?:(:)(-?\d*)(?::(-?\d*))?)?$/.exec(text);
  if (!numbers || text === "") throw new JsonPathError(`invalid array index ${text}`);
  const [, first, colon, last, step] = numbers;
  if (colon === undefined) return (values) => values.flatMap((value) => (Array.isArray(value) ? (value as unknown[]).slice(Number(first), Number(first) === -1 ? undefined : Number(first) + 1) : []));
  const stride = step ? Number(step) : 1;
  if (stride <= 0) throw new JsonPathError("step must be > 0");
  return (values) => values.flatMap((value) => (Array.isArray(value) ? (value as unknown[]).slice(first ? Number(first) : 0, last ? Number(last) : undefined).filter((_, index) => index % stride === 0) : []));
}

const operators = ["==", "!=", "<=", ">=", "<", ">"] as const;

/** `@.type=="Ready"`, or `@.type` alone: of those that have it. */
function parseFilter(text: string): Step {
  const found = findOperator(text);
  if (!found) {
    const operand = operandOf(text);
    return (values) => children(values).filter((value) => operand(value) !== undefined);
  }
  const left = operandOf(text.slice(0, found.at));
  const right = operandOf(text.slice(found.at + found.operator.length));
  return (values) => children(values).filter((value) => compare(found.operator, left(value), right(value)));
}

function findOperator(text: string): { at: number; operator: (typeof operators)[number] } | undefined {
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quote !== "") {
      if (character === quote && text[at - 1] !== "\\") quote = "";
      continue;
    }
    if (character === '"' || character === "'") quote = character;
    const operator = operators.find((candidate) => text.startsWith(candidate, at));
    if (operator) return { at, operator };
  }
  return undefined;
}

function operandOf(text: string): (value: unknown) => unknown {
  const bare = text.trim();
  const quoted = /^(['"])([\s\S]*)\1$/.exec(bare);
  if (quoted) return () => quoted[2]!.replace(/\\(.)/g, "$1");
  if (/^-?\d+(\.\d+)?$/.test(bare)) return () => Number(bare);
  if (bare === "true" || bare === "false") return () => bare === "true";
  const path = parseJsonPath(bare);
  return (value) => path(value)[0];
}

function compare(operator: (typeof operators)[number], left: unknown, right: unknown): boolean {
  if (left === undefined || right === undefined) return false;
  if (typeof left !== typeof right) return false;
  switch (operator) {
    case "==":
      return left === right;
    case "!=":
      return left !== right;
    case "<":
      return (left as number) < (right as number);
    case "<=":
      return (left as number) <= (right as number);
    case ">":
      return (left as number) > (right as number);
    case ">=":
      return (left as number) >= (right as number);
  }
}
