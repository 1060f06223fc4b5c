import type { HttpMatch } from "../../api/traffic.ts";
import type { PathType } from "./kinds.ts";

/** What decides how a path becomes one of nginx's locations. */
export interface Located {
  path: string;
  pathType: PathType;
  rewriteTarget: string;
  useRegex: boolean;
}

const needsRewrite = ({ rewriteTarget, path }: Located): boolean => rewriteTarget !== "" && rewriteTarget !== path;

/** Above every length of a path. */
const exactPriority = 1_000_000;
export const appRootPriority = 2_000_000;

/**
 * The paths of one host as matches, by ingress-nginx's rules. As soon as one of its Ingresses rewrites or uses regular
 * expressions, every path of the host is `location ~* "^PATH"`: found regardless of case, the longest first. Else Prefix
 * goes by path elements, Exact is exact, and ImplementationSpecific is nginx's own prefix, which "/foo" of "/foobar" is too.
 *
 * Sources: updateServerLocations, buildLocation and the sorting in getBackendServers of kubernetes/ingress-nginx.
 */
export function matchesOf<T extends Located>(locations: readonly T[]): Map<T, HttpMatch[]> {
  return locations.some((location) => needsRewrite(location) || location.useRegex) ? regexMatches(locations) : plainMatches(locations);
}

function regexMatches<T extends Located>(locations: readonly T[]): Map<T, HttpMatch[]> {
  const exact = new Set(locations.filter(({ pathType }) => pathType === "Exact").map(({ path }) => path));
  const placed = new Map<string, T>();
  const place = (path: string, location: T) => void (placed.has(path) || placed.set(path, location));
  for (const location of locations) {
    const { path, pathType } = location;
    if (path === "/" || pathType !== "Prefix" || needsRewrite(location) || location.useRegex) {
      place(path, location);
      continue;
    }
    // A plain prefix is two locations, which as expressions are no longer exact.
    place(path.endsWith("/") ? path : `${path}/`, location);
    if (!exact.has(path)) place(path, location);
  }
  const paths = [...placed.keys()].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  // The length decides, which is the engine's order as well; only where two are as long it has to be told.
  const hasTies = paths.some((path, i) => path.length === paths[i + 1]?.length);
  const matches = new Map<T, HttpMatch[]>(locations.map((location) => [location, []]));
  for (const [i, path] of paths.entries()) {
    matches.get(placed.get(path)!)!.push({ path: { type: "regex", value: `^${path}`, partial: true, ignoreCase: true }, ...(hasTies && { priority: i + 1 }) });
  }
  return matches;
}

function plainMatches<T extends Located>(locations: readonly T[]): Map<T, HttpMatch[]> {
  const isLoose = ({ path, pathType }: Located) => pathType === "ImplementationSpecific" && path !== "/";
  // Without loose prefixes the engine's order is nginx's: exact, then the longest prefix.
  const hasLoose = locations.some(isLoose);
  const matches = new Map<T, HttpMatch[]>();
  for (const location of locations) {
    const { path, pathType } = location;
    const asWritten = path === "/" || path.endsWith("/") || pathType !== "Prefix" ? path : `${path}/`;
    const priority = hasLoose ? { priority: pathType === "Exact" ? exactPriority : asWritten.length } : {};
    const match: HttpMatch["path"] =
      pathType === "Exact" ? { type: "exact", value: path } : isLoose(location) ? { type: "regex", value: `^${path.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}`, partial: true } : { type: "prefix", value: path };
    matches.set(location, [{ path: match, ...priority }]);
  }
  return matches;
}
