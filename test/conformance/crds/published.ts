import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import type { JSONSchemaProps } from "../../../src/api/crd/json-schema.ts";
import type { KubeObject } from "../../../src/api/meta.ts";
import { parseYaml } from "../../../src/api/yaml.ts";
import { folderOf } from "./fetch.ts";
import type { Project } from "./projects.ts";

export interface Definition extends KubeObject {
  spec: { group: string; scope: string; names: { plural: string; kind: string }; versions: { name: string; served: boolean; storage: boolean; schema?: { openAPIV3Schema?: JSONSchemaProps } }[] };
}
export interface Sample {
  /** Where it was found: "path#2". */
  readonly place: string;
  readonly object: KubeObject;
  /** What the project expects a refusal to say. */
  readonly refusal?: string;
}
export interface Published {
  readonly definitions: Definition[];
  readonly samples: Sample[];
  /** Objects that must be refused. */
  readonly invalid: Sample[];
}

/** What was fetched of a project; undefined when it was not. */
export function publishedBy({ sources }: Project): Published | undefined {
  const found: Published = { definitions: [], samples: [], invalid: [] };
  for (const source of sources) {
    const root = folderOf(source);
    const documents = (paths: readonly string[] = []) => paths.flatMap((path) => filesBelow(join(root, path))).flatMap((file) => documentsOf(file, relative(root, file)));
    try {
      found.definitions.push(...documents(source.definitions).flatMap(({ object }) => (object.kind === "CustomResourceDefinition" ? [object as Definition] : [])));
      const samples = documents(source.samples);
      found.samples.push(...samples.filter(({ refusal }) => refusal === undefined));
      found.invalid.push(...documents(source.invalid), ...samples.filter(({ refusal }) => refusal !== undefined));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
  return found;
}

function filesBelow(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, encoding: "utf8" }).filter((file) => /\.ya?ml$/.test(file)).sort().map((file) => join(path, file));
}

/** Objects only: among samples lie charts, patches and templates that are no YAML before somebody fills them in. */
function documentsOf(file: string, place: string): Sample[] {
  let documents: unknown[];
  try {
    documents = parseYaml(readFileSync(file, "utf8"), { lastOfDuplicates: true });
  } catch {
    return [];
  }
  return documents.flatMap((document, index): Sample[] => {
    // Istio's tests say in the object itself what is wrong with it.
    const { _err: refusal, ...object } = (typeof document === "object" ? document : {}) as KubeObject & { _err?: string };
    if (typeof object.apiVersion !== "string" || typeof object.kind !== "string" || typeof object.metadata !== "object") return [];
    return [{ place: `${place}#${index}`, object: object as KubeObject, ...(refusal !== undefined && { refusal }) }];
  });
}

/** The first value, going down, whose type the schema states: where it is, and the object with something else there. */
export function spoil(schema: JSONSchemaProps, object: KubeObject): { path: string; object: KubeObject } | undefined {
  const copy = structuredClone(object);
  const path = spoilIn(schema.properties?.["spec"] ?? {}, copy as unknown as Record<string, unknown>, "spec", "spec");
  return path === undefined ? undefined : { path, object: copy };
}

function spoilIn(schema: JSONSchemaProps, parent: Record<string, unknown>, key: string, path: string): string | undefined {
  const value = parent[key];
  if (value === undefined || value === null) return undefined;
  if (schema.type === "object" && typeof value === "object") {
    for (const name of Object.keys(value)) {
      const below = schema.properties?.[name];
      const additional = schema.additionalProperties;
      const found = below ? spoilIn(below, value as Record<string, unknown>, name, `${path}.${name}`) : typeof additional === "object" ? spoilIn(additional, value as Record<string, unknown>, name, `${path}.${name}`) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (schema.type === "array" && Array.isArray(value)) {
    for (const index of value.keys()) {
      const found = spoilIn(schema.items as JSONSchemaProps, value as unknown as Record<string, unknown>, String(index), `${path}[${index}]`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (!["string", "integer", "number", "boolean"].includes(schema.type ?? "")) return undefined;
  parent[key] = { spoilt: true };
  return path;
}
