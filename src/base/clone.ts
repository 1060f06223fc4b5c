/**
 * A copy of a JSON value, all the way down, that shares no object with it: what `JSON.parse(JSON.stringify(value))` gives,
 * keys that are undefined left out, at a fraction of its cost, since strings are shared and not written out.
 */
export function cloneJson<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item: unknown) => (item === undefined ? null : cloneJson(item))) as T;
  // By spreading, so that a key called __proto__ stays a key; the assignments below meet keys that are there.
  const copy = { ...value } as Record<string, unknown>;
  for (const key in copy) {
    const item = copy[key];
    if (typeof item === "object" && item !== null) copy[key] = cloneJson(item);
    else if (item === undefined) delete copy[key];
  }
  return copy as T;
}
