import type { RequestView } from "./exchange.ts";
import type { Condition } from "./conditions.ts";
import type { Pattern } from "./pattern.ts";
import { PatternIndex } from "./pattern-index.ts";
import { insert, withdraw } from "./sorted-list.ts";

/** A match in the form that is indexed. */
export interface Indexed {
  readonly path: { readonly type: "exact" | "prefix" | "regex"; /** Without the trailing slash of a prefix. */ readonly value: string; readonly ignoreCase: boolean; readonly pattern: Pattern | undefined };
  readonly conditions: readonly Condition[] | null;
}

/**
 * The matches of one host name by path. Finding takes time with the length of the path and the number of matches that
 * share one path, not with the number of paths; putting and removing one likewise. Regular expressions are tried in turn,
 * those that can fit by their beginning.
 *
 * Precedence: exact, then the longest prefix, then regular expressions; among those of one path `compare` decides.
 */
export class PathIndex<T extends Indexed> {
  readonly #compare: (a: T, b: T) => number;
  readonly #sensitive = new Paths<T>();
  #insensitive: Paths<T> | undefined;
  readonly #patterns: PatternIndex<T>;
  size = 0;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
    this.#patterns = new PatternIndex(compare);
  }

  put(entry: T): void {
    this.size++;
    if (entry.path.type === "regex") {
      this.#patterns.put(entry);
    } else {
      const paths = entry.path.ignoreCase ? (this.#insensitive ??= new Paths()) : this.#sensitive;
      insert(paths.listFor(entry.path.type, keyOf(entry)), entry, this.#compare);
    }
  }

  remove(entry: T): void {
    if (entry.path.type === "regex") {
      if (!this.#patterns.remove(entry)) return;
    } else {
      const paths = entry.path.ignoreCase ? this.#insensitive : this.#sensitive;
      if (!paths?.remove(entry, keyOf(entry), this.#compare)) return;
      if (paths === this.#insensitive && paths.isEmpty) this.#insensitive = undefined;
    }
    this.size--;
  }

  find(request: RequestView): T | undefined {
    const { path } = request;
    const lower = this.#insensitive || this.#patterns.hasInsensitive ? path.toLowerCase() : path;
    const exact = this.#firstOf(this.#sensitive.exact(path), this.#insensitive?.exact(lower), request);
    if (exact) return exact;
    // Upwards from the deepest node of both trees; of one depth there may be one in each.
    const rooted = path.startsWith("/");
    let node: Node<T> | undefined = rooted ? this.#sensitive.deepest(path) : undefined;
    let lowerNode: Node<T> | undefined = rooted ? this.#insensitive?.deepest(lower) : undefined;
    while (node || lowerNode) {
      const depth = Math.max(node?.depth ?? -1, lowerNode?.depth ?? -1);
      const here = node?.depth === depth ? node : undefined;
      const lowerHere = lowerNode?.depth === depth ? lowerNode : undefined;
      const prefix = this.#firstOf(here?.entries, lowerHere?.entries, request);
      if (prefix) return prefix;
      if (here) node = here.parent;
      if (lowerHere) lowerNode = lowerHere.parent;
    }
    return this.#patterns.find(path, lower, request, patternFits);
  }

  /** All, in no order. */
  *[Symbol.iterator](): Generator<T> {
    yield* this.#sensitive.all();
    if (this.#insensitive) yield* this.#insensitive.all();
    yield* this.#patterns;
  }

  /** The first of two lists in order whose conditions hold. */
  #firstOf(a: readonly T[] | undefined, b: readonly T[] | undefined, request: RequestView): T | undefined {
    if (!b) return a && firstThatHolds(a, request);
    if (!a) return firstThatHolds(b, request);
    let [i, j] = [0, 0];
    while (i < a.length || j < b.length) {
      const next = j >= b.length || (i < a.length && this.#compare(a[i]!, b[j]!) < 0) ? a[i++]! : b[j++]!;
      if (holds(next, request)) return next;
    }
    return undefined;
  }
}

/** Whether the path alone fits: the plain form, for explanations and as the oracle of tests. */
export function pathFits({ path: { type, value, ignoreCase, pattern } }: Indexed, path: string): boolean {
  if (type === "regex") return pattern!.test(path);
  const [given, wanted] = ignoreCase ? [path.toLowerCase(), value.toLowerCase()] : [path, value];
  return given === wanted || (type === "prefix" && given.startsWith(`${wanted}/`));
}

function holds(entry: Indexed, request: RequestView): boolean {
  const { conditions } = entry;
  if (conditions === null) return true;
  for (let i = 0; i < conditions.length; i++) if (!conditions[i]!.test(request)) return false;
  return true;
}

const patternFits = (entry: Indexed, request: RequestView): boolean => entry.path.pattern!.test(request.path) && holds(entry, request);

function firstThatHolds<T extends Indexed>(entries: readonly T[], request: RequestView): T | undefined {
  for (let i = 0; i < entries.length; i++) if (holds(entries[i]!, request)) return entries[i];
  return undefined;
}

const keyOf = ({ path: { value, ignoreCase } }: Indexed): string => (ignoreCase ? value.toLowerCase() : value);

/** A prefix, one element a node. */
class Node<T> {
  readonly parent: Node<T> | undefined;
  readonly segment: string;
  readonly depth: number;
  entries: T[] | undefined;
  children: Map<string, Node<T>> | undefined;

  constructor(parent: Node<T> | undefined, segment: string) {
    this.parent = parent;
    this.segment = segment;
    this.depth = parent ? parent.depth + 1 : 0;
  }
}

/** Exact paths and prefixes of one kind of letters. */
class Paths<T extends Indexed> {
  readonly #exact = new Map<string, T[]>();
  readonly #root = new Node<T>(undefined, "");

  get isEmpty(): boolean {
    return this.#exact.size === 0 && !this.#root.entries && !this.#root.children;
  }

  exact(path: string): readonly T[] | undefined {
    return this.#exact.size === 0 ? undefined : this.#exact.get(path);
  }

  /** The longest prefix of the path that has a node, entries or not. */
  deepest(path: string): Node<T> {
    let node = this.#root;
    let start = 1;
    while (node.children && start <= path.length) {
      let end = path.indexOf("/", start);
      if (end < 0) end = path.length;
      const child = node.children.get(path.slice(start, end));
      if (!child) break;
      node = child;
      start = end + 1;
    }
    return node;
  }

  listFor(type: "exact" | "prefix", path: string): T[] {
    if (type === "prefix") return (this.#nodeFor(path).entries ??= []);
    let list = this.#exact.get(path);
    if (!list) this.#exact.set(path, (list = []));
    return list;
  }

  #nodeFor(prefix: string): Node<T> {
    let node = this.#root;
    if (prefix === "") return node;
    for (const segment of prefix.slice(1).split("/")) {
      node.children ??= new Map();
      let child = node.children.get(segment);
      if (!child) node.children.set(segment, (child = new Node(node, segment)));
      node = child;
    }
    return node;
  }

  remove(entry: T, path: string, compare: (a: T, b: T) => number): boolean {
    if (entry.path.type === "exact") {
      const list = this.#exact.get(path);
      if (!list || !withdraw(list, entry, compare)) return false;
      if (list.length === 0) this.#exact.delete(path);
      return true;
    }
    let node: Node<T> = this.#nodeFor(path);
    const removed = node.entries !== undefined && withdraw(node.entries, entry, compare);
    if (node.entries?.length === 0) node.entries = undefined;
    while (node.parent && !node.entries && !node.children) {
      const { parent } = node;
      parent.children!.delete(node.segment);
      if (parent.children!.size === 0) parent.children = undefined;
      node = parent;
    }
    return removed;
  }

  *all(): Generator<T> {
    for (const list of this.#exact.values()) yield* list;
    const nodes = [this.#root];
    for (let node = nodes.pop(); node; node = nodes.pop()) {
      if (node.entries) yield* node.entries;
      if (node.children) nodes.push(...node.children.values());
    }
  }
}
