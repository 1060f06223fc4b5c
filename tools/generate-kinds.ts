/**
 * Distils the tables of the built-in kinds (src/api/kinds/tables) from the published OpenAPI documents and
 * protobuf field numbers: facts only, no prose. Deterministic, so that a test can prove the tables up to date.
 *
 *   node tools/generate-kinds.ts <folder with v3/1.35 and protobuf-fields.json.gz>
 *
 * Inputs beside the folder: tools/go-types.json and tools/enums.json (what these documents do not say; see
 * tools/read-go-types.ts and tools/read-enums.ts).
 * The format of the tables is described where they are read, in src/api/kinds/table.ts.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

const release = "1.35";
/** Group → served versions, preferred first; groups in upstream's discovery order. */
const served: [group: string, versions: string[]][] = [
  ["", ["v1"]],
  ["apiregistration.k8s.io", ["v1"]],
  ["apps", ["v1"]],
  ["events.k8s.io", ["v1"]],
  ["authentication.k8s.io", ["v1"]],
  ["authorization.k8s.io", ["v1"]],
  ["autoscaling", ["v2", "v1"]],
  ["batch", ["v1"]],
  ["certificates.k8s.io", ["v1", "v1beta1"]],
  ["networking.k8s.io", ["v1"]],
  ["policy", ["v1"]],
  ["rbac.authorization.k8s.io", ["v1"]],
  ["storage.k8s.io", ["v1"]],
  ["admissionregistration.k8s.io", ["v1", "v1beta1"]],
  ["apiextensions.k8s.io", ["v1"]],
  ["scheduling.k8s.io", ["v1"]],
  ["coordination.k8s.io", ["v1"]],
  ["node.k8s.io", ["v1"]],
  ["discovery.k8s.io", ["v1"]],
  ["resource.k8s.io", ["v1"]],
  ["flowcontrol.apiserver.k8s.io", ["v1"]],
];

interface Property {
  type?: string;
  format?: string;
  $ref?: string;
  allOf?: { $ref: string }[];
  items?: Property;
  additionalProperties?: Property;
  properties?: Record<string, Property>;
  required?: string[];
  default?: unknown;
  [extension: `x-kubernetes-${string}`]: unknown;
}
interface Operation {
  "x-kubernetes-action"?: string;
  "x-kubernetes-group-version-kind"?: { group: string; version: string; kind: string };
  parameters?: { in: string; name: string; schema: { type: string } }[];
  responses?: Record<string, { content?: Record<string, { schema?: { $ref?: string } }> }>;
}
interface Document {
  paths: Record<string, Record<string, Operation> & { parameters?: Operation["parameters"] }>;
  components: { schemas: Record<string, Property> };
}
type ProtobufMessage = Record<string, [number: number, type: string, rule: string]>;

/** Scalars with a wire form of their own, by the last word of their definition. */
const scalarDefinitions: Record<string, string> = {
  Quantity: "quantity",
  IntOrString: "int-or-string",
  Time: "date-time",
  MicroTime: "micro-time",
  RawExtension: "raw",
  FieldsV1: "fields-v1",
  JSON: "json",
  JSONSchemaPropsOrArray: "schema-or-array",
  JSONSchemaPropsOrBool: "schema-or-bool",
  JSONSchemaPropsOrStringArray: "schema-or-strings",
};
const skippedDefinitions = /^io\.k8s\.apimachinery\.pkg\.(version|runtime|util|api)\./;
/** JSON names that differ from the protobuf field's by more than nothing. */
const protobufNames: Record<string, string> = { uid: "uID", apiGroup: "aPIGroup", webhooks: "Webhooks", name: "Name", expression: "Expression", $ref: "ref", $schema: "schema" };

/** Protobuf fields whose messages JSON writes without a name of their own. */
const inlinedFields = new Set(["localObjectReference", "volumeSource", "persistentVolumeSource", "handler", "ephemeralContainerCommon", "ingressRuleValue", "ruleWithOperations", "rule", "deviceConfiguration"]);

export interface Tables {
  /** File name → text. */
  [file: string]: string;
}

export function generateTables(folder: string): Tables {
  const read = (file: string) => JSON.parse(gunzipSync(readFileSync(join(folder, file))).toString()) as unknown;
  const messages = read("protobuf-fields.json.gz") as Record<string, ProtobufMessage>;
  const goTypes = JSON.parse(readFileSync(join(import.meta.dirname, "go-types.json"), "utf8")) as Record<string, Record<string, string>>;
  const enums = JSON.parse(readFileSync(join(import.meta.dirname, "enums.json"), "utf8")) as Record<string, Record<string, string[]>>;
  const definitions = new Map<string, Property>();
  const index: unknown[] = [];
  for (const [group, versions] of served) {
    const entries = [];
    for (const version of versions) {
      const path = group === "" ? `api/${version}` : `apis/${group}/${version}`;
      const document = read(`v3/${release}/${path}.json.gz`) as Document;
      for (const [name, schema] of Object.entries(document.components.schemas)) if (!skippedDefinitions.test(name)) definitions.set(name, schema);
      entries.push({ version, resources: resourcesOf(document, path, group, version) });
    }
    index.push({ group, versions: entries });
  }

  const packages = new Map<string, string[]>();
  for (const name of [...definitions.keys()].sort()) {
    if (scalarDefinitions[name.split(".").at(-1)!]) continue;
    const owner = name.slice(0, name.lastIndexOf("."));
    if (!packages.has(owner)) packages.set(owner, []);
    packages.get(owner)!.push(name);
  }
  const tables: Tables = { "index.json": `{"groups": [\n${index.map((entry) => pretty(entry)).join(",\n")}\n]}\n` };
  for (const [owner, names] of packages) {
    const lines = names.map((name) => `${JSON.stringify(name.slice(owner.length + 1))}: ${definitionText(name, definitions.get(name)!, owner)}`);
    tables[`${keyOf(owner)}.json`] = `{"package": ${JSON.stringify(owner)}, "definitions": {\n${lines.join(",\n")}\n}}\n`;
  }
  return tables;

  function definitionText(name: string, schema: Property, owner: string): string {
    const kinds = schema["x-kubernetes-group-version-kind"] as { group: string; version: string; kind: string }[] | undefined;
    const properties = schema.properties ?? {};
    const simple = name.slice(owner.length + 1);
    const item = properties.items?.items;
    if (simple.endsWith("List") && kinds && item) return JSON.stringify({ kind: kinds[0]!.group, list: typeOf(item, owner) });

    const embedded: Record<string, string> = {};
    const head: Record<string, unknown> = {};
    if (kinds) head.kind = kinds.length > 1 ? "every" : kinds[0]!.group;
    const required = (schema.required ?? []).filter((field) => properties[field]);
    if (required.length > 0) head.required = required;
    if (schema["x-kubernetes-map-type"]) head.mapType = schema["x-kubernetes-map-type"];
    if (schema["x-kubernetes-unions"]) head.unions = schema["x-kubernetes-unions"];
    const go = goTypes[name] ?? {};
    const numbers = protobufNumbers(name, properties, embedded);
    if (Object.keys(embedded).length > 0) head.embedded = embedded;
    const fields: string[] = [];
    for (const field of Object.keys(properties).sort()) {
      if (kinds && (field === "apiVersion" || field === "kind")) continue;
      const property = properties[field]!;
      const inlined = numbers.get(field)?.go;
      fields.push(` ${JSON.stringify(field)}: ${JSON.stringify(fieldFacts(property, inlined ?? go[field] ?? "", numbers.get(field)?.path, required.includes(field), owner, enums[name]?.[field]))}`);
    }
    const text = JSON.stringify(head).slice(1, -1);
    return `{${text}${text === "" ? "" : ", "}"fields": {${fields.length > 0 ? `\n${fields.join(",\n")}` : ""}}}`;
  }

  /** `[type, protobuf number or path, attributes?]` */
  function fieldFacts(property: Property, goText: string, path: string | undefined, isRequired: boolean, owner: string, values: string[] | undefined): unknown[] {
    const words = goText.split(" ").filter((word) => word !== "");
    const always = words.includes("always");
    const goType = words.find((word) => word !== "always" && !word.startsWith("#")) ?? "";
    const number = path ?? words.find((word) => word.startsWith("#"))?.slice(1) ?? 0;
    const reference = referenceOf(property);
    let type = typeOf(property, owner);
    const isStruct = reference !== undefined && !scalarDefinitions[reference.split(".").at(-1)!];
    if (isStruct ? !("default" in property) : goType.startsWith("*")) type = `*${type}`;
    const of = /^\*?(\[\]|map\[string\])?/.exec(goType)![1];
    const named = goType.replace(/^\*?(\[\]|map\[string\])?/, "");
    if (!isStruct && /^(\w+\.)?[A-Z]\w*$/.test(named) && !/(^|\.)(Time|MicroTime|Quantity|IntOrString|RawExtension|FieldsV1|JSON\w*)$/.test(named)) type += `/${of === "[]" ? "[]" : of === undefined ? "" : "map:"}${goNameOf(named, owner)}`;
    const attributes: Record<string, unknown> = {};
    const extension = (name: string, as: string) => {
      if (property[`x-kubernetes-${name}`] !== undefined) attributes[as] = property[`x-kubernetes-${name}`];
    };
    extension("patch-strategy", "patchStrategy");
    extension("patch-merge-key", "patchMergeKey");
    extension("list-type", "listType");
    extension("list-map-keys", "listMapKeys");
    extension("map-type", "mapType");
    if (values) attributes.enum = values;
    const isZero = ['""', "0", "false"].includes(JSON.stringify(property.default));
    if (property.default !== undefined && !isZero && JSON.stringify(property.default) !== "{}") attributes.default = property.default;
    if (isZero && (type.startsWith("*") || !always)) attributes.statesZero = true;
    if (always !== isRequired) attributes.always = always;
    return [type, /^\d+$/.test(String(number)) ? Number(number) : number, ...(Object.keys(attributes).length > 0 ? [attributes] : [])];
  }

  function typeOf(property: Property, owner: string): string {
    const reference = referenceOf(property);
    if (reference !== undefined) {
      const simple = reference.split(".").at(-1)!;
      if (scalarDefinitions[simple]) return scalarDefinitions[simple];
      const home = reference.slice(0, -simple.length - 1);
      return home === owner ? simple : `${keyOf(home)}.${simple}`;
    }
    if (property.items) return `[]${typeOf(property.items, owner)}`;
    if (property.additionalProperties) return `map:${typeOf(property.additionalProperties, owner)}`;
    if (property.type === "string") return property.format === "byte" ? "bytes" : "string";
    if (property.type === "boolean") return "bool";
    if (property.type === "integer") return property.format ?? "int64";
    if (property.type === "number") return "double";
    if (property.type === "object") return "any";
    throw new Error(`no type for ${JSON.stringify(property)}`);
  }

  /** JSON field → "3", or "2.5" when it lies in an inlined message, with what Go says of inlined fields. */
  function protobufNumbers(name: string, properties: Record<string, Property>, embedded: Record<string, string>): Map<string, { path: string; go?: string }> {
    const result = new Map<string, { path: string; go?: string }>();
    const visit = (messageName: string, prefix: string, goName: string) => {
      const message = messages[messageName];
      if (!message) return;
      for (const field of Object.keys(properties)) {
        const xName = field.startsWith("x-kubernetes-") ? field.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()) : field;
        const entry = message[xName] ?? message[protobufNames[field] ?? ""];
        if (entry && !result.has(field)) result.set(field, { path: prefix + entry[0], ...(prefix !== "" && { go: goTypes[goName]?.[field] ?? "" }) });
      }
      for (const [field, [number, type, rule]] of Object.entries(message)) {
        if (!inlinedFields.has(field) || properties[field] || rule === "repeated" || !messages[type]) continue;
        embedded[prefix + number] = type.split(".").at(-1)!;
        visit(type, `${prefix}${number}.`, type.replace(/^k8s\.io\./, "io.k8s.").replaceAll("_", "-"));
      }
    };
    visit(name.replace(/^io\.k8s\./, "k8s.io.").replaceAll("-", "_"), "", name);
    return result;
  }
}

/** "PullPolicy" of version 1 as it is; types of other packages and versions with Go's name of the package. */
function goNameOf(named: string, owner: string): string {
  const [qualifier, name] = named.includes(".") ? (named.split(".") as [string, string]) : [owner.split(".").at(-1)!, named];
  return qualifier === "types" || /^v[2-9]/.test(qualifier) ? `${qualifier}.${name}` : name;
}

function referenceOf(property: Property): string | undefined {
  return (property.$ref ?? property.allOf?.[0]?.$ref)?.replace("#/components/schemas/", "");
}

/** "io.k8s.api.core.v1" → "core.v1" */
function keyOf(owner: string): string {
  return owner.split(".").slice(-2).join(".");
}

const verbOfMethod: Record<string, string> = { get: "get", post: "create", put: "update", patch: "patch", delete: "delete" };

function resourcesOf(document: Document, base: string, group: string, version: string): unknown[] {
  interface Entry {
    resource: string;
    kind: string;
    namespaced: boolean;
    verbs: Set<string>;
    returnsDeleted?: boolean;
    subresources: Map<string, { name: string; kind: string; group?: string; version?: string; verbs: Set<string>; parameters?: Record<string, string> }>;
  }
  const entries = new Map<string, Entry>();
  for (const [path, item] of Object.entries(document.paths)) {
    const relative = path.slice(base.length + 2);
    if (relative === "" || relative.includes("{path}")) continue;
    const isWatch = relative.startsWith("watch/");
    const match = /^(namespaces\/\{namespace\}\/)?([a-z]+)(?:\/\{name\}(?:\/(\w+))?)?$/.exec(relative.replace(/^watch\//, ""));
    if (!match) throw new Error(`unexpected path ${path}`);
    const [, namespaced, resource, subresource] = match;
    for (const [method, operation] of Object.entries(item) as [string, Operation][]) {
      const action = operation["x-kubernetes-action"];
      const kind = operation["x-kubernetes-group-version-kind"];
      if (!action || !kind) continue;
      let entry = entries.get(resource!);
      if (!entry) entries.set(resource!, (entry = { resource: resource!, kind: kind.kind, namespaced: false, verbs: new Set(), subresources: new Map() }));
      if (namespaced) entry.namespaced = true;
      if (subresource === undefined) {
        entry.kind = kind.kind;
        const verb = { post: "create", put: "update", watchlist: "watch" }[action] ?? action;
        if (isWatch === (verb === "watch")) entry.verbs.add(verb);
        if (verb === "delete" && !operation.responses?.["200"]?.content?.["application/json"]?.schema?.$ref?.endsWith(".Status")) entry.returnsDeleted = true;
        continue;
      }
      let sub = entry.subresources.get(subresource);
      if (!sub) {
        sub = { name: subresource, kind: kind.kind, ...((kind.group !== group || kind.version !== version) && { group: kind.group, version: kind.version }), verbs: new Set() };
        entry.subresources.set(subresource, sub);
      }
      if (verbOfMethod[method]) sub.verbs.add(verbOfMethod[method]);
      const parameters = [...(operation.parameters ?? []), ...(item.parameters ?? [])].filter((parameter) => parameter.in === "query" && parameter.name !== "pretty");
      if (action === "connect" || subresource === "log") sub.parameters = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema.type] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
    }
  }
  return [...entries.values()]
    .sort((a, b) => (a.resource < b.resource ? -1 : 1))
    .map(({ subresources, verbs, ...entry }) => ({
      ...entry,
      verbs: [...verbs].sort(),
      ...(subresources.size > 0 && { subresources: [...subresources.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map((sub) => ({ ...sub, verbs: [...sub.verbs].sort() })) }),
    }));
}

/** One line a resource. */
function pretty(entry: unknown): string {
  const { group, versions } = entry as { group: string; versions: { version: string; resources: unknown[] }[] };
  const texts = versions.map(({ version, resources }) => `{"version": ${JSON.stringify(version)}, "resources": [\n${resources.map((resource) => `  ${JSON.stringify(resource)}`).join(",\n")}\n ]}`);
  return `{"group": ${JSON.stringify(group)}, "versions": [${texts.join(", ")}]}`;
}

if (import.meta.main) {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error("usage: node tools/generate-kinds.ts <folder with the OpenAPI documents>");
  const target = join(import.meta.dirname, "../src/api/kinds/tables");
  mkdirSync(target, { recursive: true });
  for (const file of readdirSync(target)) rmSync(join(target, file));
  for (const [file, text] of Object.entries(generateTables(folder))) writeFileSync(join(target, file), text);
}
