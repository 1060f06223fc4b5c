/**
 * The types of CEL and when one may stand where another is expected.
 * Source: cel-go's common/types and checker/types.go.
 */
export type TypeKind = "bool" | "int" | "uint" | "double" | "string" | "bytes" | "null" | "timestamp" | "duration" | "dyn" | "error" | "list" | "map" | "optional" | "type" | "object" | "opaque" | "param";

export interface Type {
  readonly kind: TypeKind;
  /** Of lists, maps, optionals: element; key and value; value. */
  readonly params?: readonly Type[];
  /** Of objects, opaque types and parameters. */
  readonly name?: string;
  /** Of objects: what is known of a field, by its escaped name. Lazy: schemas refer to themselves. */
  readonly field?: (name: string) => Type | undefined;
  /** Of what a schema describes: the most elements, characters or entries that fit into a request. */
  readonly maxElements?: number;
  /** Of what a schema describes: the least bytes that a value takes in JSON. */
  readonly minSize?: number;
}

const simple = (kind: TypeKind): Type => ({ kind });
export const types = {
  bool: simple("bool"),
  int: simple("int"),
  uint: simple("uint"),
  double: simple("double"),
  string: simple("string"),
  bytes: simple("bytes"),
  null: simple("null"),
  timestamp: simple("timestamp"),
  duration: simple("duration"),
  dyn: simple("dyn"),
  error: simple("error"),
};
export const listOf = (element: Type): Type => ({ kind: "list", params: [element] });
export const mapOf = (key: Type, value: Type): Type => ({ kind: "map", params: [key, value] });
export const optionalOf = (value: Type): Type => ({ kind: "optional", params: [value] });
export const typeOf = (type: Type): Type => ({ kind: "type", params: [type] });
export const opaque = (name: string): Type => ({ kind: "opaque", name });
export const param = (name: string): Type => ({ kind: "param", name });

const names: Partial<Record<TypeKind, string>> = { null: "null_type", timestamp: "google.protobuf.Timestamp", duration: "google.protobuf.Duration", optional: "optional_type", error: "!error!" };
const shown: Partial<Record<TypeKind, string>> = { ...names, null: "null", timestamp: "timestamp", duration: "duration" };

/** "list(string)": as messages print it. */
export function formatType(type: Type): string {
  if (type.kind === "object" || type.kind === "opaque" || type.kind === "param") return type.name ?? type.kind;
  const base = shown[type.kind] ?? type.kind;
  return type.params ? `${base}(${type.params.map(formatType).join(", ")})` : base;
}

/** The name that `type(x)` has. */
export const typeName = (type: Type): string => (type.kind === "object" || type.kind === "opaque" ? type.name! : (names[type.kind] ?? type.kind));

const nullable = new Set<TypeKind>(["null", "timestamp", "duration", "object", "opaque", "optional"]);
const wild = (type: Type): boolean => type.kind === "dyn" || type.kind === "error";

/** What the type parameters of one check stand for. */
export class Substitution {
  #bound = new Map<string, Type>();
  #count = 0;

  fresh(): Type {
    return param(`_var${this.#count++}`);
  }

  find(type: Type): Type | undefined {
    return this.#bound.get(type.name!);
  }

  /** Each parameter of an overload anew, so that two calls do not bind each other. */
  instantiate(type: Type, renamed: Map<string, Type>): Type {
    if (type.kind === "param") {
      let replacement = renamed.get(type.name!);
      if (!replacement) renamed.set(type.name!, (replacement = this.fresh()));
      return replacement;
    }
    if (!type.params) return type;
    return { ...type, params: type.params.map((inner) => this.instantiate(inner, renamed)) };
  }

  /** Parameters that are bound replaced; others too, by dyn, when `free` says so. */
  resolve(type: Type, free = false): Type {
    if (type.kind === "param") {
      const bound = this.#bound.get(type.name!);
      return bound ? this.resolve(bound, free) : free ? types.dyn : type;
    }
    if (!type.params) return type;
    const params = type.params.map((inner) => this.resolve(inner, free));
    return params.every((inner, index) => inner === type.params![index]) ? type : { ...type, params };
  }

  /** All or none: what a failed attempt bound is forgotten. */
  assignableAll(pairs: readonly (readonly [Type, Type])[]): boolean {
    const before = new Map(this.#bound);
    for (const [to, from] of pairs) {
      if (this.#assignable(to, from)) continue;
      this.#bound = before;
      return false;
    }
    return true;
  }
  assignable(to: Type, from: Type): boolean {
    return this.assignableAll([[to, from]]);
  }

  #assignable(a: Type, b: Type): boolean {
    if (b.kind === "param") {
      const [valid, known] = this.#substitute(a, b);
      if (valid) return true;
      if (known) return false;
    }
    if (a.kind === "param") return this.#substitute(b, a)[0];
    if (wild(a) || wild(b)) return true;
    if (a.kind === "null") return nullable.has(b.kind);
    if (b.kind === "null") return nullable.has(a.kind);
    if (a.kind !== b.kind) return false;
    if (a.kind === "type") return true;
    if (a.kind === "object" || a.kind === "opaque") return a.name === b.name;
    return (a.params ?? []).every((inner, index) => this.#assignable(inner, b.params![index]!));
  }

  #substitute(type: Type, parameter: Type): [valid: boolean, known: boolean] {
    if (type.kind === "param" && type.name === parameter.name) return [true, true];
    const bound = this.#bound.get(parameter.name!);
    if (bound) {
      if (bound.kind === "param" && type.kind === "param" && bound.name === type.name) return [true, true];
      if (!this.#assignable(type, bound)) return [false, true];
      const general = this.#general(type, bound);
      if (!this.#refers(general, parameter.name!)) this.#bound.set(parameter.name!, general);
      return [true, true];
    }
    if (this.#refers(type, parameter.name!)) return [false, false];
    this.#bound.set(parameter.name!, type);
    return [true, false];
  }

  #refers(type: Type, name: string): boolean {
    if (type.kind !== "param") return (type.params ?? []).some((inner) => this.#refers(inner, name));
    if (type.name === name) return true;
    const bound = this.#bound.get(type.name!);
    return bound !== undefined && this.#refers(bound, name);
  }

  #general(a: Type, b: Type): Type {
    return this.#equalOrLessSpecific(a, b) ? a : b;
  }
  #equalOrLessSpecific(a: Type, b: Type): boolean {
    if (wild(a) || a.kind === "param") return true;
    if (wild(b) || b.kind === "param") return false;
    if (a.kind === "null") return false;
    if (b.kind === "null") return nullable.has(a.kind);
    return a.kind === b.kind && (a.params ?? []).every((inner, index) => this.#equalOrLessSpecific(inner, b.params![index]!));
  }

  /** One type for both branches, else dyn. */
  join(a: Type, b: Type): Type {
    return this.assignable(a, b) ? this.#general(this.resolve(a), this.resolve(b)) : types.dyn;
  }
}
