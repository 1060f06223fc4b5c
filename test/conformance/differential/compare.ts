import { isDeepStrictEqual } from "node:util";

export interface Answer {
  status: number;
  body: unknown;
  warnings: string[];
}
/** One place where the answers differ; `ours` and `theirs` are what stands there. */
export interface Difference {
  /** "status", "warnings", or a path into the body: "spec.template.spec.containers[0].image". */
  at: string;
  ours: unknown;
  theirs: unknown;
}

/** Where two answers differ, leaving out what cannot be the same: uids, revisions, times, addresses, generated names. */
export function differences(ours: Answer, theirs: Answer): Difference[] {
  const found: Difference[] = [];
  if (ours.status !== theirs.status) found.push({ at: "status", ours: ours.status, theirs: theirs.status });
  compare(settled(ours.body), settled(theirs.body), "", found);
  if (!isDeepStrictEqual([...ours.warnings].sort(), [...theirs.warnings].sort())) found.push({ at: "warnings", ours: ours.warnings, theirs: theirs.warnings });
  return found.slice(0, 12);
}

function compare(ours: unknown, theirs: unknown, at: string, found: Difference[]): void {
  if (isDeepStrictEqual(ours, theirs)) return;
  if (Array.isArray(ours) && Array.isArray(theirs) && ours.length === theirs.length) return ours.forEach((item, index) => compare(item, theirs[index], `${at}[${index}]`, found));
  if (isObject(ours) && isObject(theirs)) {
    for (const key of new Set([...Object.keys(ours), ...Object.keys(theirs)])) compare(ours[key], theirs[key], at === "" ? key : `${at}.${key}`, found);
    return;
  }
  found.push({ at, ours, theirs });
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

const alwaysOther = new Set(["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "clusterIP", "clusterIPs", "nodePort", "lastTransitionTime", "continue"]);

function settled(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) {
    let items = value.map((item) => settled(item));
    // Upstream runs some checks twice and tells their causes twice, though not in the message.
    if (key === "causes") items = [...new Map(items.map((item) => [JSON.stringify(item), item])).values()];
    // The order of managers that wrote in the same second, and of causes, is nobody's promise.
    if (key === "managedFields" || key === "causes") items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    return items;
  }
  if (!isObject(value)) return typeof value === "string" ? text(value) : value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, item]) => [text(name), alwaysOther.has(name) && item !== null && item !== "" && item !== "None" ? `<${name}>` : settled(item, name)]),
  );
}

/** Identities inside texts. */
function text(value: string): string {
  return value
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uid>")
    // The whole patched object, or the patch as Go prints a map: as long as it is the patch that is refused.
    .replaceAll(/(patch: )?Invalid value: "(\{\\+"|map\[)(?:[^"\\]|\\.)*"/g, '$1Invalid value: "<patched>"')
    .replaceAll(/kube-api-access-[a-z0-9]{5}/g, "kube-api-access-<suffix>")
    .replaceAll(/\brun-\d+-\d+\b/g, "NS");
}
