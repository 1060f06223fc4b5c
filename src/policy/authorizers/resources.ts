/** "arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH", its parts apart: the last one may have colons of its own. */
export type Resource = readonly string[];
export type Fits = (resource: Resource) => boolean;

const partsCount = 6;
const patternCharsMax = 2_048;

export function resourceOf(arn: string): Resource {
  const parts = arn.split(":");
  return [...parts.slice(0, partsCount - 1), parts.slice(partsCount - 1).join(":")];
}

/**
 * A resource of a policy. Its wildcards stay within the part of the name that they stand in, whatever a client writes into a path. Of what is
 * denied `*` goes over slashes, as it does there; of what is allowed only in the path: a stage of any name is not every path that ends alike.
 * @throws Error
 */
export function resourcePattern(text: string, at: string, isAllowing: boolean): Fits {
  if (text.length > patternCharsMax) throw new Error(`${at} is longer than ${patternCharsMax} characters`);
  if (text === "*") return () => true;
  const parts = resourceOf(text);
  if (parts.length < partsCount || text.split(":").length < partsCount) throw new Error(`${at} ${JSON.stringify(text)} is not of the form arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH`);
  const globs = parts.map(globOf);
  if (!isAllowing) return (resource) => globs.every((glob, i) => glob(resource[i]!));
  const elements = elementsOf(parts.at(-1)!, placesCount);
  const places = elements.map(globOf);
  return (resource) => {
    const given = elementsOf(resource.at(-1)!, elements.length);
    return globs.every((glob, i) => i === partsCount - 1 || glob(resource[i]!)) && given.length === places.length && places.every((glob, i) => glob(given[i]!));
  };
}

/** API, stage, method and path. */
const placesCount = 4;
/** The last one has what is left, and its slashes. */
function elementsOf(text: string, count: number): string[] {
  const elements = text.split("/");
  return elements.length <= count ? elements : [...elements.slice(0, count - 1), elements.slice(count - 1).join("/")];
}

/** `*` is anything, `?` any one character. Takes no longer than the product of both lengths. */
export function globOf(pattern: string): (text: string) => boolean {
  const pieces = pattern.split(/\*+/);
  const [first, ...rest] = pieces as [string, ...string[]];
  const last = rest.pop();
  if (last === undefined) return (text) => text.length === first.length && fitsAt(first, text, 0);
  return (text) => {
    if (!fitsAt(first, text, 0)) return false;
    let from = first.length;
    for (const piece of rest) {
      const found = findIn(piece, text, from);
      if (found < 0) return false;
      from = found + piece.length;
    }
    return text.length - last.length >= from && fitsAt(last, text, text.length - last.length);
  };
}

function fitsAt(piece: string, text: string, from: number): boolean {
  if (!piece.includes("?")) return text.startsWith(piece, from);
  if (text.length < from + piece.length) return false;
  for (let i = 0; i < piece.length; i++) if (piece[i] !== "?" && piece[i] !== text[from + i]) return false;
  return true;
}
function findIn(piece: string, text: string, from: number): number {
  if (!piece.includes("?")) return text.indexOf(piece, from);
  for (let i = from; i + piece.length <= text.length; i++) if (fitsAt(piece, text, i)) return i;
  return -1;
}
