import { createRequire } from "node:module";
import type { RE2JS } from "re2js";
import { CelEvaluationError } from "../errors.ts";

/**
 * Patterns are foreign: they run on an engine whose time grows with the text alone. It is loaded at the first one.
 */
const load = createRequire(import.meta.url);
let engine: typeof RE2JS | undefined;
const compiled = new Map<string, RE2JS>();
const compiledMax = 1000;

/** @throws CelEvaluationError "error parsing regexp: …" */
export function matcherOf(pattern: string): RE2JS {
  let matcher = compiled.get(pattern);
  if (!matcher) {
    engine ??= (load("re2js") as { RE2JS: typeof RE2JS }).RE2JS;
    try {
      matcher = engine.compile(pattern);
    } catch (error) {
      throw new CelEvaluationError((error as Error).message);
    }
    if (compiled.size >= compiledMax) compiled.delete(compiled.keys().next().value!);
    compiled.set(pattern, matcher);
  }
  return matcher;
}
