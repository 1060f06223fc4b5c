import { CelMap, Opaque, sizeOf } from "./values.ts";

/**
 * What a call costs when it runs: one unit for most, and by the sizes for what looks at every character or element.
 * Source: cel-go's interpreter/runtimecost.go and k8s.io/apiserver/pkg/cel/library/cost.go.
 */
export const costs = { access: 1, list: 10, map: 30, struct: 40, authorizerCheck: 350_000 };
/** Of a character against one element. */
export const perCharacter = 0.1;
/** Of a pattern's character: an expression of one is thought to be four long. */
export const perPatternCharacter = 0.25;

const traversal = (value: unknown, times = 1): number => Math.ceil(sizeOf(value) * perCharacter * times);
/** Looking for a part in a text is not counted upstream. */
const perElement = (value: unknown): number => (Array.isArray(value) || value instanceof CelMap || value instanceof Opaque ? sizeOf(value) : 0);
const pattern = ([text, expression]: readonly unknown[]): number => Math.ceil((1 + sizeOf(text)) * perCharacter) * Math.ceil(sizeOf(expression) * perPatternCharacter);
const first = ([value]: readonly unknown[]): number => traversal(value);
const least = ([a, b]: readonly unknown[]): number => Math.ceil(Math.min(sizeOf(a), sizeOf(b)) * perCharacter);
const isText = (value: unknown): boolean => typeof value === "string" || value instanceof Uint8Array;

type CallCost = (args: readonly unknown[], result: unknown) => number;
const product = ([a, b]: readonly unknown[]): number => (Array.isArray(a) && Array.isArray(b) ? a.length * b.length : 0);

const byName: Record<string, CallCost> = {
  dyn: () => 0,
  check: () => costs.authorizerCheck,
  matches: pattern,
  find: pattern,
  findAll: pattern,
  contains: ([text, part]) => (isText(text) ? traversal(text) * traversal(part) : 1),
  startsWith: ([, part]) => traversal(part),
  endsWith: ([, part]) => traversal(part),
  "@in": ([, container]) => (Array.isArray(container) ? container.length : 1),
  "_==_": least,
  "_!=_": least,
  "_<_": (args) => (isText(args[0]) ? least(args) : 1),
  "_<=_": (args) => (isText(args[0]) ? least(args) : 1),
  "_>_": (args) => (isText(args[0]) ? least(args) : 1),
  "_>=_": (args) => (isText(args[0]) ? least(args) : 1),
  "_+_": ([a, b]) => (isText(a) ? Math.ceil((sizeOf(a) + sizeOf(b)) * perCharacter) : 1),
  string: ([value]) => (isText(value) ? traversal(value) : 1),
  bytes: first,
  "strings.quote": first,
  format: (args) => first(args),
  isSorted: ([list]) => perElement(list),
  sum: ([list]) => perElement(list),
  max: ([list]) => perElement(list),
  min: ([list]) => perElement(list),
  indexOf: ([list]) => perElement(list),
  lastIndexOf: ([list]) => perElement(list),
  lowerAscii: first,
  upperAscii: first,
  substring: first,
  trim: first,
  replace: ([text]) => traversal(text, 2),
  split: ([text]) => traversal(text, 2),
  join: (_, result) => traversal(result, 2),
  cidr: first,
  isIP: first,
  isCIDR: first,
  url: first,
  ip: ([value]) => (value instanceof Opaque ? 1 : traversal(value)),
  "ip.isCanonical": ([text]) => traversal(text, 2),
  containsIP: ([cidr, other]) => traversal(cidr, 2) + (typeof other === "string" ? traversal(other) : 0),
  containsCIDR: ([cidr, other]) => traversal(cidr, 2) + traversal(cidr) + 1 + (typeof other === "string" ? traversal(other) : 0),
  quantity: first,
  isQuantity: first,
  semver: first,
  isSemver: first,
  validate: ([format, text]) => Math.ceil((1 + sizeOf(text)) * perCharacter) * Math.ceil((format as { patternSize?: number }).patternSize! * perPatternCharacter),
  "sets.contains": (args) => 1 + product(args),
  "sets.equivalent": (args) => 1 + 2 * product(args),
  "sets.intersects": (args) => 1 + product(args),
  "jsonpatch.escapeKey": first,
};

export const callCost = (name: string): CallCost | undefined => (Object.hasOwn(byName, name) ? byName[name] : undefined);
