import type { JSONSchemaProps } from "../../api/crd/json-schema.ts";
import type { Dialect, Json } from "./schemas.ts";

/**
 * The schema of a custom resource as OpenAPI documents state it. Version 2 cannot say everything, and what kubectl
 * makes of the rest would refuse good objects: there, less is said.
 * Source: k8s.io/apiextensions-apiserver/pkg/controller/openapi/{builder,v2}.
 */
export function customDefinition(schema: JSONSchemaProps, dialect: Dialect, meta: Readonly<Record<string, Json>>): Json {
  // Told of any property at all, kubectl would take every other for a mistake.
  if (dialect === "v2" && schema["x-kubernetes-preserve-unknown-fields"]) return { type: "object" };
  const body = node(schema, dialect, meta);
  return { ...body, properties: { ...(body["properties"] as Json | undefined), ...meta } };
}

export const typeMeta: Readonly<Record<string, Json>> = {
  apiVersion: { description: "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources", type: "string" },
  kind: { description: "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds", type: "string" },
};
const conventions = "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
export const objectMetaText = `Standard object's metadata. ${conventions}#metadata`;
export const listMetaText = `Standard list metadata. ${conventions}#types-kinds`;
export const listText = (resource: string): string => `List of ${resource}. ${conventions}`;

const copied = ["format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "maxProperties", "minProperties", "enum", "default"] as const;
const extensions = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-validations"] as const;

function node(schema: JSONSchemaProps, dialect: Dialect, meta: Readonly<Record<string, Json>>): Json {
  const old = dialect === "v2";
  const preserves = schema["x-kubernetes-preserve-unknown-fields"] === true;
  const untyped = old && (schema.nullable === true || (preserves && (schema.type === "object" || schema.type === "array")));
  const withoutParts = old && (schema.nullable === true || preserves);
  const below = (child: JSONSchemaProps): Json => node(child, dialect, meta);
  const result: Json = {};
  if (schema.description) result["description"] = schema.description;
  if (schema.type && !untyped && !(old && schema.type === "array" && !schema.items)) result["type"] = schema.type;
  for (const name of copied) if (schema[name] !== undefined && schema[name] !== false && schema[name] !== "") result[name] = schema[name];
  if (schema.nullable && !old) result["nullable"] = true;
  if (schema.items && !withoutParts) result["items"] = below(schema.items as JSONSchemaProps);
  if (schema.properties && !withoutParts) result["properties"] = Object.fromEntries(Object.entries(schema.properties).map(([name, child]) => [name, below(child)]));
  if (schema.additionalProperties !== undefined) result["additionalProperties"] = typeof schema.additionalProperties === "object" ? below(schema.additionalProperties) : schema.additionalProperties;
  const needed = old ? requiredOf(schema) : schema.required;
  if (needed && needed.length > 0) result["required"] = needed;
  if (!old) {
    for (const name of ["allOf", "anyOf", "oneOf"] as const) if (schema[name]?.length) result[name] = schema[name].map(below);
    if (schema.not) result["not"] = below(schema.not);
  }
  for (const name of extensions) {
    const value = schema[name];
    if (value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0)) result[name] = value;
  }
  if (schema["x-kubernetes-embedded-resource"] && !(old && preserves)) {
    result["properties"] = { ...(result["properties"] as Json | undefined), ...meta };
    result["required"] = [...new Set([...(schema.required ?? []), "kind", "apiVersion"])];
  }
  return result;
}

/** What may be null cannot be demanded there. */
function requiredOf({ required, properties, additionalProperties }: JSONSchemaProps): readonly string[] | undefined {
  if (typeof additionalProperties === "object" && additionalProperties.nullable) return undefined;
  return required?.filter((name) => !(properties && Object.hasOwn(properties, name) && properties[name]!.nullable));
}
