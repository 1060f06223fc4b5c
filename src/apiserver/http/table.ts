import type { Column, Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import { humanDuration } from "../../api/duration.ts";

/**
 * Objects as the rows that kubectl prints. Wide cells are always there; the client leaves them out.
 * Source: k8s.io/apimachinery/pkg/apis/meta/v1 Table, k8s.io/apiserver/pkg/endpoints/handlers/response.go.
 */
export type IncludeObject = "None" | "Metadata" | "Object";

const defaultColumns: readonly Column[] = [
  { name: "Name", type: "string", format: "name", cell: (object) => object.metadata.name },
  { name: "Age", type: "string", cell: (object, nowMs) => (object.metadata.creationTimestamp ? humanDuration(nowMs - Date.parse(object.metadata.creationTimestamp)) : "<unknown>") },
];

/** What /scale answers, whatever it is the scale of. */
export const scaleColumns: readonly Column[] = [
  { name: "Name", type: "string", cell: (object) => object.metadata.name },
  { name: "Desired", type: "integer", cell: (object) => (object["spec"] as { replicas?: number } | undefined)?.replicas ?? 0 },
  { name: "Available", type: "integer", cell: (object) => (object["status"] as { replicas?: number } | undefined)?.replicas ?? 0 },
  defaultColumns[1]!,
];

export function columnDefinitions(kind: Kind): object[] {
  return (kind.columns ?? defaultColumns).map(({ name, type, format, description, priority }) => ({ name, type, format: format ?? "", description: description ?? "", priority: priority ?? 0 }));
}

export function row(kind: Kind, object: KubeObject, nowMs: number, include: IncludeObject, version: string): object {
  const conditions = kind.rowConditions?.(object);
  return {
    cells: (kind.columns ?? defaultColumns).map((column) => column.cell(object, nowMs)),
    ...(conditions && { conditions }),
    ...(include !== "None" && { object: include === "Object" ? object : partialMetadata(object, version) }),
  };
}

export const partialMetadata = (object: KubeObject, version: string): object => ({ kind: "PartialObjectMetadata", apiVersion: `meta.k8s.io/${version}`, metadata: withoutCompatibility(object) });

const templateGeneration = "deprecated.daemonset.template.generation";
/** A DaemonSet has this annotation for clients of its first versions; the object itself has not. */
function withoutCompatibility({ kind, metadata }: KubeObject): object {
  if (kind !== "DaemonSet" || metadata.annotations?.[templateGeneration] === undefined) return metadata;
  const { [templateGeneration]: _, ...annotations } = metadata.annotations;
  const { annotations: __, ...rest } = metadata;
  return Object.keys(annotations).length > 0 ? { ...rest, annotations } : rest;
}

/** Without a printer of its own a kind has null for no rows. */
export const rowsOf = (kind: Kind, rows: object[]): object[] | null => (rows.length === 0 && !kind.custom && kind.columns?.length === 2 && kind.columns[1]!.type === "date" ? null : rows);

export function table(kind: Kind, rows: object[] | null, metadata: object, version: string, withColumns = true): object {
  return { kind: "Table", apiVersion: `meta.k8s.io/${version}`, metadata, columnDefinitions: withColumns ? columnDefinitions(kind) : null, rows };
}
