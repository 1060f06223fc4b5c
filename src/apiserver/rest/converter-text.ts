/**
 * Strategic and applied patches go through another decoder upstream, with texts of its own: `why` in its words.
 * Source: k8s.io/apimachinery/pkg/runtime/converter.go.
 */
export function converterText(why: string): string {
  const [, what, number, to] = /^json: cannot unmarshal (number|string|bool|object|array)( \S+)? into Go struct field .*of type (\S+)$/.exec(why) ?? [];
  if (what === undefined) return why.startsWith("illegal base64") ? `error decoding from json: ${why}` : why;
  const scalar = what === "number" ? (number?.includes(".") ? "float64" : "int64") : what;
  const kind = what === "object" ? "map" : what === "array" ? "slice" : scalar;
  // Upstream's converter lets such a number wrap around: it is refused, as in a body.
  if (number !== undefined && !number.includes(".") && /^u?int(8|32)$/.test(to!)) return why;
  if (to!.startsWith("[]")) return `cannot restore slice from ${kind}`;
  if (to!.startsWith("map[")) return `cannot restore map from ${kind}`;
  if (to!.includes(".") && !/^v1\.[A-Z]\w*(Type|Policy|Mode|Protocol|Effect|Operator)$|^v1\.Protocol$/.test(to!)) return `cannot restore struct from: ${kind}`;
  const target = to!.includes(".") ? "string" : to;
  // What Go converts between, but its decoder does not; anything else it does not even know.
  const isConvertible = (scalar === "int64" && target === "string") || (scalar === "float64" && /^u?int/.test(target!));
  return isConvertible ? `cannot convert ${scalar} to ${to}` : `unrecognized type: ${target}`;
}
