/**
 * One step of a path to a field, in the form that FieldsV1 writes: `f:name` a field or a key of a map,
 * `k:{"name":"c"}` the element of an associative list with this key, `v:"x"` an element of a set, `i:0` the element
 * of a list at this index. A path is a list of steps.
 * Source: sigs.k8s.io/structured-merge-diff/v6/fieldpath/{element,serialize-pe}.go.
 */
export type PathElement = string;
export type Path = readonly PathElement[];

export class PathElementError extends Error {}

export const fieldElement = (name: string): PathElement => `f:${name}`;
export const valueElement = (value: unknown): PathElement => `v:${goJson(value)}`;

/** `entries` need not be in order: the element's text has its names sorted. */
export function keyElement(entries: [name: string, value: unknown][]): PathElement {
  if (entries.length > 1) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  let text = "k:{";
  for (const [name, value] of entries) text += `${text.length > 3 ? "," : ""}${goJson(name)}:${goJson(value)}`;
  return `${text}}`;
}

/** Go's encoder writes some harmless characters as escapes. */
function goJson(value: unknown): string {
  const text = JSON.stringify(value);
  return /[<>&\u2028\u2029]/.test(text) ? text.replace(/[<>&\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`) : text;
}

/**
 * An element as somebody else wrote it, in our form; undefined for a type that is not known, which is passed over.
 * Throws PathElementError.
 */
export function parseElement(text: string): PathElement | undefined {
  if (text.length < 2) throw new PathElementError("key must be 2 characters long:");
  if (text[1] !== ":") throw new PathElementError(`missing colon: ${text}`);
  const rest = text.slice(2);
  switch (text[0]) {
    case "f":
      return text;
    case "v":
      return valueElement(parsed(rest));
    case "k": {
      const fields = parsed(rest);
      if (typeof fields !== "object" || fields === null || Array.isArray(fields)) throw new PathElementError(`expected an object as key: ${text}`);
      return keyElement(Object.entries(fields));
    }
    case "i":
      if (!/^[+-]?\d+$/.test(rest)) throw new PathElementError(`strconv.Atoi: parsing ${JSON.stringify(rest)}: invalid syntax`);
      return `i:${Number(rest)}`;
    default:
      return undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new PathElementError(`invalid JSON in path element: ${text}`);
  }
}

/** As messages print it: `.name`, `[name="c"]`, `[="x"]`, `[0]`. */
function printValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(printValue).join(",")}]`;
  // Upstream gives a map no braces and no commas.
  if (typeof value === "object" && value !== null) return Object.entries(value).map(([name, item]) => `${name}=${printValue(item)}`).join("");
  return JSON.stringify(value);
}

export function printElement(element: PathElement): string {
  const rest = element.slice(2);
  switch (element[0]) {
    case "f":
      return `.${rest}`;
    case "k":
      return `[${Object.entries(JSON.parse(rest) as object)
        .map(([name, value]) => `${name}=${printValue(value)}`)
        .join(",")}]`;
    case "v":
      return `[=${JSON.stringify(JSON.parse(rest))}]`;
    default:
      return `[${rest}]`;
  }
}

export const printPath = (path: Path): string => path.map(printElement).join("");

const order = ".fkvi";
const numbers = /:-?\d/;

/** The order in which FieldsV1 lists elements: fields, keys, values, indices; each by its content. */
export function compareElements(a: PathElement, b: PathElement): number {
  if (a === b) return 0;
  const [first, second] = [a[0]!, b[0]!];
  if (first !== second) return order.indexOf(first) - order.indexOf(second);
  // Keys and values of text alone are in the order of their texts too.
  if (first === "f" || first === "." || (!numbers.test(a) && !numbers.test(b))) return a < b ? -1 : 1;
  if (first === "k") return compareKeys(Object.entries(JSON.parse(a.slice(2)) as object), Object.entries(JSON.parse(b.slice(2)) as object));
  return compareScalars(JSON.parse(a.slice(2)), JSON.parse(b.slice(2)));
}

function compareKeys(a: [string, unknown][], b: [string, unknown][]): number {
  for (let index = 0; index < a.length && index < b.length; index++) {
    const [name, value] = a[index]!;
    const [other, otherValue] = b[index]!;
    if (name !== other) return name < other ? -1 : 1;
    const compared = compareScalars(value, otherValue);
    if (compared !== 0) return compared;
  }
  return a.length - b.length;
}

const types = ["number", "string", "boolean", "object"];

function compareScalars(a: unknown, b: unknown): number {
  if (typeof a !== typeof b) return types.indexOf(typeof a) - types.indexOf(typeof b);
  return a === b ? 0 : (a as string) < (b as string) ? -1 : 1;
}
