import { Uint } from "./values.ts";
import type { Source } from "./source.ts";

export interface Token {
  kind: "end" | "identifier" | "quoted" | "literal" | "symbol";
  /** The symbol, the name, or the text of a literal as it is written. */
  text: string;
  value?: unknown;
  offset: number;
}

const symbols = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "+", "-", "*", "/", "%", "!"];
const escapes: Record<string, string> = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v", "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`" };
const intMax = (1n << 63n) - 1n;
const uintMax = (1n << 64n) - 1n;

const spaceForm = /(?:[\t \r\n\f]+|\/\/[^\n]*)+/y;
const identifierForm = /[A-Za-z_][A-Za-z0-9_]*/y;
const quotedForm = /`[A-Za-z0-9_.\-/ ]+`/y;
const floatForm = /(?:[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)/y;
const integerForm = /(?:0[xX][0-9a-fA-F]+|[0-9]+)[uU]?/y;
const stringForm = /([bB]?[rR]?|[rR][bB])("""|'''|"|')/y;

/** Source of the lexical form: CEL's language definition, section "Syntax". */
export function tokenize(source: Source): Token[] {
  const { text } = source;
  const tokens: Token[] = [];
  let offset = 0;
  const take = (form: RegExp): string | undefined => {
    form.lastIndex = offset;
    return form.exec(text)?.[0];
  };
  while (true) {
    offset += take(spaceForm)?.length ?? 0;
    if (offset >= text.length) break;
    const prefix = take(stringForm);
    if (prefix !== undefined) {
      const [token, end] = readString(source, offset, prefix);
      if (token) tokens.push(token);
      offset = end;
      continue;
    }
    const before = tokens.at(-1);
    // `a.0` is no number, and ".5" is one only where a value may begin.
    const float = before?.kind === "identifier" && text[offset] === "." ? undefined : take(floatForm);
    const number = float ?? take(integerForm);
    if (number !== undefined) {
      tokens.push({ kind: "literal", text: number, value: float === undefined ? readInteger(source, offset, number) : Number(number), offset });
      offset += number.length;
      continue;
    }
    const name = take(identifierForm);
    if (name !== undefined) {
      tokens.push({ kind: "identifier", text: name, offset });
      offset += name.length;
      continue;
    }
    const quoted = take(quotedForm);
    if (quoted !== undefined) {
      tokens.push({ kind: "quoted", text: quoted.slice(1, -1), offset });
      offset += quoted.length;
      continue;
    }
    const symbol = symbols.find((candidate) => text.startsWith(candidate, offset));
    if (symbol !== undefined) {
      tokens.push({ kind: "symbol", text: symbol, offset });
      offset += symbol.length;
      continue;
    }
    const character = String.fromCodePoint(text.codePointAt(offset)!);
    source.report(offset, `Syntax error: token recognition error at: '${character}'`);
    offset += character.length;
  }
  tokens.push({ kind: "end", text: "<EOF>", offset: text.length });
  return tokens;
}

/** A minus before it is not seen here: 2^63 is let through for the parser to judge. */
function readInteger(source: Source, offset: number, text: string): unknown {
  const unsigned = /[uU]$/.test(text);
  const value = BigInt(unsigned ? text.slice(0, -1) : text);
  if (unsigned) {
    if (value > uintMax) source.report(offset, "invalid uint literal");
    return new Uint(value);
  }
  if (value > intMax + 1n) source.report(offset, "invalid int literal");
  return value;
}

function readString(source: Source, start: number, prefix: string): [Token | undefined, number] {
  const { text } = source;
  const quote = /["']+$/.exec(prefix)![0];
  const raw = /[rR]/.test(prefix);
  const bytes = /[bB]/.test(prefix);
  let value = "";
  const octets: number[] = [];
  const put = (part: string): void => {
    if (bytes) octets.push(...Buffer.from(part));
    else value += part;
  };
  let at = start + prefix.length;
  while (true) {
    if (at >= text.length || (quote.length === 1 && (text[at] === "\n" || text[at] === "\r"))) {
      source.report(start, `Syntax error: token recognition error at: '${text.slice(start, at)}'`);
      return [undefined, at];
    }
    if (text.startsWith(quote, at)) {
      at += quote.length;
      break;
    }
    if (text[at] !== "\\") {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      put(character);
      at += character.length;
    } else if (raw) {
      put(text.slice(at, at + 2));
      at += 2;
    } else {
      const simple = escapes[text[at + 1] ?? ""];
      const coded = /^\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))/.exec(text.slice(at, at + 10));
      if (simple !== undefined) {
        put(simple);
        at += 2;
      } else if (coded) {
        const code = coded[4] === undefined ? Number.parseInt(coded[1] ?? coded[2] ?? coded[3]!, 16) : Number.parseInt(coded[4], 8);
        const wide = coded[2] !== undefined || coded[3] !== undefined;
        if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) || (bytes && wide)) source.report(start, `invalid ${bytes ? "bytes" : "string"} literal: unable to unescape string`);
        else if (bytes) octets.push(code);
        else value += String.fromCodePoint(code);
        at += coded[0].length;
      } else {
        source.report(start, `Syntax error: token recognition error at: '${text.slice(start, at + 2)}'`);
        at += 2;
      }
    }
  }
  return [{ kind: "literal", text: text.slice(start, at), value: bytes ? Uint8Array.from(octets) : value, offset: start }, at];
}
