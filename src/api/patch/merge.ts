import { isObject } from "../../base/is-object.ts";
import { malformedPatch } from "./error.ts";
import { getOwn, inOrder, type JsonObject, setOwn } from "./object.ts";

/**
 * Applies a JSON merge patch (RFC 7386). `original` may be frozen and is not changed; the result shares with it
 * whatever the patch did not touch.
 */
export function applyMergePatch(original: JsonObject, patch: unknown): JsonObject {
  if (!isObject(patch)) throw malformedPatch("json: cannot unmarshal patch into Go value of type map[string]interface {}");
  return merged(original, patch) as JsonObject;
}

/**
 * Of what is new, nulls are taken out, also inside lists; keys are in order where objects were opened. Both as the library
 * behind the real server does, of which one sees the second in the mistake that is told first.
 */
function merged(original: unknown, patch: unknown): unknown {
  if (!isObject(original)) return withoutNulls(patch);
  if (!isObject(patch)) return patch;
  const result: JsonObject = { ...original };
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else setOwn(result, key, merged(getOwn(result, key), value));
  }
  return inOrder(result);
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => (item === null ? null : withoutNulls(item)));
  if (!isObject(value)) return value;
  const result: JsonObject = {};
  for (const key of Object.keys(value).sort()) if (value[key] !== null) setOwn(result, key, withoutNulls(value[key]));
  return result;
}
