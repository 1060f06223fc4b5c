/**
 * One node of a schema: what the walker, the patches, the OpenAPI documents and the protobuf reader know of a
 * field. Built-in kinds have them from compact tables (`api/kinds/tables`), custom resources from their CRD.
 * Nodes are lazy: a `$ref` of the table is resolved when it is first walked.
 */
export interface Schema {
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  /**
   * OpenAPI's formats, and our names of the scalar types with a wire form of their own:
   * "quantity", "int-or-string", "date-time", "micro-time", "raw" (RawExtension: a JSON object), "fields-v1",
   * "json" (any JSON), and "schema-or-array", "schema-or-bool", "schema-or-strings" of JSONSchemaProps.
   */
  readonly format?: string;
  /** The definition this node came from, such as "io.k8s.api.core.v1.PodSpec". */
  readonly name?: string;
  /** The definition itself, when this node is a field that refers to it and says more, such as a patch strategy. */
  readonly base?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  /** OpenAPI states zero as the default, although Go does not write it: nothing is set. */
  readonly statesZero?: boolean;
  readonly nullable?: boolean;
  /** Strategic merge patch: "merge", "replace", "retainKeys", or two of them joined by a comma. */
  readonly patchStrategy?: string;
  readonly patchMergeKey?: string;
  /** Server-side apply. */
  readonly listType?: "atomic" | "set" | "map";
  readonly listMapKeys?: readonly string[];
  readonly mapType?: "atomic" | "granular";
  /** Which field says which of the others is set: passed on as published, acted on by nobody. */
  readonly unions?: readonly object[];
  /** The Go type that decoding errors print, where it does not follow from the rest: "v1.PullPolicy". */
  readonly goType?: string;
  /** Quantities below keep what is less than a thousandth: upstream rounds those of the core group alone. */
  readonly isExact?: boolean;
  /** Go writes the field only when it is not zero (`omitempty` on a non-pointer): a zero value is dropped. */
  readonly omitZero?: boolean;
  /** Of a built-in definition: protobuf field numbers by JSON name; see {@link ProtobufField}. */
  readonly protobuf?: Readonly<Record<string, ProtobufField>>;
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

export interface ProtobufField {
  /** `[3]`; `[2, 5]` when the field is number 5 of an inlined message that is number 2. */
  readonly path: readonly number[];
  /** Of messages: an empty one means `{}` when Go has a pointer there, and nothing when it has not. */
  readonly pointer: boolean;
  /** Of a pointer: Go has no `omitempty` there, and writes the null. */
  readonly always?: boolean;
  /** The Go names of the structs that are embedded on the way ("RuleWithOperations.Rule"): decoding errors print them. */
  readonly embedded?: string;
}
