/** How a schema is to be read: several generations of JSON Schema, and OpenAPI's dialects of them. */
export type Dialect = "2020-12" | "draft-07" | "draft-04" | "openapi-3.0";

export interface Rules {
  /** `exclusiveMinimum: true` beside `minimum`. */
  booleanBounds: boolean;
  /** `items: [a, b]` with `additionalItems`, instead of `prefixItems` with `items`. */
  listItems: boolean;
  /** What stands beside `$ref` says nothing. */
  loneRef: boolean;
  /** `nullable: true`. */
  nullable: boolean;
  /** What a reader may say of its own (`readOnly`): such members are not required in a request. */
  readOnly: boolean;
  /** `format`: all are checked, and unknown ones refused; those that are known are checked; none is, as JSON Schema has it unless one asks. */
  formats: "all" | "known" | "ignored";
}
const plain: Rules = { booleanBounds: false, listItems: false, loneRef: false, nullable: false, readOnly: false, formats: "all" };
export const dialects: Record<Dialect, Rules> = {
  "2020-12": { ...plain, readOnly: true },
  "draft-07": { ...plain, listItems: true, loneRef: true },
  "draft-04": { ...plain, booleanBounds: true, listItems: true, loneRef: true },
  "openapi-3.0": { ...plain, booleanBounds: true, loneRef: true, nullable: true, readOnly: true },
};

const bySchema: Record<string, Dialect> = {
  "https://json-schema.org/draft/2020-12/schema": "2020-12",
  "https://spec.openapis.org/oas/3.1/dialect/base": "2020-12",
  "http://json-schema.org/draft-07/schema": "draft-07",
  "http://json-schema.org/draft-06/schema": "draft-07",
  "http://json-schema.org/draft-04/schema": "draft-04",
};
/** What `$schema` names; undefined: nothing that is known. */
export function dialectOf(name: string): Dialect | undefined {
  const bare = name.replace(/#$/, "");
  return Object.hasOwn(bySchema, bare) ? bySchema[bare] : undefined;
}

/** Keywords that say nothing about which documents are right. */
export const annotations: ReadonlySet<string> = new Set(["title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "$defs", "definitions", "$anchor", "contentEncoding", "contentMediaType", "contentSchema", "xml", "externalDocs", "discriminator"]);
