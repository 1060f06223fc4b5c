import { type FieldError, forbidden, invalid, notSupported, required } from "../field.ts";
import { validateDefaults } from "./default-check.ts";
import type { JSONSchemaProps } from "./json-schema.ts";
import { FieldPathError, parseFieldPath } from "./rules.ts";
import { Cardinality, checkRules, type RuleCosts } from "./rule-check.ts";
import { CustomSchema } from "./schema.ts";
import { hasUnsupported, validateStructural } from "./structural.ts";

/**
 * What is wrong with the schema of a definition.
 * Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go.
 */
export function validateSchema(schema: JSONSchemaProps, hasStatus: boolean, path: string): FieldError[] {
  const at = `${path}.openAPIV3Schema`;
  const errors: FieldError[] = [];
  if (hasStatus) errors.push(...validateRootFields(schema, at));
  if (schema.nullable) errors.push(forbidden(`${at}.nullable`, "nullable cannot be true at the root"));
  let sound = false;
  if (!hasUnsupported(schema)) {
    const structural = validateStructural(at, schema);
    errors.push(...structural);
    if (structural.length === 0) {
      const defaults = validateDefaults(schema, at);
      errors.push(...defaults);
      sound = defaults.length === 0;
    }
  }
  const check = new SchemaCheck(sound);
  check.node(schema, at, { isRoot: true, inMetadata: false, noDefaults: undefined, noOldSelf: undefined, cardinality: Cardinality.root });
  errors.push(...check.errors, ...check.ruleErrors, ...check.costs.errors(at));
  return errors;
}

const rootFields = ["description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "items", "properties", "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"];
/** As upstream prints them: the names of Go's fields. */
const rootFieldsText = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

/** With a status of its own, the schema of the status is taken out of the whole: nothing around it may matter. */
function validateRootFields(schema: JSONSchemaProps, at: string): FieldError[] {
  for (const [name, value] of Object.entries(schema)) {
    if (value === undefined || value === false || value === "" || (Array.isArray(value) && value.length === 0)) continue;
    if (name === "type" && value !== "object") return [invalid(`${at}.type`, value, 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled')];
    if (!rootFields.includes(name)) return [invalid(at, schema, `only ${rootFieldsText} fields are allowed at the root of the schema if the status subresource is enabled`)];
  }
  return [];
}

interface Place {
  readonly isRoot: boolean;
  /** Inside apiVersion, kind or metadata of a resource. */
  readonly inMetadata: boolean;
  /** Why there may be no defaults. */
  readonly noDefaults: string | undefined;
  /** The first node on the way whose parts cannot be told from their predecessors. */
  readonly noOldSelf: string | undefined;
  /** How often the node may come in one object. Undefined inside allOf and its like, where no rules are. */
  readonly cardinality: Cardinality | undefined;
}

const types = ["array", "boolean", "integer", "number", "object", "string"];
const reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
const metaFields = new Set(["metadata", "kind", "apiVersion"]);

class SchemaCheck {
  readonly errors: FieldError[] = [];
  readonly ruleErrors: FieldError[] = [];
  readonly costs: RuleCosts;
  readonly #sound: boolean;

  /** `sound`: types can be counted on, so rules are compiled. */
  constructor(sound: boolean) {
    this.#sound = sound;
    this.costs = Cardinality.costs();
  }

  node(schema: JSONSchemaProps, path: string, place: Place): void {
    const before = this.errors.length;
    this.#unsupported(schema, path, place);
    if (schema.uniqueItems) this.errors.push(forbidden(`${path}.uniqueItems`, "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"));
    const { additionalProperties, properties } = schema;
    const inside = { ...place, isRoot: false };
    if (additionalProperties !== undefined) {
      if (properties && Object.keys(properties).length > 0 && additionalProperties !== true) this.errors.push(forbidden(`${path}.additionalProperties`, "additionalProperties and properties are mutual exclusive"));
      if (typeof additionalProperties === "object") this.node(additionalProperties, `${path}.additionalProperties`, { ...inside, cardinality: place.cardinality?.inside(schema), ...(place.inMetadata && { noDefaults: "inside additionalProperties applying to object metadata" }) });
    }
    for (const [name, property] of Object.entries(properties ?? {})) {
      const isMeta = (place.isRoot || schema["x-kubernetes-embedded-resource"] === true) && metaFields.has(name);
      this.node(property, `${path}.properties[${name}]`, { ...inside, cardinality: place.cardinality?.inside(schema), inMetadata: place.inMetadata || isMeta, ...(isMeta && place.isRoot && { noDefaults: `in top-level ${name}` }) });
    }
    const branch = { ...inside, cardinality: undefined };
    if (schema.not) this.node(schema.not, `${path}.not`, branch);
    for (const junctor of ["allOf", "oneOf", "anyOf"] as const) for (const [index, item] of (schema[junctor] ?? []).entries()) this.node(item, `${path}.${junctor}[${index}]`, branch);
    if (schema.items && !Array.isArray(schema.items)) {
      const listKeeps = schema["x-kubernetes-list-type"] === "map";
      this.node(schema.items as JSONSchemaProps, `${path}.items`, { ...inside, cardinality: place.cardinality?.inside(schema), noOldSelf: place.noOldSelf ?? (listKeeps ? undefined : path) });
    }
    this.#extensions(schema, path);
    const rules = schema["x-kubernetes-validations"] ?? [];
    if (rules.length === 0) return;
    this.#ruleFields(schema, path);
    // What is wrong with the schema must be put right first: rules over broken types say nothing useful.
    if (this.#sound && this.errors.length === before && place.cardinality) this.ruleErrors.push(...checkRules(schema, path, { isResource: place.isRoot || schema["x-kubernetes-embedded-resource"] === true, noOldSelf: place.noOldSelf, cardinality: place.cardinality, costs: this.costs }));
  }

  #unsupported(schema: JSONSchemaProps, path: string, { noDefaults, inMetadata }: Place): void {
    const forbid = (field: string, detail: string) => this.errors.push(forbidden(`${path}.${field}`, detail));
    if (schema.type && !types.includes(schema.type)) this.errors.push(notSupported(`${path}.type`, schema.type, types));
    if (schema.default !== undefined && schema.default !== null && noDefaults !== undefined) forbid("default", `must not be set ${noDefaults}`);
    if (schema.id) forbid("id", "id is not supported");
    if (schema.additionalItems !== undefined) forbid("additionalItems", "additionalItems is not supported");
    for (const name of ["patternProperties", "definitions"] as const) if (schema[name] && Object.keys(schema[name]).length > 0) forbid(name, `${name} is not supported`);
    if (schema.dependencies) forbid("dependencies", "dependencies is not supported");
    if (schema.$ref !== undefined) forbid("$ref", "$ref is not supported");
    if (schema.type === "null") forbid("type", "type cannot be set to null, use nullable as an alternative");
    if (Array.isArray(schema.items) && schema.items.length > 0) forbid("items", "items must be a schema object and not an array");
    if (inMetadata && schema["x-kubernetes-embedded-resource"]) forbid("x-kubernetes-embedded-resource", "must not be used inside of resource meta");
  }

  #extensions(schema: JSONSchemaProps, path: string): void {
    const { type = "", "x-kubernetes-map-type": mapType, "x-kubernetes-list-type": listType, "x-kubernetes-list-map-keys": keys = [] } = schema;
    const items = schema.items && !Array.isArray(schema.items) ? (schema.items as JSONSchemaProps) : undefined;
    const wantType = (wanted: string, extension: string) => this.errors.push(type === "" ? required(`${path}.type`, `must be ${wanted} if ${extension} is specified`) : invalid(`${path}.type`, type, `must be ${wanted} if ${extension} is specified`));
    if (schema["x-kubernetes-preserve-unknown-fields"] === false) this.errors.push(invalid(`${path}.x-kubernetes-preserve-unknown-fields`, false, "must be true or undefined"));
    if (mapType !== undefined && type !== "object") wantType("object", "x-kubernetes-map-type");
    if (mapType !== undefined && !["atomic", "granular"].includes(mapType)) this.errors.push(notSupported(`${path}.x-kubernetes-map-type`, mapType, ["atomic", "granular"]));
    if (listType !== undefined && type !== "array") wantType("array", "x-kubernetes-list-type");
    else if (listType === "set" && items) {
      const text = "must be atomic as item of a list with x-kubernetes-list-type=set";
      if (items.type === "array" && items["x-kubernetes-list-type"] !== undefined && items["x-kubernetes-list-type"] !== "atomic") this.errors.push(invalid(`${path}.items.x-kubernetes-list-type`, items["x-kubernetes-list-type"], text));
      if (items.type === "object" && items["x-kubernetes-map-type"] !== "atomic") this.errors.push(invalid(`${path}.items.x-kubernetes-map-type`, items["x-kubernetes-list-type"], text));
    }
    if (listType !== undefined && !["atomic", "set", "map"].includes(listType)) this.errors.push(notSupported(`${path}.x-kubernetes-list-type`, listType, ["atomic", "set", "map"]));
    if (keys.length > 0 && listType !== "map") this.errors.push(listType === undefined ? required(`${path}.x-kubernetes-list-type`, "must be map if x-kubernetes-list-map-keys is non-empty") : invalid(`${path}.x-kubernetes-list-type`, listType, "must be map if x-kubernetes-list-map-keys is non-empty"));
    if (listType === "map") this.#keyedList(keys, items, path);
    if ((listType === "set" || listType === "map") && items) {
      if (items.nullable) this.errors.push(forbidden(`${path}.items.nullable`, `cannot be nullable when x-kubernetes-list-type is ${listType}`));
      if (listType === "map") this.#keys(keys, items, path);
    }
  }

  #keyedList(keys: readonly string[], items: JSONSchemaProps | undefined, path: string): void {
    if (keys.length === 0) this.errors.push(required(`${path}.x-kubernetes-list-map-keys`, "must not be empty if x-kubernetes-list-type is map"));
    if (!items) return void this.errors.push(required(`${path}.items`, "must have a schema if x-kubernetes-list-type is map"));
    if (items.type !== "object") return void this.errors.push(invalid(`${path}.items.type`, items.type ?? "", "must be object if parent array's x-kubernetes-list-type is map"));
    const seen = new Set<string>();
    for (const key of keys) {
      const property = items.properties && Object.hasOwn(items.properties, key) ? items.properties[key] : undefined;
      if (!property) this.errors.push(invalid(`${path}.x-kubernetes-list-map-keys`, keys, "entries must all be names of item properties"));
      else if (property.type === "array" || property.type === "object") this.errors.push(invalid(`${path}.items.properties[${key}].type`, items.type, "must be a scalar type if parent array's x-kubernetes-list-type is map"));
      if (seen.has(key)) this.errors.push(invalid(`${path}.x-kubernetes-list-map-keys`, keys, "must not contain duplicate entries"));
      seen.add(key);
    }
  }

  #keys(keys: readonly string[], items: JSONSchemaProps, path: string): void {
    for (const key of keys) {
      const property = items.properties && Object.hasOwn(items.properties, key) ? items.properties[key] : undefined;
      if (!property) continue;
      const at = `${path}.items.properties[${key}]`;
      if (!items.required?.includes(key) && (property.default === undefined || property.default === null)) this.errors.push(required(`${at}.default`, "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"));
      if (property.nullable) this.errors.push(forbidden(`${at}.nullable`, "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"));
    }
  }

  #ruleFields(schema: JSONSchemaProps, path: string): void {
    const hasNewline = (text: string) => /[\n\r]/.test(text);
    for (const [index, { rule = "", message = "", messageExpression = "", reason, fieldPath = "" }] of schema["x-kubernetes-validations"]!.entries()) {
      const at = `${path}.x-kubernetes-validations[${index}]`;
      if (rule.trim() === "") this.errors.push(required(`${at}.rule`, "rule is not specified"));
      else if (message !== "" && message.trim() === "") this.errors.push(invalid(`${at}.message`, message, "must be non-empty if specified"));
      else if (hasNewline(message.trim())) this.errors.push(invalid(`${at}.message`, message, "must not contain line breaks"));
      else if (hasNewline(rule.trim()) && message.trim() === "") this.errors.push(required(`${at}.message`, "message must be specified if rule contains line breaks"));
      if (messageExpression !== "" && messageExpression.trim() === "") this.errors.push(required(`${at}.messageExpression`, "messageExpression must be non-empty if specified"));
      if (reason !== undefined && !reasons.includes(reason)) this.errors.push(notSupported(`${at}.reason`, reason, reasons));
      if (fieldPath === "") continue;
      if (fieldPath.trim() === "") this.errors.push(invalid(`${at}.fieldPath`, fieldPath, "must be non-empty if specified"));
      if (hasNewline(fieldPath)) this.errors.push(invalid(`${at}.fieldPath`, fieldPath, "must not contain line breaks"));
      try {
        parseFieldPath(new CustomSchema(schema), fieldPath);
      } catch (error) {
        if (!(error instanceof FieldPathError)) throw error;
        this.errors.push(invalid(`${at}.fieldPath`, fieldPath, "must be a valid path"));
      }
    }
  }
}
