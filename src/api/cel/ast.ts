import type { Type } from "./types.ts";
import type { Overload } from "./functions/declare.ts";

export type FoldKind = "all" | "exists" | "exists_one" | "map" | "filter" | "transformList" | "transformMap" | "transformMapEntry";

interface Common {
  /** Where the expression is in the text, as cel-go counts: of operators and calls the operator or the bracket. */
  readonly offset: number;
  /** Levels below, bounded by the parser so that walking it needs no care. */
  readonly depth: number;
  /** Set by the checker. */
  type?: Type;
}

export type Node = Common &
  (
    | { readonly kind: "literal"; readonly value: unknown }
    | { readonly kind: "identifier"; readonly name: string }
    | { readonly kind: "select"; readonly operand: Node; readonly field: string; readonly optional: boolean; readonly test: boolean; /** Set by the checker: a name with dots, of a type or variable. */ qualified?: string }
    | { readonly kind: "call"; readonly name: string; readonly target: Node | undefined; readonly args: readonly Node[]; /** Set by the checker. */ candidates?: readonly Overload[]; /** Set by the checker: of `ip.isCanonical(x)`, which has no target. */ namespaced?: boolean }
    | { readonly kind: "logic"; readonly or: boolean; readonly terms: readonly Node[]; readonly offsets: readonly number[] }
    | { readonly kind: "conditional"; readonly condition: Node; readonly chosen: Node; readonly otherwise: Node }
    | { readonly kind: "list"; readonly elements: readonly { value: Node; optional: boolean }[] }
    | { readonly kind: "map"; readonly entries: readonly { key: Node; value: Node; optional: boolean; offset: number }[] }
    | { readonly kind: "struct"; readonly name: string; readonly fields: readonly { name: string; value: Node; optional: boolean; offset: number }[] }
    | { readonly kind: "fold"; readonly fold: FoldKind; readonly range: Node; readonly variable: string; readonly variable2: string | undefined; readonly filter: Node | undefined; readonly body: Node }
    | { readonly kind: "bind"; readonly variable: string; readonly value: Node; readonly body: Node; /** The value is an optional, and so is the result. */ readonly optional: "map" | "flat" }
  );

export type NodeOf<K extends Node["kind"]> = Extract<Node, { kind: K }>;
/** A union's members each lose the key. */
export type Draft = Node extends infer N ? (N extends Node ? Omit<N, "depth"> : never) : never;
