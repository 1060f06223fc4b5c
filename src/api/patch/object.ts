/** What the patches share: plain JSON objects, changed by copying. */
export type JsonObject = Record<string, unknown>;

/** Sets an own property, whatever its name: an assignment to "__proto__" would do something else. */
export function setOwn(object: JsonObject, key: string, value: unknown): void {
  if (key === "__proto__") Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  else object[key] = value;
}

export function getOwn(object: JsonObject, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** The object with its keys sorted, as Go writes a map. */
export function inOrder(object: JsonObject): JsonObject {
  const keys = Object.keys(object);
  if (keys.every((key, index) => index === 0 || keys[index - 1]! <= key)) return object;
  const result: JsonObject = {};
  for (const key of keys.sort()) setOwn(result, key, object[key]);
  return result;
}
