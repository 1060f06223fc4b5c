import { age } from "../duration.ts";
import type { Cell, Column } from "../kind.ts";
import type { KubeObject } from "../meta.ts";
import { formatSelector, type LabelSelector } from "../validation/selector.ts";

/** Columns that many kinds share. Source of all cells: k8s.io/kubernetes/pkg/printers/internalversion/printers.go. */

type Read<T extends Cell> = (object: KubeObject, nowMs: number) => T | undefined;

export const name: Column = { name: "Name", type: "string", format: "name", description: "Name must be unique within a namespace.", cell: (object) => object.metadata.name };
export const ageOf: Column = { name: "Age", type: "string", description: "Time since the object was created.", cell: (object, nowMs) => age(object.metadata.creationTimestamp, nowMs) };

/** Shown instead of the age by kinds that upstream prints without a printer of their own. */
export const createdAt: Column = { name: "Created At", type: "date", description: "Time when the object was created.", cell: ({ metadata }) => metadata.creationTimestamp ?? "<unknown>" };

/** A text; absent and empty are shown as `empty`. */
export const text = (name: string, read: Read<string>, empty = ""): Column => ({ name, type: "string", cell: (object, nowMs) => read(object, nowMs) || empty });
/** A whole number; absent is 0, as in Go. */
export const integer = (name: string, read: Read<number>): Column => ({ name, type: "integer", cell: (object, nowMs) => read(object, nowMs) ?? 0 });
/** As {@link integer}, in a column that upstream declares as a text. */
export const countText = (name: string, read: Read<number>): Column => ({ ...integer(name, read), type: "string" });
export const flag = (name: string, read: Read<boolean>): Column => ({ name, type: "boolean", cell: (object, nowMs) => read(object, nowMs) ?? false });
/** The time since a moment. */
export const since = (name: string, read: Read<string>, empty?: string): Column => ({
  name,
  type: "string",
  cell: (object, nowMs) => {
    const time = read(object, nowMs);
    return !time && empty !== undefined ? empty : age(time, nowMs);
  },
});
/** Shown only with `-o wide`. */
export const wide = (column: Column): Column => ({ ...column, priority: 1 });

type PodSpecOf = (object: KubeObject) => { containers?: { name: string; image?: string }[] } | undefined;
/** The wide columns Containers and Images of a workload. */
export const containers = (podSpec: PodSpecOf = (object) => object.spec?.template?.spec): Column[] => [
  wide(text("Containers", (object) => (podSpec(object)?.containers ?? []).map((container) => container.name).join(","))),
  wide(text("Images", (object) => (podSpec(object)?.containers ?? []).map((container) => container.image ?? "").join(","))),
];
export const selector = (read: (object: KubeObject) => LabelSelector | undefined = (object) => object.spec?.selector): Column => wide(text("Selector", (object) => selectorText(read(object))));

/** A label selector in a cell: `<none>` when it selects everything or is absent. */
export const selectorText = (value: LabelSelector | null | undefined): string => formatSelector(value) || "<none>";
/** Labels, or a selector that is a plain map, in a cell. */
export const labelsText = (labels: Record<string, string> | null | undefined): string => formatSelector({ matchLabels: labels ?? {} }) || "<none>";

/** "a,b,c + 2 more..." */
export function shortList(items: readonly string[], max: number): string {
  const shown = items.slice(0, max).join(",");
  return items.length > max ? `${shown} + ${items.length - max} more...` : shown;
}

/** "RWO,ROX" */
export function accessModesText(modes: readonly string[] | undefined): string {
  const short: Record<string, string> = { ReadWriteOnce: "RWO", ReadOnlyMany: "ROX", ReadWriteMany: "RWX", ReadWriteOncePod: "RWOP" };
  return Object.keys(short).filter((mode) => modes?.includes(mode)).map((mode) => short[mode]).join(",");
}

/** Addresses given by a load balancer, in order, each once. */
export function loadBalancerText(status: { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } } | undefined): string {
  const addresses = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip || hostname || "").filter((address) => address !== "");
  return [...new Set(addresses)].sort().join(",");
}
