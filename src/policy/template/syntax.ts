/** What a template is, once read. */
export type Part =
  | { type: "text"; text: string }
  | { type: "reference"; reference: Reference }
  | { type: "set"; target: Reference; value: Expression }
  | { type: "if"; branches: { condition: Expression; body: Part[] }[]; otherwise: Part[] }
  | { type: "foreach"; name: string; list: Expression; body: Part[]; line: number }
  | { type: "break" }
  | { type: "stop" };

export interface Reference {
  name: string;
  accesses: Access[];
  line: number;
}
export type Access = { type: "property"; name: string } | { type: "call"; name: string; parameters: Expression[] } | { type: "index"; index: Expression };

export type Expression =
  | { type: "literal"; value: string | number | boolean | null }
  | { type: "interpolated"; parts: Part[] }
  | { type: "reference"; reference: Reference }
  | { type: "list"; items: Expression[] }
  | { type: "range"; from: Expression; to: Expression }
  | { type: "map"; entries: [Expression, Expression][] }
  | { type: "not"; operand: Expression }
  | { type: "negative"; operand: Expression }
  | { type: "binary"; operator: Operator; left: Expression; right: Expression };
export type Operator = "||" | "&&" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "+" | "-" | "*" | "/" | "%";

/** What is wrong with a template, or with what it was made to do; `line` counts from 1. */
export class TemplateError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`);
    this.name = "TemplateError";
    this.line = line;
  }
}
