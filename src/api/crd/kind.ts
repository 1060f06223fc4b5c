import type { CustomKind, Kind, Subresource, Verb } from "../kind.ts";
import { apiVersionOf, type KubeObject } from "../meta.ts";
import { customColumns } from "./columns.ts";
import { Conversions, type ConvertObjects } from "./conversion.ts";
import type { CustomResourceDefinition, DefinitionVersion } from "./definition.ts";
import { parseJsonPath } from "./json-path.ts";
import type { JSONSchemaProps } from "./json-schema.ts";
import { CustomSchema, withoutDescriptions } from "./schema.ts";
import { shapeObject } from "./shape-object.ts";
import { validateObject, validateStatus } from "./validate-object.ts";

/** What a kind needs of its definition later, and does not hold: the schema is read when it is first walked. */
export interface SchemaSource {
  /** The schema of a version, with its prose. */
  (version: string): JSONSchemaProps;
}

const allVerbs: readonly Verb[] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/** While a definition goes, its objects can still be seen and deleted. */
const terminatingVerbs: readonly Verb[] = ["delete", "deletecollection", "get", "list", "watch"];

/** The kinds that a definition serves, the version that objects are stored in first. */
export function kindsOf(definition: CustomResourceDefinition, source: SchemaSource, convert?: ConvertObjects): Kind[] {
  const { versions } = definition.spec;
  const storage = versions.find((version) => version.storage)!;
  const conversions = convert && new Conversions(convert);
  const schemas = schemasOf(source);
  return [...versions].sort((a, b) => Number(b.storage) - Number(a.storage)).filter((version) => version.served).map((version) => kindOf(definition, version, storage, source, schemas, conversions));
}

/** The kind as it is stored, served or not. */
export function storageKindOf(definition: CustomResourceDefinition, source: SchemaSource): Kind {
  const storage = definition.spec.versions.find((version) => version.storage)!;
  return kindOf(definition, storage, storage, source, schemasOf(source));
}

/** Each version's schema is made once, whoever asks: its own kind, or one whose objects are stored in it. */
function schemasOf(source: SchemaSource): (version: string) => CustomSchema {
  const made = new Map<string, CustomSchema>();
  return (version) => {
    let schema = made.get(version);
    if (!schema) made.set(version, (schema = new CustomSchema(withoutDescriptions(source(version)))));
    return schema;
  };
}

/** Older before newer: "v1alpha1", "v1beta2", "v1", "v2"; what is no such version before them all. */
const ageOfVersion = (name: string): readonly number[] => {
  const [, major, level, minor] = /^v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?$/.exec(name) ?? [];
  return major === undefined ? [-1] : [level === undefined ? 2 : level === "beta" ? 1 : 0, Number(major), Number(minor ?? 0)];
};
function compareVersions(a: string, b: string): number {
  const [left, right] = [ageOfVersion(a), ageOfVersion(b)];
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return left[index]! - (right[index] ?? 0);
  return left[0] === -1 ? (a < b ? 1 : -1) : 0;
}

function deprecationOf({ group, names, versions }: CustomResourceDefinition["spec"], name: string): string {
  const newest = versions.filter(({ served, deprecated, name: other }) => served && !deprecated && compareVersions(other, name) > 0).toSorted((a, b) => compareVersions(b.name, a.name))[0];
  return `${group}/${name} ${names.kind} is deprecated${newest ? `; use ${group}/${newest.name} ${names.kind}` : ""}`;
}

function kindOf({ metadata, spec, status }: CustomResourceDefinition, version: DefinitionVersion, storage: DefinitionVersion, source: SchemaSource, schemas: (version: string) => CustomSchema, conversions?: Conversions): Kind {
  const { group, scope } = spec;
  const names = { ...spec.names, ...(status?.acceptedNames?.plural ? status.acceptedNames : {}) };
  const terminating = metadata.deletionTimestamp !== undefined;
  const schema = () => schemas(version.name);
  const { status: statusSubresource, scale } = version.subresources ?? {};
  const apiVersion = apiVersionOf(group, version.name);
  const storedVersion = apiVersionOf(group, storage.name);
  const shapedAs = (schema: CustomSchema, object: KubeObject, partial = false) => shapeObject(schema, object, { lenient: true, partial }).value as KubeObject;
  /** What is read gets the defaults of the version that it is stored in; of the one that is asked for, only what it knows. */
  const shown = (object: KubeObject): KubeObject => {
    const stored = shapedAs(schemas(storage.name), named(object, storedVersion));
    return apiVersion === storedVersion ? stored : shapedAs(schema(), named(stored, apiVersion), true);
  };

  const custom: CustomKind = {
    terminating,
    storageVersion: storage.name,
    identity: `${metadata.uid} ${metadata.generation} ${terminating}`,
    selectable: (version.selectableFields ?? []).map(({ jsonPath }) => jsonPath.replace(/^\./, "")),
    document: () => source(version.name),
    walk: (object, { partial = false, declared = false }) => shapeObject(schema(), object, { partial, keepsNulls: declared }),
    ...(conversions && { conversions }),
    fromStored: (stored) => (conversions ? shapedAs(schema(), stored.apiVersion === apiVersion ? stored : conversions.get(stored, apiVersion)) : shown(stored)),
    toStored(object) {
      if (!conversions || object.apiVersion === storedVersion) return named(object, storedVersion);
      return conversions.get(object, storedVersion);
    },
    renamed: (object) => shapedAs(schema(), named(object, apiVersion)),
    ...(conversions && apiVersion !== storedVersion && { beforeStore: (object: KubeObject) => conversions.settle([object], storedVersion) }),
  };

  return {
    group,
    version: version.name,
    kind: names.kind,
    ...(names.listKind && { listKind: names.listKind }),
    resource: names.plural,
    singular: names.singular || names.kind.toLowerCase(),
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    scope,
    verbs: terminating ? terminatingVerbs : allVerbs,
    subresources: subresourcesOf(names.kind, statusSubresource !== undefined, scale !== undefined),
    hasStatus: statusSubresource !== undefined,
    columns: customColumns(version.additionalPrinterColumns),
    custom,
    get schema() {
      return schema();
    },
    validate: (object, old, ofMetadata) => (old ? [] : validateObject(schema(), scale, object, undefined, ofMetadata)),
    validateUpdate: (object, old, ofMetadata) => validateObject(schema(), scale, object, old, ofMetadata),
    validateStatusUpdate: (object, old, ofMetadata) => validateStatus(schema(), scale, object, old, ofMetadata),
    warnings: (object, old) => finalizerWarnings(object, old),
    ...(version.deprecated && { deprecation: version.deprecationWarning ?? deprecationOf(spec, version.name) }),
    ...(version.selectableFields && version.selectableFields.length > 0 && { selectableFields: selectableOf(version.selectableFields) }),
    ...(scale && {
      scale: {
        specReplicasPath: scale.specReplicasPath,
        statusReplicasPath: scale.statusReplicasPath,
        labelSelector: (object: KubeObject) => {
          const found = scale.labelSelectorPath ? parseJsonPath(scale.labelSelectorPath)(object)[0] : "";
          return typeof found === "string" ? found : "";
        },
      },
    }),
  };
}

/** The same object under the name of another version: all that differs where nothing converts. */
const named = (object: KubeObject, apiVersion: string): KubeObject => (object.apiVersion === apiVersion ? object : { ...object, apiVersion });

const standardFinalizers = new Set(["orphan", "foregroundDeletion", "kubernetes"]);

/** Source: k8s.io/apiextensions-apiserver/pkg/registry/customresource/validator.go. */
function finalizerWarnings(object: KubeObject, old: KubeObject | undefined): string[] {
  const added = (object.metadata.finalizers ?? []).filter((name) => !old?.metadata.finalizers?.includes(name) && !name.includes("/") && !standardFinalizers.has(name));
  return added.sort().map((name) => `metadata.finalizers: ${JSON.stringify(name)}: prefer a domain-qualified finalizer name ${name.includes(".") ? "including a path (/) " : ""}to avoid accidental conflicts with other finalizer writers`);
}

const objectVerbs: readonly Verb[] = ["get", "patch", "update"];

function subresourcesOf(kind: string, status: boolean, scale: boolean): Subresource[] {
  return [...(status ? [{ name: "status", kind, verbs: objectVerbs }] : []), ...(scale ? [{ name: "scale", kind: "Scale", group: "autoscaling", version: "v1", verbs: objectVerbs }] : [])];
}

/** Field selectors: absent values are the empty text. */
function selectableOf(fields: readonly { jsonPath: string }[]): (object: KubeObject) => Record<string, string> {
  const paths = fields.map(({ jsonPath }) => [jsonPath.replace(/^\./, ""), parseJsonPath(jsonPath)] as const);
  return (object) => Object.fromEntries(paths.map(([name, path]) => [name, String(path(object)[0] ?? "")]));
}
