import { invalid, renderFieldError } from "./field.ts";
import { labelValue, qualifiedName } from "./validation/names.ts";

/**
 * Selectors as requests write them: `labelSelector=app in (a,b),!old` and `fieldSelector=status.phase!=Failed`.
 * A parsed selector is immutable and cheap to match; errors carry upstream's texts (a 400 to the client).
 * Source: k8s.io/apimachinery/pkg/{labels,fields}/selector.go.
 */
export class SelectorError extends Error {}

export type LabelOperator = "in" | "notin" | "=" | "==" | "!=" | "exists" | "!" | "gt" | "lt";

export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  /** Sorted, without repetition. */
  readonly values: readonly string[];
}

type Labels = Readonly<Record<string, string>> | null | undefined;

/** All requirements must hold; without any, everything matches. */
export class Selector {
  readonly requirements: readonly LabelRequirement[];

  constructor(requirements: readonly LabelRequirement[]) {
    this.requirements = requirements.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  }
  get isEmpty(): boolean {
    return this.requirements.length === 0;
  }
  matches(labels: Labels): boolean {
    for (const requirement of this.requirements) if (!holds(requirement, labels)) return false;
    return true;
  }
  /** In the syntax that parseLabelSelector reads. */
  toString(): string {
    return this.requirements.map(requirementText).join(",");
  }
}

function holds({ key, operator, values }: LabelRequirement, labels: Labels): boolean {
  const value = labels && Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "in":
    case "=":
    case "==":
      return value !== undefined && values.includes(value);
    case "notin":
    case "!=":
      return value === undefined || !values.includes(value);
    case "exists":
      return value !== undefined;
    case "!":
      return value === undefined;
    case "gt":
    case "lt": {
      const [actual, bound] = [integerOf(value), integerOf(values[0])];
      if (actual === undefined || bound === undefined) return false;
      return operator === "gt" ? actual > bound : actual < bound;
    }
  }
}

/** What Go's ParseInt(text, 10, 64) reads. */
function integerOf(text: string | undefined): bigint | undefined {
  if (text === undefined || !/^[+-]?\d+$/.test(text)) return undefined;
  const value = BigInt(text.replace(/^\+/, ""));
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

function requirementText({ key, operator, values }: LabelRequirement): string {
  switch (operator) {
    case "exists":
      return key;
    case "!":
      return `!${key}`;
    case "in":
    case "notin":
      return `${key} ${operator} (${values.join(",")})`;
    case "gt":
      return `${key}>${values[0]}`;
    case "lt":
      return `${key}<${values[0]}`;
    default:
      return `${key}${operator}${values[0]}`;
  }
}

function requirement(key: string, operator: LabelOperator, given: readonly string[]): LabelRequirement {
  const values = [...new Set(given)].sort();
  const errors = [
    ...qualifiedName(key).map((why) => invalid("key", key, why)),
    ...(operator === "gt" || operator === "lt" ? values.flatMap((value, index) => (integerOf(value) === undefined ? [invalid(`values[${index}]`, value, "for 'Gt', 'Lt' operators, the value must be an integer")] : [])) : []),
    ...values.flatMap((value, index) => labelValue(value).map((why) => invalid(`values[${index}][${key}]`, value, why))),
  ].map(renderFieldError);
  if (errors.length > 0) throw new SelectorError(errors.length === 1 ? errors[0] : `[${errors.join(", ")}]`);
  return { key, operator, values };
}

/** A metav1.LabelSelector. Absent: matches nothing (upstream's rule), so undefined is returned. */
export function labelSelectorOf(selector: { matchLabels?: Record<string, string>; matchExpressions?: { key: string; operator: string; values?: string[] }[] } | null | undefined): Selector | undefined {
  if (!selector) return undefined;
  const operators: Record<string, LabelOperator> = { In: "in", NotIn: "notin", Exists: "exists", DoesNotExist: "!" };
  return new Selector([
    ...Object.entries(selector.matchLabels ?? {}).map(([key, value]) => requirement(key, "=", [value])),
    ...(selector.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
      const known = Object.hasOwn(operators, operator) ? operators[operator]! : undefined;
      if (known === undefined) throw new SelectorError(`${JSON.stringify(operator)} is not a valid label selector operator`);
      const wantsValues = known === "in" || known === "notin";
      const printed = `[]string{${values.map((value) => JSON.stringify(value)).join(", ")}}`;
      if (wantsValues && values.length === 0) throw new SelectorError(`values: Invalid value: ${printed}: for 'in', 'notin' operators, values set can't be empty`);
      if (!wantsValues && values.length > 0) throw new SelectorError(`values: Invalid value: ${printed}: values set must be empty for exists and does not exist`);
      return requirement(key, known, values);
    }),
  ]);
}

type TokenKind = "word" | "in" | "notin" | "=" | "==" | "!=" | "!" | "(" | ")" | "," | ">" | "<" | "error" | "end";
interface Token {
  readonly kind: TokenKind;
  readonly text: string;
}
const special = "=!(),><";

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const character = text[at]!;
    if (" \t\r\n".includes(character)) {
      at++;
    } else if (special.includes(character)) {
      const two = text.slice(at, at + 2);
      const kind = (two === "==" || two === "!=" ? two : character) as TokenKind;
      tokens.push({ kind, text: kind });
      at += kind.length;
    } else {
      const word = /^[^=!(),><\s]+|^\s/.exec(text.slice(at))![0];
      tokens.push({ kind: word === "in" || word === "notin" ? word : "word", text: word });
      at += word.length;
    }
  }
  tokens.push({ kind: "end", text: "" });
  return tokens;
}

/** Throws SelectorError. */
export function parseLabelSelector(text: string): Selector {
  const tokens = tokenize(text);
  let at = 0;
  /** Where values stand, the words `in` and `notin` are ordinary. */
  const peek = (): Token => {
    const token = tokens[at]!;
    return token.kind === "in" || token.kind === "notin" ? { kind: "word", text: token.text } : token;
  };
  const take = (): Token => {
    const token = peek();
    if (token.kind !== "end") at++;
    return token;
  };
  const fail = (token: Token, wanted: string): never => {
    throw new SelectorError(`found '${token.text}', expected: ${wanted}`);
  };

  const values = (): string[] => {
    const open = take();
    if (open.kind !== "(") throw new SelectorError(`found '${open.text}' expected: '('`);
    const first = peek();
    if (first.kind === ")") {
      take();
      return [""];
    }
    if (first.kind !== "word" && first.kind !== ",") fail(first, "',', ')' or identifier");
    const found: string[] = [];
    for (;;) {
      const token = take();
      if (token.kind === "word") {
        found.push(token.text);
        const next = peek();
        if (next.kind === ")") break;
        if (next.kind !== ",") fail(next, "',' or ')'");
      } else if (token.kind === ",") {
        // Empty values: "(,a)", "(a,)", "(a,,b)".
        if (found.length === 0) found.push("");
        const next = peek();
        if (next.kind === "," || next.kind === ")") found.push("");
        if (next.kind === ")") break;
      } else fail(token, "',', or identifier");
    }
    take();
    return found;
  };

  const one = (): LabelRequirement => {
    let first = take();
    const negated = first.kind === "!";
    if (negated) first = take();
    if (first.kind !== "word") fail(first, "identifier");
    const wrong = qualifiedName(first.text);
    if (wrong.length > 0) throw new SelectorError(renderFieldError(invalid("<nil>", first.text, wrong.join("; "))));
    const next = peek();
    if (negated) return requirement(first.text, "!", []);
    if (next.kind === "end" || next.kind === ",") return requirement(first.text, "exists", []);
    const operator = tokens[at]!;
    if (operator.kind !== "end") at++;
    switch (operator.kind) {
      case "in":
      case "notin":
        return requirement(first.text, operator.kind, values());
      case "=":
      case "==":
      case "!=":
      case ">":
      case "<": {
        const value = peek();
        const kind = operator.kind === ">" ? "gt" : operator.kind === "<" ? "lt" : operator.kind;
        if (value.kind === "end" || value.kind === ",") return requirement(first.text, kind, [""]);
        if (value.kind !== "word") fail(value, "identifier");
        return requirement(first.text, kind, [take().text]);
      }
      default:
        return fail(operator, "in, notin, =, ==, !=, gt, lt");
    }
  };

  const requirements: LabelRequirement[] = [];
  for (;;) {
    const token = peek();
    if (token.kind === "end") return new Selector(requirements);
    if (token.kind !== "word" && token.kind !== "!") fail(token, "!, identifier, or 'end of string'");
    try {
      requirements.push(one());
    } catch (error) {
      throw error instanceof SelectorError ? new SelectorError(`unable to parse requirement: ${error.message}`) : error;
    }
    const separator = take();
    if (separator.kind === "end") return new Selector(requirements);
    if (separator.kind !== ",") fail(separator, "',' or 'end of string'");
    const following = peek();
    if (following.kind !== "word" && following.kind !== "!") fail(following, "identifier after ','");
  }
}

export interface FieldTerm {
  readonly field: string;
  readonly operator: "=" | "!=";
  readonly value: string;
}

export class FieldSelector {
  readonly terms: readonly FieldTerm[];
  constructor(terms: readonly FieldTerm[]) {
    this.terms = terms;
  }
  get isEmpty(): boolean {
    return this.terms.length === 0;
  }
  /** `fields`: label → value; one that is absent counts as empty. */
  matches(fields: Readonly<Record<string, string>>): boolean {
    for (const { field, operator, value } of this.terms) if (((fields[field] ?? "") === value) !== (operator === "=")) return false;
    return true;
  }
  /** The value that `field` must have, when the selector says so: lets a list by name be a get. */
  exactValue(field: string): string | undefined {
    return this.terms.find((term) => term.field === field && term.operator === "=")?.value;
  }
  toString(): string {
    return this.terms.map(({ field, operator, value }) => `${field}${operator}${value.replace(/[\\,=]/g, "\\$&")}`).join(",");
  }
}

/** Throws SelectorError. Whether a kind knows the fields is the caller's to check. */
export function parseFieldSelector(text: string): FieldSelector {
  const terms: FieldTerm[] = [];
  for (const part of splitTerms(text).sort()) {
    if (part === "") continue;
    const match = /^(.*?)(!=|==|=)(.*)$/s.exec(part);
    if (!match) throw new SelectorError(`invalid selector: '${text}'; can't understand '${part}'`);
    terms.push({ field: match[1]!, operator: match[2] === "!=" ? "!=" : "=", value: unescapeValue(match[3]!) });
  }
  return new FieldSelector(terms);
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === ",") {
      terms.push(text.slice(start, at));
      start = at + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function unescapeValue(text: string): string {
  let value = "";
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === "\\") {
      const next = text[++at] ?? "";
      if (next === "" || !"\\,=".includes(next)) throw new SelectorError(`invalid field selector: invalid escape sequence: \\${next}`);
      value += next;
    } else if (character === "," || character === "=") {
      throw new SelectorError(`invalid field selector: unescaped character in value: ${character.charCodeAt(0)}`);
    } else value += character;
  }
  return value;
}
