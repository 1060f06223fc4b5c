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

// Source: net/url, shouldEscape for hosts and validUserinfo.
const notInHost = /[^A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"%\u{80}-\u{10ffff}]/u;
const notInUser = /[^A-Za-z0-9\-._:~!$&'()*+,;=%@]/;

/** A URL as a request line has it: with a scheme, or an absolute path. Throws the reason in Go's words. */
function parse(text: string): Url {
  const fail = (reason: string): never => {
    throw new CelEvaluationError(`URL parse error during conversion from string: parse ${JSON.stringify(text)}: ${reason}`);
  };
  if (text === "") return fail("empty url");
  // eslint-disable-next-line no-control-regex -- these are what is refused
  if (/[\x00-\x1f\x7f]/.test(text)) return fail("net/url: invalid control character in URL");
  if (text === "*") return new Url(text, "", "", "*", "");
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1]?.toLowerCase() ?? "";
  if (scheme === "" && text.startsWith(":")) return fail("missing protocol scheme");
  const rest = scheme === "" ? text : text.slice(scheme.length + 1);
  if (!rest.startsWith("/")) return fail("invalid URI for request");
  const question = rest.indexOf("?");
  let path = question < 0 ? rest : rest.slice(0, question);
  const query = question < 0 ? "" : rest.slice(question + 1);
  let host = "";
  if (path.startsWith("//") && (scheme !== "" || !path.startsWith("///"))) {
    const end = path.indexOf("/", 2);
    const authority = end < 0 ? path.slice(2) : path.slice(2, end);
    path = end < 0 ? "" : path.slice(end);
    const at = authority.lastIndexOf("@");
    host = authority.slice(at + 1);
    const wrong = notInHost.exec(host);
    if (wrong) return fail(`invalid character ${JSON.stringify(wrong[0])} in host name`);
    const port = /^(?:\[[^\]]*\]|[^:[\]]*)(:.*)?$/.exec(host);
    if (!port) return fail(host.startsWith("[") ? "missing ']' in host" : `invalid port ${JSON.stringify(host.slice(host.indexOf(":")))} after host`);
    if (port[1] !== undefined && !/^:\d*$/.test(port[1])) return fail(`invalid port ${JSON.stringify(port[1])} after host`);
    if (at > 0 && notInUser.test(authority.slice(0, at))) return fail("net/url: invalid userinfo");
  }
  const escape = /%(?![0-9A-Fa-f]{2}).{0,2}/.exec(path + host);
  if (escape) return fail(`invalid URL escape ${JSON.stringify(escape[0])}`);
  return new Url(text, scheme, host, path, query);
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
