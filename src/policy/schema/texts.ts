import { isObject } from "../../base/is-object.ts";

/** What a parameter's text may be read as, by its schema. */
export interface TextTypes {
  isNumber: boolean;
  isBoolean: boolean;
  isText: boolean;
  isList: boolean;
  items(): TextTypes;
  /** Of a form's member. */
  members(name: string): TextTypes | undefined;
}

const levelsMax = 20;

/** Types that a schema allows, as far as they can be told from `type`, references and alternatives. */
export function compileTypes(schema: unknown, document: unknown, level = 0): TextTypes {
  const names = new Set<string>();
  let items: unknown;
  const members = new Map<string, unknown>();
  const look = (part: unknown, depth: number): void => {
    if (!isObject(part) || depth > levelsMax) return;
    const { type, $ref } = part;
    for (const name of Array.isArray(type) ? type : [type]) if (typeof name === "string") names.add(name);
    for (const value of [...(Array.isArray(part["enum"]) ? part["enum"] : []), part["const"]]) if (type === undefined && value !== undefined) names.add(value === null ? "null" : typeof value);
    if (part["items"] !== undefined) items ??= part["items"];
    if (isObject(part["properties"])) for (const [name, inner] of Object.entries(part["properties"])) members.set(name, inner);
    if (typeof $ref === "string") look(follow($ref, document), depth + 1);
    for (const keyword of ["allOf", "anyOf", "oneOf"]) if (Array.isArray(part[keyword])) for (const inner of part[keyword]) look(inner, depth + 1);
  };
  look(schema, 0);
  const isNumber = names.has("integer") || names.has("number");
  const cached = new Map<string, TextTypes>();
  const inner = (key: string, of: unknown): TextTypes => {
    const known = cached.get(key) ?? compileTypes(of, document, level + 1);
    cached.set(key, known);
    return known;
  };
  return {
    isNumber,
    isBoolean: names.has("boolean"),
    isList: names.has("array"),
    isText: names.has("string") || names.size === 0,
    items: () => inner("[]", level > levelsMax ? undefined : items),
    members: (name) => (members.has(name) ? inner(`.${name}`, members.get(name)) : undefined),
  };
}

function follow(reference: string, document: unknown): unknown {
  if (!reference.startsWith("#/")) return reference === "#" ? document : undefined;
  let target: unknown = document;
  for (const part of reference.slice(2).split("/")) {
    let key = part;
    try {
      key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    } catch {
      return undefined;
    }
    if (typeof target !== "object" || target === null || !Object.hasOwn(target, key)) return undefined;
    target = (target as Record<string, unknown>)[key];
  }
  return target;
}

const isNumeric = (text: string): boolean => /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) && Number.isFinite(Number(text));

/** What texts may be read as, the likeliest first; at least one. */
export function candidates(texts: readonly string[], types: TextTypes, isRepeated: boolean): unknown[] {
  if (types.isList) {
    const parts = isRepeated || texts.length !== 1 ? texts : texts[0]!.split(",");
    const items = types.items();
    return [parts.map((text) => candidates([text], items, true)[0])];
  }
  // Which of two counts, readers do not agree on.
  if (texts.length > 1) return [texts];
  const text = texts[0]!;
  const found: unknown[] = [];
  if (types.isNumber && isNumeric(text)) found.push(Number(text));
  if (types.isBoolean && (text === "true" || text === "false")) found.push(text === "true");
  if (types.isText || found.length === 0) found.push(text);
  return found;
}
