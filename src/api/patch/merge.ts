import { malformedPatch } from "./error.ts";
import { getOwn, isObject, type JsonObject, setOwn } from "./object.ts";

/**
 * Applies a JSON merge patch (RFC 7386). `original` may be frozen and is not changed; the result shares with it
 * whatever the patch did not touch.
 */
export function applyMergePatch(original: JsonObject, patch: unknown): JsonObject {
  if (!isObject(patch)) throw malformedPatch("json: cannot unmarshal patch into Go value of type map[string]interface {}");
  return merged(original, patch) as JsonObject;
}

function merged(original: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(original) ? { ...original } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else setOwn(result, key, merged(getOwn(result, key), value));
  }
  return result;
}
