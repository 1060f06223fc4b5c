import type { HttpMatch, ValueMatch } from "../../api/traffic.ts";
import { compilePattern } from "../../policy/pattern.ts";
import type { HttpMatchRequest, StringMatch } from "../../api/istio/kinds.ts";
import type { Report } from "./report.ts";

export interface MatchContext {
  /** The Service port that was dialled. */
  port: number;
  /** Addresses of the pods with these labels. */
  clients(labels: Record<string, string>, namespace: string | undefined): string[];
  report: Report;
}

const standardMethods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
const meshGateway = "mesh";

/**
 * One of a route's matches, as matches of the engine, any of which may fit; none where it can never fit a request that was made
 * inside the mesh to this port.
 */
export function compileMatch(match: HttpMatchRequest, { port, clients, report }: MatchContext, at: string): HttpMatch[] {
  if (match.gateways?.length && !match.gateways.includes(meshGateway)) return [];
  if (match.port !== undefined && match.port !== port) return [];
  // Whoever speaks TLS is not read.
  if (match.scheme && !fits(match.scheme, "http")) return [];
  if (match.statPrefix) report.field(`${at}.statPrefix`, "metrics are not kept by it");
  const { sourceLabels, sourceNamespace } = match;
  const from = sourceNamespace || sourceLabels ? clients(sourceLabels ?? {}, sourceNamespace) : undefined;
  if (from?.length === 0) return [];
  const headers: ValueMatch[] = [
    ...(match.authority && isGiven(match.authority) ? [valueMatch("host", match.authority)] : []),
    ...entries(match.headers).map(([name, wanted]) => valueMatch(name.toLowerCase(), wanted)),
    ...entries(match.withoutHeaders).map(([name, unwanted]) => ({ ...valueMatch(name.toLowerCase(), unwanted), not: true })),
  ];
  const query = entries(match.queryParams).map(([name, wanted]) => valueMatch(name, wanted));
  const methods = methodsOf(match.method);
  return methods.map((method) => ({
    path: pathOf(match.uri, match.ignoreUriCase === true),
    ...(method !== undefined && { method }),
    ...(headers.length > 0 && { headers }),
    ...(query.length > 0 && { query }),
    ...(from && { clients: from }),
  }));
}

/** Whether it holds for every request: nothing after it is reached. */
export function isMatchAll({ path, ...conditions }: HttpMatch): boolean {
  return path.type === "prefix" && path.value === "/" && Object.keys(conditions).length === 0;
}

/** Istio's prefixes go by characters: "/api" means "/apis" as well. */
function pathOf(uri: StringMatch | undefined, ignoreCase: boolean): HttpMatch["path"] {
  const cases = ignoreCase && { ignoreCase };
  if (uri?.exact !== undefined) return { type: "exact", value: uri.exact, ...cases };
  if (uri?.regex !== undefined) return { type: "regex", value: uri.regex };
  if (uri?.prefix === undefined || uri.prefix === "/") return { type: "prefix", value: "/" };
  return { type: "regex", value: `^${quoted(encoded(uri.prefix))}`, partial: true, ...cases };
}

/** Undefined is any. HTTP's own methods stand for a pattern: nobody means others by one. */
function methodsOf(method: StringMatch | undefined): (string | undefined)[] {
  if (!method || !isGiven(method)) return [undefined];
  if (method.exact !== undefined) return [method.exact];
  return standardMethods.filter((name) => fits(method, name));
}

const isGiven = ({ exact, prefix, regex }: StringMatch): boolean => (exact ?? prefix ?? regex) !== undefined;
const entries = (of: Record<string, StringMatch> | undefined): [string, StringMatch][] => Object.entries(of ?? {});

/** Without a value it need only be there. */
function valueMatch(name: string, { exact, prefix, regex }: StringMatch): ValueMatch {
  if (exact !== undefined) return { name, type: "exact", value: exact };
  if (prefix !== undefined) return { name, type: "prefix", value: prefix };
  if (regex !== undefined) return { name, type: "regex", value: regex };
  return { name, type: "present", value: "" };
}

/** @throws PolicyError its regular expression is none */
export function fits({ exact, prefix, regex }: StringMatch, text: string): boolean {
  if (exact !== undefined) return text === exact;
  if (prefix !== undefined) return text.startsWith(prefix);
  return regex === undefined || compilePattern(regex, { whole: true }, "regex").test(text);
}

/** Literally, in a regular expression. */
export const quoted = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
/** As paths are written when they are compared. */
const encoded = (path: string): string => path.replace(/[^!-~]+/gu, (text) => encodeURIComponent(text.toWellFormed()));
