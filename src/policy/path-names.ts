import type { PathNames } from "../api/traffic-content.ts";
import type { Exchange } from "./exchange.ts";
import { compilePattern } from "./pattern.ts";
import { PolicyError } from "./policy-error.ts";

/** Parameters of the path of a request, decoded. Without names: none. */
export function compilePathNames(path: PathNames | undefined): (exchange: Exchange) => Map<string, string> {
  if (!path) return () => new Map();
  if (path.type !== "regex") throw new PolicyError("path.type", path.type, 'must be "regex"');
  const { names } = path;
  const pattern = path.pattern === undefined ? undefined : compilePattern(path.pattern, { whole: false }, "path.pattern");
  return (exchange) => {
    const groups = pattern ? pattern.groups(exchange.request.path) : exchange.captures;
    const found = new Map<string, string>();
    if (groups) for (const [i, name] of names.entries()) if (groups[i + 1] !== undefined) found.set(name, decoded(groups[i + 1]!));
    return found;
  };
}

/** Percent-encoding undone, where it is one. */
export function decoded(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
