import { compilePattern, type Pattern } from "../pattern.ts";

const blank = "\\t\\n\\x0b\\f\\r \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}";

const list = String.raw`\[[\w .,:@/#-]+\]`;
/**
 * What most patterns are: a row of plain classes, the last of any length, and the end: `^[A-Z]{2}[0-9-]+$`. JavaScript's own engine
 * reads a text once through for such a one, as RE2 does, and in a tenth of the time.
 */
const plain = new RegExp(String.raw`^\^(?:${list}(?:\{\d{1,3}\})?)*(?:${list}(?:[+*?]|\{\d{1,3},\d{0,3}\}))?\$$`);

/**
 * A schema's pattern, which is JavaScript's, on RE2: what only its writing is different of is rewritten; what RE2 does not have
 * (looking ahead or behind, going back to a group) is refused. @throws PolicyError naming `field`
 */
export function compileRegular(source: string, field: string): Pattern {
  let isClass = false;
  const text = source.replace(/\\(?:u\{([\dA-Fa-f]+)\}|u([\dA-Fa-f]{4})|c([A-Za-z])|[\s\S])|[[\]$]/g, (all: string, braced?: string, four?: string, control?: string) => {
    if (all === "[") isClass = true;
    else if (all === "]") isClass = false;
    if (braced ?? four) return `\\x{${braced ?? four}}`;
    if (control) return `\\x{${(control.charCodeAt(0) % 32).toString(16)}}`;
    if (all === "\\s") return isClass ? blank : `[${blank}]`;
    if (all === "\\S" && !isClass) return `[^${blank}]`;
    if (all === "\\v") return "\\x0b";
    if (all === "\\0") return "\\x00";
    return all;
  });
  const pattern = compilePattern(text, { whole: false }, field);
  if (!plain.test(source)) return pattern;
  const native = new RegExp(source);
  return { ...pattern, test: (value) => native.test(value) };
}
