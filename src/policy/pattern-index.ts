import type { Pattern } from "./pattern.ts";
import { insert, withdraw } from "./sorted-list.ts";

interface WithPattern {
  readonly path: { readonly ignoreCase: boolean; readonly pattern: Pattern | undefined };
}

/**
 * Regular expressions by what every match of them begins with: of 5,000 rules such as `^/shop-7(/|$)(.*)` a path meets the
 * few that it can fit, since one look a length of such beginnings finds them all.
 */
export class PatternIndex<T extends WithPattern> {
  readonly #compare: (a: T, b: T) => number;
  readonly #sensitive = new Map<number, Map<string, T[]>>();
  readonly #insensitive = new Map<number, Map<string, T[]>>();
  #size = 0;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }
  get size(): number {
    return this.#size;
  }
  get hasInsensitive(): boolean {
    return this.#insensitive.size > 0;
  }

  put(entry: T): void {
    const { literal } = entry.path.pattern!;
    const lengths = this.#lengthsOf(entry);
    let lists = lengths.get(literal.length);
    if (!lists) lengths.set(literal.length, (lists = new Map()));
    let list = lists.get(literal);
    if (!list) lists.set(literal, (list = []));
    insert(list, entry, this.#compare);
    this.#size++;
  }

  remove(entry: T): boolean {
    const { literal } = entry.path.pattern!;
    const lengths = this.#lengthsOf(entry);
    const lists = lengths.get(literal.length);
    const list = lists?.get(literal);
    if (!list || !withdraw(list, entry, this.#compare)) return false;
    if (list.length === 0) lists!.delete(literal);
    if (lists!.size === 0) lengths.delete(literal.length);
    this.#size--;
    return true;
  }

  /** The first in order that `fits`. `lower` is the path in lower case, where anybody asks for it. */
  find<C>(path: string, lower: string, context: C, fits: (entry: T, context: C) => boolean): T | undefined {
    if (this.#size === 0) return undefined;
    const lists: T[][] = [];
    gather(this.#sensitive, path, lists);
    gather(this.#insensitive, lower, lists);
    if (lists.length === 1) return lists[0]!.find((entry) => fits(entry, context));
    const at = lists.map(() => 0);
    for (;;) {
      let next = -1;
      for (let i = 0; i < lists.length; i++) {
        if (at[i]! < lists[i]!.length && (next < 0 || this.#compare(lists[i]![at[i]!]!, lists[next]![at[next]!]!) < 0)) next = i;
      }
      if (next < 0) return undefined;
      const entry = lists[next]![at[next]!++]!;
      if (fits(entry, context)) return entry;
    }
  }

  *[Symbol.iterator](): Generator<T> {
    for (const lengths of [this.#sensitive, this.#insensitive]) for (const lists of lengths.values()) for (const list of lists.values()) yield* list;
  }

  #lengthsOf({ path: { ignoreCase } }: T): Map<number, Map<string, T[]>> {
    return ignoreCase ? this.#insensitive : this.#sensitive;
  }
}

function gather<T>(lengths: ReadonlyMap<number, ReadonlyMap<string, T[]>>, path: string, lists: T[][]): void {
  for (const [length, byLiteral] of lengths) {
    if (length > path.length) continue;
    const list = byLiteral.get(length === path.length ? path : path.slice(0, length));
    if (list) lists.push(list);
  }
}
