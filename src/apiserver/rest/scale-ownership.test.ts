import assert from "node:assert/strict";
import { test } from "node:test";
import { strategies } from "../../api/kinds/index.ts";
import type { ManagedFieldsEntry } from "../../api/meta.ts";
import { createBuiltinRegistry } from "../../api/registry.ts";
import { toParent, toScale } from "./scale-ownership.ts";

/**
 * Owners as "manager operation subresource time: fields"; parts that are not there are "-". `writes` is what happened to
 * the Scale's owners: nothing, or who owns its replicas now.
 */
const cases: { case: string; parent: string[]; scale: string[]; writes?: string[]; result: string[] }[] = [
  { case: "who applied the replicas owns them in both", parent: ["one Apply - t: replicas selector"], scale: ["one Apply - t: replicas"], result: ["one Apply - t: replicas selector"] },
  { case: "who updated them is another owner in the Scale's version, also when nothing changed", parent: ["one Update - t: replicas selector"], scale: ["one Update - t: replicas"], result: ["one Update - -: replicas", "one Update - t: selector"] },
  { case: "the writer of the Scale takes them", parent: ["one Apply - t: replicas selector"], scale: ["one Apply - t: replicas"], writes: ["two Update scale t: replicas"], result: ["one Apply - t: selector", "two Update scale -: replicas"] },
  { case: "an owner of nothing else is gone", parent: ["one Update scale -: replicas", "two Update - t: selector"], scale: ["one Update scale -: replicas"], writes: ["two Update scale t: replicas"], result: ["two Update scale -: replicas", "two Update - t: selector"] },
  { case: "who owns no replicas is not in the Scale", parent: ["one Update - t: selector"], scale: [], result: ["one Update - t: selector"] },
];

const registry = createBuiltinRegistry(strategies);
const deployments = registry.byResource("apps", "v1", "deployments")!;
const entries = (lines: readonly string[], apiVersion: string): ManagedFieldsEntry[] =>
  lines.map((line) => {
    const [who, fields] = line.split(": ") as [string, string];
    const [manager, operation, subresource, time] = who.split(" ") as [string, "Apply" | "Update", string, string];
    return { manager, operation, apiVersion, ...(time !== "-" && { time }), fieldsType: "FieldsV1", fieldsV1: { "f:spec": Object.fromEntries(fields.split(" ").map((field) => [`f:${field}`, {}])) }, ...(subresource !== "-" && { subresource }) };
  });
const lines = (list: readonly ManagedFieldsEntry[] | undefined): string[] => (list ?? []).map(({ manager, operation, subresource, time, fieldsV1 }) => `${manager} ${operation} ${subresource ?? "-"} ${time ?? "-"}: ${Object.keys((fieldsV1 as Record<string, object>)["f:spec"]!).map((field) => field.slice(2)).join(" ")}`);

for (const given of cases) {
  test(`the owners of an object and of its Scale: ${given.case}`, () => {
    const parent = entries(given.parent, "apps/v1");
    const inScale = toScale(registry, deployments, parent);
    assert.deepEqual(lines(inScale), given.scale);
    assert.ok((inScale ?? []).every(({ apiVersion }) => apiVersion === "autoscaling/v1"));
    assert.deepEqual(lines(toParent(registry, deployments, parent, given.writes ? entries(given.writes, "autoscaling/v1") : inScale)), given.result);
  });
}
