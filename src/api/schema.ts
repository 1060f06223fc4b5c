/**
 * One node of a schema: what the walker, the patches, the OpenAPI documents and the protobuf reader know of a
 * field. Built-in kinds have them from compact tables (`api/kinds/tables`), custom resources from their CRD.
 * Nodes are lazy: a `$ref` of the table is resolved when it is first walked.
 */
export interface Schema {
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  /**
   * OpenAPI's formats, and our names of the scalar types with a wire form of their own:
   * "quantity", "int-or-string", "date-time", "micro-time", "raw" (RawExtension: any JSON), "fields-v1".
   */
  readonly format?: string;
  /** The definition this node came from, such as "io.k8s.api.core.v1.PodSpec". */
  readonly name?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly nullable?: boolean;
  /** Strategic merge patch: "merge", "replace", "retainKeys", or two of them joined by a comma. */
  readonly patchStrategy?: string;
  readonly patchMergeKey?: string;
  /** Server-side apply. */
  readonly listType?: "atomic" | "set" | "map";
  readonly listMapKeys?: readonly string[];
  readonly mapType?: "atomic" | "granular";
  readonly preserveUnknownFields?: boolean;
  readonly embeddedResource?: boolean;
  /** Constraints that only CRDs state. */
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
}
