import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { immutable } from "../../validation/checks.ts";
import { ageOf, name, text } from "../columns.ts";

/** Dynamic resource allocation: kept for clients that use it; no driver runs here. Source: k8s.io/kubernetes/pkg/printers. */
function state({ metadata, status }: KubeObject): string {
  const words = [
    ...(metadata.deletionTimestamp ? ["deleted"] : []),
    ...(status?.allocation ? ["allocated"] : metadata.deletionTimestamp ? [] : ["pending"]),
    ...((status?.reservedFor ?? []).length > 0 ? ["reserved"] : []),
  ];
  return words.join(",");
}

export const resourceClaim: Strategy = {
  hasStatus: true,
  prepareForCreate(object) {
    object.status = {};
  },
  validateUpdate: (object, old) => immutable("spec", object.spec, old.spec),
  columns: [name, text("State", state), ageOf],
};

export const resourceSlice: Strategy = {
  columns: [name, text("Node", ({ spec }) => spec?.nodeName, "<unset>"), text("Driver", ({ spec }) => spec?.driver), text("Pool", ({ spec }) => spec?.pool?.name), ageOf],
};
