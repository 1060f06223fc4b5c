import { semanticEqual } from "./checks.ts";

/**
 * What differs between two values, one line a field (`  spec.x: "a" → "b"`), for people: upstream puts a dump of
 * Go structs here, which nobody parses.
 */
export function differences(old: unknown, value: unknown, path = ""): string {
  if (semanticEqual(old, value)) return "";
  const bothObjects = isObject(old) && isObject(value) && Array.isArray(old) === Array.isArray(value);
  if (!bothObjects) return `- ${path}: ${JSON.stringify(old) ?? "unset"}\n+ ${path}: ${JSON.stringify(value) ?? "unset"}\n`;
  const keys = [...new Set([...Object.keys(old), ...Object.keys(value)])];
  return keys.map((key) => differences(old[key], value[key], Array.isArray(old) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`)).join("");
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
