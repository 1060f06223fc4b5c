import { parseGoUrl } from "../../validation/url.ts";
import { CelEvaluationError } from "../errors.ts";
import { CelMap, EntryMap, Opaque } from "../values.ts";
import { declare } from "./declare.ts";

/** What Go's url.ParseRequestURI sees in a text. Source: k8s.io/apiserver/pkg/cel/library/urls.go. */
class Url extends Opaque {
  readonly typeName = "kubernetes.URL";
  readonly text: string;
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;

  constructor(text: string, scheme: string, host: string, path: string, query: string) {
    super();
    [this.text, this.scheme, this.host, this.path, this.query] = [text, scheme, host, path, query];
  }
  override equals(other: unknown): boolean {
    return other instanceof Url && other.text === this.text;
  }
  get hostname(): string {
    const bracketed = /^\[(.*)\](?::\d*)?$/.exec(this.host);
    return bracketed ? bracketed[1]! : this.host.replace(/:\d*$/, "");
  }
  get port(): string {
    return /:(\d*)$/.exec(this.host.replace(/^\[.*\]/, ""))?.[1] ?? "";
  }
}

/** Throws the reason in Go's words. */
function parse(text: string): Url {
  try {
    const { scheme, host, path, query } = parseGoUrl(text, { inRequest: true });
    return new Url(text, scheme, host, path, query);
  } catch (error) {
    throw new CelEvaluationError(`URL parse error during conversion from string: ${(error as Error).message}`);
  }
}

/** A path as url.URL.EscapedPath prints it. */
const escapedPath = (path: string): string => path.replaceAll(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/%[\]]/gu, (character) => encodeURIComponent(character));

function queryOf(query: string): CelMap {
  const map = new EntryMap();
  for (const part of query.split("&")) {
    if (part === "" || part.includes(";")) continue;
    const at = part.indexOf("=");
    const [key, value] = [at < 0 ? part : part.slice(0, at), at < 0 ? "" : part.slice(at + 1)].map((each) => {
      try {
        return decodeURIComponent(each.replaceAll("+", " "));
      } catch {
        return undefined;
      }
    });
    if (key === undefined || value === undefined) continue;
    const values = map.get(key) as string[] | undefined;
    if (values) values.push(value);
    else map.set(key, [value]);
  }
  return map;
}

/** What is wrong with a URI, for `format.uri()`. */
export function uriProblems(text: string): string[] {
  try {
    parse(text);
    return [];
  } catch (error) {
    return [(error as Error).message.replace("URL parse error during conversion from string: ", "")];
  }
}

export const urls = declare([
  ["url", "(string): kubernetes.URL", ([text]) => parse(text)],
  ["isURL", "(string): bool", ([text]) => uriProblems(text).length === 0],
  ["getScheme", "kubernetes.URL.(): string", ([url]) => url.scheme],
  ["getHost", "kubernetes.URL.(): string", ([url]) => url.host],
  ["getHostname", "kubernetes.URL.(): string", ([url]) => url.hostname],
  ["getPort", "kubernetes.URL.(): string", ([url]) => url.port],
  ["getEscapedPath", "kubernetes.URL.(): string", ([url]) => escapedPath(url.path)],
  ["getQuery", "kubernetes.URL.(): map<string, list<string>>", ([url]) => queryOf(url.query)],
]);
