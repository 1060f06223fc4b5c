import type { Draft, FoldKind, Node } from "./ast.ts";
import { CelCompileError } from "./errors.ts";
import { type Token, tokenize } from "./lexer.ts";
import { Source } from "./source.ts";

/** Source: cel-go's parser options; k8s.io/apiserver leaves them as they are. */
const sizeMax = 100_000;
const depthMax = 250;

const reserved = new Set(["as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "namespace", "package", "return", "var", "void", "while"]);
const relations = new Set(["<", "<=", ">=", ">", "==", "!=", "in"]);
const valueStart = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const folds: Record<string, readonly number[]> = { all: [2, 3], exists: [2, 3], exists_one: [2, 3], existsOne: [2, 3], map: [2, 3], filter: [2], transformList: [3, 4], transformMap: [3, 4], transformMapEntry: [3, 4] };

/** Ends the parse; what is wrong was reported. */
class Stop extends Error {}

/** Throws CelCompileError. Macros (`has`, `all`, `optMap` …) become nodes of their own. */
export function parse(text: string): { root: Node; source: Source } {
  const source = new Source(text);
  // Not counted by code point where bytes already tell.
  if (text.length > sizeMax && [...text].length > sizeMax) throw new CelCompileError(`ERROR: <input>:-1:0: expression code point size exceeds limit: size: ${[...text].length}, limit ${sizeMax}`);
  try {
    const root = new Parser(source).parse();
    source.throwProblems();
    return { root, source };
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    source.throwProblems();
    throw error;
  }
}

class Parser {
  readonly #source: Source;
  readonly #tokens: Token[];
  #at = 0;
  #nesting = 0;

  constructor(source: Source) {
    this.#source = source;
    this.#tokens = tokenize(source);
  }

  parse(): Node {
    const root = this.#expression();
    const rest = this.#peek();
    if (rest.kind !== "end") this.#fail(rest.offset, this.#tokens[this.#at + 1]?.kind === "end" ? `Syntax error: extraneous input '${rest.text}' expecting <EOF>` : `Syntax error: mismatched input '${rest.text}' expecting <EOF>`);
    return root;
  }

  #peek(): Token {
    return this.#tokens[this.#at]!;
  }
  #is(symbol: string): boolean {
    const token = this.#peek();
    return token.text === symbol && (token.kind === "symbol" || (symbol === "in" && token.kind === "identifier"));
  }
  #accept(symbol: string): Token | undefined {
    if (!this.#is(symbol)) return undefined;
    return this.#tokens[this.#at++];
  }
  #expect(symbol: string, others = ""): Token {
    if (symbol === ")" && this.#peek().kind === "end") this.#fail(this.#peek().offset, `Syntax error: missing '${symbol}' at '<EOF>'`);
    return this.#accept(symbol) ?? this.#fail(this.#peek().offset, `Syntax error: mismatched input '${this.#peek().text}' expecting ${others === "" ? `'${symbol}'` : `{'${symbol}', ${others}}`}`);
  }
  #fail(offset: number, message: string): never {
    this.#source.report(offset, message);
    throw new Stop();
  }

  #node(draft: Draft, ...children: readonly (Node | undefined)[]): Node {
    let depth = 0;
    for (const child of children) if (child && child.depth > depth) depth = child.depth;
    if (depth >= depthMax) this.#fail(draft.offset, `expression recursion limit exceeded: ${depthMax}`);
    return { ...draft, depth: depth + 1 } as Node;
  }

  #expression(): Node {
    if (++this.#nesting > depthMax) this.#fail(this.#peek().offset, `expression recursion limit exceeded: ${depthMax}`);
    const condition = this.#logic(true);
    const question = this.#accept("?");
    let result = condition;
    if (question) {
      const chosen = this.#logic(true);
      this.#expect(":");
      const otherwise = this.#expression();
      result = this.#node({ kind: "conditional", condition, chosen, otherwise, offset: question.offset }, condition, chosen, otherwise);
    }
    this.#nesting--;
    return result;
  }

  /** Chains are one node: a thousand of terms are no thousand levels. */
  #logic(or: boolean): Node {
    const next = (): Node => (or ? this.#logic(false) : this.#relation());
    const terms = [next()];
    const offsets: number[] = [];
    for (let token; (token = this.#accept(or ? "||" : "&&")); ) {
      offsets.push(token.offset);
      terms.push(next());
    }
    return terms.length === 1 ? terms[0]! : this.#node({ kind: "logic", or, terms, offsets, offset: offsets[0]! }, ...terms);
  }

  #relation(): Node {
    let left = this.#sum();
    while (relations.has(this.#peek().text) && (this.#peek().kind === "symbol" || this.#peek().text === "in")) {
      const token = this.#tokens[this.#at++]!;
      left = this.#operator(token.text === "in" ? "@in" : `_${token.text}_`, token.offset, left, this.#sum());
    }
    return left;
  }
  #sum(): Node {
    let left = this.#product();
    for (let token; (token = this.#accept("+") ?? this.#accept("-")); ) left = this.#operator(`_${token.text}_`, token.offset, left, this.#product());
    return left;
  }
  #product(): Node {
    let left = this.#unary();
    for (let token; (token = this.#accept("*") ?? this.#accept("/") ?? this.#accept("%")); ) left = this.#operator(`_${token.text}_`, token.offset, left, this.#unary());
    return left;
  }
  #operator(name: string, offset: number, ...args: Node[]): Node {
    return this.#node({ kind: "call", name, target: undefined, args, offset }, ...args);
  }

  #unary(): Node {
    const first = this.#peek();
    for (const symbol of ["!", "-"]) {
      let count = 0;
      while (this.#accept(symbol)) count++;
      if (count === 0) continue;
      const next = this.#peek();
      if (symbol === "-" && next.kind === "literal" && (typeof next.value === "bigint" || typeof next.value === "number")) {
        // The last minus belongs to the number, so that the least of ints can be written.
        next.value = -(next.value as number);
        next.text = `-${next.text}`;
        count--;
      }
      const operand = this.#member();
      // An even number of the same says nothing, as upstream reads it.
      return count % 2 === 0 ? operand : this.#operator(symbol === "!" ? "!_" : "-_", first.offset, operand);
    }
    return this.#member();
  }

  #member(): Node {
    let operand = this.#primary();
    while (true) {
      const open = this.#accept(".") ?? this.#accept("[");
      if (!open) return operand;
      const optional = this.#accept("?") !== undefined;
      if (open.text === "[") {
        const index = this.#expression();
        this.#expect("]");
        operand = this.#operator(optional ? "_[?_]" : "_[_]", open.offset, operand, index);
        continue;
      }
      const name = this.#tokens[this.#at++]!;
      const plain = name.kind === "identifier" && name.text !== "in" && name.text !== "true" && name.text !== "false" && name.text !== "null";
      if (!plain && name.kind !== "quoted") this.#fail(name.offset, `Syntax error: ${name.kind === "end" ? "no viable alternative at input '.'" : `mismatched input '${name.text}' expecting IDENTIFIER`}`);
      const bracket = optional || !plain ? undefined : this.#accept("(");
      if (bracket) operand = this.#call(operand, name.text, bracket.offset, this.#arguments(")"));
      else operand = this.#node({ kind: "select", operand, field: name.text, optional, test: false, offset: open.offset }, operand);
    }
  }

  #arguments(close: string): Node[] {
    const args: Node[] = [];
    if (!this.#is(close)) {
      do args.push(this.#expression());
      while (this.#accept(","));
    }
    this.#expect(close, "','");
    return args;
  }

  #primary(): Node {
    const token = this.#tokens[this.#at++]!;
    const { offset } = token;
    if (token.kind === "literal") {
      if (token.value === 1n << 63n) this.#fail(offset, "invalid int literal");
      return this.#node({ kind: "literal", value: token.value, offset });
    }
    if (token.kind === "symbol") {
      if (token.text === "(") {
        const inner = this.#expression();
        this.#expect(")");
        return inner;
      }
      if (token.text === "[") return this.#list(offset);
      if (token.text === "{") return this.#map(offset);
      if (token.text === "." && this.#peek().kind === "identifier") return this.#primary();
    }
    if (token.kind === "identifier" && token.text !== "in") {
      const constant = { true: true, false: false, null: null }[token.text];
      if (constant !== undefined) return this.#node({ kind: "literal", value: constant, offset });
      if (reserved.has(token.text)) this.#fail(offset, `reserved identifier: ${token.text}`);
      const bracket = this.#accept("(");
      if (bracket) return this.#call(undefined, token.text, bracket.offset, this.#arguments(")"));
      return this.#struct(token) ?? this.#node({ kind: "identifier", name: token.text, offset });
    }
    this.#at--;
    return this.#fail(offset, `Syntax error: mismatched input '${token.text}' expecting ${valueStart}`);
  }

  #list(offset: number): Node {
    const elements: { value: Node; optional: boolean }[] = [];
    while (!this.#is("]")) {
      const optional = this.#accept("?") !== undefined;
      elements.push({ value: this.#expression(), optional });
      if (!this.#accept(",")) break;
    }
    this.#expect("]", "','");
    return this.#node({ kind: "list", elements, offset }, ...elements.map(({ value }) => value));
  }

  #map(offset: number): Node {
    const entries: { key: Node; value: Node; optional: boolean; offset: number }[] = [];
    while (!this.#is("}")) {
      const optional = this.#accept("?") !== undefined;
      const key = this.#expression();
      const colon = this.#expect(":");
      entries.push({ key, value: this.#expression(), optional, offset: colon.offset });
      if (!this.#accept(",")) break;
    }
    this.#expect("}", "','");
    return this.#node({ kind: "map", entries, offset }, ...entries.flatMap(({ key, value }) => [key, value]));
  }

  /** `Object.spec{replicas: 3}`: looked for ahead, since only the brace tells it from a selection. */
  #struct(first: Token): Node | undefined {
    let at = this.#at;
    let name = first.text;
    while (this.#tokens[at]!.kind === "symbol" && this.#tokens[at]!.text === "." && this.#tokens[at + 1]?.kind === "identifier") {
      name += `.${this.#tokens[at + 1]!.text}`;
      at += 2;
    }
    const open = this.#tokens[at]!;
    if (open.kind !== "symbol" || open.text !== "{") return undefined;
    this.#at = at + 1;
    const fields: { name: string; value: Node; optional: boolean; offset: number }[] = [];
    while (!this.#is("}")) {
      const optional = this.#accept("?") !== undefined;
      const token = this.#tokens[this.#at++]!;
      if (token.kind !== "identifier" && token.kind !== "quoted") this.#fail(token.offset, `Syntax error: mismatched input '${token.text}' expecting {'}', IDENTIFIER}`);
      const colon = this.#expect(":");
      fields.push({ name: token.text, value: this.#expression(), optional, offset: colon.offset });
      if (!this.#accept(",")) break;
    }
    this.#expect("}", "','");
    return this.#node({ kind: "struct", name, fields, offset: open.offset }, ...fields.map(({ value }) => value));
  }

  #variable(node: Node, message: string): string {
    if (node.kind !== "identifier") this.#fail(node.offset, message);
    if (node.name === "__result__") this.#fail(node.offset, "iteration variable overwrites accumulator variable");
    return node.name;
  }

  #call(target: Node | undefined, name: string, offset: number, args: Node[]): Node {
    if (!target && name === "has" && args.length === 1) {
      const [operand] = args as [Node];
      if (operand.kind !== "select") this.#fail(operand.offset, "invalid argument to has() macro");
      return { ...operand, test: true, offset };
    }
    if (target && (name === "optMap" || name === "optFlatMap") && args.length === 2) {
      const variable = this.#variable(args[0]!, `${name}() variable name must be a simple identifier`);
      return this.#node({ kind: "bind", variable, value: target, body: args[1]!, optional: name === "optMap" ? "map" : "flat", offset }, target, args[1]);
    }
    if (target && Object.hasOwn(folds, name) && folds[name]!.includes(args.length)) {
      const two = name.startsWith("transform") || (args.length === 3 && name !== "map");
      const variable = this.#variable(args[0]!, "argument must be a simple name");
      const variable2 = two ? this.#variable(args[1]!, "argument must be a simple name") : undefined;
      if (variable === variable2) this.#fail(args[1]!.offset, `duplicate variable name: ${variable}`);
      const rest = args.slice(two ? 2 : 1);
      const body = rest.at(-1)!;
      const filter = rest.length === 2 ? rest[0] : undefined;
      const fold = (name === "existsOne" ? "exists_one" : name) as FoldKind;
      return this.#node({ kind: "fold", fold, range: target, variable, variable2, filter, body, offset }, target, filter, body);
    }
    return this.#node({ kind: "call", name, target, args, offset }, target, ...args);
  }
}

