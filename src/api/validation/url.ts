/** What Go's url.Parse sees in a text: more than a browser takes, since a relative path is a URL too. */
export interface GoUrl {
  scheme: string;
  /** "name:password", as it stands. Undefined: none. */
  user?: string;
  /** With its port. */
  host: string;
  path: string;
  query: string;
  fragment: string;
}

// Source: net/url, shouldEscape for hosts and validUserinfo.
const notInHost = /[^A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"%\u{80}-\u{10ffff}]/u;
const notInUser = /[^A-Za-z0-9\-._:~!$&'()*+,;=%@]/;
const badEscape = /%(?![0-9A-Fa-f]{2}).{0,2}/;

/**
 * As url.Parse, or, of what stands in a request line, url.ParseRequestURI: an absolute URL or path without a fragment.
 * Throws an Error with Go's text: `parse ":x": missing protocol scheme`.
 */
export function parseGoUrl(text: string, { inRequest = false }: { inRequest?: boolean } = {}): GoUrl {
  const hash = inRequest ? -1 : text.indexOf("#");
  const whole = hash < 0 ? text : text.slice(0, hash);
  const fragment = hash < 0 ? "" : text.slice(hash + 1);
  const fail = (reason: string, of = whole): never => {
    throw new Error(`parse ${JSON.stringify(of)}: ${reason}`);
  };
  if (inRequest && whole === "") return fail("empty url");
  // eslint-disable-next-line no-control-regex -- these are what is refused
  if (/[\x00-\x1f\x7f]/.test(whole)) return fail("net/url: invalid control character in URL");
  if (whole === "*") return { scheme: "", host: "", path: "*", query: "", fragment };
  if (whole.startsWith(":")) return fail("missing protocol scheme");
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(whole)?.[1] ?? "";
  let path = scheme === "" ? whole : whole.slice(scheme.length + 1);
  const question = path.indexOf("?");
  const query = question < 0 ? "" : path.slice(question + 1);
  if (question >= 0) path = path.slice(0, question);
  const lower = scheme.toLowerCase();
  if (inRequest && !path.startsWith("/")) return fail("invalid URI for request");
  // With a scheme and no slash it is opaque: "mailto:ann".
  if (!path.startsWith("/") && scheme !== "") return { scheme: lower, host: "", path: "", query, fragment };
  if (path.split("/")[0]!.includes(":")) return fail("first path segment in URL cannot contain colon");
  let host = "";
  let user: string | undefined;
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
    if (at >= 0) user = authority.slice(0, at);
    if (user !== undefined && notInUser.test(user)) return fail("net/url: invalid userinfo");
  }
  const escape = badEscape.exec(path + host);
  if (escape) return fail(`invalid URL escape ${JSON.stringify(escape[0])}`);
  const inFragment = badEscape.exec(fragment);
  if (inFragment) return fail(`invalid URL escape ${JSON.stringify(inFragment[0])}`, text);
  return { scheme: lower, ...(user !== undefined && { user }), host, path, query, fragment };
}
