import type { HttpRoute, HttpRule, Route, Upstream } from "../../api/traffic.ts";
import { checkRule } from "../../policy/route-table.ts";
import type { Note } from "./annotations/read.ts";
import type { Settings } from "./annotations/settings.ts";
import { aliasOf, resolveBackend } from "./backends.ts";
import type { Ingress, IngressBackend, PathType } from "./kinds.ts";
import { appRootPriority, type Located, matchesOf } from "./locations.ts";
import { type Place, rulesOf } from "./rules.ts";
import type { World } from "./world.ts";

/** An Ingress of ours, read. */
export interface Member {
  /** "NAMESPACE/NAME". */
  key: string;
  ingress: Ingress;
  settings: Settings;
}

export interface CompiledHost {
  routes: Route[];
  upstreams: Upstream[];
  /** What is to be told to which Ingress. */
  notes: { key: string; note: Note }[];
  /** For the next time. */
  memory: HostMemory;
}

/** What became of each path, by "TYPE PATH", and of each Ingress: of 5,000 on one host a change of one touches one. */
export interface HostMemory {
  places: Map<string, CompiledPlace>;
  routes: Map<Member, { text: string; own: readonly CompiledPlace[]; routes: readonly HttpRoute[] }>;
}

interface CompiledPlace {
  /** All that it was made of besides the settings, which are never changed. */
  text: string;
  settings: Settings;
  canary: Settings | undefined;
  http: HttpRule[];
  https: HttpRule[];
  isClosed: boolean;
  wrong?: string;
  isCanarysFault?: boolean;
}

interface Location extends Located {
  member: Member;
  backend: IngressBackend;
  canary?: { member: Member; backend: IngressBackend };
}

export interface HostFacts {
  hasCertificate: boolean;
  httpsPort: number;
  /** Names that are a host of their own: no alias takes them. */
  isHost(name: string): boolean;
}

const listeners = { http: "ingress/http", https: "ingress/https" } as const;

/**
 * All that Ingresses say about one host name, "" for every name. One route for each Ingress, so that a change of one puts one
 * anew; but what they are depends on all of them, as with ingress-nginx, who makes one `server` of them. Older ones go first.
 * With what was made of the host before, what did not change is the same object again.
 */
export function compileHost(world: World, host: string, members: readonly Member[], facts: HostFacts, before?: HostMemory): CompiledHost {
  const notes: CompiledHost["notes"] = [];
  const warn = (member: Member, reason: string, message: string) => notes.push({ key: member.key, note: { type: "Warning", reason, message } });
  const shown = host === "" ? "every host" : host;
  const locations = locationsOf(host, members, shown, warn);
  const matches = matchesOf(locations);
  const upstreams = new Map<string, Upstream>();
  const named = (member: Member, backend: IngressBackend, settings: Settings) => {
    const resolved = resolveBackend(world, member.ingress.metadata.namespace!, backend, settings);
    if (resolved.upstream) upstreams.set(resolved.upstream.id, resolved.upstream);
    if (resolved.unusable) warn(member, "BackendNotFound", `${resolved.unusable}; what would go there is answered with 503`);
    return resolved.backend;
  };
  const memory: HostMemory = { places: new Map(), routes: new Map() };
  const places = new Map<Member, CompiledPlace[]>();
  for (const location of locations) {
    const { member, path, pathType, canary } = location;
    const found = matches.get(location)!;
    if (found.length === 0) continue;
    const { settings } = member;
    const place: Place = {
      name: path,
      owner: `${member.key}/${member.ingress.metadata.uid}`,
      path,
      settings,
      matches: found,
      backend: named(member, standIn(world, member, location.backend) ?? location.backend, settings),
      ...(canary && { canary: { settings: canary.member.settings, backend: named(canary.member, canary.backend, { ...settings, ...(canary.member.settings.balancer && { balancer: canary.member.settings.balancer }) }) } }),
      responseHeaders: headersOf(world, member, warn),
      closed: settings.closed ?? canary?.member.settings.closed,
    };
    const id = `${pathType} ${path}`;
    const text = JSON.stringify([found, place.owner, place.backend, place.canary?.backend, place.responseHeaders, facts.hasCertificate, facts.httpsPort]);
    const known = before?.places.get(id);
    const compiled = known?.text === text && known.settings === settings && known.canary === canary?.member.settings ? known : compilePlace(place, facts, text);
    memory.places.set(id, compiled);
    if (compiled.wrong !== undefined) warn(compiled.isCanarysFault ? canary!.member : member, "InvalidPath", `${shown}${path}: ${compiled.wrong}; it answers 503`);
    const own = places.get(member);
    if (own) own.push(compiled);
    else places.set(member, [compiled]);
  }

  const routes: Route[] = [];
  // Another name for all of the host, whoever gives it.
  const names = [host, ...new Set(members.flatMap((member) => aliasesOf(member, host, facts, warn)))];
  const isRegex = locations.some((location) => matches.get(location)!.some(({ path }) => path.type === "regex" && path.ignoreCase));
  const hasRoot = locations.some(({ path, pathType }) => path === "/" && (isRegex || pathType !== "Exact"));
  const other = host.startsWith("www.") ? host.slice(4) : `www.${host}`;
  const mayRedirect = host !== "" && !host.startsWith("*") && !facts.isHost(other);
  let isFirst = true;
  for (const [member, own] of places) {
    // Requests for a host that is known do not go to one that is every host's.
    const rest = host !== "" && !hasRoot && isFirst ? [notFound(isRegex)] : [];
    isFirst = false;
    const text = JSON.stringify([names, rest, mayRedirect]);
    const known = before?.routes.get(member);
    const isSame = known?.text === text && known.own.length === own.length && own.every((place, i) => place === known.own[i]);
    const made = isSame ? known.routes : routesOf(host, member, own, rest, names, mayRedirect ? other : undefined);
    memory.routes.set(member, { text, own, routes: made });
    routes.push(...made);
  }
  return { routes, upstreams: [...upstreams.values()], notes, memory };
}

function compilePlace(place: Place, facts: HostFacts, text: string): CompiledPlace {
  const common = { text, settings: place.settings, canary: place.canary?.settings };
  const rules = (of: Place) => ({ http: rulesOf(of, { scheme: "http", ...facts }), https: rulesOf(of, { scheme: "https", ...facts }) });
  const wrong = whatIsWrong(place, facts);
  if (wrong === undefined) return { ...common, ...rules(place), isClosed: place.closed !== undefined };
  // An expression that cannot be read matches nothing; what it begins with closes at least what it was meant for.
  const readable = place.matches.filter((match) => checkRule({ name: "", matches: [match], filters: [], backends: [] }) === undefined);
  const matches = readable.length > 0 ? readable : [{ path: { type: "regex", value: `^${literalStart(place.path)}`, partial: true, ignoreCase: true } as const }];
  return { ...common, ...rules({ ...place, matches, closed: wrong }), isClosed: true, wrong, isCanarysFault: isOfCanary(place, facts) };
}

function routesOf(host: string, member: Member, own: readonly CompiledPlace[], rest: readonly HttpRule[], names: string[], other: string | undefined): HttpRoute[] {
  const { appRoot, fromToWww } = member.settings;
  const first = appRoot === undefined || own.every(({ isClosed }) => isClosed) ? [] : [appRootRule(appRoot)];
  const rules = (scheme: "http" | "https") => [...first, ...own.flatMap((place) => place[scheme]), ...rest];
  const id = `Ingress/${member.key}/${host === "" ? "_" : host}`;
  const [http, https] = [rules("http"), rules("https")];
  const routes =
    JSON.stringify(http) === JSON.stringify(https)
      ? [routeOf(id, member, [listeners.http, listeners.https], http, names)]
      : [routeOf(id, member, [listeners.https], https, names), routeOf(`${id}/http`, member, [listeners.http], http, names)];
  if (fromToWww && other !== undefined) {
    const rule: HttpRule = { name: "from-to-www-redirect", matches: [{ path: { type: "prefix", value: "/" } }], filters: [{ type: "redirect", hostname: host, status: 308 }], backends: [] };
    routes.push(routeOf(`${id}/www`, member, [listeners.http, listeners.https], [rule], [other]));
  }
  return routes;
}

function routeOf(id: string, { ingress }: Member, on: readonly string[], rules: HttpRule[], hostnames: string[]): HttpRoute {
  return { id, type: "http", createdAt: Math.floor(Date.parse(ingress.metadata.creationTimestamp) / 1000), attachments: on.map((listener) => ({ listener, hostnames })), rules };
}

type Warn = (member: Member, reason: string, message: string) => void;

/** Paths in the order of their Ingresses' ages; canaries beside what they are canaries of. */
function locationsOf(host: string, members: readonly Member[], shown: string, warn: Warn): Location[] {
  const locations: Location[] = [];
  const byPath = new Map<string, Location>();
  const pathsOf = ({ ingress }: Member) =>
    (ingress.spec.rules ?? []).flatMap((rule) => ((rule.host ?? "").toLowerCase() === host ? (rule.http?.paths ?? []).map(({ path, pathType, backend }) => ({ path: path || "/", pathType, backend })) : []));
  const add = (member: Member, path: string, pathType: PathType, backend: IngressBackend) => {
    const { rewriteTarget, useRegex } = member.settings;
    const location: Location = { member, path, pathType, backend, rewriteTarget, useRegex };
    byPath.set(`${pathType} ${path}`, location);
    locations.push(location);
  };
  const mains = members.filter(({ settings }) => !settings.canary.enabled);
  for (const member of mains) {
    for (const { path, pathType, backend } of pathsOf(member)) {
      const taken = byPath.get(`${pathType} ${path}`);
      if (taken) warn(member, "Conflict", `${shown}${path}: ${taken.member === member ? "it is there twice, and the first goes" : `Ingress ${taken.member.key} is older and has it`}`);
      else add(member, path, pathType, backend);
    }
  }
  for (const member of mains) {
    const { defaultBackend, rules = [] } = member.ingress.spec;
    const isMeant = rules.length === 0 ? host === "" : rules.some((rule) => (rule.host ?? "").toLowerCase() === host);
    if (!defaultBackend || !isMeant) continue;
    const taken = locations.find(({ path, pathType: type }) => path === "/" && type !== "Exact");
    if (!taken) add(member, "/", "Prefix", defaultBackend);
    else if (taken.member !== member) warn(member, "Conflict", `defaultBackend: Ingress ${taken.member.key} is older and has / of ${shown}`);
  }
  for (const member of members) {
    if (!member.settings.canary.enabled) continue;
    if (member.ingress.spec.defaultBackend) warn(member, "CanaryNotUsed", "defaultBackend: a canary stands beside the paths of another Ingress, which a default backend is not");
    for (const { path, pathType, backend } of pathsOf(member)) {
      const main = byPath.get(`${pathType} ${path}`);
      if (!main) warn(member, "CanaryNotUsed", `${shown}${path}: no other Ingress has this host, path and path type, so there is nothing to be a canary of`);
      else if (main.canary) warn(member, "CanaryNotUsed", `${shown}${path}: Ingress ${main.canary.member.key} is its canary already, and there can be one`);
      else main.canary = { member, backend };
    }
  }
  return locations;
}

const appRootRule = (appRoot: string): HttpRule => ({
  name: "app-root",
  matches: [{ path: { type: "exact", value: "/" }, priority: appRootPriority }],
  // The request's arguments do not go along.
  filters: [{ type: "redirect", path: { type: "regex", pattern: "^", substitution: `${appRoot}?` }, status: 302 }],
  backends: [],
});

const notFound = (isRegex: boolean): HttpRule => ({
  name: "default backend",
  matches: [{ path: isRegex ? { type: "regex", value: "^/", partial: true } : { type: "prefix", value: "/" } }],
  filters: [{ type: "respond", status: 404, body: "default backend - 404\n" }],
  backends: [],
});

function aliasesOf(member: Member, host: string, facts: HostFacts, warn: Warn): string[] {
  return member.settings.aliases.filter((alias) => {
    if (alias === host) return false;
    if (facts.isHost(alias)) warn(member, "Conflict", `server-alias: ${alias} is a host of its own`);
    return !facts.isHost(alias);
  });
}

/** While a Service has no endpoint: the one that default-backend names, at its first port. */
function standIn(world: World, { ingress, settings }: Member, { service }: IngressBackend): IngressBackend | undefined {
  const { namespace } = ingress.metadata;
  if (settings.defaultBackend === undefined || !service) return undefined;
  const key = `${namespace}/${service.name}`;
  if (world.isReady(aliasOf(world.service(key)) ?? key)) return undefined;
  const port = world.service(`${namespace}/${settings.defaultBackend}`)?.spec?.ports?.[0]?.port;
  return { service: { name: settings.defaultBackend, port: { number: port ?? 80 } } };
}

function headersOf(world: World, member: Member, warn: Warn): { name: string; value: string }[] {
  const { customHeaders } = member.settings;
  if (customHeaders === undefined) return [];
  const { namespace } = member.ingress.metadata;
  const [name, of = namespace] = customHeaders.split("/").toReversed();
  const map = of === namespace ? world.configMap(`${of}/${name}`) : undefined;
  if (!map) warn(member, "InvalidAnnotation", `custom-headers: ${of === namespace ? `ConfigMap ${of}/${name} does not exist` : "the ConfigMap must be in the namespace of the Ingress"}; no header is added`);
  return Object.entries(map?.data ?? {}).map(([header, value]) => ({ name: header, value }));
}

/** What the engine would not take of one path. */
function whatIsWrong(place: Place, facts: HostFacts): string | undefined {
  for (const rule of rulesOf(place, { scheme: "https", ...facts })) {
    const error = checkRule(rule);
    if (error) return error.message;
  }
  return undefined;
}

function isOfCanary(place: Place, facts: HostFacts): boolean {
  const { canary, ...main } = place;
  return canary !== undefined && whatIsWrong(main, facts) === undefined;
}

function literalStart(path: string): string {
  if (path.includes("|")) return "/";
  return (/^\/[-\w./~]*(?![?*{])/.exec(path)?.[0] ?? "/").replaceAll(".", "\\.");
}
