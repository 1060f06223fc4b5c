import { duplicate, type FieldError, forbidden, invalid } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { validateCIDR } from "../../validation/address.ts";
import { each, semanticEqual } from "../../validation/checks.ts";
import { ageOf, name, text, wide } from "../columns.ts";
import { validateQuantityOf } from "./pod/resources.ts";
import { validateTaints } from "./pod/scheduling.ts";

function validate({ spec, status }: KubeObject): FieldError[] {
  const errors = validateTaints("metadata.taints", spec?.taints);
  for (const field of ["capacity", "allocatable"]) for (const [resource, quantity] of Object.entries(status?.[field] ?? {})) errors.push(...validateQuantityOf(`status.${field}.${resource}`, resource, String(quantity)));
  return [...errors, ...each("spec.podCIDRs", spec?.podCIDRs, (range: string, at) => validateCIDR(at, range))];
}

const featurePattern = /^[A-Z][a-zA-Z0-9]*(\/[a-zA-Z][a-zA-Z0-9]*)*$/;
const featureLengthMax = 253;
/** What is wrong with the name of a feature that a node declares. */
function featureMistake(name: string): string | undefined {
  if (name.length > featureLengthMax) return `must be no more than ${featureLengthMax} characters`;
  if (!featurePattern.test(name)) return "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes";
  return undefined;
}

/** Names in their order, each once. */
const validateFeatures = (path: string, features: string[] | undefined): FieldError[] =>
  each(path, features, (name: string, at, index) => {
    const before = features![index - 1];
    const errors = before === undefined || before < name ? [] : before === name ? [duplicate(at, name)] : [invalid(at, name, "list must be sorted alphabetically")];
    const mistake = featureMistake(name);
    return mistake === undefined ? errors : [...errors, invalid(at, name, `invalid feature name ${JSON.stringify(name)}: ${mistake}`)];
  });

function validateUpdate(node: KubeObject, old: KubeObject): FieldError[] {
  const errors = validateFeatures("status.declaredFeatures", node.status?.declaredFeatures);
  const seen = new Set<string>();
  errors.push(
    ...each("status.addresses", node.status?.addresses, (address: any, at) => {
      const key = `${address.type} ${address.address}`;
      const found = seen.has(key) ? [duplicate(at, address)] : [];
      seen.add(key);
      return found;
    }),
  );
  if ((old.spec?.podCIDRs ?? []).length > 0 && !semanticEqual(node.spec?.podCIDRs, old.spec.podCIDRs)) errors.push(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'));
  if (old.spec?.providerID && node.spec?.providerID !== old.spec.providerID) errors.push(forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'));
  if ((node.spec?.externalID ?? "") !== (old.spec?.externalID ?? "")) errors.push(forbidden("spec.externalID", "may not be updated"));
  return errors;
}

function statusOf({ spec, status }: KubeObject): string {
  const ready = (status?.conditions ?? []).find((condition: { type: string }) => condition.type === "Ready");
  const word = ready ? (ready.status === "True" ? "Ready" : "NotReady") : "Unknown";
  return spec?.unschedulable === true ? `${word},SchedulingDisabled` : word;
}

function roles({ metadata }: KubeObject): string {
  const prefix = "node-role.kubernetes.io/";
  const found = Object.entries(metadata.labels ?? {}).flatMap(([key, value]) => (key.startsWith(prefix) && key !== prefix ? [key.slice(prefix.length)] : key === "kubernetes.io/role" && value !== "" ? [value] : []));
  return [...new Set(found)].sort().join(",");
}

const address = (type: string) => ({ status }: KubeObject): string | undefined => (status?.addresses ?? []).find((entry: { type: string }) => entry.type === type)?.address;
const info = (field: string) => ({ status }: KubeObject): string | undefined => status?.nodeInfo?.[field];

/** Source: k8s.io/kubernetes/pkg/{apis/core/validation/validation.go,registry/core/node/strategy.go}. */
export const node: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    // The first of the list by its old name, which counts when the two differ.
    const [first] = spec.podCIDRs ?? [];
    if (spec.podCIDR && spec.podCIDR !== first) spec.podCIDRs = [spec.podCIDR];
    else if (first && !spec.podCIDR) spec.podCIDR = first;
    if (object.status?.capacity) object.status.allocatable ??= { ...object.status.capacity };
  },
  bringsStatus: true,
  // The feature is removed: only what was stored in its days stays.
  prepareForCreate({ spec, status }) {
    delete spec?.configSource;
    delete status?.config;
    // Its kubelet writes them, to its status.
    delete status?.declaredFeatures;
  },
  prepareForUpdate: ({ spec }, old) => void (spec && old.spec?.configSource === undefined && delete spec.configSource),
  prepareForStatusUpdate: ({ status }, old) => void (status && old.status?.config === undefined && delete status.config),
  warnings: ({ spec }) => [...(spec.configSource ? ["spec.configSource: the feature is removed"] : []), ...(spec.externalID ? ["spec.externalID: this field is deprecated, and is unused by Kubernetes"] : [])],
  validate,
  validateUpdate,
  validateStatusUpdate: (object, old) => [...validate(object), ...validateUpdate(object, old)],
  columns: [
    name,
    text("Status", statusOf),
    text("Roles", roles, "<none>"),
    ageOf,
    text("Version", info("kubeletVersion")),
    wide(text("Internal-IP", address("InternalIP"), "<none>")),
    wide(text("External-IP", address("ExternalIP"), "<none>")),
    wide(text("OS-Image", info("osImage"), "<unknown>")),
    wide(text("Kernel-Version", info("kernelVersion"), "<unknown>")),
    wide(text("Container-Runtime", info("containerRuntimeVersion"), "<unknown>")),
  ],
  selectableFields: ({ spec }) => ({ "spec.unschedulable": String(spec?.unschedulable ?? false) }),
};
