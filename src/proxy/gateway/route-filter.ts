import { envoyGroup, type HttpRouteFilterObject } from "../../api/envoy/kinds.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { customBody, type CustomBody, isCommand, refuseCommands } from "../policies/backend-answers.ts";
import type { Refusal } from "../policies/effect.ts";
import { fieldsBeyond } from "../policies/fields.ts";
import { References } from "../policies/references.ts";
import type { HeaderModifier, Reference } from "./kinds.ts";
import type { World } from "./world.ts";

interface Spec {
  urlRewrite?: { appendXForwardedHost?: boolean; path?: { type: string; replaceRegexMatch?: { pattern: string; substitution: string } } };
  directResponse?: { statusCode?: number; contentType?: string; body?: CustomBody; header?: HeaderModifier };
  credentialInjection?: { header?: string; overwrite?: boolean; credential: { valueRef: { group?: string; kind?: string; namespace?: string; name: string } } };
}

/** docs/reference/policy-fields.md says the same in words. */
export const honoured: readonly string[] = ["urlRewrite.appendXForwardedHost", "urlRewrite.path.*", "directResponse.*", "credentialInjection.*"];
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
