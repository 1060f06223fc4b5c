import type { HttpMatchRequest, HttpRoute, StringMatch, VirtualService } from "../../api/istio/kinds.ts";

/** One entry of `http`, with whose words it is: names in it are of that object's namespace, and what is told is told to it. */
export interface WrittenRoute {
  route: HttpRoute;
  by: VirtualService;
  /** "http[2]", within that object. */
  at: string;
}

/**
 * A VirtualService's routes, with those of the objects that it delegates to in their places; what cannot be delegated stays as it
 * is. A route of theirs holds where both its own match and the delegating one's do, and is itself in what both say. Source:
 * istio.io, Delegate.
 */
export function writtenRoutes(root: VirtualService, find: (key: string) => VirtualService | undefined): WrittenRoute[] {
  return (root.spec.http ?? []).flatMap((route, i): WrittenRoute[] => {
    const own: WrittenRoute = { route, by: root, at: `http[${i}]` };
    const { delegate } = route;
    if (!delegate?.name) return [own];
    const to = find(`${delegate.namespace || root.metadata.namespace}/${delegate.name}`);
    // One that has hosts is in force by itself, and one that delegates further is not followed.
    if (!to || to.spec.hosts?.length) return [own];
    return (to.spec.http ?? []).flatMap((inner, k) => {
      const match = bothMatches(route.match ?? [], inner.match ?? []);
      if (match === "none") return [];
      const { delegate: _, match: _match, ...usual } = route;
      const name = [route.name, inner.name].filter(Boolean).join("-");
      return [{ route: { ...usual, ...inner, ...(match.length > 0 && { match }), ...(name !== "" && { name }) }, by: to, at: `http[${k}]` }];
    });
  });
}

/** Requests that fit one of either; [] is all, "none" is no request at all. */
function bothMatches(outer: readonly HttpMatchRequest[], inner: readonly HttpMatchRequest[]): HttpMatchRequest[] | "none" {
  if (outer.length === 0) return [...inner];
  if (inner.length === 0) return [...outer];
  const both = outer.flatMap((a) => inner.flatMap((b) => bothOf(a, b) ?? []));
  return both.length > 0 ? both : "none";
}

function bothOf(outer: HttpMatchRequest, inner: HttpMatchRequest): HttpMatchRequest | undefined {
  for (const field of ["uri", "scheme", "method", "authority"] as const) if (!isWithin(inner[field], outer[field])) return undefined;
  for (const field of ["headers", "withoutHeaders", "queryParams"] as const) for (const [name, value] of Object.entries(outer[field] ?? {})) if (!isWithin(inner[field]?.[name], value)) return undefined;
  for (const field of ["port", "sourceNamespace"] as const) if (inner[field] && outer[field] && inner[field] !== outer[field]) return undefined;
  for (const [label, value] of Object.entries(outer.sourceLabels ?? {})) if ((inner.sourceLabels?.[label] ?? value) !== value) return undefined;
  if (inner.uri && outer.uri && (inner.ignoreUriCase ?? false) !== (outer.ignoreUriCase ?? false)) return undefined;
  return {
    ...outer,
    ...inner,
    ...merged("headers", outer, inner),
    ...merged("withoutHeaders", outer, inner),
    ...merged("queryParams", outer, inner),
    ...merged("sourceLabels", outer, inner),
  };
}

function merged(field: "headers" | "withoutHeaders" | "queryParams" | "sourceLabels", outer: HttpMatchRequest, inner: HttpMatchRequest): Partial<HttpMatchRequest> {
  const both = { ...outer[field], ...inner[field] };
  return Object.keys(both).length > 0 ? { [field]: both } : {};
}

/** Whether all that fits the inner one fits the outer one, as far as can be said: patterns are not compared. */
function isWithin(inner: StringMatch | undefined, outer: StringMatch | undefined): boolean {
  if (!inner || !outer || isAny(outer)) return true;
  if (isAny(inner)) return false;
  if (outer.exact !== undefined) return inner.exact === outer.exact;
  if (outer.prefix !== undefined) return (inner.exact ?? inner.prefix)?.startsWith(outer.prefix) ?? false;
  return false;
}
const isAny = ({ exact, prefix, regex }: StringMatch): boolean => (exact ?? prefix ?? regex) === undefined;
