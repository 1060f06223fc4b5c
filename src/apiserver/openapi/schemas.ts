import type { JSONSchemaProps } from "../../api/crd/json-schema.ts";
import type { Kind } from "../../api/kind.ts";
import { builtinSchema, kindOfDefinition } from "../../api/kinds/table.ts";
import type { Schema } from "../../api/schema.ts";
import { customDefinition, listMetaText, listText, objectMetaText, typeMeta } from "./custom.ts";

/**
 * Writes schemas as OpenAPI documents state them: definitions by reference, each once, with the x-kubernetes-*
 * extensions from which kubectl merges, explains and validates.
 */
export type Dialect = "v2" | "v3";
export type Json = Record<string, unknown>;
export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}
/** What a definition or one of its fields is for, where somebody knows it in words. */
export type Describe = (definition: string, field?: string) => string | undefined;

const meta = "io.k8s.apimachinery.pkg.apis.meta.v1";
const crd = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/** The scalars that have a definition of their own, by our format. */
const scalars: Record<string, { name: string; v2: Json; v3: Json }> = {
  quantity: { name: "io.k8s.apimachinery.pkg.api.resource.Quantity", v2: { type: "string" }, v3: { oneOf: [{ type: "string" }, { type: "number" }] } },
  "int-or-string": { name: "io.k8s.apimachinery.pkg.util.intstr.IntOrString", v2: { format: "int-or-string", type: "string" }, v3: { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] } },
  "date-time": { name: `${meta}.Time`, v2: { format: "date-time", type: "string" }, v3: { format: "date-time", type: "string" } },
  "micro-time": { name: `${meta}.MicroTime`, v2: { format: "date-time", type: "string" }, v3: { format: "date-time", type: "string" } },
  raw: { name: "io.k8s.apimachinery.pkg.runtime.RawExtension", v2: { type: "object" }, v3: { type: "object" } },
  "fields-v1": { name: `${meta}.FieldsV1`, v2: { type: "object" }, v3: { type: "object" } },
  json: { name: `${crd}.JSON`, v2: {}, v3: {} },
  "schema-or-array": { name: `${crd}.JSONSchemaPropsOrArray`, v2: {}, v3: {} },
  "schema-or-bool": { name: `${crd}.JSONSchemaPropsOrBool`, v2: {}, v3: {} },
  "schema-or-strings": { name: `${crd}.JSONSchemaPropsOrStringArray`, v2: {}, v3: {} },
};

/** "io.k8s.api.apps.v1.Deployment", or "com.example.v1.Widget" of a custom resource in group example.com. */
export function definitionName({ group, version, kind, schema }: Pick<Kind, "group" | "version" | "kind"> & { schema?: Schema }): string {
  return schema?.name ?? [...group.split(".").toReversed(), version, kind].join(".");
}

export class SchemaWriter {
  readonly #dialect: Dialect;
  readonly #describe: Describe;
  /** Of kinds that belong to every group, such as DeleteOptions. */
  readonly #groupVersions: readonly { group: string; version: string }[];
  readonly #definitions = new Map<string, Json>();
  readonly #pending: (() => void)[] = [];

  constructor(dialect: Dialect, groupVersions: readonly { group: string; version: string }[], describe: Describe) {
    this.#dialect = dialect;
    this.#groupVersions = groupVersions;
    this.#describe = describe;
  }

  /** Every definition that was referred to, sorted by name. */
  definitions(): Json {
    for (let next = this.#pending.pop(); next; next = this.#pending.pop()) next();
    return Object.fromEntries([...this.#definitions].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  reference(name: string): Json {
    return { $ref: `#/${this.#dialect === "v3" ? "components/schemas" : "definitions"}/${name}` };
  }

  /** Refers to a served kind, built-in or custom. */
  kind(kind: Kind): Json {
    if (kind.schema.name !== undefined) return this.builtin(kind.group, kind.version, kind.kind)!;
    const name = definitionName(kind);
    this.#define(name, () => {
      // A kind that is computed has a schema of ours, and no definition.
      if (!kind.custom) return { ...this.#node(kind.schema, name), "x-kubernetes-group-version-kind": [gvk(kind)] };
      const { document, selectable } = kind.custom;
      const body = customDefinition(document() as JSONSchemaProps, this.#dialect, this.#typeMeta());
      return { ...body, "x-kubernetes-group-version-kind": [gvk(kind)], ...(selectable.length > 0 && { "x-kubernetes-selectable-fields": selectable.map((fieldPath) => ({ fieldPath })) }) };
    });
    return this.reference(name);
  }

  list(kind: Kind): Json {
    const listKind = kind.listKind ?? `${kind.kind}List`;
    if (kind.schema.name !== undefined) return this.builtin(kind.group, kind.version, listKind)!;
    const name = definitionName({ group: kind.group, version: kind.version, kind: listKind });
    this.#define(name, () => ({
      description: `${listKind} is a list of ${kind.kind}`,
      type: "object",
      required: ["items"],
      properties: { ...typeMeta, items: { description: listText(kind.resource), type: "array", items: this.kind(kind) }, metadata: this.#described(this.builtinMeta("ListMeta"), listMetaText) },
      "x-kubernetes-group-version-kind": [{ ...gvk(kind), kind: listKind }],
    }));
    return this.reference(name);
  }

  /** Refers to a kind of the tables that need not be a resource: Scale, Status, DeleteOptions. */
  builtin(group: string, version: string, kind: string): Json | undefined {
    const schema = builtinSchema(group, version, kind);
    return schema && this.#definition(schema);
  }

  /** Refers to a definition of meta/v1 that is no kind. */
  builtinMeta(name: "ObjectMeta" | "ListMeta" | "Patch"): Json {
    if (name === "Patch") {
      this.#define(`${meta}.Patch`, () => ({ type: "object" }));
      return this.reference(`${meta}.Patch`);
    }
    const owner = builtinSchema("", "v1", name === "ObjectMeta" ? "ConfigMap" : "ConfigMapList")!;
    const metadata = owner.properties!.metadata!;
    return this.#definition(metadata.base ?? metadata);
  }

  /** What every resource has, as custom resources publish it. */
  #typeMeta(): Readonly<Record<string, Json>> {
    return { ...typeMeta, metadata: this.#described(this.builtinMeta("ObjectMeta"), objectMetaText) };
  }
  /** In version 3 nothing may stand beside a reference. */
  #described(reference: Json, description: string): Json {
    return this.#dialect === "v3" ? { allOf: [reference], description } : { description, ...reference };
  }

  #definition(schema: Schema): Json {
    const name = schema.name!;
    this.#define(name, () => {
      const description = this.#describe(name);
      const kinds = this.#kindsOf(name);
      return { ...(description !== undefined && { description }), ...this.#node(schema, name), ...(kinds && { "x-kubernetes-group-version-kind": kinds }) };
    });
    return this.reference(name);
  }

  #kindsOf(name: string): GroupVersionKind[] | undefined {
    const kind = kindOfDefinition(name);
    if (kind?.group === "every" && name.endsWith("Options")) return this.#groupVersions.map(({ group, version }) => ({ group, kind: kind.kind, version }));
    return kind && [gvk(kind.group === "every" ? { ...kind, group: "" } : kind)];
  }

  #define(name: string, make: () => Json): void {
    if (this.#definitions.has(name)) return;
    const place: Json = {};
    this.#definitions.set(name, place);
    this.#pending.push(() => Object.assign(place, make()));
  }

  /** A field's schema: a reference where there is one, with what the field adds. `isValue`: Go writes it also when it is zero. */
  #field(schema: Schema, definition?: string, field?: string, isValue = false): Json {
    // The catalogue does not repeat what every kind says of these two.
    const description = definition === undefined ? undefined : (this.#describe(definition, field) ?? (kindOfDefinition(definition) && field !== undefined ? (typeMeta[field]?.["description"] as string | undefined) : undefined));
    const added: Json = {
      ...(description !== undefined && { description }),
      // Version 2 never had them.
      ...(this.#dialect === "v3" && present("default", schema.default ?? (isValue || schema.statesZero ? zeroOf(schema) : undefined))),
      ...(schema.patchMergeKey !== undefined && { "x-kubernetes-patch-merge-key": schema.patchMergeKey }),
      ...(schema.patchStrategy !== undefined && { "x-kubernetes-patch-strategy": schema.patchStrategy }),
      ...(schema.base && schema.mapType !== schema.base.mapType && { "x-kubernetes-map-type": schema.mapType }),
    };
    const reference = this.#referenceOf(schema);
    if (!reference) return { ...added, ...this.#node(schema) };
    if (Object.keys(added).length === 0) return reference;
    return this.#dialect === "v3" ? { allOf: [reference], ...added } : { ...added, ...reference };
  }

  #referenceOf(schema: Schema): Json | undefined {
    const scalar = schema.format === undefined ? undefined : scalars[schema.format];
    // Custom resources write their scalars out; only the tables' own nodes stand for a definition.
    if (scalar && !schema.pattern && schema.nullable === undefined) {
      this.#define(scalar.name, () => scalar[this.#dialect]);
      return this.reference(scalar.name);
    }
    return schema.name === undefined ? undefined : this.#definition(schema.base ?? schema);
  }

  #node(schema: Schema, definition?: string): Json {
    const { type, format } = schema;
    return {
      ...(type !== undefined && { type }),
      ...(format !== undefined && { format }),
      ...(schema.enum && { enum: schema.enum }),
      ...(schema.nullable && this.#dialect === "v3" && { nullable: true }),
      ...(schema.items && { items: this.#field(schema.items, undefined, undefined, true) }),
      ...(schema.additionalProperties && { additionalProperties: this.#field(schema.additionalProperties, undefined, undefined, true) }),
      ...(schema.properties && Object.keys(schema.properties).length > 0 && {
        properties: Object.fromEntries(
          Object.entries(schema.properties).map(([name, property]) => [name, this.#field(property, definition, name, !property.omitZero && schema.protobuf?.[name]?.pointer === false)]),
        ),
      }),
      ...(schema.required && schema.required.length > 0 && { required: schema.required }),
      ...pick(schema, ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"]),
      ...(schema.listType !== undefined && { "x-kubernetes-list-type": schema.listType }),
      ...(schema.listMapKeys && { "x-kubernetes-list-map-keys": schema.listMapKeys }),
      ...(schema.mapType !== undefined && { "x-kubernetes-map-type": schema.mapType }),
      ...(schema.unions && { "x-kubernetes-unions": schema.unions }),
      ...(schema.preserveUnknownFields && format === undefined && definition === undefined && { "x-kubernetes-preserve-unknown-fields": true }),
      ...(schema.embeddedResource && { "x-kubernetes-embedded-resource": true }),
    };
  }
}

/** What Go writes of a field that nobody set. */
function zeroOf({ name, type, format }: Schema): unknown {
  if (name !== undefined) return {};
  if (type === "string") return format === undefined ? "" : undefined;
  return type === "integer" ? 0 : type === "boolean" ? false : undefined;
}

const present = (name: string, value: unknown): Json => (value === undefined ? {} : { [name]: value });

function gvk({ group, version, kind }: GroupVersionKind): GroupVersionKind {
  return { group, kind, version };
}

function pick(schema: Schema, keys: readonly (keyof Schema)[]): Json {
  return Object.fromEntries(keys.filter((key) => schema[key] !== undefined).map((key) => [key, schema[key]]));
}
