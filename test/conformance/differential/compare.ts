import { isDeepStrictEqual } from "node:util";

export interface Answer {
  status: number;
  body: unknown;
  warnings: string[];
}
/** One place where the answers differ; `ours` and `theirs` are what stands there. */
export interface Difference {
  /** "code of the answer", "warnings", or a path into the body: "spec.template.spec.containers[0].image". */
  at: string;
  ours: unknown;
  theirs: unknown;
}

/** Where two answers differ, leaving out what cannot be the same: uids, revisions, times, addresses, generated names. */
export function differences(ours: Answer, theirs: Answer): Difference[] {
  const found: Difference[] = [];
  if (ours.status !== theirs.status) found.push({ at: "code of the answer", ours: ours.status, theirs: theirs.status });
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

const alwaysOther = new Set(["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "clusterIP", "clusterIPs", "nodePort", "lastTransitionTime", "lastPhaseTransitionTime", "continue"]);

function settled(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) {
    let items = value.map((item) => (key === "cells" && typeof item === "string" && /^\d+s$/.test(item) ? "<age>" : settled(item)));
    // Upstream runs some checks twice and tells their causes twice, though not in the message.
    if (key === "causes") items = [...new Map(items.map((item) => [JSON.stringify(item), item])).values()];
    // The order of managers that wrote in the same second, and of causes, is nobody's promise.
    if (key === "managedFields" || key === "causes") items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    return items;
  }
  if (!isObject(value)) return typeof value === "string" ? text(value) : value;
  // Of a name that the server made, only its beginning is the same.
  const { generateName, name: named } = value;
  const isGenerated = typeof generateName === "string" && generateName !== "" && typeof named === "string" && named.startsWith(generateName);
  return Object.fromEntries(
    Object.entries(isGenerated ? { ...value, name: `${generateName}<suffix>` } : value)
      // Which certificate somebody came with: the real server is asked with a token.
      .filter(([name, item]) => name !== "extra" || !isObject(item) || Object.keys(item).join() !== "authentication.kubernetes.io/credential-id")
      // What a column is about is prose.
      .filter(([name]) => name !== "description" || !("priority" in value && "format" in value))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, item]) => [text(name), alwaysOther.has(name) && item !== null && item !== "" && item !== "None" ? `<${name}>` : settled(item, name)]),
  );
}

/** Objects inside texts: upstream prints its internal Go structs, whose fields are nobody's interface; and the diff that a pod's update shows. */
function withoutObjects(value: string): string {
  let out = "";
  for (let at = 0; at < value.length; ) {
    const start = /alue: [[{]/g;
    start.lastIndex = at;
    const found = start.exec(value);
    if (!found) return out + value.slice(at);
    let end = found.index + "alue: ".length;
    out += `${value.slice(at, end)}<object>`;
    for (let depth = 0, quoted = false; end < value.length; end++) {
      const character = value[end]!;
      if (quoted) {
        if (character === "\\") end++;
        else if (character === '"') quoted = false;
      } else if (character === '"') quoted = true;
      else if (character === "{" || character === "[") depth++;
      else if ((character === "}" || character === "]") && --depth === 0) break;
    }
    at = end + 1;
  }
  return out;
}

/** Identities inside texts. */
function text(value: string): string {
  // What was an empty list in the request is nothing in ours.
  return withoutObjects(value)
    .replaceAll("alue: null", "alue: <object>")
    // What etcd's driver says around it.
    .replaceAll(/StorageError: invalid object, Code: 4, Key: \S+, ResourceVersion: 0, AdditionalErrorMsg: /g, "")
    .replaceAll(/(immutable after creation|for bound claims|if it was previously negative\))\n[^]*?(?=\]?$)/g, "$1 <diff>")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uid>")
    // The whole patched object, or the patch as Go prints a map: as long as it is the patch that is refused.
    .replaceAll(/(patch: )?Invalid value: "(\{\\+"|map\[)(?:[^"\\]|\\.)*"/g, '$1Invalid value: "<patched>"')
    .replaceAll(/Object 'Kind' is missing in '\{.*\}'/g, "Object 'Kind' is missing in '<patched>'")
    // Go reads fields as they come, a map has no order.
    .replaceAll(/(unknown field \\?"[^"]*"(, )?)+/g, (list) => list.split(", ").sort().join(", "))
    .replaceAll(/(ResourceVersion in (?:the )?precondition|ResourceVersion in record|ResourceVersion in object meta):? \(?\d+\)?/g, "$1 <version>")
    // What the server gave out, in the cell of a table.
    .replaceAll(/^10\.96\.\d+\.\d+$/g, "<clusterIP>")
    .replaceAll(/kube-api-access-[a-z0-9]{5}/g, "kube-api-access-<suffix>")
    .replaceAll(/\brun-\d+-\d+\b/g, "NS");
}
