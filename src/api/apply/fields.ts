import { compareElements, type Path, type PathElement, PathElementError, parseElement } from "./path-element.ts";

/**
 * A set of fields, as FieldsV1 writes it and as it lies in managedFields: a tree of path elements. An element with
 * nothing below it is a member of the set; one with something below it is a member when that has the key ".".
 * Sets are values: the operations change neither side, and share with both whatever they can.
 * Source: sigs.k8s.io/structured-merge-diff/v6/fieldpath/{set,serialize}.go.
 */
export interface Fields {
  readonly [element: PathElement]: Fields;
}
type Draft = Record<PathElement, Fields>;

export const noFields: Fields = Object.freeze({});

const isLeaf = (node: Fields): boolean => {
  for (const _ in node) return false;
  return true;
};
export const isEmpty = isLeaf;
const isMember = (node: Fields): boolean => node["."] !== undefined || isLeaf(node);

/** Whether anything lies below the node, beside the node itself. */
const hasChildren = (node: Fields): boolean => {
  for (const element in node) if (element !== ".") return true;
  return false;
};

/** What lies below, as a set of its own: without the mark that its root is a member of the set around it. */
export function childrenOf(node: Fields | undefined): Fields {
  if (node === undefined) return noFields;
  if (node["."] === undefined) return node;
  const { ".": _, ...children } = node;
  return children;
}

/** The node of a tree that stands for itself, as asked, and for the set below it; undefined for neither. */
export function nodeOf(member: boolean, children: Fields): Fields | undefined {
  if (isLeaf(children)) return member ? noFields : undefined;
  return member ? { ".": noFields, ...children } : children;
}

export function setOf(...paths: Path[]): Fields {
  return paths.reduce<Fields>((set, path) => union(set, path.reduceRight<Fields>((below, element) => ({ [element]: below }), noFields)), noFields);
}

export function union(a: Fields, b: Fields): Fields {
  if (a === b || isLeaf(b)) return a;
  if (isLeaf(a)) return b;
  let result: Draft | undefined;
  for (const element in b) {
    const [left, right] = [a[element], b[element]!];
    const node = left === undefined ? right : unionOfNodes(left, right);
    if (node !== left) (result ??= { ...a })[element] = node;
  }
  return result ?? a;
}

function unionOfNodes(a: Fields, b: Fields): Fields {
  if (a === b) return a;
  const [left, right] = [isMember(a), isMember(b)];
  if (isLeaf(b)) return left ? a : { ".": noFields, ...a };
  if (isLeaf(a)) return right ? b : { ".": noFields, ...b };
  return union(a, b);
}

export function intersection(a: Fields, b: Fields): Fields {
  if (a === b) return a;
  const result: Draft = {};
  for (const element in b) {
    const [left, right] = [a[element], b[element]!];
    if (left === undefined || element === ".") continue;
    const node = nodeOf(isMember(left) && isMember(right), intersection(childrenOf(left), childrenOf(right)));
    if (node) result[element] = node;
  }
  return result;
}

/** Members of `a` that are none of `b`; what `b` has above or below a member does not matter. */
export function difference(a: Fields, b: Fields): Fields {
  return subtract(a, b, false);
}

/** As {@link difference}, and a member of `b` takes everything below it along. */
export function recursiveDifference(a: Fields, b: Fields): Fields {
  return subtract(a, b, true);
}

function subtract(a: Fields, b: Fields, recursive: boolean): Fields {
  let result: Draft | undefined;
  for (const element in b) {
    const [left, right] = [a[element], b[element]!];
    if (left === undefined || element === ".") continue;
    const taken = isMember(right);
    const node = recursive && taken ? undefined : nodeOf(isMember(left) && !taken, subtract(childrenOf(left), childrenOf(right), recursive));
    if (node === undefined) delete (result ??= { ...a })[element];
    else if (!sameNode(node, left)) (result ??= { ...a })[element] = node;
  }
  return result ?? a;
}

/** Whether the subtraction left a node as it was, so that an unchanged set stays the very same object. */
const sameNode = (a: Fields, b: Fields): boolean => a === b || (isMember(a) === isMember(b) && equals(a, b));

export function equals(a: Fields, b: Fields): boolean {
  if (a === b) return true;
  let count = 0;
  for (const element in a) {
    count++;
    const other = b[element];
    if (other === undefined || !equals(a[element]!, other)) return false;
  }
  for (const _ in b) count--;
  return count === 0;
}

export function has(set: Fields, path: Path): boolean {
  let node: Fields | undefined = set;
  for (const element of path) {
    node = node[element];
    if (node === undefined) return false;
  }
  return path.length > 0 && isMember(node);
}

/** Every member's path: first those of a level, then those below, each in order. */
export function* paths(set: Fields, prefix: Path = []): Generator<Path> {
  const elements = Object.keys(set).filter((element) => element !== ".").sort(compareElements);
  for (const element of elements) if (isMember(set[element]!)) yield [...prefix, element];
  for (const element of elements) if (hasChildren(set[element]!)) yield* paths(set[element]!, [...prefix, element]);
}

/** The same set with its elements in the order in which they are written; itself when they are. */
export function sorted(set: Fields): Fields {
  let result: Draft | undefined;
  let last = "";
  let inOrder = true;
  for (const element in set) {
    if (last !== "" && inOrder && compareElements(last, element) > 0) inOrder = false;
    last = element;
    const child = set[element]!;
    const ordered = sorted(child);
    if (ordered !== child) (result ??= { ...set })[element] = ordered;
  }
  if (inOrder) return result ?? set;
  const source = result ?? set;
  return Object.fromEntries(Object.keys(source).sort(compareElements).map((element) => [element, source[element]!]));
}

/** A set that somebody else wrote, in our form: keys canonical, types of elements that we do not know dropped. Throws PathElementError. */
export function parseFields(value: unknown): Fields {
  return parse(value, 0).children;
}

const depthMax = 200;

function parse(value: unknown, depth: number): { member: boolean; children: Fields } {
  if (depth > depthMax) throw new PathElementError("exceeded max depth");
  if (value === null || value === undefined) return { member: true, children: noFields };
  if (typeof value !== "object" || Array.isArray(value)) throw new PathElementError("expected an object");
  let member = false;
  const children: Draft = {};
  for (const [key, below] of Object.entries(value)) {
    if (key === ".") {
      member = true;
      continue;
    }
    const element = parseElement(key);
    if (element === undefined) continue;
    const inner = parse(below, depth + 1);
    const node = nodeOf(inner.member, inner.children);
    const before = children[element];
    if (node) children[element] = before ? unionOfNodes(before, node) : node;
  }
  return { member: member || isLeaf(children), children };
}
