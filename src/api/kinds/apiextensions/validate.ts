import { type FieldError, duplicate, forbidden, invalid, notSupported, required, tooMany } from "../../field.ts";
import { asDefinition, type Conversion, type CustomResourceDefinition, type DefinitionSpec, type DefinitionVersion, isCondition, type Names, type ScalePaths } from "../../crd/definition.ts";
import { sameJson } from "../../crd/equal.ts";
import { JsonPathError, parseJsonPath } from "../../crd/json-path.ts";
import { FieldPathError, parseFieldPath } from "../../crd/rules.ts";
import { CustomSchema } from "../../crd/schema.ts";
import { validateSchema } from "../../crd/schema-check.ts";
import type { KubeObject } from "../../meta.ts";
import { each, immutable } from "../../validation/checks.ts";
import { dns1035Label, dns1123Subdomain } from "../../validation/names.ts";
import { validateClientConfig } from "../admissionregistration/webhooks.ts";
import type { PrinterColumn } from "../../crd/columns.ts";

/** Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go. */
export function validateDefinition(object: KubeObject): FieldError[] {
  const definition = asDefinition(object);
  return [...validateName(definition), ...validateSpec(definition.spec, undefined), ...validateStored(definition), ...validateApproval(definition, undefined)];
}

/** A version whose schema has not changed was looked at when it came. */
export function validateDefinitionUpdate(object: KubeObject, oldObject: KubeObject): FieldError[] {
  const definition = asDefinition(object);
  const old = asDefinition(oldObject);
  const { spec } = definition;
  const errors = validateSpec(spec, old.spec);
  if (isCondition(old, "Established")) errors.push(...immutable("spec.scope", spec.scope, old.spec.scope), ...immutable("spec.names.kind", spec.names.kind, old.spec.names.kind));
  errors.push(...immutable("spec.group", spec.group, old.spec.group), ...immutable("spec.names.plural", spec.names.plural, old.spec.names.plural));
  return [...errors, ...validateStored(definition), ...validateApproval(definition, old)];
}

export function validateDefinitionStatus(object: KubeObject): FieldError[] {
  return validateNames(asDefinition(object).status?.acceptedNames ?? {}, "status.acceptedNames");
}

function validateName({ metadata, spec }: CustomResourceDefinition): FieldError[] {
  return !metadata.name || metadata.name === `${spec.names.plural}.${spec.group}` ? [] : [invalid("metadata.name", metadata.name, `must be spec.names.plural+"."+spec.group`)];
}

/** As one error, whatever is wrong. */
const checkedJoined = (path: string, value: string, check: (value: string) => string[], prefix = ""): FieldError[] => {
  const wrong = check(value);
  return wrong.length > 0 ? [invalid(path, value, prefix + wrong.join(","))] : [];
};

function validateSpec(spec: DefinitionSpec, old: DefinitionSpec | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const { group, names, versions, scope } = spec;
  if (!group) errors.push(required("spec.group"));
  else if (dns1123Subdomain(group).length > 0) errors.push(...checkedJoined("spec.group", group, dns1123Subdomain));
  else if (!group.includes(".")) errors.push(invalid("spec.group", group, "should be a domain with at least one dot"));
  if (!scope) errors.push(required("spec.scope"));
  else if (scope !== "Cluster" && scope !== "Namespaced") errors.push(notSupported("spec.scope", scope, ["Cluster", "Namespaced"]));
  errors.push(...each("spec.versions", versions, (version: DefinitionVersion, at) => (version.schema?.openAPIV3Schema ? [] : [required(`${at}.schema.openAPIV3Schema`)])));
  errors.push(...each("spec.versions", versions, (version: DefinitionVersion, at) => [...checkedJoined(`${at}.name`, version.name, dns1035Label), ...validateDeprecation(version, `${at}.deprecationWarning`), ...validateVersion(version, old?.versions.find(({ name }) => name === version.name), pathsOf(versions, at), at === "spec.versions[0]")]));
  if (new Set(versions.map(({ name }) => name)).size < versions.length) errors.push(invalid("spec.versions", versions, "must contain unique version names"));
  if (versions.filter(({ storage }) => storage).length !== 1) errors.push(invalid("spec.versions", versions, "must have exactly one version marked as storage version"));
  for (const field of ["plural", "singular", "kind", "listKind"] as const) if (!names[field]) errors.push(required(`spec.names.${field}`));
  errors.push(...validateNames(names, "spec.names"));
  if (spec.preserveUnknownFields) errors.push(invalid("spec.preserveUnknownFields", true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"));
  return [...errors, ...validateConversion(spec.conversion, "spec.conversion")];
}

function validateNames(names: Partial<Names>, path: string): FieldError[] {
  const mixed = (field: "kind" | "listKind") => {
    const wrong = names[field] ? dns1035Label(names[field].toLowerCase()) : [];
    return wrong.length > 0 ? [invalid(`${path}.${field}`, names[field], `may have mixed case, but should otherwise match: ${wrong.join(",")}`)] : [];
  };
  return [
    ...(names.plural ? checkedJoined(`${path}.plural`, names.plural, dns1035Label) : []),
    ...(names.singular ? checkedJoined(`${path}.singular`, names.singular, dns1035Label) : []),
    ...mixed("kind"),
    ...mixed("listKind"),
    ...each(`${path}.shortNames`, names.shortNames, (name: string, at) => checkedJoined(at, name, dns1035Label)),
    ...(names.kind && names.kind === names.listKind ? [invalid(`${path}.listKind`, names.listKind, "kind and listKind may not be the same")] : []),
    ...each(`${path}.categories`, names.categories, (name: string, at) => checkedJoined(at, name, dns1035Label)),
  ];
}

interface VersionPaths {
  schema: string;
  subresources: string;
  additionalPrinterColumns: string;
  selectableFields: string;
}

/** Upstream keeps what all versions share in one place, with the names of its first days, and says it is wrong there. */
function pathsOf(versions: readonly DefinitionVersion[], own: string): VersionPaths {
  const path = (field: keyof VersionPaths, shared: string): string => (versions.every((version) => sameJson(version[field] ?? null, versions[0]![field] ?? null)) ? shared : `${own}.${field}`);
  return { schema: path("schema", "spec.validation"), subresources: path("subresources", "spec.subresources"), additionalPrinterColumns: path("additionalPrinterColumns", "spec.additionalPrinterColumns"), selectableFields: path("selectableFields", "spec.selectableFields") };
}

/** What is shared is told of the first version only. */
function validateVersion(version: DefinitionVersion, old: DefinitionVersion | undefined, paths: VersionPaths, isFirst: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const told = (path: string): boolean => isFirst || path.startsWith("spec.versions[");
  const schema = version.schema?.openAPIV3Schema;
  const { status, scale } = version.subresources ?? {};
  if (schema && told(paths.schema) && !(old && (status === undefined) === (old.subresources?.status === undefined) && sameJson(schema, old.schema?.openAPIV3Schema))) errors.push(...validateSchema(schema, status !== undefined, paths.schema));
  if (scale && told(paths.subresources)) errors.push(...validateScale(scale, `${paths.subresources}.scale`));
  if (told(paths.additionalPrinterColumns)) errors.push(...each(paths.additionalPrinterColumns, version.additionalPrinterColumns, validateColumn));
  if (version.selectableFields?.length && told(paths.selectableFields)) {
    if (!schema) errors.push(invalid(paths.selectableFields, "", "may only be set when `version.schema.openAPIV3Schema` is not included"));
    else errors.push(...validateSelectable(version.selectableFields, new CustomSchema(schema), paths.selectableFields));
  }
  return errors;
}

function validateDeprecation({ deprecated, deprecationWarning }: DefinitionVersion, path: string): FieldError[] {
  if (deprecationWarning === undefined) return [];
  const wrong = (text: string) => invalid(path, deprecationWarning, text);
  if (!deprecated) return [wrong("can only be set for deprecated versions")];
  const errors: FieldError[] = [];
  if (Buffer.byteLength(deprecationWarning) > 256) errors.push(wrong("must be <= 256 characters long"));
  if (deprecationWarning === "") errors.push(wrong("must not be an empty string"));
  const odd = /[\p{C}\u0085\u2028\u2029]|(?! )\p{Z}/u.exec(deprecationWarning);
  if (odd) errors.push(wrong(`must only contain printable UTF-8 characters; non-printable character found at index ${Buffer.byteLength(deprecationWarning.slice(0, odd.index))}`));
  return errors;
}

function simplePath(value: string, path: string): FieldError[] {
  return value.startsWith(".") ? [] : [invalid(path, value, "must be a simple json path starting with .")];
}

function validateScale(scale: ScalePaths, path: string): FieldError[] {
  const below = (field: keyof ScalePaths, prefixes: string[], where: string): FieldError[] => {
    const value = scale[field]!;
    const wrong = simplePath(value, `${path}.${field}`);
    return wrong.length > 0 || prefixes.some((prefix) => value.startsWith(prefix)) ? wrong : [invalid(`${path}.${field}`, value, `should be a json path under ${where}`)];
  };
  return [
    ...(scale.specReplicasPath ? below("specReplicasPath", [".spec."], ".spec") : [required(`${path}.specReplicasPath`)]),
    ...(scale.statusReplicasPath ? below("statusReplicasPath", [".status."], ".status") : [required(`${path}.statusReplicasPath`)]),
    ...(scale.labelSelectorPath ? below("labelSelectorPath", [".spec.", ".status."], "either .spec or .status") : []),
  ];
}

const columnTypes = ["boolean", "date", "integer", "number", "string"];
const columnFormats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

function validateColumn(column: PrinterColumn, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!column.name) errors.push(required(`${path}.name`));
  const oneOf = `must be one of ${columnTypes.join(",")}`;
  if (!column.type) errors.push(required(`${path}.type`, oneOf));
  else if (!columnTypes.includes(column.type)) errors.push(invalid(`${path}.type`, column.type, oneOf));
  if (column.format && !columnFormats.includes(column.format)) errors.push(invalid(`${path}.format`, column.format, `must be one of ${columnFormats.join(",")}`));
  if (!column.jsonPath) return [...errors, required(`${path}.JSONPath`)];
  const wrong = simplePath(column.jsonPath, `${path}.JSONPath`);
  if (wrong.length > 0) return [...errors, ...wrong];
  try {
    parseJsonPath(column.jsonPath);
  } catch (error) {
    if (!(error instanceof JsonPathError)) throw error;
    // Upstream takes it, and then serves nothing.
    errors.push(invalid(`${path}.JSONPath`, column.jsonPath, `unrecognized column definition: ${error.message}`));
  }
  return errors;
}

const selectableMax = 8;

function validateSelectable(fields: readonly { jsonPath: string }[], schema: CustomSchema, path: string): FieldError[] {
  const seen = new Set<string>();
  const errors = each(path, fields, ({ jsonPath }, index) => {
    const at = `${index}.jsonPath`;
    if (!jsonPath) return [required(at)];
    try {
      const found = parseFieldPath(schema, jsonPath, false);
      const wrong: FieldError[] = [];
      if (found.root === "metadata") wrong.push(invalid(at, jsonPath, "must not point to fields in metadata"));
      if (!["string", "boolean", "integer"].includes(found.schema.type ?? "")) wrong.push(invalid(at, jsonPath, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."));
      if (seen.has(found.text)) wrong.push(duplicate(at, jsonPath));
      seen.add(found.text);
      return wrong;
    } catch (error) {
      if (!(error instanceof FieldPathError)) throw error;
      return [invalid(at, jsonPath, `is an invalid path: ${error.message}`)];
    }
  });
  return seen.size > selectableMax ? [...errors, tooMany(path, seen.size, selectableMax)] : errors;
}

function validateConversion(conversion: Conversion | undefined, path: string): FieldError[] {
  if (!conversion) return [];
  const { strategy, webhook } = conversion;
  if (!strategy) return [required(`${path}.strategy`)];
  if (!["None", "Webhook"].includes(strategy)) return [notSupported(`${path}.strategy`, strategy, ["None", "Webhook"])];
  const versions = webhook?.conversionReviewVersions ?? [];
  const errors: FieldError[] = [];
  if (strategy === "None") {
    if (webhook?.clientConfig) errors.push(forbidden(`${path}.webhookClientConfig`, "should not be set when strategy is not set to Webhook"));
    if (versions.length > 0) errors.push(forbidden(`${path}.conversionReviewVersions`, "should not be set when strategy is not set to Webhook"));
    return errors;
  }
  if (!webhook?.clientConfig) errors.push(required(`${path}.webhookClientConfig`, "required when strategy is set to Webhook"));
  else errors.push(...validateClientConfig(`${path}.webhookClientConfig`, webhook.clientConfig));
  if (versions.length === 0) return [...errors, required(`${path}.conversionReviewVersions`)];
  errors.push(...each(`${path}.conversionReviewVersions`, versions, (version: string, at, index) => (versions.indexOf(version) < index ? [invalid(at, version, "duplicate version")] : dns1035Label(version).map((text) => invalid(at, version, text)))));
  if (!versions.includes("v1")) errors.push(invalid(`${path}.conversionReviewVersions`, versions, versions.includes("v1beta1") ? "must include v1: no other version is sent" : "must include at least one of v1, v1beta1"));
  return errors;
}

function validateStored({ spec, status }: CustomResourceDefinition): FieldError[] {
  const stored = status?.storedVersions ?? [];
  const path = "status.storedVersions";
  if (stored.length === 0) return [invalid(path, stored, "must have at least one stored version")];
  const errors = spec.versions.filter(({ name, storage }) => storage && !stored.includes(name)).map(({ name }) => invalid(path, stored, `must have the storage version ${name}`));
  for (const [index, version] of stored.entries()) {
    if (!spec.versions.some(({ name }) => name === version)) errors.push(invalid(`${path}[${index}]`, version, `missing from spec.versions; ${version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${version} and removes ${version} from status.storedVersions`));
  }
  return errors;
}

export const approvalAnnotation = "api-approved.kubernetes.io";

/** Whether somebody has approved of an API in a group of the Kubernetes project. Source: k8s.io/apiextensions-apiserver/pkg/apihelpers. */
export function approvalOf({ metadata, spec }: CustomResourceDefinition): { state: "none" | "missing" | "invalid" | "approved" | "bypassed"; text: string } {
  if (!/(^|\.)(k8s|kubernetes)\.io$/.test(spec.group)) return { state: "none", text: "" };
  const value = metadata.annotations?.[approvalAnnotation];
  if (!value) return { state: "missing", text: `protected groups must have approval annotation "${approvalAnnotation}", see https://github.com/kubernetes/enhancements/pull/1111` };
  if (value.startsWith("unapproved")) return { state: "bypassed", text: `not approved: ${JSON.stringify(value)}` };
  if (/^[a-z][a-z0-9+.-]*:\/\/[^/\s]/i.test(value)) return { state: "approved", text: `approved in ${value}` };
  return { state: "invalid", text: `protected groups must have approval annotation "${approvalAnnotation}" with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111` };
}

function validateApproval(definition: CustomResourceDefinition, old: CustomResourceDefinition | undefined): FieldError[] {
  const { state, text } = approvalOf(definition);
  if (old && approvalOf(old).state === state) return [];
  const path = `metadata.annotations[${approvalAnnotation}]`;
  if (state === "missing") return [required(path, text)];
  return state === "invalid" ? [invalid(path, definition.metadata.annotations?.[approvalAnnotation], text)] : [];
}
