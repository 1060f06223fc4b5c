import { age } from "../duration.ts";
import type { Cell, Column } from "../kind.ts";
import * as columns from "../kinds/columns.ts";
import type { KubeObject } from "../meta.ts";
import { canonicalJson } from "./equal.ts";
import { parseJsonPath } from "./json-path.ts";

export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly description?: string;
  readonly format?: string;
  readonly priority?: number;
}

/** Without columns of its own, a custom resource shows its age. Source: k8s.io/apiextensions-apiserver/pkg/apiserver/helpers.go. */
const defaultColumns: readonly PrinterColumn[] = [
  {
    name: "Age",
    type: "date",
    description: "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
    jsonPath: ".metadata.creationTimestamp",
  },
];

/** The columns of a table: the name, then what the definition asks for. A path that finds nothing, or a value of another type, leaves the cell empty. */
export function customColumns(definitions: readonly PrinterColumn[] | undefined): Column[] {
  return [columns.name, ...(definitions && definitions.length > 0 ? definitions : defaultColumns).map(columnOf)];
}

function columnOf({ name, type, jsonPath, description, format, priority }: PrinterColumn): Column {
  const path = parseJsonPath(jsonPath);
  return {
    name,
    type: type as Column["type"],
    ...(format !== undefined && { format }),
    description: description || `Custom resource definition column (in JSONPath format): ${jsonPath}`,
    ...(priority !== undefined && { priority: priority as 0 | 1 }),
    cell: (object: KubeObject, nowMs: number) => cellOf(type, path(object)[0], nowMs),
  };
}

function cellOf(type: string, value: unknown, nowMs: number): Cell {
  if (value === undefined) return null;
  switch (type) {
    case "string":
      return textOf(value);
    case "integer":
      return typeof value === "number" ? Math.trunc(value) : null;
    case "number":
      return typeof value === "number" ? value : null;
    case "boolean":
      return typeof value === "boolean" ? value : null;
    case "date":
      if (typeof value !== "string") return null;
      return value === "" || Number.isNaN(Date.parse(value)) ? (value === "" ? "<unknown>" : "<invalid>") : age(value, nowMs);
    default:
      return null;
  }
}

/** As Go prints it: scalars bare, everything else as JSON. */
function textOf(value: unknown): string {
  if (value === null) return "<no value>";
  return typeof value === "object" ? canonicalJson(value) : String(value);
}
