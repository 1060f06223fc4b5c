import { decoded } from "./path-names.ts";

const ambiguous = /%2F|%5C|%25|;/;
/** Without empty elements and dot segments. */
function folded(path: string): string {
  const kept: string[] = [];
  for (const element of path.split("/")) {
    if (element === "..") kept.pop();
    else if (element !== "" && element !== ".") kept.push(element);
  }
  return `/${kept.join("/")}${path.endsWith("/") && kept.length > 0 ? "/" : ""}`;
}
/**
 * A path as others may read it: when its slashes are decoded (once, or once more), and when what follows a semicolon is left out. Most paths
 * have one reading.
 */
export function readings(path: string): readonly string[] {
  if (!ambiguous.test(path)) return [path];
  const slashed = (text: string): string => folded(text.replaceAll(/%2F|%5C|\\/gi, "/"));
  const bare = path.replaceAll(/;[^/]*/g, "");
  return [path, slashed(path), bare, slashed(bare), slashed(decoded(decoded(bare)))];
}
