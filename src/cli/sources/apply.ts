import type { Client } from "../../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { StatusError } from "../../api/status.ts";

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
 * what the file no longer names is removed, what others set is kept.
 */
export async function apply(client: Client, resource: GroupVersionResource, namespace: string | undefined, object: KubeObject, dryRun = false): Promise<Outcome> {
  const annotation = lastApplied(object, namespace);
  const wanted: KubeObject = { ...object, metadata: { ...object.metadata, ...(namespace !== undefined && { namespace }), annotations: { ...object.metadata.annotations, [lastAppliedAnnotation]: annotation } } };
  const fieldManager = "kubectl-client-side-apply";
  const present = await client.get(resource, namespace, object.metadata.name).catch((error: unknown) => {
    if (error instanceof StatusError && error.code === 404) return undefined;
    throw error;
  });
  if (!present) {
    await client.create(resource, namespace, wanted, { fieldManager, dryRun });
    return "created";
  }
  const before = present.metadata.annotations?.[lastAppliedAnnotation];
  if (before === annotation) return "unchanged";
  const patch = threeWay(before === undefined ? {} : (JSON.parse(before) as unknown), wanted, present);
  if (patch === undefined) return "unchanged";
  await client.patch(resource, namespace, object.metadata.name, patch, { type: "merge", fieldManager, dryRun });
  return "configured";
}

const isMap = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** A JSON merge patch from `present` to `wanted`, with null for what only `original` names; undefined: nothing to do. */
export function threeWay(original: unknown, wanted: unknown, present: unknown): unknown {
  if (!isMap(wanted) || !isMap(present)) return JSON.stringify(wanted) === JSON.stringify(present) ? undefined : wanted;
  const before = isMap(original) ? original : {};
  const patch: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(wanted)) {
    const change = key in present ? threeWay(before[key], value, present[key]) : value;
    if (change !== undefined) patch[key] = change;
  }
  for (const key of Object.keys(before)) if (!(key in wanted) && key in present) patch[key] = null;
  return Object.keys(patch).length === 0 ? undefined : patch;
}
