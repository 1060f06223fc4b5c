import { type Access, type Expression, type Operator, type Part, type Reference, TemplateError } from "./syntax.ts";

/** Directives, strings and brackets within each other. */
const levelsMax = 64;
const directive = /#(?:\{([a-zA-Z]+)\}|([a-zA-Z]+))/y;
const refused = new Set(["macro", "define", "parse", "include", "evaluate"]);
const own = new Set(["set", "if", "elseif", "else", "end", "foreach", "break", "stop"]);
const identifier = /[A-Za-z_][\w-]*/y;
/** Inside expressions: `$a-1` is a name in Velocity as well, and so it is here. */
const number = /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const words: Record<string, Operator> = { or: "||", and: "&&", eq: "==", ne: "!=", lt: "<", le: "<=", gt: ">", ge: ">=" };
const levels: readonly (readonly Operator[])[] = [["||"], ["&&"], ["==", "!="], ["<", "<=", ">", ">="], ["+", "-"], ["*", "/", "%"]];

/** Velocity's language as mapping templates use it. @throws TemplateError */
export function parseTemplate(text: string): Part[] {
  return new Parser(text, 1, 0).template();
}

class Parser {
  readonly #text: string;
  readonly #firstLine: number;
  #at = 0;
  #level: number;
  #countedTo = 0;
  #counted = 0;

  constructor(text: string, firstLine: number, level: number) {
    this.#text = text;
    this.#firstLine = firstLine;
    this.#level = level;
  }
  template(): Part[] {
    const { parts, end } = this.#block();
    if (end !== "") throw this.#error(`#${end} has no beginning`);
    return parts;
  }

  get #line(): number {
    // From where it was asked for last: a long template must not be counted again for each of its references.
    if (this.#at < this.#countedTo) [this.#countedTo, this.#counted] = [0, 0];
    for (let i = this.#text.indexOf("\n", this.#countedTo); i >= 0 && i < this.#at; i = this.#text.indexOf("\n", i + 1)) {
      this.#counted++;
      this.#countedTo = i + 1;
    }
    return this.#firstLine + this.#counted;
  }
  #error(message: string): TemplateError {
    return new TemplateError(this.#line, message);
  }
  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#text) ?? undefined;
  }
  #within<T>(read: () => T): T {
    if (++this.#level > levelsMax) throw this.#error(`is nested in more than ${levelsMax} levels`);
    const result = read();
    this.#level--;
    return result;
  }

  /** Up to `#end`, `#else` or `#elseif` of what is around it, which has been read; "" at the end of the text. */
  #block(): { parts: Part[]; end: "" | "end" | "else" | "elseif" } {
    const parts: Part[] = [];
    const add = (text: string): void => {
      const last = parts.at(-1);
      if (last?.type === "text") last.text += text;
      else if (text !== "") parts.push({ type: "text", text });
    };
    const text = this.#text;
    while (this.#at < text.length) {
      const from = this.#at;
      const next = /[$#\\]/g;
      next.lastIndex = from;
      const found = next.exec(text);
      if (!found) {
        add(text.slice(from));
        this.#at = text.length;
        break;
      }
      add(text.slice(from, found.index));
      this.#at = found.index;
      if (found[0] === "\\") {
        // "\$name" and "\#set" are text without the backslash; any other backslash is itself.
        const after = text[this.#at + 1];
        const isEscape = (after === "$" && /^\$!?\{?[A-Za-z_]/.test(text.slice(this.#at + 1, this.#at + 5))) || (after === "#" && own.has(/^#\{?([a-z]+)/.exec(text.slice(this.#at + 1, this.#at + 12))?.[1] ?? ""));
        add(isEscape ? after! : "\\");
        this.#at += isEscape ? 2 : 1;
        continue;
      }
      if (found[0] === "$") {
        const reference = this.#reference();
        if (reference) parts.push({ type: "reference", reference });
        else {
          add("$");
          this.#at++;
        }
        continue;
      }
      if (text.startsWith("##", this.#at)) {
        const end = text.indexOf("\n", this.#at);
        this.#at = end < 0 ? text.length : end + 1;
        continue;
      }
      if (text.startsWith("#*", this.#at)) {
        const end = text.indexOf("*#", this.#at + 2);
        if (end < 0) throw this.#error("#* is not closed");
        this.#at = end + 2;
        continue;
      }
      if (text.startsWith("#[[", this.#at)) {
        const end = text.indexOf("]]#", this.#at + 3);
        if (end < 0) throw this.#error("#[[ is not closed");
        add(text.slice(this.#at + 3, end));
        this.#at = end + 3;
        continue;
      }
      const word = this.#match(directive);
      const name = word?.[1] ?? word?.[2] ?? "";
      if (refused.has(name)) throw this.#error(`#${name} is not honoured here`);
      if (!own.has(name)) {
        if (name !== "" && text[this.#at + word![0].length] === "(") throw this.#error(`#${name} is not a directive`);
        add("#");
        this.#at++;
        continue;
      }
      this.#at += word![0].length;
      if (name === "end" || name === "else" || name === "elseif") {
        if (name !== "elseif") this.#endLine();
        return { parts, end: name };
      }
      parts.push(this.#within(() => this.#directive(name)));
    }
    return { parts, end: "" };
  }

  /** What follows a directive on its line belongs to it when it is blank. */
  #endLine(): void {
    const rest = this.#match(/[ \t]*(?:\r?\n)/y);
    if (rest) this.#at += rest[0].length;
  }

  #directive(name: string): Part {
    switch (name) {
      case "set": {
        this.#expect("(");
        this.#blanks();
        const target = this.#reference();
        if (!target) throw this.#error("#set needs a reference");
        if (target.accesses.some(({ type }) => type === "call") && target.accesses.at(-1)?.type === "call") throw this.#error("#set cannot set what a method returns");
        this.#expect("=");
        const value = this.#expression();
        this.#expect(")");
        this.#endLine();
        return { type: "set", target, value };
      }
      case "if": {
        const branches: { condition: Expression; body: Part[] }[] = [];
        for (;;) {
          this.#expect("(");
          const condition = this.#expression();
          this.#expect(")");
          this.#endLine();
          const { parts, end } = this.#block();
          branches.push({ condition, body: parts });
          if (end === "") throw this.#error("#if has no #end");
          if (end === "elseif") continue;
          if (end === "end") return { type: "if", branches, otherwise: [] };
          const { parts: otherwise, end: last } = this.#block();
          if (last !== "end") throw this.#error(last === "" ? "#else has no #end" : `#${last} comes after #else`);
          return { type: "if", branches, otherwise };
        }
      }
      case "foreach": {
        const line = this.#line;
        this.#expect("(");
        this.#blanks();
        const variable = this.#reference();
        if (!variable || variable.accesses.length > 0) throw this.#error("#foreach needs the name of a variable");
        this.#blanks();
        if (!this.#take("in")) throw this.#error("#foreach needs 'in'");
        const list = this.#expression();
        this.#expect(")");
        this.#endLine();
        const { parts: body, end } = this.#block();
        if (end !== "end") throw this.#error(end === "" ? "#foreach has no #end" : `#${end} has no #if`);
        return { type: "foreach", name: variable.name, list, body, line };
      }
      default:
        this.#endLine();
        return { type: name as "break" | "stop" };
    }
  }

  /** At a "$"; undefined: it is one, and no more. */
  #reference(): Reference | undefined {
    const start = this.#at;
    if (this.#text[this.#at] !== "$") return undefined;
    this.#at++;
    if (this.#text[this.#at] === "!") this.#at++;
    const isFormal = this.#text[this.#at] === "{";
    if (isFormal) this.#at++;
    const name = this.#match(identifier);
    if (!name) {
      this.#at = start;
      return undefined;
    }
    const line = this.#line;
    this.#at += name[0].length;
    const accesses = this.#accesses();
    if (isFormal && !this.#take("}")) throw this.#error(`\${${name[0]} is not closed`);
    return { name: name[0], accesses, line };
  }
  #accesses(): Access[] {
    const accesses: Access[] = [];
    for (;;) {
      const char = this.#text[this.#at];
      if (char === "[") {
        this.#at++;
        accesses.push({ type: "index", index: this.#expression() });
        this.#expect("]");
        continue;
      }
      if (char !== ".") return accesses;
      this.#at++;
      const name = this.#match(identifier)?.[0];
      if (name === undefined) {
        this.#at--;
        return accesses;
      }
      this.#at += name.length;
      if (this.#text[this.#at] === "(") {
        this.#at++;
        accesses.push({ type: "call", name, parameters: this.#list(")") });
      } else {
        accesses.push({ type: "property", name });
      }
    }
  }

  // Expressions.
  #blanks(): void {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? "")) this.#at++;
  }
  #take(token: string): boolean {
    this.#blanks();
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }
  #expect(token: string): void {
    if (!this.#take(token)) throw this.#error(`'${token}' was expected, not ${this.#at < this.#text.length ? `'${this.#text.slice(this.#at, this.#at + 10)}'` : "the end"}`);
  }
  #list(end: string): Expression[] {
    const items: Expression[] = [];
    if (this.#take(end)) return items;
    do items.push(this.#expression());
    while (this.#take(","));
    this.#expect(end);
    return items;
  }
  #expression(): Expression {
    return this.#within(() => this.#binary(0));
  }
  #binary(level: number): Expression {
    if (level === levels.length) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const operator = this.#operator(levels[level]!);
      if (!operator) return left;
      left = { type: "binary", operator, left, right: this.#binary(level + 1) };
    }
  }
  #operator(wanted: readonly Operator[]): Operator | undefined {
    this.#blanks();
    const word = this.#match(/[a-z]+\b/y)?.[0];
    const symbol = word === undefined ? this.#match(/\|\||&&|==|!=|<=|>=|[<>+\-*/%]/y)?.[0] : undefined;
    const operator = word !== undefined && Object.hasOwn(words, word) ? words[word] : (symbol as Operator | undefined);
    if (operator === undefined || !wanted.includes(operator)) return undefined;
    this.#at += (word ?? symbol)!.length;
    return operator;
  }
  #unary(): Expression {
    this.#blanks();
    const not = this.#match(/!(?!=)|not\b/y);
    if (not) {
      this.#at += not[0].length;
      return { type: "not", operand: this.#within(() => this.#unary()) };
    }
    if (this.#text[this.#at] === "-") {
      this.#at++;
      return { type: "negative", operand: this.#within(() => this.#unary()) };
    }
    return this.#primary();
  }
  #primary(): Expression {
    const char = this.#text[this.#at];
    if (char === "$") {
      const reference = this.#reference();
      if (!reference) throw this.#error("a name must follow '$'");
      return { type: "reference", reference };
    }
    if (char === "'" || char === '"') return this.#string(char);
    if (char === "(") {
      this.#at++;
      const inner = this.#expression();
      this.#expect(")");
      return inner;
    }
    if (char === "[") {
      this.#at++;
      if (this.#take("]")) return { type: "list", items: [] };
      const first = this.#expression();
      if (this.#take("..")) {
        const to = this.#expression();
        this.#expect("]");
        return { type: "range", from: first, to };
      }
      const items = [first];
      if (this.#take(",")) items.push(...this.#list("]"));
      else this.#expect("]");
      return { type: "list", items };
    }
    if (char === "{") return this.#map();
    const digits = this.#match(number)?.[0];
    if (digits !== undefined) {
      this.#at += digits.length;
      return { type: "literal", value: Number(digits) };
    }
    const word = this.#match(/[a-zA-Z]+\b/y)?.[0];
    if (word === "true" || word === "false" || word === "null") {
      this.#at += word.length;
      return { type: "literal", value: word === "null" ? null : word === "true" };
    }
    throw this.#error(`a value was expected, not ${char === undefined ? "the end" : `'${this.#text.slice(this.#at, this.#at + 10)}'`}`);
  }
  #map(): Expression {
    this.#at++;
    const entries: [Expression, Expression][] = [];
    if (this.#take("}")) return { type: "map", entries };
    do {
      const key = this.#expression();
      this.#expect(":");
      entries.push([key, this.#expression()]);
    } while (this.#take(","));
    this.#expect("}");
    return { type: "map", entries };
  }
  /** A doubled quote is one; a backslash stays, and keeps the quote behind it from ending the string. */
  #string(quote: string): Expression {
    const line = this.#line;
    let text = "";
    for (let i = this.#at + 1; ; i++) {
      const char = this.#text[i];
      if (char === undefined) throw this.#error(`a string is not closed`);
      if (char === "\\" && (this.#text[i + 1] === quote || this.#text[i + 1] === "\\")) {
        text += char + this.#text[++i]!;
      } else if (char !== quote) {
        text += char;
      } else if (this.#text[i + 1] === quote) {
        text += quote;
        i++;
      } else {
        this.#at = i + 1;
        break;
      }
    }
    if (quote === "'" || !/[$#]/.test(text)) return { type: "literal", value: text };
    if (this.#level >= levelsMax) throw this.#error(`is nested in more than ${levelsMax} levels`);
    return { type: "interpolated", parts: new Parser(text, line, this.#level + 1).template() };
  }
}
