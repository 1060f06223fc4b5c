import { lazyModule } from "../base/lazy.ts";
import { PolicyError } from "./policy-error.ts";

/**
 * Patterns are foreign: they run on RE2, whose time grows with the text alone, whoever wrote them. Compiled when a route
 * is put, never for a request; the engine is loaded with the first one.
 */
export interface Pattern {
  readonly source: string;
  /** What each text that matches begins with, "" when that is not known: a cheap no. In lower case where case is ignored. */
  readonly literal: string;
  test(text: string): boolean;
  /** The groups of the first match, [0] the whole; "" for those that took no part. */
  groups(text: string): string[] | undefined;
  /** Where the first match begins at or after `from`, and ends. */
  find(text: string, from: number): { start: number; end: number; groups: string[] } | undefined;
}

export interface PatternOptions {
  /** Must match all of the text; else it need only be found in it. */
  whole: boolean;
  ignoreCase?: boolean | undefined;
}

let re2 = lazyModule<typeof import("re2js")>(import.meta.url, "re2js");

/** For programs that are one file, which have no modules to load: they bring the engine along. */
export function bringRegexEngine(engine: typeof import("re2js")): void {
  re2 = () => engine;
}
/** Instructions of one compiled pattern: what `(x{1000}){1000}` would make of it is not worth the memory. */
const programMax = 20_000;

/** @throws PolicyError naming `field` */
export function compilePattern(source: string, options: PatternOptions, field: string): Pattern {
  const { RE2JS } = re2();
  let compiled: import("re2js").RE2JS;
  try {
    compiled = RE2JS.compile(source, options.ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
  } catch (error) {
    throw new PolicyError(field, source, (error as Error).message);
  }
  if (compiled.programSize() > programMax) throw new PolicyError(field, source, `the compiled pattern has more than ${programMax} instructions`);
  const { whole } = options;
  const found = (text: string, from: number) => {
    const matcher = compiled.matcher(text);
    if (!(whole ? matcher.matches() : matcher.find(from))) return undefined;
    const groups: string[] = [];
    for (let i = 0; i <= matcher.groupCount(); i++) groups.push(matcher.group(i) ?? "");
    return { start: matcher.start(), end: matcher.end(), groups };
  };
  return {
    source,
    literal: literalStart(source, whole, options.ignoreCase === true),
    test: whole ? (text) => compiled.testExact(text) : (text) => compiled.test(text),
    groups: (text) => found(text, 0)?.groups,
    find: found,
  };
}

/** The characters that every match begins with, as far as they can be told without understanding the pattern. */
function literalStart(source: string, whole: boolean, ignoreCase: boolean): string {
  const anchored = source.startsWith("^");
  // An alternative might begin with anything. So might a quoted or flagged group; those end the literal below.
  if ((!whole && !anchored) || source.includes("|") && hasTopLevelAlternative(source)) return "";
  let literal = "";
  let i = anchored ? 1 : 0;
  while (i < source.length) {
    let char = source[i]!;
    let length = 1;
    if (char === "\\") {
      char = source[i + 1] ?? "";
      length = 2;
      if (!/[^\w\s]/.test(char)) break;
    } else if (/[.^$*+?()[\]{}|]/.test(char)) {
      break;
    }
    // What may occur any number of times need not occur.
    if (/[*+?{]/.test(source[i + length] ?? "")) break;
    literal += char;
    i += length;
  }
  return ignoreCase ? literal.toLowerCase() : literal;
}

function hasTopLevelAlternative(source: string): boolean {
  let depth = 0;
  for (let i = 0; i < source.length; i++) {
    const char = source[i];
    if (char === "\\") i++;
    // Inside brackets parentheses mean nothing: rather no literal than a wrong one.
    else if (char === "[") return true;
    else if (char === "(") depth++;
    else if (char === ")") depth--;
    else if (char === "|" && depth === 0) return true;
  }
  return false;
}
