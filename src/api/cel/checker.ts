import type { Node, NodeOf } from "./ast.ts";
import { CelEvaluationError } from "./errors.ts";
import type { Overload } from "./functions/declare.ts";
import { functions } from "./functions/index.ts";
import { matcherOf } from "./functions/patterns.ts";
import type { Source } from "./source.ts";
import { parseDuration, parseTimestamp } from "./time.ts";
import { formatType, listOf, mapOf, opaque, optionalOf, Substitution, type Type, typeOf, types } from "./types.ts";
import { typeNameOf } from "./values.ts";

/** Names that are types: `type(x) == int`. */
const typeNames: Record<string, Type> = {
  bool: types.bool,
  int: types.int,
  uint: types.uint,
  double: types.double,
  string: types.string,
  bytes: types.bytes,
  list: listOf(types.dyn),
  map: mapOf(types.dyn, types.dyn),
  null_type: types.null,
  type: typeOf(types.dyn),
  optional_type: optionalOf(types.dyn),
  "google.protobuf.Timestamp": types.timestamp,
  "google.protobuf.Duration": types.duration,
  ...Object.fromEntries(["net.IP", "net.CIDR"].map((name) => [name, opaque(name)])),
};

export interface CheckOptions {
  readonly variables: ReadonlyMap<string, Type>;
  /** What `Name{…}` may make: fields of any name when they have no types. */
  readonly structs?: (name: string) => Type | undefined;
}

/** Finds the type of every node, and what each call may mean; says to `source` what is wrong. */
export class Checker {
  readonly #source: Source;
  readonly #options: CheckOptions;
  readonly #substitution = new Substitution();
  readonly #scopes: Map<string, Type>[] = [];
  /** Elements that must be of one type, once all types are known. */
  readonly #alike: { before: Type; type: Type; offset: number }[] = [];
  /** Above zero inside what may hold values of any types. */
  #mixing = 0;
  /** The variables that are named. */
  readonly used = new Set<string>();

  constructor(source: Source, options: CheckOptions) {
    this.#source = source;
    this.#options = options;
  }

  check(root: Node): Type {
    this.#visit(root);
    for (const { before, type, offset } of this.#alike) {
      if (this.#format(before) !== this.#format(type) && before.kind !== "error" && type.kind !== "error") this.#error(offset, `expected type '${this.#format(before)}' but found '${this.#format(type)}'`);
    }
    this.#settle(root);
    return root.type!;
  }

  #visit(node: Node): Type {
    return (node.type = this.#typeOf(node));
  }
  #error(offset: number, message: string): Type {
    this.#source.report(offset, message);
    return types.error;
  }

  #lookup(name: string): Type | undefined {
    for (let level = this.#scopes.length - 1; level >= 0; level--) {
      const found = this.#scopes[level]!.get(name);
      if (found) return found;
    }
    const variable = this.#options.variables.get(name);
    if (variable) this.used.add(name);
    return variable;
  }

  #typeOf(node: Node): Type {
    switch (node.kind) {
      case "literal":
        return node.value === null ? types.null : (typeNames[typeNameOf(node.value)] ?? types.dyn);
      case "identifier": {
        const type = this.#lookup(node.name) ?? (Object.hasOwn(typeNames, node.name) ? typeOf(typeNames[node.name]!) : undefined);
        return type ?? this.#error(node.offset, `undeclared reference to '${node.name}' (in container '')`);
      }
      case "select":
        return this.#select(node);
      case "call":
        return this.#call(node);
      case "logic": {
        const terms = node.terms.map((term) => this.#visit(term));
        terms.forEach((type, index) => this.#boolean(node.terms[index]!, type));
        return types.bool;
      }
      case "conditional": {
        const parts = [node.condition, node.chosen, node.otherwise].map((part) => this.#visit(part)) as [Type, Type, Type];
        const result = this.#substitution.fresh();
        if (this.#substitution.assignableAll([[types.bool, parts[0]], [result, parts[1]], [result, parts[2]]])) return result;
        return this.#error(node.offset, `found no matching overload for '_?_:_' applied to '(${parts.map((part) => this.#format(part)).join(", ")})'`);
      }
      case "list": {
        let element: Type | undefined;
        for (const { value, optional } of node.elements) element = this.#together(element, this.#unwrapped(value, optional), value);
        return listOf(element ?? this.#substitution.fresh());
      }
      case "map": {
        let keys: Type | undefined;
        let values: Type | undefined;
        for (const { key, value, optional } of node.entries) {
          keys = this.#together(keys, this.#visit(key), key);
          values = this.#together(values, this.#unwrapped(value, optional), value);
        }
        return mapOf(keys ?? this.#substitution.fresh(), values ?? this.#substitution.fresh());
      }
      case "struct":
        return this.#struct(node);
      case "fold":
        return this.#fold(node);
      case "bind": {
        const value = this.#visit(node.value);
        const inner = this.#substitution.fresh();
        if (!this.#substitution.assignable(optionalOf(inner), value)) return this.#error(node.offset, `found no matching overload for 'hasValue' applied to '${this.#format(value)}.()'`);
        const body = this.#scoped([[node.variable, inner]], () => this.#visit(node.body));
        if (node.optional === "map") return optionalOf(body);
        const result = optionalOf(this.#substitution.fresh());
        return this.#substitution.assignable(result, body) ? result : this.#error(node.offset, `found no matching overload for '_?_:_' applied to '(bool, ${this.#format(body)}, optional_type(dyn))'`);
      }
    }
  }

  #scoped<T>(names: readonly (readonly [string, Type])[], action: () => T): T {
    this.#scopes.push(new Map(names));
    const result = action();
    this.#scopes.pop();
    return result;
  }

  #format(type: Type): string {
    return formatType(this.#substitution.resolve(type, true));
  }

  /** `[?x]` and `{?key: x}` hold what the optional holds. */
  #unwrapped(value: Node, optional: boolean): Type {
    const type = this.#visit(value);
    if (!optional) return type;
    const inner = this.#substitution.fresh();
    return this.#substitution.assignable(optionalOf(inner), type) ? inner : this.#error(value.offset, `expected type 'optional_type(${this.#format(type)})' but found '${this.#format(type)}'`);
  }

  /** Literals hold one type; dyn() says that more is meant. */
  #together(before: Type | undefined, type: Type, at: Node): Type {
    if (!before) return type;
    if (this.#mixing === 0) this.#alike.push({ before, type, offset: at.offset });
    return this.#substitution.join(before, type);
  }

  #mixed(node: Node): Type {
    this.#mixing++;
    const type = this.#visit(node);
    this.#mixing--;
    return type;
  }

  #qualified(node: Node): string | undefined {
    if (node.kind === "identifier") return this.#scopes.some((scope) => scope.has(node.name)) ? undefined : node.name;
    if (node.kind !== "select" || node.test || node.optional) return undefined;
    const operand = this.#qualified(node.operand);
    return operand === undefined ? undefined : `${operand}.${node.field}`;
  }

  #select(node: NodeOf<"select">): Type {
    const qualified = node.test ? undefined : this.#qualified(node);
    if (qualified !== undefined && Object.hasOwn(typeNames, qualified)) {
      node.qualified = qualified;
      return typeOf(typeNames[qualified]!);
    }
    const variable = qualified === undefined ? undefined : this.#options.variables.get(qualified);
    if (variable) {
      node.qualified = qualified!;
      this.used.add(qualified!);
      return variable;
    }
    const operand = this.#substitution.resolve(this.#visit(node.operand));
    const isOptional = operand.kind === "optional";
    const type = this.#field(node, isOptional ? this.#substitution.resolve(operand.params![0]!) : operand);
    if (node.test) return types.bool;
    return (isOptional || node.optional) && type.kind !== "error" ? optionalOf(type) : type;
  }

  #field(node: NodeOf<"select">, operand: Type): Type {
    switch (operand.kind) {
      case "dyn":
      case "error":
        return types.dyn;
      case "param":
        return types.dyn;
      case "map":
        return operand.params![1]!;
      case "object": {
        if (!operand.field) return types.dyn;
        return operand.field(node.field) ?? this.#error(node.offset, `undefined field '${node.field}'`);
      }
      default:
        return this.#error(node.offset, `type '${this.#format(operand)}' does not support field selection`);
    }
  }

  #call(node: NodeOf<"call">): Type {
    let { name } = node;
    let candidates: readonly Overload[] | undefined;
    let args: readonly Node[] = node.args;
    const prefix = node.target && this.#qualified(node.target);
    // What makes paths of patches is for those who may make patches.
    if (prefix !== undefined && functions.has(`${prefix}.${name}`) && (prefix !== "jsonpatch" || this.#options.structs)) {
      name = `${prefix}.${name}`;
      node.namespaced = true;
      candidates = functions.get(name)!.filter((overload) => !overload.member);
    } else {
      candidates = functions.get(name)?.filter((overload) => overload.member === (node.target !== undefined));
      if (node.target) args = [node.target, ...args];
    }
    const known = candidates !== undefined && candidates.length > 0;
    // What a text is made of may be of any types.
    const argTypes = args.map((arg, index) => (name === "format" && index === 1 ? this.#mixed(arg) : this.#visit(arg)));
    if (!known) return this.#error(node.offset, functions.has(name) ? this.#noOverload(node, name, argTypes) : `undeclared reference to '${name}' (in container '')`);
    this.#checkLiteral(name, args);
    const matching: Overload[] = [];
    let result: Type | undefined;
    for (const overload of candidates!) {
      if (overload.params.length !== args.length) continue;
      const renamed = new Map<string, Type>();
      const pairs = overload.params.map((type, index) => [this.#substitution.instantiate(type, renamed), argTypes[index]!] as const);
      if (!this.#substitution.assignableAll(pairs)) continue;
      matching.push(overload);
      const type = this.#substitution.resolve(this.#substitution.instantiate(overload.result, renamed));
      result = result === undefined || formatType(result) === formatType(type) ? type : types.dyn;
    }
    if (!result) return this.#error(node.offset, this.#noOverload(node, name, argTypes));
    node.candidates = matching;
    return result;
  }

  #noOverload(node: NodeOf<"call">, name: string, argTypes: readonly Type[]): string {
    const formatted = argTypes.map((type) => this.#format(type));
    const applied = node.target && !node.namespaced ? `${formatted[0]}.(${formatted.slice(1).join(", ")})` : `(${formatted.join(", ")})`;
    return `found no matching overload for '${name}' applied to '${applied}'`;
  }

  /** A literal that can never be read is said now. Source: cel-go's validators. */
  #checkLiteral(name: string, args: readonly Node[]): void {
    const readers: Record<string, [position: number, read: (text: string) => unknown]> = { matches: [1, matcherOf], find: [1, matcherOf], findAll: [1, matcherOf], duration: [0, parseDuration], timestamp: [0, parseTimestamp] };
    const [position, read] = Object.hasOwn(readers, name) ? readers[name]! : [0, undefined];
    const arg = args[position];
    if (!read || arg?.kind !== "literal" || typeof arg.value !== "string") return;
    try {
      read(arg.value);
    } catch (error) {
      if (!(error instanceof CelEvaluationError)) throw error;
      this.#error(arg.offset, `invalid ${name} argument`);
    }
  }

  #struct(node: NodeOf<"struct">): Type {
    const type = this.#options.structs?.(node.name);
    if (!type) this.#error(node.offset, `undeclared reference to '${node.name}' (in container '')`);
    for (const { name, value, optional, offset } of node.fields) {
      const given = this.#unwrapped(value, optional);
      if (!type?.field) continue;
      const expected = type.field(name);
      if (!expected) this.#error(offset, `undefined field '${name}'`);
      else if (!this.#substitution.assignable(expected, given)) this.#error(offset, `expected type of field '${name}' is '${formatType(expected)}' but provided type is '${this.#format(given)}'`);
    }
    return type ?? types.error;
  }

  #fold(node: NodeOf<"fold">): Type {
    const range = this.#substitution.resolve(this.#visit(node.range));
    const { fold } = node;
    let key: Type;
    let value: Type;
    if (range.kind === "list") [key, value] = [types.int, range.params![0]!];
    else if (range.kind === "map") [key, value] = range.params as [Type, Type];
    else if (range.kind === "dyn" || range.kind === "error" || range.kind === "param") [key, value] = [types.dyn, types.dyn];
    else [key, value] = [types.error, this.#error(node.range.offset, `expression of type '${this.#format(range)}' cannot be range of a comprehension (must be list, map, or dynamic)`)];
    const names: [string, Type][] = node.variable2 === undefined ? [[node.variable, range.kind === "map" ? key : value]] : [[node.variable, key], [node.variable2, value]];
    return this.#scoped(names, () => {
      const filter = node.filter && this.#visit(node.filter);
      const body = this.#visit(node.body);
      if (filter) this.#chosen(node, filter, fold.startsWith("transformMap") ? mapOf(key, body) : listOf(body));
      switch (fold) {
        case "all":
        case "exists":
          this.#boolean(node.body, body);
          return types.bool;
        case "exists_one":
          this.#chosen(node, body, types.int);
          return types.bool;
        case "filter":
          this.#chosen(node, body, listOf(range.kind === "map" ? key : value));
          return listOf(range.kind === "map" ? key : value);
        case "map":
        case "transformList":
          return listOf(body);
        case "transformMap":
          return mapOf(key, body);
        case "transformMapEntry": {
          const [entryKey, entryValue] = [this.#substitution.fresh(), this.#substitution.fresh()];
          const result = mapOf(entryKey, entryValue);
          return this.#substitution.assignable(result, body) ? result : this.#error(node.body.offset, `found no matching overload for 'cel.@mapInsert' applied to '(map(dyn, dyn), ${this.#format(body)})'`);
        }
      }
    });
  }
  #boolean(node: Node, type: Type): void {
    if (!this.#substitution.assignable(types.bool, type)) this.#error(node.offset, `expected type 'bool' but found '${this.#format(type)}'`);
  }
  /** What decides whether an element counts is, upstream, the condition of `condition ? more : result`. */
  #chosen(node: Node, condition: Type, result: Type): void {
    if (!this.#substitution.assignable(types.bool, condition)) this.#error(node.offset, `found no matching overload for '_?_:_' applied to '(${[condition, result, result].map((type) => this.#format(type)).join(", ")})'`);
  }

  /** Type parameters replaced in the whole tree; a call that dyn left open keeps all its candidates. */
  #settle(node: Node): void {
    node.type = this.#substitution.resolve(node.type ?? types.dyn, true);
    switch (node.kind) {
      case "select":
        return node.qualified === undefined ? this.#settle(node.operand) : undefined;
      case "call":
        if (node.target && !node.namespaced) this.#settle(node.target);
        return node.args.forEach((arg) => this.#settle(arg));
      case "logic":
        return node.terms.forEach((term) => this.#settle(term));
      case "conditional":
        return [node.condition, node.chosen, node.otherwise].forEach((part) => this.#settle(part));
      case "list":
        return node.elements.forEach(({ value }) => this.#settle(value));
      case "map":
        return node.entries.forEach(({ key, value }) => (this.#settle(key), this.#settle(value)));
      case "struct":
        return node.fields.forEach(({ value }) => this.#settle(value));
      case "fold":
        this.#settle(node.range);
        if (node.filter) this.#settle(node.filter);
        return this.#settle(node.body);
      case "bind":
        return (this.#settle(node.value), this.#settle(node.body));
      default:
    }
  }
}

/** Whether the arguments' types leave no doubt which overload is meant. */
export const isCertain = (candidates: readonly Overload[], args: readonly Node[]): boolean => candidates.length === 1 && args.every((arg) => arg.type !== undefined && !holdsDyn(arg.type));
const holdsDyn = (type: Type): boolean => type.kind === "dyn" || type.kind === "error" || type.kind === "null" || type.kind === "param" || (type.params ?? []).some(holdsDyn);
