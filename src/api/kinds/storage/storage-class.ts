import { duplicate, type FieldError, forbidden, invalid, tooLong } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, each, immutable, oneOfOptional, semanticEqual } from "../../validation/checks.ts";
import { validateLabels } from "../../validation/metadata.ts";
import { qualifiedName } from "../../validation/names.ts";
import { required } from "../../field.ts";
import { ageOf, flag, name, text } from "../columns.ts";

const isDefault = ({ metadata }: KubeObject): boolean => ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"].some((key) => metadata.annotations?.[key] === "true");

const parametersMax = 512;
const parameterBytesMax = 256 * 1024;

function validateParameters(parameters: Record<string, string> = {}): FieldError[] {
  const entries = Object.entries(parameters);
  if (entries.length > parametersMax) return [tooLong("parameters", parametersMax)];
  const errors = entries.filter(([key]) => key === "").map(([key]) => invalid("parameters", key, "field can not be empty."));
  const bytes = entries.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  return bytes > parameterBytesMax ? [...errors, tooLong("parameters", parameterBytesMax)] : errors;
}

const validate = (object: KubeObject): FieldError[] => [
  ...(object.provisioner ? checked("provisioner", object.provisioner.toLowerCase(), qualifiedName) : [required("provisioner")]),
  ...validateParameters(object.parameters),
  ...oneOfOptional("reclaimPolicy", object.reclaimPolicy || undefined, ["Delete", "Retain"]),
  ...oneOfOptional("volumeBindingMode", object.volumeBindingMode, ["Immediate", "WaitForFirstConsumer"]),
  ...each<any>("allowedTopologies", object.allowedTopologies, (term, at, index) => {
    const keys = new Set<string>();
    const errors = each<any>(`${at}.matchLabelExpressions`, term.matchLabelExpressions, ({ key = "", values }, requirement) => {
      const seen = new Set<string>();
      const found = (values ?? []).length === 0 ? [required(`${requirement}.values`)] : [];
      for (const [place, value] of (values ?? []).entries()) {
        if (seen.has(value)) found.push(duplicate(`${requirement}.values[${place}]`, value));
        seen.add(value);
      }
      found.push(...validateLabels({ [key]: "" }, `${requirement}.key`));
      if (keys.has(key)) found.push(duplicate(`${requirement}.key`, key));
      keys.add(key);
      return found;
    });
    // Upstream compares with as many empty ones as there are terms.
    const others: any[] = [...object.allowedTopologies.map(() => ({})), ...object.allowedTopologies.slice(0, index)];
    return [...errors, ...others.filter((other) => byKey(other) === byKey(term)).map(() => duplicate(`${at}.matchLabelExpressions`, ""))];
  }),
];
const byKey = (term: any): string => {
  const values = new Map<string, string[]>((term.matchLabelExpressions ?? []).map((expression: any) => [expression.key ?? "", [...new Set<string>(expression.values ?? [])].sort()]));
  return JSON.stringify([...values].sort(([one], [other]) => (one < other ? -1 : 1)));
};

/** Source: k8s.io/kubernetes/pkg/apis/storage/{v1/defaults.go,validation/validation.go}. */
export const storageClass: Strategy = {
  defaults(object) {
    object.reclaimPolicy ??= "Delete";
    object.volumeBindingMode ??= "Immediate";
  },
  validate,
  validateUpdate: (object, old) => [
    ...["parameters", "provisioner", "reclaimPolicy"].filter((field) => !semanticEqual(object[field], old[field])).map((field) => forbidden(field, `updates to ${field} are forbidden.`)),
    ...immutable("volumeBindingMode", object.volumeBindingMode, old.volumeBindingMode),
  ],
  columns: [
    { ...name, cell: (object) => (isDefault(object) ? `${object.metadata.name} (default)` : object.metadata.name) },
    text("Provisioner", ({ provisioner }) => provisioner),
    text("ReclaimPolicy", ({ reclaimPolicy }) => reclaimPolicy, "Delete"),
    text("VolumeBindingMode", ({ volumeBindingMode }) => volumeBindingMode, "<unset>"),
    { ...flag("AllowVolumeExpansion", ({ allowVolumeExpansion }) => allowVolumeExpansion), type: "string" },
    ageOf,
  ],
};
