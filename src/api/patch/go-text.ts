/**
 * A JSON value as Go prints it with `%+v`: `map[spec:map[replicas:two]]`, keys in order, texts bare. Refused
 * strategic patches are shown so.
 */
export function goText(value: unknown): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (typeof value === "object") return `map[${Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => `${key}:${goText(item)}`).join(" ")}]`;
  return String(value);
}
