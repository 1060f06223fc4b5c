import { apiVersionOf, type KubeObject, type ManagedFieldsEntry, timestamp } from "../../api/meta.ts";
import type { Kind } from "../../api/kind.ts";

/**
 * Who wrote what, in the form that server-side apply reads: one Update entry a manager, version and subresource.
 * Ownership of single fields moves with server-side apply; until then an entry says which manager wrote when.
 */
const entriesMax = 10;

export function withManager(kind: Kind, object: KubeObject, old: KubeObject | undefined, manager: string, subresource: string | undefined, nowMs: number): void {
  const before = object.metadata.managedFields ?? old?.metadata.managedFields ?? [];
  const version = apiVersionOf(kind.group, kind.version);
  const mine = (entry: ManagedFieldsEntry) => entry.manager === manager && entry.operation === "Update" && entry.apiVersion === version && (entry.subresource ?? "") === (subresource ?? "");
  const entry: ManagedFieldsEntry = { manager, operation: "Update", apiVersion: version, time: timestamp(nowMs), fieldsType: "FieldsV1", fieldsV1: fieldsOf(object, subresource), ...(subresource !== undefined && { subresource }) };
  object.metadata.managedFields = [...before.filter((other) => !mine(other)).slice(-(entriesMax - 1)), entry];
}

/** The top-level fields the manager may have set; precise paths come with server-side apply. */
function fieldsOf(object: KubeObject, subresource: string | undefined): Record<string, unknown> {
  const names = subresource === "status" ? ["status"] : Object.keys(object).filter((name) => !["apiVersion", "kind", "metadata", "status"].includes(name));
  return Object.fromEntries(names.filter((name) => object[name] !== undefined).map((name) => [`f:${name}`, {}]));
}
