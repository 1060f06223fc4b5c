import type { HeaderChange, HttpFilter, PathChange, QuotaRule } from "../../api/traffic.ts";

/** What a filter is set to do, in the words of whoever is called at night: a line, and more of them where it has rules. */
export function describeFilter(filter: HttpFilter): string[] {
  const describe = words[filter.type] as ((filter: HttpFilter) => string | string[]) | undefined;
  if (!describe) return [asItIs(filter)];
  const said = describe(filter);
  const [first, ...rest] = typeof said === "string" ? [said] : said;
  return [first === undefined || first === "" ? filter.type : `${filter.type}: ${first}`, ...rest.map((line) => `  ${line}`)];
}

type Words = { readonly [T in HttpFilter["type"]]?: (filter: Extract<HttpFilter, { type: T }>) => string | string[] };

/** A type that has no line here is told as it is configured. */
const words: Words = {
  apiKey: ({ keys, from, clientHeader, sanitise }) => parts(`${counted(keys, "key")} of ${shortList(unique(keys.map(({ client }) => client)))}, in ${from.map(({ in: place, name }) => `${place} ${name}`).join(" or ")}`, clientHeader !== undefined && `the client's name goes on as ${clientHeader}`, sanitise && "the key does not go on"),
  authorise: ({ rules, otherwise }) => ["", ...rules.map(({ name, action, clients, methods, path, headers = [], token }) => `${action} ${name}: ${parts(methods && methods.join(" or "), path && `path ${path.not ? "not " : ""}${path.type} ${path.value}`, clients && `from ${shortList(clients)}`, ...headers.map((header) => `${header.name} ${header.values.join(" or ")}`), token && parts(`token of ${token.provider}`, token.scopes && `scope ${token.scopes.join(" ")}`, ...(token.claims ?? []).map((claim) => `claim ${claim.name} ${claim.values.join(" or ")}`))) || "everybody"}`), `${otherwise} all others`],
  anyOf: ({ of }) => ["one of these is enough", ...of.flatMap((way, i) => [`${i + 1}.`, ...way.flatMap(describeFilter).map((line) => `  ${line}`)])],
  authorizer: ({ name, upstream, target, event, simple, identity, ttlSeconds, validation, timeoutMs }) =>
    parts(
      `${name} asks ${upstream} at ${target}`,
      event === "token" ? "about a token" : `about a request, payload format ${event === "request2" ? "2.0" : "1.0"}`,
      simple && "for yes or no",
      identity.length > 0 && `known by ${identity.map((source) => `${source.in} ${source.name}`).join(" and ")}, else 401`,
      validation !== undefined && `that fits ${cut(validation)}`,
      ttlSeconds > 0 && identity.length > 0 ? `what it says is kept for ${ttlSeconds} s in each worker` : "each time",
      `no answer in ${timeoutMs} ms: 500`,
    ),
  basic: ({ users, userHeader }) => parts(`${counted(users, "user")}: ${shortList(users.map(({ name }) => name))}`, userHeader !== undefined && `the name goes on as ${userHeader}`),
  bodyLimit: ({ bytes }) => `${bytes} bytes, else 413`,
  cache: ({ ttlSeconds, key, staleWhileRevalidateSeconds, staleIfErrorSeconds, share, ...rest }) =>
    parts(
      ttlSeconds === undefined && key?.query?.length === 0 && !key.headers ? "a request that succeeds has what is kept of its path forgotten" : ttlSeconds ? `answers that say nothing: ${ttlSeconds} s` : "answers that say for how long",
      key?.query && key.query.length > 0 && `told apart by ${shortList(key.query)} of the query`,
      key?.headers && `and by ${shortList(key.headers)}`,
      staleWhileRevalidateSeconds !== undefined && `stale for ${staleWhileRevalidateSeconds} s while a newer one is fetched`,
      staleIfErrorSeconds !== undefined && `stale for ${staleIfErrorSeconds} s instead of an error`,
      rest.bytesMax !== undefined && `${rest.bytesMax} bytes in all`,
      share !== undefined && `kept for ${share}`,
      "in each worker",
    ),
  compress: ({ encodings }) => encodings.map(({ name, minBytes }) => `${name} from ${minBytes} bytes on`).join(", "),
  concurrency: ({ max, by, status = 503 }) => `${max} at once${by === "client" ? " for each client" : ""}, else ${status}, in each worker`,
  cors: ({ origins, originPatterns = [], methods, headers, credentials, maxAgeSeconds }) => parts(`origins ${shortList([...origins, ...originPatterns.map((pattern) => `like ${pattern}`)]) || "(none)"}`, methods.length > 0 && `methods ${methods.join(" ")}`, headers.length > 0 && `headers ${headers.join(" ")}`, credentials && "with credentials", `preflights are good for ${maxAgeSeconds} s`),
  credential: ({ header, overwrite }) => parts(`${header} (not shown)`, !overwrite && "unless the client sends one"),
  csrf: ({ origins, shadowPerMillion }) => parts(`requests that change something come from a page of this host${origins.length > 0 ? ` or of ${shortList(origins)}` : ""}`, shadowPerMillion !== undefined && `${shadowPerMillion / 10_000} % of those that do not are let through and told in the log`),
  extAuth: ({ upstreams, protocol, timeoutMs, failOpen, statusOnError = 403, pathPrefix, pathOverride, headers, headersToBackend, bodyBytesMax, context }) =>
    parts(`asks ${upstreams.map(({ upstream }) => upstream).join(" or ")} over ${protocol}`, pathOverride !== undefined && `at ${pathOverride}`, pathPrefix !== undefined && `at ${pathPrefix} before the path`, headers && `tells it ${shortList(headers)}`, bodyBytesMax !== undefined && `and the body, up to ${bodyBytesMax} bytes`, context && `with ${shortList(Object.keys(context))}`, headersToBackend && `takes ${shortList(headersToBackend)} from it`, `no answer in ${timeoutMs} ms: ${failOpen ? "goes on" : statusOnError}`),
  fault: ({ delay, abort }) => parts(delay && `${delay.perMillion / 10_000} % wait ${delay.ms} ms`, abort && `${abort.perMillion / 10_000} % are answered with ${abort.grpcStatus === undefined ? abort.status : `gRPC status ${abort.grpcStatus}`}`),
  gatewayResponses: ({ rules }) => `how refusals look: ${unique(rules.map(({ name, status }) => (status === undefined ? name : `${name} as ${status}`))).join(", ")}`,
  jwt: ({ providers, optional, failOpen }) => [
    parts(`a token of ${providers.map(({ name }) => name).join(" or ")}`, optional && "or none", failOpen && "whoever shows another goes on too"),
    ...providers.map(({ name, issuer, audiences, keys, claimHeaders = [], headers = [], params = [], cookies = [] }) =>
      `${name}: ${parts(`issuer ${issuer ?? "any"}`, audiences && `for ${shortList(audiences)}`, keys ? `keys from ${keys.upstream}${keys.target}` : "keys are in the policy", headers.length + params.length + cookies.length > 0 && `in ${[...headers.map((header) => `header ${header.name}`), ...params.map((param) => `parameter ${param}`), ...cookies.map((cookie) => `cookie ${cookie}`)].join(" or ")}`, ...claimHeaders.map(({ header, claim }) => `${claim} goes on as ${header}`))}`,
    ),
  ],
  mirror: ({ upstream, perMillion }) => `${perMillion === 1_000_000 ? "every request" : `${perMillion / 10_000} %`} to ${upstream} too`,
  oidc: ({ issuer, clientId, logoutPath, scopes }) => parts(`who has not logged in is sent to ${issuer}`, `as client ${clientId}`, `scopes ${scopes.join(" ")}`, `logout ${logoutPath}`),
  override: ({ rules }) => oneOrMore(rules.map(({ statuses, headers = [], source, status, body, contentType, change, redirect }) => `${parts(statuses.map(({ from, to }) => (from === to ? String(from) : `${from}–${to}`)).join(", "), source !== undefined && (source === "local" ? "of the gateway's own" : "of the program's"), ...headers.map(({ name }) => `with ${name}`))} → ${redirect ? `redirect, ${redirect.status}` : parts(status !== undefined ? String(status) : "as it is", body !== undefined && `a body of ${body.length} characters`, contentType, change && describeChange(change))}`)),
  plans: ({ plans }) => oneOrMore(plans.map(({ name, limits }) => `${name}: ${limits.flatMap(({ throttle, quota }) => [...(throttle ? [`${throttle.requestsPerSecond} a second, ${throttle.burst} at once`] : []), ...(quota ? [`${quota.requests} ${article(quota.unit)}`] : [])]).join(", ") || "no limits"} for each key`)),
  quota: ({ rules }) => oneOrMore(rules.map(describeQuota)),
  rateLimit: ({ requests, periodMs, burst, by, share, status = 429, except }) => parts(`${requests} ${periodMs === 1000 ? "a second" : periodMs === 60_000 ? "a minute" : `in ${periodMs / 1000} s`}`, `${burst + 1} at once`, by === "route" ? "all requests together" : by === "client" ? "for each client" : `for each ${by.header}`, share !== undefined && `counted for ${share}`, except && `but not for ${shortList(except)}`, `else ${status}`),
  redirect: ({ status, scheme, hostname, port, path }) => parts(String(status), scheme !== undefined && `scheme ${scheme}`, hostname !== undefined && `host ${hostname}`, port !== undefined && `port ${port}`, path && describePath(path)),
  requestBuffer: ({ bytes }) => `the body is there whole before anybody is asked; longer than ${bytes} bytes: 413`,
  requestHeaders: (change) => describeChange(change),
  requestTemplate: ({ templates, passthrough }) => parts(describeTemplates(templates), `other types: ${passthrough === "whenNoMatch" || (passthrough === "whenNoTemplates" && Object.keys(templates).length === 0) ? "as they come" : "415"}`),
  respond: ({ status, headers = [], body }) => parts(String(status), ...headers.map(({ name, value }) => `${name}: ${cut(value)}`), body !== undefined && body !== "" && `a body of ${body.length} characters`),
  responseHeaders: (change) => describeChange(change),
  responseTemplate: ({ responses, closed }) => oneOrMore([...responses.map(({ pattern, status, templates, headers = [] }) => `${pattern ?? "others"} → ${parts(status === undefined ? "as it is" : String(status), templates && Object.keys(templates).length > 0 && describeTemplates(templates), headers.length > 0 && `headers ${headers.map(({ name }) => name).join(" ")}`)}`), ...(closed ? ["what is not named here does not go on"] : [])]),
  rewrite: ({ hostname, hostnameFrom, path }) => parts(hostname !== undefined && `host ${hostname}`, hostnameFrom && `host from ${"header" in hostnameFrom ? hostnameFrom.header : "the path"}`, path && describePath(path)),
  sourceRanges: ({ allow, deny }) => parts(deny && `not from ${shortList(deny)}`, allow && `only from ${shortList(allow)}`, "else 403"),
  validate: ({ body, parameters = [], dryRun, closedQuery }) => parts(parameters.length > 0 && parameters.map(({ in: place, name, required }) => `${place} ${name}${required || place === "path" ? " (required)" : ""}`).join(", "), closedQuery && "no other parameters", body && `body of ${Object.keys(body.content).join(" or ")}${body.required ? " (required)" : ""}`, dryRun ? "on trial: the log says what would be refused" : "else 400"),
};

function describeQuota({ limit, unit, isLocal, when = {}, by = [], cost, isShadow, id, perRoute }: QuotaRule): string {
  const each = by.map((part) => (part === "client" ? "client" : "header" in part ? `header ${part.header}` : `parameter ${part.query}`));
  const value = (what: string) => ({ name, type, value: wanted, not }: NonNullable<typeof when.headers>[number]): string => `${what} ${name} ${not ? "not " : ""}${type === "exact" ? "" : `${type} `}${wanted}`;
  const { methods, path, headers = [], query = [], clients = [] } = when;
  const meant = parts(methods && methods.map(({ method, not }) => `${not ? "not " : ""}${method}`).join(" or "), path && `path ${path.not ? "not " : ""}${path.type} ${path.value}`, ...headers.map(value("header")), ...query.map(value("query")), ...clients.filter(({ ranges }) => !ranges.every((range) => range === "0.0.0.0/0" || range === "::/0")).map(({ ranges, not }) => `${not ? "not " : ""}from ${shortList(ranges)}`));
  return parts(
    isLocal ? `a bucket of ${limit} that fills again over ${article(unit)}` : `${limit} ${article(unit)}`,
    each.length > 0 && `for each ${each.join(" and ")}`,
    meant !== "" && `of ${meant}`,
    cost?.request !== undefined && `a request costs ${cost.request}`,
    cost?.response !== undefined && `an answer ${cost.response}`,
    isShadow ? "on trial: the log says who would be refused" : "else 429",
    `counted as ${id}${perRoute ? " of this route" : ""}`,
  );
}

const parts = (...all: readonly (string | false | undefined)[]): string => all.filter((part): part is string => typeof part === "string" && part !== "").join(", ");
const oneOrMore = (lines: readonly string[]): string[] => (lines.length === 1 ? [...lines] : ["", ...lines]);
const article = (unit: string): string => `${unit === "hour" ? "an" : "a"} ${unit}`;
const counted = ({ length }: readonly unknown[], what: string): string => `${length} ${what}${length === 1 ? "" : "s"}`;
const unique = (values: readonly string[]): string[] => [...new Set(values)];
const cut = (text: string): string => (text.length > 100 ? `${text.slice(0, 40)}… (${text.length} characters)` : text);
const shortList = (values: readonly string[]): string => (values.length > 8 ? `${values.slice(0, 6).map(cut).join(" ")} and ${values.length - 6} more` : values.map(cut).join(" "));
const describeTemplates = (templates: Readonly<Record<string, string>>): string => Object.entries(templates).map(([type, text]) => `a template for ${type} (${text.length} characters)`).join(", ");

function describePath(path: PathChange): string {
  if (path.type === "full") return `path ${path.value}`;
  if (path.type === "prefix") return `path begins with ${path.value} instead`;
  return `path ${path.substitution}${path.pattern === undefined ? "" : ` for ${path.pattern}`}`;
}

function describeChange({ set = [], add = [], remove = [] }: HeaderChange): string {
  const values = (list: readonly { name: string; value: string }[]): string => list.map(({ name, value }) => `${name}: ${cut(value)}`).join(", ");
  return parts(set.length > 0 && `set ${values(set)}`, add.length > 0 && `add ${values(add)}`, remove.length > 0 && `remove ${remove.join(" ")}`);
}

function asItIs({ type, ...fields }: HttpFilter): string {
  const text = Object.entries(fields).map(([name, value]) => `${name} ${typeof value === "string" ? (shown(name, value) as string) : JSON.stringify(shown(name, value), shown)}`);
  return `${type}${text.length > 0 ? `: ${text.join(", ")}` : ""}`;
}

/** What a password or key can be guessed from is not for terminals; a set of keys is too long for them. */
function shown(name: string, value: unknown): unknown {
  // What schemas refer into: as long as people like.
  if (name === "document") return `(${JSON.stringify(value).length} characters)`;
  // Values of ext-auth's context may be from Secrets.
  if (name === "context" && typeof value === "object" && value !== null) return Object.keys(value);
  if (typeof value !== "string") return value;
  if (/^sha(1|256)$|secret$|password$/i.test(name)) return "(not shown)";
  return value.length > 300 ? `${value.slice(0, 40)}… (${value.length} characters)` : value;
}
