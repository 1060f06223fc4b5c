/**
 * JSON Schema 2020-12 as its text says it, slowly: every keyword looks at the whole schema, annotations are sets that are carried
 * along, equality compares. What filters compile is compared with it on random schemas and documents.
 */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
interface Result {
  isValid: boolean;
  names: Set<string>;
  items: Set<number>;
}

const isObject = (value: unknown): value is Record<string, Json> => typeof value === "object" && value !== null && !Array.isArray(value);

export function isEqual(a: Json, b: Json): boolean {
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => isEqual(item, b[i]!));
  if (isObject(a)) return isObject(b) && Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((name) => Object.hasOwn(b, name) && isEqual(a[name]!, b[name]!));
  return a === b;
}
const isOfType = (value: Json, type: string): boolean => {
  if (type === "integer") return typeof value === "number" && Number.isInteger(value);
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  return type === "null" ? value === null : typeof value === type;
};

export function validates(schema: Json, value: Json, root: Json): boolean {
  return evaluate(schema, value, root).isValid;
}
function evaluate(schema: Json, value: Json, root: Json): Result {
  const result: Result = { isValid: true, names: new Set(), items: new Set() };
  if (typeof schema === "boolean") return { ...result, isValid: schema };
  const s = schema as Record<string, Json>;
  const has = (keyword: string): boolean => Object.hasOwn(s, keyword);
  const must = (isRight: boolean): void => void (result.isValid &&= isRight);
  const take = (inner: Result): void => {
    for (const name of inner.names) result.names.add(name);
    for (const item of inner.items) result.items.add(item);
  };
  const apply = (inner: Json): Result => evaluate(inner, value, root);
  if (has("$ref")) {
    let target = root;
    for (const part of (s["$ref"] as string).split("/").slice(1)) target = (target as Record<string, Json>)[part]!;
    const inner = apply(target);
    must(inner.isValid);
    take(inner);
  }
  if (has("type")) must([s["type"]].flat().some((type) => isOfType(value, type as string)));
  if (has("const")) must(isEqual(value, s["const"]!));
  if (has("enum")) must((s["enum"] as Json[]).some((one) => isEqual(value, one)));
  if (typeof value === "number") {
    if (has("minimum")) must(value >= (s["minimum"] as number));
    if (has("maximum")) must(value <= (s["maximum"] as number));
    if (has("exclusiveMinimum")) must(value > (s["exclusiveMinimum"] as number));
    if (has("exclusiveMaximum")) must(value < (s["exclusiveMaximum"] as number));
    // Of small numbers with one digit behind the point.
    if (has("multipleOf")) must(Math.round(value * 10) % Math.round((s["multipleOf"] as number) * 10) === 0);
  }
  if (typeof value === "string") {
    if (has("minLength")) must([...value].length >= (s["minLength"] as number));
    if (has("maxLength")) must([...value].length <= (s["maxLength"] as number));
    if (has("pattern")) must(new RegExp(s["pattern"] as string, "u").test(value));
  }
  if (Array.isArray(value)) {
    if (has("minItems")) must(value.length >= (s["minItems"] as number));
    if (has("maxItems")) must(value.length <= (s["maxItems"] as number));
    if (s["uniqueItems"] === true) must(value.every((item, i) => value.every((other, j) => i === j || !isEqual(item, other))));
    const prefix = (s["prefixItems"] as Json[] | undefined) ?? [];
    for (const [i, inner] of prefix.entries()) {
      if (i >= value.length) break;
      result.items.add(i);
      must(evaluate(inner, value[i]!, root).isValid);
    }
    if (has("items")) {
      for (let i = prefix.length; i < value.length; i++) {
        result.items.add(i);
        must(evaluate(s["items"]!, value[i]!, root).isValid);
      }
    }
    if (has("contains")) {
      const found = [...value.keys()].filter((i) => evaluate(s["contains"]!, value[i]!, root).isValid);
      for (const i of found) result.items.add(i);
      must(found.length >= ((s["minContains"] as number | undefined) ?? 1) && found.length <= ((s["maxContains"] as number | undefined) ?? Infinity));
    }
  }
  if (isObject(value)) {
    const names = Object.keys(value);
    if (has("minProperties")) must(names.length >= (s["minProperties"] as number));
    if (has("maxProperties")) must(names.length <= (s["maxProperties"] as number));
    if (has("required")) must((s["required"] as string[]).every((name) => Object.hasOwn(value, name)));
    if (has("dependentRequired")) for (const [name, needed] of Object.entries(s["dependentRequired"] as Record<string, string[]>)) if (Object.hasOwn(value, name)) must(needed.every((one) => Object.hasOwn(value, one)));
    if (has("propertyNames")) for (const name of names) must(evaluate(s["propertyNames"]!, name, root).isValid);
    const own = new Set<string>();
    if (has("properties")) {
      for (const [name, inner] of Object.entries(s["properties"] as Record<string, Json>)) {
        if (!Object.hasOwn(value, name)) continue;
        own.add(name);
        must(evaluate(inner, value[name]!, root).isValid);
      }
    }
    if (has("patternProperties")) {
      for (const [pattern, inner] of Object.entries(s["patternProperties"] as Record<string, Json>)) {
        for (const name of names) {
          if (!new RegExp(pattern, "u").test(name)) continue;
          own.add(name);
          must(evaluate(inner, value[name]!, root).isValid);
        }
      }
    }
    if (has("additionalProperties")) {
      for (const name of names) {
        if (own.has(name)) continue;
        result.names.add(name);
        must(evaluate(s["additionalProperties"]!, value[name]!, root).isValid);
      }
    }
    for (const name of own) result.names.add(name);
    if (has("dependentSchemas")) {
      for (const [name, inner] of Object.entries(s["dependentSchemas"] as Record<string, Json>)) {
        if (!Object.hasOwn(value, name)) continue;
        const applied = apply(inner);
        must(applied.isValid);
        take(applied);
      }
    }
  }
  for (const inner of (s["allOf"] as Json[] | undefined) ?? []) {
    const applied = apply(inner);
    must(applied.isValid);
    take(applied);
  }
  for (const [keyword, isRight] of [["anyOf", (count: number) => count > 0], ["oneOf", (count: number) => count === 1]] as const) {
    if (!has(keyword)) continue;
    const valid = (s[keyword] as Json[]).map(apply).filter(({ isValid }) => isValid);
    must(isRight(valid.length));
    valid.forEach(take);
  }
  if (has("not")) must(!apply(s["not"]!).isValid);
  if (has("if")) {
    const condition = apply(s["if"]!);
    if (condition.isValid) take(condition);
    const branch = condition.isValid ? "then" : "else";
    if (has(branch)) {
      const applied = apply(s[branch]!);
      must(applied.isValid);
      take(applied);
    }
  }
  if (has("unevaluatedItems") && Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      if (result.items.has(i)) continue;
      must(evaluate(s["unevaluatedItems"]!, item, root).isValid);
      result.items.add(i);
    }
  }
  if (has("unevaluatedProperties") && isObject(value)) {
    for (const name of Object.keys(value)) {
      if (result.names.has(name)) continue;
      must(evaluate(s["unevaluatedProperties"]!, value[name]!, root).isValid);
      result.names.add(name);
    }
  }
  // What does not hold has looked at nothing.
  return result.isValid ? result : { isValid: false, names: new Set(), items: new Set() };
}
