import type { Schema } from "../schema.ts";
import type { JSONSchemaProps } from "./json-schema.ts";

/**
 * A node of a custom resource's schema. Children are made when first asked for: a definition of hundreds of
 * kilobytes costs nothing until an object of its kind is written.
 */
export class CustomSchema implements Schema {
  readonly props: JSONSchemaProps;
  #fields: ReadonlyMap<string, CustomSchema> | undefined;
  #properties: Readonly<Record<string, CustomSchema>> | undefined;
  #items: CustomSchema | undefined;
  #additional: CustomSchema | undefined;

  constructor(props: JSONSchemaProps) {
    this.props = props;
  }

  get type(): Schema["type"] {
    return this.isIntOrString ? undefined : ((this.props.type || undefined) as Schema["type"]);
  }
  get format(): string | undefined {
    if (this.isIntOrString) return "int-or-string";
    // Our own names of scalars are no formats of OpenAPI: a text that calls itself a "quantity" is a text.
    const { format } = this.props;
    return format && knownFormats.has(format) ? format : undefined;
  }
  get fields(): ReadonlyMap<string, CustomSchema> {
    return (this.#fields ??= new Map(Object.entries(this.props.properties ?? {}).map(([name, props]) => [name, new CustomSchema(props)])));
  }
  get properties(): Readonly<Record<string, CustomSchema>> | undefined {
    return this.props.properties && (this.#properties ??= Object.fromEntries(this.fields));
  }
  get items(): CustomSchema | undefined {
    const { items } = this.props;
    return items && !Array.isArray(items) ? (this.#items ??= new CustomSchema(items as JSONSchemaProps)) : undefined;
  }
  get additionalProperties(): CustomSchema | undefined {
    const { additionalProperties } = this.props;
    if (additionalProperties === undefined || additionalProperties === false) return undefined;
    return (this.#additional ??= new CustomSchema(additionalProperties === true ? {} : additionalProperties));
  }
  get required(): readonly string[] | undefined {
    return this.props.required;
  }
  get enum(): readonly unknown[] | undefined {
    return this.props.enum;
  }
  get default(): unknown {
    return this.props.default;
  }
  get nullable(): boolean {
    return this.props.nullable ?? false;
  }
  get listType(): Schema["listType"] {
    return this.props["x-kubernetes-list-type"] as Schema["listType"];
  }
  get listMapKeys(): readonly string[] | undefined {
    return this.props["x-kubernetes-list-map-keys"];
  }
  get mapType(): Schema["mapType"] {
    return this.props["x-kubernetes-map-type"] as Schema["mapType"];
  }
  get preserveUnknownFields(): boolean {
    return this.props["x-kubernetes-preserve-unknown-fields"] ?? false;
  }
  get embeddedResource(): boolean {
    return this.props["x-kubernetes-embedded-resource"] ?? false;
  }
  get isIntOrString(): boolean {
    return this.props["x-kubernetes-int-or-string"] ?? false;
  }
  get minimum(): number | undefined {
    return this.props.minimum;
  }
  get maximum(): number | undefined {
    return this.props.maximum;
  }
  get minLength(): number | undefined {
    return this.props.minLength;
  }
  get maxLength(): number | undefined {
    return this.props.maxLength;
  }
  get minItems(): number | undefined {
    return this.props.minItems;
  }
  get maxItems(): number | undefined {
    return this.props.maxItems;
  }
  get maxProperties(): number | undefined {
    return this.props.maxProperties;
  }
  get pattern(): string | undefined {
    return this.props.pattern;
  }
}

/** Formats that say something of the type: what apply, rules and documents make of it. Others are words. */
const knownFormats = new Set(["int32", "int64", "float", "double", "byte", "date", "date-time", "datetime", "duration", "password", "uri", "uuid", "uuid3", "uuid4", "uuid5", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "k8s-short-name", "k8s-long-name"]);

/** The schema without its prose, which only documents need: most of a definition's size. */
export function withoutDescriptions(props: JSONSchemaProps): JSONSchemaProps {
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(props)) {
    if (name === "description" || name === "example" || name === "externalDocs" || name === "title") continue;
    if (name === "properties" || name === "patternProperties" || name === "definitions") copy[name] = Object.fromEntries(Object.entries(value as Record<string, JSONSchemaProps>).map(([key, child]) => [key, withoutDescriptions(child)]));
    else if ((name === "items" || name === "additionalProperties" || name === "not") && typeof value === "object" && !Array.isArray(value)) copy[name] = withoutDescriptions(value as JSONSchemaProps);
    else if (name === "allOf" || name === "anyOf" || name === "oneOf") copy[name] = (value as JSONSchemaProps[]).map(withoutDescriptions);
    else copy[name] = value;
  }
  return copy as JSONSchemaProps;
}
