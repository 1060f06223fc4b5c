import type { HeaderChange, HttpFilter, PathChange } from "../../api/traffic.ts";
import { type ResolvedBackend, resolveBackend } from "./backends.ts";
import type { Unusable } from "./certificates.ts";
import type { HeaderModifier, PathModifier, RouteFilter } from "./kinds.ts";
import { compileRouteFilter, isRouteFilter } from "./route-filter.ts";
import type { World } from "./world.ts";

export interface CompiledFilters {
  filters: HttpFilter[];
  /** The Services that get copies. */
  mirrored: ResolvedBackend[];
  /** A filter that is not honoured: its rule must not be served without it. */
  refused?: Unusable;
  /** A filter names something that is not there: its rule answers 500. */
  unresolved?: Unusable;
}

/** HTTPRoute's and GRPCRoute's filters, in order. */
export function compileFilters(world: World, from: Parameters<typeof resolveBackend>[1], filters: readonly RouteFilter[]): CompiledFilters {
  const compiled: CompiledFilters = { filters: [], mirrored: [] };
  for (const filter of filters) compileFilter(world, from, filter, compiled);
  const types = new Set(filters.map(({ type }) => type));
  if (types.has("RequestRedirect") && types.has("URLRewrite")) compiled.refused = { reason: "IncompatibleFilters", message: "filters: RequestRedirect and URLRewrite cannot be in one rule" };
  return compiled;
}

function compileFilter(world: World, from: Parameters<typeof resolveBackend>[1], filter: RouteFilter, into: CompiledFilters): void {
  switch (filter.type) {
    case "RequestHeaderModifier":
      return void into.filters.push({ type: "requestHeaders", ...headerChange(filter.requestHeaderModifier) });
    case "ResponseHeaderModifier":
      return void into.filters.push({ type: "responseHeaders", ...headerChange(filter.responseHeaderModifier) });
    case "RequestRedirect": {
      const { scheme, hostname, path, port, statusCode = 302 } = filter.requestRedirect ?? {};
      return void into.filters.push({ type: "redirect", ...(scheme && { scheme }), ...(hostname && { hostname }), ...(path && { path: pathChange(path) }), ...(port && { port }), status: statusCode });
    }
    case "URLRewrite": {
      const { hostname, path } = filter.urlRewrite ?? {};
      return void into.filters.push({ type: "rewrite", ...(hostname && { hostname }), ...(path && { path: pathChange(path) }) });
    }
    case "RequestMirror": {
      const { backendRef, percent, fraction } = filter.requestMirror!;
      const resolved = resolveBackend(world, from, backendRef);
      into.mirrored.push(resolved);
      const perMillion = fraction ? Math.round((fraction.numerator * 1_000_000) / (fraction.denominator ?? 100)) : (percent ?? 100) * 10_000;
      if (resolved.upstream) into.filters.push({ type: "mirror", upstream: resolved.upstream.id, perMillion });
      return;
    }
    case "CORS": {
      const { allowOrigins = [], allowMethods = [], allowHeaders = [], exposeHeaders = [], maxAge = 5, allowCredentials = false } = filter.cors ?? {};
      return void into.filters.push({ type: "cors", origins: allowOrigins, methods: allowMethods, headers: allowHeaders, exposeHeaders, maxAgeSeconds: maxAge, credentials: allowCredentials });
    }
    case "ExtensionRef": {
      const { group, kind, name } = filter.extensionRef!;
      const found = isRouteFilter(filter.extensionRef!) ? compileRouteFilter(world, from, name) : undefined;
      if (found) {
        into.filters.push(...found.filters);
        if (found.refused !== undefined) into.unresolved = { reason: "InvalidKind", message: `filters: ${found.refused}` };
        return;
      }
      into.unresolved = { reason: "InvalidKind", message: `filters: extensionRef ${group}/${kind} ${name} is not a filter that Wherry knows` };
      return;
    }
    default:
      into.refused = { reason: "UnsupportedValue", message: `filters: ${filter.type} is not honoured` };
  }
}

const headerChange = ({ set, add, remove }: HeaderModifier = {}): HeaderChange => ({ ...(set && { set }), ...(add && { add }), ...(remove && { remove }) });

const pathChange = ({ type, replaceFullPath = "", replacePrefixMatch = "" }: PathModifier): PathChange => (type === "ReplaceFullPath" ? { type: "full", value: replaceFullPath } : { type: "prefix", value: replacePrefixMatch });
