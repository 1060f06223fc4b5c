import { CelEvaluationError } from "./errors.ts";
import { unescapeName } from "./names.ts";
import { formatDuration, formatTimestamp } from "./time.ts";
import { CelMap, Duration, Optional, Timestamp, Uint } from "./values.ts";

/** JSON nests no deeper than a request may. */
const depthMax = 300;

/** @throws CelEvaluationError for what JSON has no form for */
export function toJson(value: unknown, depth = 0): unknown {
  if (depth > depthMax) throw new CelEvaluationError("value is nested too deeply");
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint) return Number(value.value);
  if (Array.isArray(value)) return value.map((element) => toJson(element, depth + 1));
  if (value instanceof CelMap) {
    const object: Record<string, unknown> = {};
    for (const key of value.keys()) {
      if (typeof key === "object") throw new CelEvaluationError("unsupported key type");
      const name = value.typeName === undefined ? String(key) : unescapeName(String(key));
      Object.defineProperty(object, name, { value: toJson(value.get(key), depth + 1), enumerable: true, configurable: true, writable: true });
    }
    return object;
  }
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (value instanceof Optional) return value.value === undefined ? null : toJson(value.value, depth + 1);
  throw new CelEvaluationError("unsupported type conversion to JSON");
}
