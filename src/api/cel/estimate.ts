import type { Node, NodeOf } from "./ast.ts";
import { costs, perCharacter, perPatternCharacter } from "./cost.ts";
import type { Type } from "./types.ts";
import { codePoints } from "./values.ts";

/** From the least to the most. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

const range = (min: number, max = min): Range => ({ min, max });
const add = (...ranges: readonly Range[]): Range => range(ranges.reduce((sum, { min }) => sum + min, 0), ranges.reduce((sum, { max }) => sum + max, 0));
const product = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);
const times = (a: Range, b: Range): Range => range(product(a.min, b.min), product(a.max, b.max));
const scale = (a: Range, factor: number): Range => range(Math.ceil(a.min * factor), Math.ceil(a.max * factor));
const either = (a: Range, b: Range): Range => range(Math.min(a.min, b.min), Math.max(a.max, b.max));
const unknown = range(0, Infinity);

interface Estimate {
  readonly cost: Range;
  /** Of the result, when the expression says it. */
  readonly size?: Range;
  /** Of the elements of the result. */
  readonly element?: Estimate["size"];
}

/**
 * Worst-case cost of a checked tree, with the sizes that the schema allows; Infinity when nothing bounds it.
 * Source: cel-go's checker/cost.go and k8s.io/apiserver/pkg/cel/library/cost.go.
 */
export function estimate(root: Node): number {
  return new Estimator().estimate(root).cost.max;
}

class Estimator {
  readonly #scopes: Map<string, Estimate>[] = [];

  estimate(node: Node): Estimate {
    switch (node.kind) {
      case "literal":
        return { cost: range(0), size: literalSize(node.value) };
      case "identifier": {
        const known = this.#scopes.findLast((scope) => scope.has(node.name))?.get(node.name);
        return { ...known, cost: range(1) };
      }
      case "select": {
        if (node.qualified !== undefined) return { cost: range(1) };
        const { cost } = this.estimate(node.operand);
        const kind = node.operand.type?.kind;
        const counted = !node.test && (node.optional || kind === "object" || kind === "map" || kind === "optional");
        return { cost: counted ? add(cost, range(costs.access)) : cost };
      }
      case "call":
        return this.#call(node);
      case "logic": {
        const terms = node.terms.map((term) => this.estimate(term).cost);
        return { cost: range(terms[0]!.min, add(...terms).max) };
      }
      case "conditional": {
        const [condition, chosen, otherwise] = [this.estimate(node.condition), this.estimate(node.chosen), this.estimate(node.otherwise)];
        return { cost: add(condition.cost, either(chosen.cost, otherwise.cost)), size: either(this.#size(node.chosen, chosen), this.#size(node.otherwise, otherwise)) };
      }
      case "list": {
        const elements = node.elements.map(({ value }) => [value, this.estimate(value)] as const);
        const sizes = elements.map(([value, estimated]) => this.#size(value, estimated));
        return { cost: add(range(costs.list), ...elements.map(([, { cost }]) => cost)), size: range(elements.length), ...(sizes.length > 0 && { element: sizes.reduce(either) }) };
      }
      case "map":
        return { cost: add(range(costs.map), ...node.entries.flatMap(({ key, value }) => [this.estimate(key).cost, this.estimate(value).cost])), size: range(node.entries.length) };
      case "struct":
        return { cost: add(range(costs.struct), ...node.fields.map(({ value }) => this.estimate(value).cost)) };
      case "fold":
        return this.#fold(node);
      case "bind": {
        const value = this.estimate(node.value);
        const body = this.#scoped([[node.variable, { ...value, size: this.#size(node.value, value) }]], () => this.estimate(node.body));
        // Asked twice, whether it has a value and which, in a loop over an empty list that upstream makes of it.
        return { ...body, cost: add(value.cost, value.cost, range(costs.list + (node.optional === "map" ? 3 : 2)), body.cost) };
      }
    }
  }

  #scoped<T>(names: readonly (readonly [string, Estimate])[], action: () => T): T {
    this.#scopes.push(new Map(names));
    const result = action();
    this.#scopes.pop();
    return result;
  }

  /** By the expression, else by the schema, else by the type: numbers are of size one. */
  #size(node: Node, estimated: Estimate): Range {
    return estimated.size ?? typeSize(node.type);
  }

  #fold(node: NodeOf<"fold">): Estimate {
    const over = this.estimate(node.range);
    const count = this.#size(node.range, over);
    const type = node.range.type;
    const element: Estimate = { cost: range(1), size: over.element ?? typeSize(type?.kind === "list" ? type.params![0] : undefined) };
    const keyed = type?.kind === "map" ? { cost: range(1), size: typeSize(type.params![0]) } : element;
    const number: Estimate = { cost: range(1), size: range(1) };
    const names: [string, Estimate][] = node.variable2 === undefined ? [[node.variable, keyed]] : [[node.variable, type?.kind === "map" ? keyed : number], [node.variable2, type?.kind === "map" ? { cost: range(1), size: typeSize(type.params![1]) } : element]];
    return this.#scoped(names, () => {
      const filter = node.filter && this.estimate(node.filter).cost;
      const body = this.estimate(node.body);
      const [step, start] = foldCosts[node.fold];
      const every = add(range(filter || node.fold === "filter" ? Math.min(1, step) : step, step), filter ?? range(0), body.cost);
      const makes = node.fold !== "all" && node.fold !== "exists" && node.fold !== "exists_one";
      return {
        cost: add(over.cost, range(start + 1), times(count, every)),
        ...(makes && { size: filter || node.fold === "filter" ? range(0, count.max) : count, element: node.fold === "filter" ? element.size! : this.#size(node.body, body) }),
      };
    });
  }

  #call(node: NodeOf<"call">): Estimate {
    const args = node.target && !node.namespaced ? [node.target, ...node.args] : node.args;
    const estimates = args.map((arg) => this.estimate(arg));
    const sizes = args.map((arg, index) => this.#size(arg, estimates[index]!));
    const rule = Object.hasOwn(rules, node.candidates![0]!.name) ? rules[node.candidates![0]!.name] : undefined;
    const own = rule?.(sizes, args, estimates) ?? { cost: range(1) };
    const passed = node.name === "_[_]" && estimates[0]!.element ? { size: estimates[0]!.element } : {};
    return { ...passed, ...own, cost: add(own.cost, ...estimates.map(({ cost }) => cost)) };
  }
}

/** Units of a round and of the beginning, as the loop that upstream expands each macro to. */
const foldCosts: Record<NodeOf<"fold">["fold"], readonly [step: number, start: number]> = {
  all: [3, 0],
  exists: [4, 0],
  exists_one: [2, 1],
  map: [costs.list + 2, costs.list],
  filter: [costs.list + 3, costs.list],
  transformList: [costs.list + 2, costs.list],
  transformMap: [3, costs.map],
  transformMapEntry: [2, costs.map],
};

function literalSize(value: unknown): Range {
  if (typeof value === "string") return range(codePoints(value));
  return range(value instanceof Uint8Array ? value.length : 1);
}

function typeSize(type: Type | undefined): Range {
  if (type?.maxElements !== undefined) return range(0, type.maxElements);
  switch (type?.kind) {
    case "bool":
    case "int":
    case "uint":
    case "double":
    case "timestamp":
    case "duration":
    case "null":
    case "object":
    case "opaque":
    case "type":
      return range(1);
    default:
      return unknown;
  }
}

type Rule = (sizes: readonly Range[], args: readonly Node[], estimates: readonly Estimate[]) => Estimate;
const isText = (node: Node | undefined): boolean => node?.type?.kind === "string" || node?.type?.kind === "bytes" || node?.type?.kind === "dyn";

const traverse: Rule = ([size]) => ({ cost: scale(size ?? unknown, perCharacter) });
const keepsSize: Rule = ([size]) => ({ cost: scale(size!, perCharacter), size: size! });
const smallest: Rule = ([a, b]) => ({ cost: scale(range(Math.min(a!.min, b!.min), Math.min(a!.max, b!.max)), perCharacter) });
/** Text for certain: of values of any type, the cheap meaning is counted. */
const areTexts = (args: readonly Node[]): boolean => args.some(({ type }) => type?.kind === "string" || type?.kind === "bytes");
const orderedTexts: Rule = (sizes, args, estimates) => (areTexts(args) ? smallest(sizes, args, estimates) : { cost: range(1) });
const matching = ([text, expression]: readonly Range[]): Range => times(scale(add(text!, range(1)), perCharacter), scale(expression!, perPatternCharacter));
const elements: Rule = ([size, ...rest], args, estimates) => {
  const type = args[0]!.type;
  if (type?.kind !== "list") return traverse([size!, ...rest], args, estimates);
  const element = type.params![0]!;
  const each = element.kind === "string" || element.kind === "bytes" ? add(range(1), scale(estimates[0]!.element ?? typeSize(element), perCharacter)) : range(1);
  return { cost: times(size!, each) };
};
/** Of a format's pattern, which is not looked at: 128 characters of it. */
const formatPattern = Math.ceil(128 * perPatternCharacter);
const pairs: Rule = ([a, b]) => ({ cost: add(range(1), times(a!, b!)) });
const address = range(4, 16);
const compared = scale(add(address, address), perCharacter);

const rules: Record<string, Rule> = {
  check: () => ({ cost: range(costs.authorizerCheck) }),
  matches: (sizes) => ({ cost: matching(sizes) }),
  find: (sizes) => ({ cost: matching(sizes), size: range(0, sizes[0]!.max) }),
  findAll: (sizes) => ({ cost: matching(sizes), size: range(0, sizes[0]!.max) }),
  contains: ([text, part]) => ({ cost: times(scale(text!, perCharacter), scale(part!, perCharacter)) }),
  startsWith: ([, part]) => ({ cost: scale(part!, perCharacter) }),
  endsWith: ([, part]) => ({ cost: scale(part!, perCharacter) }),
  "@in": ([, container], [, node]) => ({ cost: node!.type?.kind === "map" ? range(1) : container! }),
  "_==_": smallest,
  "_!=_": smallest,
  "_<_": orderedTexts,
  "_<=_": orderedTexts,
  "_>_": orderedTexts,
  "_>=_": orderedTexts,
  "_+_": ([a, b], args) => (areTexts(args) ? { cost: scale(add(a!, b!), perCharacter), size: add(a!, b!) } : args[0]!.type?.kind === "list" ? { cost: range(1), size: add(a!, b!) } : { cost: range(1) }),
  string: (sizes, args, estimates) => (isText(args[0]) ? keepsSize(sizes, args, estimates) : { cost: range(1) }),
  bytes: keepsSize,
  size: () => ({ cost: range(1), size: range(1) }),
  isSorted: elements,
  sum: elements,
  min: elements,
  max: elements,
  indexOf: elements,
  lastIndexOf: elements,
  url: traverse,
  lowerAscii: keepsSize,
  upperAscii: keepsSize,
  substring: keepsSize,
  trim: keepsSize,
  replace: ([text, part, other]) => ({ cost: scale(text!, 2 * perCharacter), size: range(0, part!.min === 0 ? product(text!.max + 1, other!.max) + text!.max : other!.max <= part!.min ? text!.max : product(Math.ceil(text!.max / part!.min), other!.max)) }),
  split: ([text]) => ({ cost: scale(text!, 2 * perCharacter), size: range(0, text!.max) }),
  join: ([list, separator], args, estimates) => {
    const element = args[0]!.type?.kind === "list" ? (estimates[0]!.element ?? typeSize(args[0]!.type.params![0])) : unknown;
    const gaps = range(Math.max(list!.min - 1, 0), Math.max(list!.max - 1, 0));
    const size = add(times(list!, element), separator ? times(separator, gaps) : range(0));
    return { cost: scale(size, perCharacter), size };
  },
  format: ([pattern, values]) => ({ cost: scale(add(pattern!, values!), perCharacter), size: unknown }),
  "strings.quote": keepsSize,
  "jsonpatch.escapeKey": ([text]) => ({ cost: scale(text!, perCharacter), size: range(text!.min, text!.max * 2) }),
  ip: (sizes, args, estimates) => (isText(args[0]) ? traverse(sizes, args, estimates) : { cost: range(1) }),
  isIP: traverse,
  cidr: traverse,
  isCIDR: traverse,
  "ip.isCanonical": ([text]) => ({ cost: scale(text!, 2 * perCharacter) }),
  containsIP: ([, other], args) => ({ cost: isText(args[1]) ? add(compared, scale(other!, perCharacter)) : compared }),
  containsCIDR: ([, other], args) => ({ cost: add(compared, scale(address, perCharacter), range(1), isText(args[1]) ? scale(other!, perCharacter) : range(0)) }),
  quantity: traverse,
  isQuantity: traverse,
  semver: traverse,
  isSemver: traverse,
  validate: ([, text]) => ({ cost: times(scale(text!, perCharacter), range(formatPattern)) }),
  "sets.contains": pairs,
  "sets.intersects": pairs,
  "sets.equivalent": ([a, b]) => ({ cost: add(range(1), times(range(2), times(a!, b!))) }),
};
