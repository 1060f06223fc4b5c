import { createRequire } from "node:module";

/**
 * A module that its first use loads, synchronously: what few stacks need costs nobody's start.
 * `const checks = lazyModule<typeof import("./checks.ts")>(import.meta.url, "./checks.ts")`, then `checks().violations(…)`.
 */
export function lazyModule<T>(from: string, path: string): () => T {
  let module: T | undefined;
  return () => (module ??= createRequire(from)(path) as T);
}
