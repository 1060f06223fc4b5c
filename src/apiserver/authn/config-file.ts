import { readFileSync } from "node:fs";
import { parseYaml } from "../../api/yaml.ts";
import { WherryError } from "../../base/errors.ts";

/** What a configuration file may hold: a type, a list of one shape, or fields. A field that is not named is refused, not skipped. */
export type Shape = "string" | "boolean" | "integer" | readonly [Shape] | { readonly [field: string]: Shape };

/**
 * One object of a configuration file that was named on the command line. Throws WherryError ACCESS_CONFIG_INVALID, with
 * the file and the field.
 */
export function readConfig<T>(file: string, group: string, kind: string, versions: readonly string[], shape: { readonly [field: string]: Shape }): T {
  let documents: unknown[];
  try {
    documents = parseYaml(readFileSync(file, "utf8"));
  } catch (error) {
    throw new WherryError("ACCESS_CONFIG_INVALID", `${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const errors: string[] = [];
  if (documents.length !== 1) errors.push(`it must hold one ${kind}, not ${documents.length} documents`);
  const [object] = documents as { apiVersion?: string; kind?: string }[];
  if (object && (object.kind !== kind || !versions.some((version) => object.apiVersion === `${group}/${version}`))) errors.push(`it must be of apiVersion ${group}/${versions[0]} and kind ${kind}, not ${String(object.apiVersion)} and ${String(object.kind)}`);
  if (errors.length === 0) check(object, { apiVersion: "string", kind: "string", metadata: { name: "string", creationTimestamp: "string" }, ...shape }, "", errors);
  refuse(file, errors);
  return object as T;
}

/** Throws when there is anything to complain about. */
export function refuse(file: string, errors: readonly string[]): void {
  if (errors.length > 0) throw new WherryError("ACCESS_CONFIG_INVALID", `${file} is not a configuration that can be followed:\n  ${errors.join("\n  ")}`);
}

function check(value: unknown, shape: Shape, path: string, errors: string[]): void {
  if (value === null || value === undefined) return;
  const named = path === "" ? "the document" : path;
  if (typeof shape === "string") {
    const fits = shape === "integer" ? Number.isInteger(value) : typeof value === shape;
    if (!fits) errors.push(`${named}: must be a ${shape}`);
  } else if (Array.isArray(shape)) {
    if (!Array.isArray(value)) errors.push(`${named}: must be a list`);
    else value.forEach((item, index) => check(item, (shape as readonly [Shape])[0], `${path}[${index}]`, errors));
  } else if (typeof value !== "object" || Array.isArray(value)) errors.push(`${named}: must be an object`);
  else {
    for (const [field, item] of Object.entries(value)) {
      const at = path === "" ? field : `${path}.${field}`;
      const known = (shape as Record<string, Shape>)[field];
      if (known === undefined) errors.push(`${at}: unknown field`);
      else check(item, known, at, errors);
    }
  }
}
