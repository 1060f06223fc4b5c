/**
 * What Go says of text that is not JSON: clients show the server's words, and match them. Only for text that was
 * refused already.
 * Source: encoding/json, scanner.go.
 */
export function jsonError(text: string): string {
  let at = 0;
  const end = new Error("unexpected end of JSON input");
  const fail = (context: string): never => {
    if (at >= text.length) throw end;
    throw new Error(`invalid character ${quoted(text[at]!)} ${context}`);
  };
  const space = () => {
    while (" \t\r\n".includes(text[at] ?? "x")) at++;
  };
  const one = (of: string, context: string) => {
    if (text[at] === undefined || !of.includes(text[at]!)) fail(context);
    at++;
  };
  const digits = (context: string) => {
    one("0123456789", context);
    while (/\d/.test(text[at] ?? "")) at++;
  };
  const string = () => {
    for (at++; text[at] !== '"'; at++) {
      if (at >= text.length || text[at]! < " ") fail("in string literal");
      if (text[at] !== "\\") continue;
      at++;
      if (text[at] === "u") {
        at++;
        for (let digit = 0; digit < 4; digit++) one("0123456789abcdefABCDEF", "in \\u hexadecimal character escape");
        at--;
      }
      else if (!'"\\/bfnrt'.includes(text[at] ?? "x")) fail("in string escape code");
    }
    at++;
  };
  const number = () => {
    if (text[at] === "-") at++;
    if (text[at] === "0") at++;
    else digits("in numeric literal");
    if (text[at] === ".") {
      at++;
      digits("after decimal point in numeric literal");
    }
    if (/[eE]/.test(text[at] ?? "")) {
      at++;
      if (/[+-]/.test(text[at] ?? "")) at++;
      digits("in exponent of numeric literal");
    }
  };
  const list = (close: string, after: string, item: () => void) => {
    at++;
    space();
    if (text[at] === close) return void at++;
    for (;;) {
      item();
      space();
      if (text[at] === close) return void at++;
      if (text[at] !== ",") fail(after);
      at++;
    }
  };
  const value = (): void => {
    space();
    const first = text[at] ?? "";
    const literal = ["true", "false", "null"].find((word) => word[0] === first);
    if (first === "{") return list("}", "after object key:value pair", () => (space(), text[at] === '"' ? string() : fail("looking for beginning of object key string"), space(), text[at] === ":" ? at++ : fail("after object key"), value()));
    if (first === "[") return list("]", "after array element", value);
    if (first === '"') return string();
    if (/[-\d]/.test(first)) return number();
    if (literal === undefined) return fail("looking for beginning of value");
    for (const [index, letter] of [...literal].entries()) one(letter, `in literal ${literal} (expecting ${quoted(literal[index]!)})`);
  };
  try {
    value();
    space();
    if (at < text.length) fail("after top-level value");
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

const quoted = (character: string): string => (character === "'" ? `'\\''` : character === '"' ? `'"'` : `'${JSON.stringify(character).slice(1, -1)}'`);
