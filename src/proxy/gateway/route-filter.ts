import { envoyGroup, type HttpRouteFilterObject } from "../../api/envoy/kinds.ts";
import type { HttpFilter, HttpMatch } from "../../api/traffic.ts";
import { customBody, type CustomBody, isCommand, refuseCommands } from "../policies/backend-answers.ts";
import type { Refusal } from "../policies/effect.ts";
import { fieldsBeyond } from "../policies/fields.ts";
import { References } from "../policies/references.ts";
import type { HeaderModifier, Reference, RouteFilter } from "./kinds.ts";
import type { World } from "./world.ts";

interface Spec {
  matches?: { cookies?: { name: string; type?: string; value: string }[] }[];
  urlRewrite?: { hostname?: { type: string; header?: string; pathRegex?: { pattern: string; substitution: string } }; appendXForwardedHost?: boolean; path?: { type: string; replaceRegexMatch?: { pattern: string; substitution: string } } };
  directResponse?: { statusCode?: number; contentType?: string; body?: CustomBody; header?: HeaderModifier };
  credentialInjection?: { header?: string; overwrite?: boolean; credential: { valueRef: { group?: string; kind?: string; namespace?: string; name: string } } };
}

/** docs/reference/policy-fields.md says the same in words. */
export const honoured: readonly string[] = ["urlRewrite.appendXForwardedHost", "urlRewrite.path.*", "urlRewrite.hostname.*", "directResponse.*", "credentialInjection.*", "matches[].cookies[].*"];
export const isRouteFilter = ({ group, kind }: Reference): boolean => group === envoyGroup && kind === "HTTPRouteFilter";

/** Envoy Gateway's HTTPRouteFilter, which a rule names in its own namespace; undefined: it is not there. */
export function compileRouteFilter(world: World, from: { kind: string; namespace: string }, name: string): { filters: HttpFilter[]; refused: string | undefined } | undefined {
  const object = world.routeFilter(`${from.namespace}/${name}`);
  if (!object) return undefined;
  const { urlRewrite, directResponse, credentialInjection } = object.spec as Spec;
  const references = new References(world, "HTTPRouteFilter", from.namespace, () => {});
  const refused: Refusal[] = fieldsBeyond(honoured, object.spec);
  const filters: HttpFilter[] = [];
  if (urlRewrite?.appendXForwardedHost === false) refused.push({ field: "urlRewrite.appendXForwardedHost", why: "false is not honoured: X-Forwarded-Host says what the client asked for" });
  const { hostname } = urlRewrite ?? {};
  if (hostname) {
    const own = hostname.pathRegex && substitutionOf(hostname.pathRegex.substitution);
    if (hostname.type === "Header" && hostname.header !== undefined) filters.push({ type: "rewrite", hostnameFrom: { header: hostname.header } });
    else if (hostname.type === "PathRegex" && own !== undefined) filters.push({ type: "rewrite", hostnameFrom: { pattern: hostname.pathRegex!.pattern, substitution: own } });
    else refused.push({ field: "urlRewrite.hostname", why: hostname.type === "Backend" ? "Backend is not honoured: endpoints of a Service have addresses and no names; URLRewrite's hostname says one" : "has a backslash or dollar sign that is not honoured; \\0 to \\9 are groups" });
  }
  const regex = urlRewrite?.path?.replaceRegexMatch;
  if (regex) {
    const substitution = substitutionOf(regex.substitution);
    if (substitution === undefined) refused.push({ field: "urlRewrite.path.replaceRegexMatch.substitution", why: "has a backslash or dollar sign that is not honoured; \\0 to \\9 are groups" });
    else filters.push({ type: "rewrite", path: { type: "regex", pattern: regex.pattern, substitution, each: true } });
  }
  if (credentialInjection) {
    const { header = "Authorization", overwrite = false, credential } = credentialInjection;
    const value = references.secretText(credential.valueRef, "credential", (why) => refused.push({ field: "credentialInjection.credential.valueRef", why }));
    if (value !== undefined) filters.push({ type: "credential", header, secret: value.replace(/\r?\n$/, ""), overwrite });
  }
  if (directResponse) {
    const { statusCode = 200, contentType, body, header } = directResponse;
    const text = body && customBody(body, "directResponse.body", references, refused);
    if (header) refuseCommands(header, "directResponse.header", refused);
    if (contentType !== undefined && isCommand(contentType)) refused.push({ field: "directResponse.contentType", why: "has a command of Envoy's between percent signs, which is not honoured" });
    if (from.kind === "GRPCRoute" && statusCode < 300) refused.push({ field: "directResponse.statusCode", why: `${statusCode} is no answer for gRPC, which says success in trailers` });
    const headers = [...(contentType === undefined ? [] : [{ name: "content-type", value: contentType }]), ...(header?.set ?? []), ...(header?.add ?? [])];
    filters.push({ type: "respond", status: statusCode, ...(headers.length > 0 && { headers }), ...(text !== undefined && { body: text }) });
  }
  return { filters, refused: refused.length === 0 ? undefined : `HTTPRouteFilter ${from.namespace}/${name}: ${refused.map(({ field, why }) => `spec.${field} ${why}`).join("; ")}` };
}

/**
 * A rule's matches as HTTPRouteFilters that it names narrow them: each of its own with each of theirs. One that is not there narrows nothing,
 * and its rule answers 500.
 */
export function narrowed(world: World, namespace: string, filters: readonly RouteFilter[], matches: readonly HttpMatch[]): HttpMatch[] {
  return filters.reduce((all: readonly HttpMatch[], { extensionRef }) => {
    const spec = extensionRef && isRouteFilter(extensionRef) ? (world.routeFilter(`${namespace}/${extensionRef.name}`)?.spec as Spec | undefined) : undefined;
    if (!spec?.matches?.length) return all;
    const wanted = spec.matches.map(({ cookies = [] }) => cookies.map(({ name, type, value }) => ({ name, type: type === "RegularExpression" ? ("regex" as const) : ("exact" as const), value })));
    return all.flatMap((match) => wanted.map((cookies) => (cookies.length + (match.cookies?.length ?? 0) === 0 ? match : { ...match, cookies: [...(match.cookies ?? []), ...cookies] })));
  }, matches).slice();
}

export const narrowsNoBackend = "filters: a HTTPRouteFilter with matches narrows a rule, and cannot be a backend's";
export const narrows = (world: World, namespace: string, filters: readonly RouteFilter[]): boolean => filters.some((filter) => narrowed(world, namespace, [filter], [{ path: { type: "prefix", value: "/" } }])[0]?.cookies !== undefined);

/** RE2's "\1" as {@link PathChange} has it. */
function substitutionOf(text: string): string | undefined {
  if (/\$[\d{]|\\(?![\d\\])/.test(text)) return undefined;
  return text.replace(/\\(\d|\\)/g, (_, what: string) => (what === "\\" ? "\\" : `\${${what}}`));
}

/** Whether an object that a HTTPRouteFilter names, "KIND", "NAMESPACE/NAME", is named by this one. */
export function names({ metadata, spec }: HttpRouteFilterObject, kind: string, key: string): boolean {
  const { directResponse, credentialInjection } = spec as Spec;
  const { namespace = metadata.namespace, name } = credentialInjection?.credential.valueRef ?? {};
  return kind === "Secret" ? name !== undefined && `${namespace}/${name}` === key : `${metadata.namespace}/${directResponse?.body?.valueRef?.name}` === key;
}
