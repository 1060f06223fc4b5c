import type { TextMatch } from "../api/traffic.ts";
import { compilePattern } from "./pattern.ts";
import { PolicyError } from "./policy-error.ts";

/** @throws PolicyError naming `field` */
export function compileTextMatch({ type, value }: TextMatch, field: string): (text: string) => boolean {
  switch (type) {
    case "exact":
      return (text) => text === value;
    case "prefix":
      return (text) => text.startsWith(value);
    case "suffix":
      return (text) => text.endsWith(value);
    case "regex": {
      const pattern = compilePattern(value, { whole: true }, `${field}.value`);
      return (text) => pattern.test(text);
    }
    default:
      throw new PolicyError(`${field}.type`, type, "supported values: exact, prefix, suffix, regex");
  }
}
