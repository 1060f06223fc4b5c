import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Subresource, Verb } from "../kind.ts";
import type { ProtobufField, Schema } from "../schema.ts";

/**
 * Reads the tables of the built-in kinds (`tables/*.json`, written by tools/generate-kinds.ts).
 *
 * `index.json` lists groups, versions, resources and subresources and is read at once; the other files hold the
 * definitions of one Go package each ("core.v1" is io.k8s.api.core.v1) and are read when one of them is first
 * walked. A definition is `{kind?, required?, mapType?, embedded?, fields}` or `{kind, list: item}`; a field is
 * `[type, protobuf number or path, attributes?]`. A type is a scalar (`int32`, `quantity`, …), a definition
 * (`PodSpec`, or `core.v1.PodSpec` from another package), `[]` or `map:` and a type; `*` in front says that Go
 * has a pointer there, `/PullPolicy` behind it is the name of Go's type, `/[]Capability` of its elements'.
 */
export interface ResourceTable {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly listKind: string;
  readonly resource: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly scope: "Namespaced" | "Cluster";
  readonly verbs: readonly Verb[];
  readonly subresources: readonly Subresource[];
  readonly returnsDeleted: boolean;
  readonly schema: Schema;
}

interface Index {
  groups: { group: string; versions: { version: string; resources: IndexEntry[] }[] }[];
}
interface IndexEntry {
  resource: string;
  kind: string;
  namespaced: boolean;
  verbs: Verb[];
  returnsDeleted?: boolean;
  subresources?: Subresource[];
}
type FieldFacts = [type: string, protobuf: number | string, attributes?: Attributes];
interface Attributes extends Pick<Schema, "patchStrategy" | "patchMergeKey" | "listType" | "listMapKeys" | "mapType" | "default" | "statesZero"> {
  /** Allowed values; of a list or a map, those of its elements. */
  enum?: readonly string[];
  /** Whether Go writes the field even when zero, where that differs from "required". */
  always?: boolean;
}
interface DefinitionFacts {
  /** The group of the kind that this is; "every": of every group (DeleteOptions). */
  kind?: string;
  list?: string;
  required?: string[];
  mapType?: "atomic" | "granular";
  unions?: object[];
  /** Protobuf path of an inlined message → the Go name of the struct that is embedded. */
  embedded?: Record<string, string>;
  fields?: Record<string, FieldFacts>;
}
interface Package {
  package: string;
  definitions: Record<string, DefinitionFacts>;
}

/** Resource (with its group) → short names. Discovery says them, OpenAPI does not. */
const shortNames: Record<string, string[]> = {
  pods: ["po"],
  services: ["svc"],
  nodes: ["no"],
  namespaces: ["ns"],
  configmaps: ["cm"],
  endpoints: ["ep"],
  events: ["ev"],
  "events.events.k8s.io": ["ev"],
  serviceaccounts: ["sa"],
  persistentvolumes: ["pv"],
  persistentvolumeclaims: ["pvc"],
  replicationcontrollers: ["rc"],
  resourcequotas: ["quota"],
  limitranges: ["limits"],
  componentstatuses: ["cs"],
  "deployments.apps": ["deploy"],
  "replicasets.apps": ["rs"],
  "statefulsets.apps": ["sts"],
  "daemonsets.apps": ["ds"],
  "horizontalpodautoscalers.autoscaling": ["hpa"],
  "cronjobs.batch": ["cj"],
  "ingresses.networking.k8s.io": ["ing"],
  "networkpolicies.networking.k8s.io": ["netpol"],
  "ipaddresses.networking.k8s.io": ["ip"],
  "poddisruptionbudgets.policy": ["pdb"],
  "storageclasses.storage.k8s.io": ["sc"],
  "volumeattributesclasses.storage.k8s.io": ["vac"],
  "customresourcedefinitions.apiextensions.k8s.io": ["crd", "crds"],
  "certificatesigningrequests.certificates.k8s.io": ["csr"],
  "priorityclasses.scheduling.k8s.io": ["pc"],
};
const categories: Record<string, string[]> = {
  ...Object.fromEntries(
    ["pods", "services", "replicationcontrollers", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "horizontalpodautoscalers.autoscaling", "jobs.batch", "cronjobs.batch"].map((name) => [name, ["all"]]),
  ),
  ...Object.fromEntries(
    [
      "customresourcedefinitions.apiextensions.k8s.io",
      "apiservices.apiregistration.k8s.io",
      "mutatingadmissionpolicies.admissionregistration.k8s.io",
      "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
      "mutatingwebhookconfigurations.admissionregistration.k8s.io",
      "validatingwebhookconfigurations.admissionregistration.k8s.io",
      "validatingadmissionpolicies.admissionregistration.k8s.io",
      "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    ].map((name) => [name, ["api-extensions"]]),
  ),
};

const tables = join(import.meta.dirname, "tables");
const readTable = <T>(name: string): T => JSON.parse(readFileSync(join(tables, `${name}.json`), "utf8")) as T;

let resources: readonly ResourceTable[] | undefined;

/** Every built-in resource, groups in upstream's discovery order, preferred versions first. */
export function builtinResources(): readonly ResourceTable[] {
  if (resources) return resources;
  const list: ResourceTable[] = [];
  for (const { group, versions } of readTable<Index>("index").groups) {
    for (const { version, resources: entries } of versions) {
      for (const { resource, kind, namespaced, verbs, returnsDeleted, subresources } of entries) {
        const qualified = group === "" ? resource : `${resource}.${group}`;
        list.push({
          group,
          version,
          kind,
          listKind: `${kind}List`,
          resource,
          singular: kind.toLowerCase(),
          shortNames: shortNames[qualified] ?? [],
          categories: categories[qualified] ?? [],
          scope: namespaced ? "Namespaced" : "Cluster",
          verbs,
          subresources: subresources ?? [],
          returnsDeleted: returnsDeleted ?? false,
          get schema() {
            return builtinSchema(group, version, kind)!;
          },
        });
      }
    }
  }
  resources = list;
  return list;
}

/**
 * The schema of a built-in kind, also of those that are no resource (Scale, Eviction, DeleteOptions, Status and
 * the lists). Undefined when there is none.
 */
export function builtinSchema(group: string, version: string, kind: string): Schema | undefined {
  const key = `${group === "" ? "core" : group.split(".")[0]}.${version}`;
  const found = definitionIn(key, kind);
  if (found?.facts.kind === group) return found.schema;
  const meta = definitionIn("meta.v1", kind);
  return meta?.facts.kind === "every" || (meta && (group === "" || group === "meta.k8s.io") && version === "v1") ? meta.schema : undefined;
}

/** The kind that a definition ("io.k8s.api.core.v1.Pod") is, with the group "every" for those of each group; undefined when it is none. */
export function kindOfDefinition(name: string): { group: string; version: string; kind: string } | undefined {
  const [kind, version, packageName] = name.split(".").toReversed() as [string, string, string];
  const group = definitionIn(`${packageName}.${version}`, kind)?.facts.kind;
  return group === undefined ? undefined : { group, version, kind };
}

const packages = new Map<string, Package | undefined>();
/** Packages by the short names that types use: one file each. */
const packageKey = /^[a-z]+\.v\d+(beta\d+)?$/;

function packageOf(key: string): Package | undefined {
  if (!packages.has(key)) {
    let table: Package | undefined;
    try {
      if (packageKey.test(key)) table = readTable<Package>(key);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    packages.set(key, table);
  }
  return packages.get(key);
}

const definitions = new Map<string, { schema: Schema; facts: DefinitionFacts }>();

function definitionIn(key: string, name: string): { schema: Schema; facts: DefinitionFacts } | undefined {
  const id = `${key}.${name}`;
  let found = definitions.get(id);
  if (!found) {
    const table = packageOf(key);
    if (!table || !Object.hasOwn(table.definitions, name)) return undefined;
    const facts = table.definitions[name]!;
    found = { schema: new Definition(key, `${table.package}.${name}`, facts), facts };
    definitions.set(id, found);
  }
  return found;
}

const typeMeta = { apiVersion: { type: "string" }, kind: { type: "string" } } as const satisfies Record<string, Schema>;

/** A definition's schema. Its properties are made when first asked for, and shared by all who refer to it. */
class Definition implements Schema {
  readonly type = "object";
  readonly name: string;
  readonly required: readonly string[] | undefined;
  readonly mapType: "atomic" | "granular" | undefined;
  readonly unions: readonly object[] | undefined;
  readonly #key: string;
  readonly #facts: DefinitionFacts;
  #properties: Readonly<Record<string, Schema>> | undefined;
  #protobuf: Readonly<Record<string, ProtobufField>> | undefined;

  constructor(key: string, name: string, facts: DefinitionFacts) {
    this.#key = key;
    this.name = name;
    this.#facts = facts.list === undefined ? facts : { required: ["items"], fields: { items: [`[]${facts.list}`, 2], metadata: ["meta.v1.ListMeta", 1] }, kind: facts.kind! };
    this.required = this.#facts.required;
    this.mapType = facts.mapType;
    this.unions = facts.unions;
  }
  get properties(): Readonly<Record<string, Schema>> {
    if (!this.#properties) {
      const required = new Set(this.required);
      this.#properties = {
        ...(this.#facts.kind !== undefined && typeMeta),
        ...Object.fromEntries(Object.entries(this.#facts.fields ?? {}).map(([name, [type, , attributes]]) => [name, schemaOfType(type, this.#key, attributes, attributes?.always ?? required.has(name))])),
      };
    }
    return this.#properties;
  }
  get protobuf(): Readonly<Record<string, ProtobufField>> {
    const required = new Set(this.required);
    return (this.#protobuf ??= Object.fromEntries(
      Object.entries(this.#facts.fields ?? {}).map(([name, [type, number, attributes]]) => {
        const path = String(number).split(".");
        const embedded = path.slice(1).map((_, index) => this.#facts.embedded![path.slice(0, index + 1).join(".")]);
        return [name, { path: path.map(Number), pointer: type.startsWith("*"), ...(type.startsWith("*") && (attributes?.always ?? required.has(name)) && { always: true }), ...(embedded.length > 0 && { embedded: embedded.join(".") }) }];
      }),
    ));
  }
}

const scalars: Record<string, Schema> = {
  string: { type: "string" },
  bool: { type: "boolean" },
  int32: { type: "integer", format: "int32" },
  int64: { type: "integer", format: "int64" },
  double: { type: "number", format: "double" },
  bytes: { type: "string", format: "byte" },
  quantity: { format: "quantity" },
  "int-or-string": { format: "int-or-string" },
  "date-time": { type: "string", format: "date-time" },
  "micro-time": { type: "string", format: "micro-time" },
  raw: { type: "object", format: "raw", preserveUnknownFields: true },
  "fields-v1": { type: "object", format: "fields-v1", preserveUnknownFields: true },
  json: { format: "json", preserveUnknownFields: true },
  "schema-or-array": { format: "schema-or-array", preserveUnknownFields: true },
  "schema-or-bool": { format: "schema-or-bool", preserveUnknownFields: true },
  "schema-or-strings": { format: "schema-or-strings", preserveUnknownFields: true },
  any: { type: "object", preserveUnknownFields: true },
};
/** One node for every type text without attributes, so that equal fields are one object. */
const shared = new Map<string, Schema>();

function schemaOfType(text: string, key: string, attributes: Attributes | undefined, always: boolean): Schema {
  const pointer = text.startsWith("*");
  const [type, goName] = text.replace(/^\*/, "").split("/") as [string, string?];
  const omitZero = !pointer && !always && (type.startsWith("[]") || type.startsWith("map:") || /^(string|bool|int32|int64|double|bytes)$/.test(type));
  const id = `${key} ${type}/${goName ?? ""} ${omitZero}`;
  let node = shared.get(id);
  if (!node) {
    const ofElements = goName?.startsWith("[]") ?? false;
    const ofValues = goName?.startsWith("map:") ?? false;
    const bare = goName?.replace(/^(\[\]|map:)/, "");
    const named = bare === undefined || bare.includes(".") ? bare : `v1.${bare}`;
    const goType = ofElements ? `[]${named}` : ofValues ? undefined : named;
    const plain = nodeOfType(type, key);
    const base = ofElements ? { ...plain, items: { ...plain.items!, goType: named } } : ofValues ? { ...plain, additionalProperties: { ...plain.additionalProperties!, goType: named } } : plain;
    node = goType === undefined && !omitZero ? base : { ...base, ...(goType !== undefined && { goType }), ...(omitZero && { omitZero }), ...(bare === "ResourceList" && !key.startsWith("core.") && { isExact: true }) };
    shared.set(id, node);
  }
  if (!attributes) return node;
  const { always: _, enum: values, ...facts } = attributes;
  const allowed = values ? withEnum(node, values) : node;
  if (Object.keys(facts).length === 0) return allowed;
  return allowed instanceof Definition ? new AttributedDefinition(allowed, facts) : { ...allowed, ...facts };
}

function withEnum(node: Schema, values: readonly string[]): Schema {
  if (node.items) return { ...node, items: withEnum(node.items, values) };
  if (node.additionalProperties) return { ...node, additionalProperties: withEnum(node.additionalProperties, values) };
  return { ...node, enum: values };
}

function nodeOfType(type: string, key: string): Schema {
  if (type.startsWith("[]")) return { type: "array", items: schemaOfType(type.slice(2), key, undefined, true) };
  if (type.startsWith("map:")) return { type: "object", additionalProperties: schemaOfType(type.slice(4), key, undefined, true) };
  const scalar = scalars[type];
  if (scalar) return scalar;
  const at = type.lastIndexOf(".");
  const found = at < 0 ? definitionIn(key, type) : definitionIn(type.slice(0, at), type.slice(at + 1));
  if (!found) throw new Error(`the tables have no definition ${type} (referred to in ${key}); run tools/generate-kinds.ts`);
  return found.schema;
}

/** A field that refers to a definition and says more of it, such as its patch strategy. */
class AttributedDefinition implements Schema {
  readonly type = "object";
  readonly base: Definition;
  readonly patchStrategy: string | undefined;
  readonly patchMergeKey: string | undefined;
  readonly mapType: "atomic" | "granular" | undefined;
  readonly default: unknown;
  constructor(definition: Definition, attributes: Attributes) {
    this.base = definition;
    this.patchStrategy = attributes.patchStrategy;
    this.patchMergeKey = attributes.patchMergeKey;
    this.mapType = attributes.mapType ?? definition.mapType;
    this.default = attributes.default;
  }
  get name(): string {
    return this.base.name;
  }
  get required(): readonly string[] | undefined {
    return this.base.required;
  }
  get properties(): Readonly<Record<string, Schema>> {
    return this.base.properties;
  }
  get protobuf(): Readonly<Record<string, ProtobufField>> {
    return this.base.protobuf;
  }
}
