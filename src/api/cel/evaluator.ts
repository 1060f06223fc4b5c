import type { Node, NodeOf } from "./ast.ts";
import { PER_CALL_LIMIT } from "./budget.ts";
import { isCertain } from "./checker.ts";
import { constantOf } from "./constants.ts";
import { callCost, costs } from "./cost.ts";
import { CelBudgetError, CelEvaluationError } from "./errors.ts";
import { accepts, type Frame, type Overload } from "./functions/declare.ts";
import { optionalIndex } from "./functions/standard.ts";
import { CelMap, EntryMap, Optional, TypeValue, Uint } from "./values.ts";

/** Elements and bytes that may be made by one evaluation: joining lists costs little, and memory is not endless. */
const workMax = 10_000_000;
/** What the units do not count (a list compared deep within) is bounded by the clock, looked at now and then. */
const timeMax = 2000;
const unitsBetweenLooks = 500;

/** One evaluation: the values of variables, and what was spent. */
export class Evaluation implements Frame {
  readonly #variables: (name: string) => unknown;
  readonly slots: unknown[] = [];
  cost = 0;
  #work = 0;
  readonly #deadline = performance.now() + timeMax;
  #nextLook = unitsBetweenLooks;

  constructor(variables: (name: string) => unknown) {
    this.#variables = variables;
  }
  variable(name: string): unknown {
    const value = this.#variables(name);
    if (value === undefined) throw new CelEvaluationError(`no such attribute(s): ${name}`);
    return value;
  }
  spend(cost: number): void {
    this.cost += cost;
    if (this.cost > PER_CALL_LIMIT) throw new CelBudgetError("operation cancelled: actual cost limit exceeded");
    if (this.cost < this.#nextLook) return;
    this.#nextLook = this.cost + unitsBetweenLooks;
    if (performance.now() > this.#deadline) throw new CelBudgetError("operation interrupted");
  }
  work(elements: number): void {
    this.#work += elements;
    if (this.#work > workMax) throw new CelBudgetError("operation cancelled: actual cost limit exceeded");
  }
}

/** The second is asked only when the first has no value, and neither costs more than itself. */
const lazyOr = (first: Step, second: Step, bare: boolean): Step => (evaluation) => {
  const optional = first(evaluation);
  if (!(optional instanceof Optional)) return noOverload();
  if (optional.value === undefined) return second(evaluation);
  return bare ? optional.value : optional;
};

export type Step = (evaluation: Evaluation) => unknown;

/** A checked tree as nested functions. */
export function assemble(root: Node): Step {
  return new Assembler().step(root);
}

const noOverload = (): never => {
  throw new CelEvaluationError("no such overload");
};

class Assembler {
  readonly #scope = new Map<string, number>();
  #slots = 0;

  step(node: Node): Step {
    switch (node.kind) {
      case "literal": {
        const { value } = node;
        return () => value;
      }
      case "identifier":
        return this.#identifier(node);
      case "select":
        return this.#select(node);
      case "call":
        return this.#call(node);
      case "logic":
        return this.#logic(node);
      case "conditional": {
        const [condition, chosen, otherwise] = [this.step(node.condition), this.step(node.chosen), this.step(node.otherwise)];
        return (evaluation) => {
          const holds = condition(evaluation);
          if (typeof holds !== "boolean") return noOverload();
          return holds ? chosen(evaluation) : otherwise(evaluation);
        };
      }
      case "list": {
        const elements = node.elements.map(({ value, optional }) => ({ value: this.step(value), optional }));
        const constant = constantOf(node);
        if (constant) return () => constant.value;
        return (evaluation) => {
          evaluation.spend(costs.list);
          const list: unknown[] = [];
          for (const { value, optional } of elements) {
            const element = value(evaluation);
            if (!optional) list.push(element);
            else if (!(element instanceof Optional)) return noOverload();
            else if (element.value !== undefined) list.push(element.value);
          }
          return list;
        };
      }
      case "map":
      case "struct":
        return this.#map(node);
      case "fold":
        return this.#fold(node);
      case "bind":
        return this.#bind(node);
    }
  }

  #scoped<T>(names: readonly (string | undefined)[], action: (slots: number[]) => T): T {
    const before = names.map((name) => (name === undefined ? undefined : this.#scope.get(name)));
    const slots = names.map((name) => {
      const slot = this.#slots++;
      if (name !== undefined) this.#scope.set(name, slot);
      return slot;
    });
    const result = action(slots);
    names.forEach((name, index) => {
      if (name === undefined) return;
      if (before[index] === undefined) this.#scope.delete(name);
      else this.#scope.set(name, before[index]);
    });
    return result;
  }

  #identifier({ name, type }: NodeOf<"identifier">): Step {
    const slot = this.#scope.get(name);
    if (slot !== undefined) {
      return (evaluation) => {
        evaluation.spend(costs.access);
        return evaluation.slots[slot];
      };
    }
    if (type?.kind === "type") {
      const value = new TypeValue(name);
      return () => value;
    }
    return (evaluation) => {
      evaluation.spend(costs.access);
      return evaluation.variable(name);
    };
  }

  #select(node: NodeOf<"select">): Step {
    if (node.qualified !== undefined) {
      const { qualified } = node;
      return node.type?.kind === "type" ? () => new TypeValue(qualified) : (evaluation) => (evaluation.spend(costs.access), evaluation.variable(qualified));
    }
    const operand = this.step(node.operand);
    const { field, test, optional } = node;
    if (test) {
      return (evaluation) => {
        const value = operand(evaluation);
        if (value instanceof CelMap) return value.has(field);
        return value instanceof Optional || optional ? optionalIndex(value, field).value !== undefined : false;
      };
    }
    const cost = isAttribute(node.operand) ? costs.access : 2 * costs.access;
    return (evaluation) => {
      const value = operand(evaluation);
      evaluation.spend(cost);
      if (optional || value instanceof Optional) return optionalIndex(value, field);
      if (Array.isArray(value)) throw new CelEvaluationError("unsupported index type 'string' in list");
      const found = value instanceof CelMap ? value.get(field) : undefined;
      if (found === undefined) throw new CelEvaluationError(`no such key: ${field}`);
      return found;
    };
  }

  #call(node: NodeOf<"call">): Step {
    const argNodes = node.target && !node.namespaced ? [node.target, ...node.args] : node.args;
    const args = argNodes.map((arg) => this.step(arg));
    const candidates = node.candidates!;
    const constant = constantOf(node);
    if (constant) return () => constant.value;
    if (node.name === "or" || node.name === "orValue") return lazyOr(args[0]!, args[1]!, node.name === "orValue");
    const cost = node.name === "@in" && node.args[1]!.type?.kind === "list" && constantOf(node.args[1]!) ? () => 0 : callCost(candidates[0]!.name);
    const rooted = node.name === "_[_]" && !isAttribute(node.args[0]!);
    const only = isCertain(candidates, argNodes) ? candidates[0]! : undefined;
    const choose = (values: readonly unknown[]): Overload => {
      for (const candidate of candidates) if (candidate.params.every((type, index) => accepts(type, values[index]))) return candidate;
      return noOverload();
    };
    return (evaluation) => {
      const values: unknown[] = [];
      for (const arg of args) values.push(arg(evaluation));
      if (rooted) evaluation.spend(costs.access);
      const overload = only ?? choose(values);
      if (!cost) evaluation.spend(1);
      if (cost && overload.name !== "join") evaluation.spend(cost(values, undefined));
      const result = overload.call(values, evaluation);
      if (cost && overload.name === "join") evaluation.spend(cost(values, result));
      return result;
    };
  }

  /** An error counts only when no other term decides. */
  #logic(node: NodeOf<"logic">): Step {
    const terms = node.terms.map((term) => this.step(term));
    const deciding = node.or;
    return (evaluation) => {
      let failure: unknown;
      for (const term of terms) {
        try {
          const value = term(evaluation);
          if (value === deciding) return deciding;
          if (typeof value !== "boolean") failure ??= new CelEvaluationError("no such overload");
        } catch (error) {
          if (!(error instanceof CelEvaluationError)) throw error;
          failure ??= error;
        }
      }
      if (failure) throw failure;
      return !deciding;
    };
  }

  #map(node: NodeOf<"map" | "struct">): Step {
    const constant = constantOf(node);
    if (constant) return () => constant.value;
    const entries = node.kind === "map" ? node.entries.map(({ key, value, optional }) => ({ key: this.step(key), value: this.step(value), optional })) : node.fields.map(({ name, value, optional }) => ({ key: (() => name) as Step, value: this.step(value), optional }));
    const name = node.kind === "struct" ? node.name : undefined;
    const cost = node.kind === "struct" ? costs.struct : costs.map;
    return (evaluation) => {
      evaluation.spend(cost);
      const map = new EntryMap(name);
      for (const { key: keyStep, value: valueStep, optional } of entries) {
        const key = keyStep(evaluation);
        let value = valueStep(evaluation);
        if (optional) {
          if (!(value instanceof Optional)) return noOverload();
          if (value.value === undefined) continue;
          value = value.value;
        }
        if (!isKey(key)) throw new CelEvaluationError("unsupported key type");
        if (map.has(key)) throw new CelEvaluationError(`Failed with repeated key ${String(key)}`);
        map.set(key, value);
      }
      return map;
    };
  }

  #bind(node: NodeOf<"bind">): Step {
    const value = this.step(node.value);
    return this.#scoped([node.variable], ([slot]) => {
      const body = this.step(node.body);
      const { optional } = node;
      return (evaluation) => {
        const before = evaluation.cost;
        const bound = value(evaluation);
        if (!(bound instanceof Optional)) return noOverload();
        evaluation.spend(1);
        if (bound.value === undefined) return bound;
        // Upstream asks the target twice, whether it has a value and which.
        evaluation.spend(evaluation.cost - before + (optional === "map" ? 1 : 0));
        evaluation.slots[slot!] = bound.value;
        const result = body(evaluation);
        return optional === "map" ? new Optional(result) : result;
      };
    });
  }

  #fold(node: NodeOf<"fold">): Step {
    const range = this.step(node.range);
    return this.#scoped([node.variable, node.variable2], ([slot, slot2]) => {
      const filter = node.filter && this.step(node.filter);
      const body = this.step(node.body);
      const two = node.variable2 !== undefined;
      const make = folders[node.fold];
      return (evaluation) => {
        const container = range(evaluation);
        const folder = make(evaluation, Array.isArray(container) ? container.length : container instanceof CelMap ? container.size : 0);
        const visit = (first: unknown, second: unknown): boolean => {
          evaluation.slots[slot!] = first;
          if (two) evaluation.slots[slot2!] = second;
          if (filter) {
            const wanted = filter(evaluation);
            if (typeof wanted !== "boolean") return noOverload();
            if (!wanted) return false;
          }
          return folder.visit(() => body(evaluation), first, second);
        };
        if (Array.isArray(container)) {
          for (let at = 0; at < container.length; at++) if (visit(two ? BigInt(at) : container[at], container[at])) break;
        } else if (container instanceof CelMap) {
          for (const key of container.keys()) if (visit(key, two ? container.get(key) : undefined)) break;
        } else return noOverload();
        evaluation.spend(1);
        return folder.result();
      };
    });
  }
}

/** A path from a variable on; what begins elsewhere costs one step more. */
const isAttribute = (node: Node): boolean => node.kind === "identifier" || node.kind === "select" || (node.kind === "call" && (node.name === "_[_]" || node.name === "_[?_]"));

const isKey = (key: unknown): boolean => typeof key === "string" || typeof key === "bigint" || typeof key === "boolean" || typeof key === "number" || key instanceof Uint;

interface Folder {
  /** @returns whether the rest need not be looked at */
  visit(body: () => unknown, first: unknown, second: unknown): boolean;
  result(): unknown;
}

/** all, exists: an error counts only when no element decides. The units are those of the loop that upstream expands it to. */
const quantifier = (deciding: boolean, cost: number) => (evaluation: Evaluation, count: number): Folder => {
  let seen = 0;
  let failure: CelEvaluationError | undefined;
  let decided = false;
  return {
    visit(body) {
      evaluation.spend(cost);
      try {
        const value = body();
        seen++;
        if (value === deciding) {
          // That there is nothing more to do is found out before the next element.
          if (seen < count) evaluation.spend(cost - 1);
          return (decided = true);
        }
        if (typeof value !== "boolean") failure ??= new CelEvaluationError("no such overload");
      } catch (error) {
        if (!(error instanceof CelEvaluationError)) throw error;
        seen++;
        failure ??= error;
      }
      return false;
    },
    result() {
      if (!decided && failure) throw failure;
      return decided === deciding;
    },
  };
};
const boolean = (value: unknown): boolean => (typeof value === "boolean" ? value : noOverload());

/** @param cost of an element that is kept: the result so far, a list of one, and their sum */
const lists = (keep: (body: () => unknown, first: unknown) => { element: unknown } | undefined, cost = costs.list + 2) => (evaluation: Evaluation): Folder => {
  const list: unknown[] = [];
  return {
    visit(body, first) {
      const kept = keep(body, first);
      if (!kept) return false;
      evaluation.spend(cost);
      list.push(kept.element);
      return false;
    },
    result: () => list,
  };
};

const maps = (cost: number, put: (map: EntryMap, value: unknown, first: unknown) => void) => (evaluation: Evaluation): Folder => {
  const map = new EntryMap();
  return {
    visit(body, first) {
      evaluation.spend(cost);
      put(map, body(), first);
      return false;
    },
    result: () => map,
  };
};
const insert = (map: EntryMap, key: unknown, value: unknown): void => {
  if (map.has(key)) throw new CelEvaluationError(`insert failed: key ${String(key)} already exists`);
  map.set(key, value);
};

const folders: Record<NodeOf<"fold">["fold"], (evaluation: Evaluation, count: number) => Folder> = {
  all: quantifier(false, 3),
  exists: quantifier(true, 4),
  exists_one: (evaluation) => {
    let count = 0;
    return {
      visit(body) {
        const matched = boolean(body());
        if (!matched) return false;
        evaluation.spend(2);
        count++;
        return false;
      },
      result: () => (evaluation.spend(1), count === 1),
    };
  },
  map: lists((body) => ({ element: body() })),
  filter: lists((body, first) => (boolean(body()) ? { element: first } : undefined), costs.list + 3),
  transformList: lists((body) => ({ element: body() })),
  transformMap: maps(3, (map, value, first) => insert(map, first, value)),
  transformMapEntry: maps(2, (map, value) => {
    if (!(value instanceof CelMap)) return noOverload();
    for (const key of value.keys()) insert(map, key, value.get(key));
  }),
};
