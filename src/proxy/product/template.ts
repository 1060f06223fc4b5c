import type { PathNames } from "../../api/traffic-content.ts";
import type { HttpMatch } from "../../api/traffic.ts";

/** "/pets/{id}/files/{proxy+}" as requests are matched with it. */
export interface PathTemplate {
  /** Of its parameters, in order. */
  names: string[];
  match: Pick<HttpMatch, "path">[];
  /** Sorts those first that go first: a literal element before one with a parameter, that before a parameter, and last the rest of a path. */
  rank: string;
  /** Two templates with the same shape are the same path. */
  shape: string;
  /** The last of `names` is the rest of a path, slashes and all. */
  hasRest?: true;
  /** Takes `names` out of a path where the match itself does not: of the rest of a path. */
  pattern?: string;
}

/** The parameters of a path where filters ask for them. */
export const pathNames = ({ names, pattern }: PathTemplate): { path?: PathNames } => (names.length === 0 ? {} : { path: { type: "regex", names, ...(pattern !== undefined && { pattern }) } });

/** Of HTTP APIs: whatever no other path is for. */
export const defaultPath = "/$default";

const parameter = /\{([^{}/]*?)(\+?)\}/g;

/** @throws Error with what is wrong */
export function readTemplate(base: string, path: string): PathTemplate {
  const names: string[] = [];
  if (path === defaultPath) return { names, match: [{ path: { type: "prefix", value: base === "" ? "/" : base } }], rank: "", shape: defaultPath };
  const elements = path.slice(1).split("/");
  let [pattern, literal, rank, shape] = [escaped(base), base, "", base];
  let isLiteral = true;
  for (const [i, element] of elements.entries()) {
    const rest = /^\{([^{}/]+)\+\}$/.exec(element);
    if (rest) {
      if (i < elements.length - 1) throw new Error(`{${rest[1]}+} must be the last element`);
      names.push(rest[1]!);
      if (isLiteral) return { names, match: [{ path: { type: "prefix", value: literal === "" ? "/" : literal } }], hasRest: true, rank: `${rank}0`, shape: `${shape}/{+}`, pattern: `^${pattern}/?(.*)$` };
      return { names, match: [{ path: { type: "regex", value: `${pattern}/(.*)` } }], hasRest: true, rank: `${rank}0`, shape: `${shape}/{+}` };
    }
    let end = 0;
    let part = "";
    let plain = "";
    for (const found of element.matchAll(parameter)) {
      const [text, name, plus] = found;
      if (name === "") throw new Error("{} has no name");
      if (plus) throw new Error(`${text} must be a whole element`);
      if (names.includes(name!)) throw new Error(`{${name}} is there twice`);
      names.push(name!);
      part += `${escaped(encoded(element.slice(end, found.index)))}([^/]+)`;
      plain += `${element.slice(end, found.index)}{}`;
      end = found.index + text.length;
    }
    const tail = element.slice(end);
    if (/[{}]/.test(tail)) throw new Error(`${element} has a brace that is not closed`);
    part += escaped(encoded(tail));
    plain += tail;
    if (plain.includes("{}")) isLiteral = false;
    rank += plain === "{}" ? "1" : plain.includes("{}") ? "2" : "3";
    pattern += `/${part}`;
    literal += `/${encoded(tail)}`;
    shape += `/${plain}`;
  }
  if (!isLiteral) return { names, match: [{ path: { type: "regex", value: pattern } }], rank, shape };
  // The root of a stage with a path of its own: with and without the slash.
  const values = path === "/" && base !== "" ? [base, `${base}/`] : [literal];
  return { names, match: values.map((value) => ({ path: { type: "exact", value } })), rank, shape };
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
/** As the engine has paths. */
const encoded = (text: string): string => text.replace(/[^!-~]+/gu, (part) => encodeURIComponent(part));

/** A path with parameters, filled: for a substitution, where `${n}` is the n-th capture. @throws Error naming what is not known */
export function substitution(path: string, captureOf: (name: string) => number | undefined): string {
  if (/\$[\d{]/.test(path)) throw new Error(`${path} has a "$" that would be taken for a parameter`);
  return path.replace(parameter, (_, name: string) => {
    const capture = captureOf(name);
    if (capture === undefined) throw new Error(`{${name}} is given by nothing`);
    return `\${${capture}}`;
  });
}
