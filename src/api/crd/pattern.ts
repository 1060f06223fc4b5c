import { createRequire } from "node:module";

/**
 * Patterns mean what Go's regexp means by them (RE2): no look-around and no back-references, and matching takes time
 * linear in the text, whoever wrote the pattern. The engine is loaded with the first pattern.
 */
export interface Pattern {
  /** Whether it is found anywhere in the text. */
  test(text: string): boolean;
}

/** The pattern is none; the message is Go's. */
export class PatternError extends Error {}

/**
 * What controller-gen writes for every quantity, our own definitions among them. JavaScript reads it as RE2 does and in linear
 * time: no stack pays ten megabytes for an engine because of it.
 */
export const quantityPattern = String.raw`^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$`;
const quantities = new RegExp(quantityPattern);

const kept = new Map<string, Pattern>();
const keptMax = 1000;
let engine: typeof import("re2js").RE2JS | undefined;

/** Throws PatternError. */
export function compilePattern(source: string): Pattern {
  if (source === quantityPattern) return quantities;
  const known = kept.get(source);
  if (known) return known;
  engine ??= (createRequire(import.meta.url)("re2js") as typeof import("re2js")).RE2JS;
  let compiled;
  try {
    compiled = engine.compile(source);
  } catch (error) {
    throw new PatternError((error as Error).message);
  }
  const pattern: Pattern = { test: (text) => compiled.matcher(text).find() };
  if (kept.size >= keptMax) kept.delete(kept.keys().next().value!);
  kept.set(source, pattern);
  return pattern;
}
