import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../api/client.ts";
import { builtinResources } from "../../api/kinds/table.ts";
import { apiVersionOf, type GroupVersionResource, type KubeObject } from "../../api/meta.ts";
import { applyMergePatch } from "../../api/patch/merge.ts";
import type { JsonObject } from "../../api/patch/object.ts";
import type { Schema } from "../../api/schema.ts";
import { StatusError } from "../../api/status.ts";
import { isObject } from "../../base/is-object.ts";

/**
 * Applies as `kubectl apply -f` does on the client's side, with the same last-applied annotation to the byte, so
 * that a later kubectl says `unchanged`. Source: kubectl pkg/cmd/apply, pkg/util/apply.go.
 */
export const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";

export type Outcome = "created" | "configured" | "unchanged";

/** The annotation's value: keys sorted, `annotations` always there, Go's escapes, a closing newline. */
export function lastApplied(object: KubeObject, namespace: string | undefined): string {
  const { [lastAppliedAnnotation]: _, ...annotations } = object.metadata.annotations ?? {};
  const bare = { ...object, metadata: { ...object.metadata, annotations, ...(namespace !== undefined && { namespace }) } };
  return `${goJson(bare)}\n`;
}

/** JSON as Go's encoder writes it: sorted keys; <, >, & and the line separators escaped. */
export function goJson(value: unknown): string {
  const sort = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(sort);
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(
      Object.entries(node)
        .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
        .map(([key, child]) => [key, sort(child)]),
    );
  };
  return JSON.stringify(sort(value)).replace(/[<>&\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * Creates the object, or brings a changed one up to date with a three-way merge (last applied, wanted, present):
 * what the file no longer names is removed, what others set is kept. Tried again when somebody else wrote meanwhile.
 */
export async function apply(client: Client, resource: GroupVersionResource, namespace: string | undefined, object: KubeObject, dryRun = false): Promise<Outcome> {
  const annotation = lastApplied(object, namespace);
  const wanted: KubeObject = { ...object, metadata: { ...object.metadata, ...(namespace !== undefined && { namespace }), annotations: { ...object.metadata.annotations, [lastAppliedAnnotation]: annotation } } };
  const options = { fieldManager: "kubectl-client-side-apply", fieldValidation: "Strict", dryRun } as const;
  const schema = builtinResources().find((table) => table.kind === object.kind && apiVersionOf(table.group, table.version) === object.apiVersion)?.schema;
  for (let attempt = 1; ; attempt++) {
    const present = await client.get(resource, namespace, object.metadata.name).catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
    if (!present) {
      await client.create(resource, namespace, wanted, options);
      return "created";
    }
    const before = present.metadata.annotations?.[lastAppliedAnnotation];
    const patch = threeWay(before === undefined ? {} : (JSON.parse(before) as unknown), wanted, present, schema) as JsonObject | undefined;
    if (patch === undefined) return "unchanged";
    // Lists are sent whole, so they must be those that were read.
    const guarded = { ...patch, metadata: { ...(patch["metadata"] as object), resourceVersion: present.metadata.resourceVersion } };
    try {
      await client.patch(resource, namespace, object.metadata.name, guarded, { type: "merge", ...options });
      return "configured";
    } catch (error) {
      if (!(error instanceof StatusError) || error.code !== 409 || attempt === conflictRetries) throw error;
    }
  }
}

/** As kubectl's maxPatchRetry. */
const conflictRetries = 5;

/**
 * A JSON merge patch from `present` to `wanted`, with null for what only `original` names; undefined: nothing to do.
 * Lists are merged element by element where the schema gives a key, as kubectl merges them, and replaced elsewhere.
 */
export function threeWay(original: unknown, wanted: unknown, present: unknown, schema?: Schema, strategies = strategiesOf(schema)): unknown {
  if (Array.isArray(wanted) && Array.isArray(present) && strategies.includes("merge")) {
    const merged = mergeList(Array.isArray(original) ? original : [], wanted, present, schema!);
    return isDeepStrictEqual(merged, present) ? undefined : merged;
  }
  if (!isObject(wanted) || !isObject(present)) return isDeepStrictEqual(wanted, present) ? undefined : wanted;
  const before = isObject(original) ? original : {};
  const patch: JsonObject = {};
  for (const [key, value] of Object.entries(wanted)) {
    const change = key in present ? threeWay(before[key], value, present[key], schema?.properties?.[key] ?? schema?.additionalProperties) : value;
    if (change !== undefined) patch[key] = change;
  }
  // Of a union ("retainKeys") only what the file says may stay: a volume that was an emptyDir is none any more.
  const gone = strategies.includes("retainKeys") ? present : before;
  for (const key of Object.keys(gone)) if (!(key in wanted) && key in present) patch[key] = null;
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function mergeList(original: readonly unknown[], wanted: readonly unknown[], present: readonly unknown[], schema: Schema): readonly unknown[] {
  const { patchMergeKey: key, items } = schema;
  const identity = (item: unknown) => (key !== undefined && isObject(item) ? item[key] : item);
  const place = (list: readonly unknown[]) => new Map(list.map((item) => [identity(item), item]));
  const [before, asked, there] = [place(original), place(wanted), place(present)];
  // Two ports of one number and two protocols: their key tells them not apart.
  if (asked.size < wanted.length || there.size < present.length) return wanted;
  const merged = wanted.map((item) => {
    const old = there.get(identity(item));
    const change = old === undefined ? undefined : threeWay(before.get(identity(item)), item, old, items, strategiesOf(schema));
    return old === undefined ? item : isObject(old) && change !== undefined ? applyMergePatch(old, change) : old;
  });
  return [...merged, ...present.filter((item) => !asked.has(identity(item)) && !before.has(identity(item)))];
}

const strategiesOf = (schema: Schema | undefined): readonly string[] => schema?.patchStrategy?.split(",") ?? [];
