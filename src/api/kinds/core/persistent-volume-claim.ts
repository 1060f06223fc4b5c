import { type FieldError, forbidden, invalid, notSupported } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { compareQuantity, parseQuantity } from "../../quantity.ts";
import { checked, immutable, semanticEqual } from "../../validation/checks.ts";
import { differences } from "../../validation/differences.ts";
import { qualifiedName } from "../../validation/names.ts";
import { accessModesText, ageOf, name, text, wide } from "../columns.ts";
import { defaultClaimSpec, settleDataSources, validateClaimSpec } from "./claim-spec.ts";

const storageClassAnnotation = "volume.beta.kubernetes.io/storage-class";
export const storageClassOf = ({ metadata, spec }: KubeObject): string => metadata.annotations?.[storageClassAnnotation] ?? spec?.storageClassName ?? "";
/** A binder may still be at work on the way out. */
export const phaseOf = ({ metadata, status }: KubeObject): string => (metadata.deletionTimestamp ? "Terminating" : (status?.phase ?? ""));

function validateUpdate(claim: KubeObject, old: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const rest = { ...claim.spec, resources: { ...claim.spec.resources } };
  // A volume is found once; afterwards a bound claim may ask for more room or another class of attributes.
  if (!old.spec.volumeName) rest.volumeName = old.spec.volumeName;
  if (old.spec.storageClassName === undefined && claim.spec.storageClassName !== undefined) rest.storageClassName = undefined;
  if (claim.status?.phase === "Bound") {
    if (rest.resources.requests) rest.resources.requests = { ...rest.resources.requests, storage: old.spec.resources?.requests?.storage };
    if (rest.volumeAttributesClassName !== undefined) rest.volumeAttributesClassName = old.spec.volumeAttributesClassName;
  }
  if (!semanticEqual(rest, old.spec)) errors.push(forbidden("spec", `spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n${differences(old.spec, rest)}`));
  const [size, oldSize, given] = [claim.spec.resources?.requests?.storage, old.spec.resources?.requests?.storage, old.status?.capacity?.storage].map((quantity) => parseQuantity(String(quantity ?? "0")));
  if (compareQuantity(size!, oldSize!) < 0 && compareQuantity(size!, given!) <= 0) errors.push(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"));
  return [...errors, ...immutable("volumeMode", claim.spec.volumeMode, old.spec.volumeMode)];
}

const resizeStates = ["ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending", "NodeResizeInProgress", "NodeResizeInfeasible"].toSorted();

function validateStatus({ status }: KubeObject): FieldError[] {
  const quantity = (at: string, value: unknown): FieldError[] => {
    const parsed = parseQuantity(String(value));
    return parsed.amount < 0n ? [invalid(at, Math.floor(Number(parsed.amount) * 10 ** parsed.exponent), "must be a valid resource quantity")] : [];
  };
  const key = (path: string, name: string): FieldError[] => {
    const wrong = checked(path, name, qualifiedName);
    return wrong.length > 0 || name === "storage" || (name.includes("/") && !name.includes("kubernetes.io/")) ? wrong : [notSupported(path, name, ["storage"])];
  };
  return [
    ...Object.entries(status?.capacity ?? {}).flatMap(([name, value]) => quantity(`status.capacity[${name}]`, value)),
    ...Object.entries(status?.allocatedResourceStatuses ?? {}).flatMap(([name, state]) => [...key("status.allocatedResourceStatuses", name), ...(resizeStates.includes(state as string) ? [] : [notSupported("status.allocatedResourceStatuses", name, resizeStates)])]),
    ...Object.entries(status?.allocatedResources ?? {}).flatMap(([name, value]) => {
      const wrong = key("status.allocatedResources", name);
      return wrong.length > 0 ? wrong : quantity(`status.allocatedResources[${name}]`, value);
    }),
  ];
}

/** Half a byte is nothing to ask for. */
const fractionalWarnings = (path: string, resources: any): string[] =>
  ["requests", "limits"].flatMap((field) => {
    const { amount, exponent } = parseQuantity(String(resources?.[field]?.storage ?? "0"));
    const isWhole = exponent >= 0 || amount % 10n ** BigInt(-exponent) === 0n;
    return isWhole ? [] : [`${path}.${field}[storage]: fractional byte value ${JSON.stringify(String(resources[field].storage))} is invalid, must be an integer`];
  });

const oldClass = "volume.beta.kubernetes.io/storage-class";

/** Source: k8s.io/kubernetes/pkg/apis/core/{v1/defaults.go,validation/validation.go}. */
export const persistentVolumeClaim: Strategy = {
  hasStatus: true,
  defaults(object) {
    defaultClaimSpec((object.spec ??= {}));
    if (object.status) object.status.phase ||= "Pending";
  },
  prepareForCreate(object) {
    object.status = { phase: "Pending" };
    settleDataSources(object.spec);
  },
  prepareForUpdate: (object, old) => settleDataSources(object.spec, old.spec),
  validate: (object) => validateClaimSpec("spec", object.spec),
  validateUpdate,
  warnings: ({ metadata, spec }) => [...(metadata.annotations?.[oldClass] === undefined ? [] : [`metadata.annotations[${oldClass}]: deprecated since v1.8; use "storageClassName" attribute instead`]), ...fractionalWarnings("spec.resources", spec.resources)],
  validateStatusUpdate: validateStatus,
  columns: [
    name,
    text("Status", phaseOf),
    text("Volume", ({ spec }) => spec?.volumeName),
    text("Capacity", ({ spec, status }) => (spec?.volumeName ? String(status?.capacity?.storage ?? "0") : "")),
    text("Access Modes", ({ spec, status }) => (spec?.volumeName ? accessModesText(status?.accessModes) : "")),
    text("StorageClass", storageClassOf),
    text("VolumeAttributesClass", ({ spec }) => spec?.volumeAttributesClassName, "<unset>"),
    ageOf,
    wide(text("VolumeMode", ({ spec }) => spec?.volumeMode, "<unset>")),
  ],
};
