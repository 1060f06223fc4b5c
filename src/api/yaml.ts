import { boolYaml11Tag, CORE_SCHEMA, defineScalarTag, floatCoreTag, intYaml11Tag, loadAll, mergeTag, NOT_RESOLVED } from "js-yaml";

// kubectl reads YAML 1.1 by go-yaml: `no` is false, 0777 is octal, merges work; but sixty-based numbers
// (12:30:45) and dates stay strings, and 1e3 is a number.
const intTag = defineScalarTag(intYaml11Tag.tagName, {
  ...intYaml11Tag,
  resolve: (source, isExplicit, tagName) => (source.includes(":") ? NOT_RESOLVED : intYaml11Tag.resolve(source, isExplicit, tagName)),
});
const schema = CORE_SCHEMA.withTags(boolYaml11Tag, intTag, floatCoreTag, mergeTag);

/**
 * All documents of a YAML (or JSON) text as kubectl understands it; empty documents are left out.
 * Duplicate keys and syntax errors throw an Error with line and column; with `lastOfDuplicates` the last of them counts.
 */
export function parseYaml(text: string, { lastOfDuplicates = false }: { lastOfDuplicates?: boolean } = {}): unknown[] {
  return loadAll(text, { schema, json: lastOfDuplicates }).filter((document) => document !== null && document !== undefined);
}

/** One document by YAML 1.2's core schema, as OpenAPI recommends it: `no` and `on` are texts. Throws as {@link parseYaml} does. */
export function parseCoreYaml(text: string): unknown {
  return loadAll(text, { schema: CORE_SCHEMA })[0];
}
