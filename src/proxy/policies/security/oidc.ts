import { createHash } from "node:crypto";
import type { Policy } from "../../../api/envoy/kinds.ts";
import type { HttpFilter, TextMatch } from "../../../api/traffic.ts";
import { parseDuration } from "../../gateway/duration.ts";
import type { BackendReference } from "../../gateway/kinds.ts";
import type { Refusal } from "../effect.ts";
import type { Need, References } from "../references.ts";
import { backendsOf } from "./ext-auth.ts";
import type { JwtSpec } from "./jwt.ts";

type SecretReference = { group?: string; kind?: string; namespace?: string; name: string };
type OidcFilter = Extract<HttpFilter, { type: "oidc" }>;

export interface OidcSpec {
  provider: { issuer: string; authorizationEndpoint?: string; tokenEndpoint?: string; endSessionEndpoint?: string; backendRef?: BackendReference; backendRefs?: BackendReference[] };
  clientID?: string;
  clientIDRef?: SecretReference;
  clientSecret: SecretReference;
  cookieNames?: { idToken?: string; accessToken?: string };
  cookieConfig?: { sameSite?: "Lax" | "Strict" | "None" };
  cookieDomain?: string;
  scopes?: string[];
  resources?: string[];
  redirectURL?: string;
  logoutPath?: string;
  forwardAccessToken?: boolean;
  forwardIDToken?: { header: string };
  defaultTokenTTL?: string;
  refreshToken?: boolean;
  defaultRefreshTokenTTL?: string;
  csrfTokenTTL?: string;
  passThroughAuthHeader?: boolean;
  denyRedirect?: { headers?: { name: string; type?: string; value: string }[] };
  disableTokenEncryption?: boolean;
}

const matchTypes: Record<string, TextMatch["type"]> = { Exact: "exact", Prefix: "prefix", Suffix: "suffix", RegularExpression: "regex" };

/** Defaults are Envoy Gateway's. */
export function oidcFilter(spec: OidcSpec, jwt: JwtSpec | undefined, references: References, policies: readonly Policy[], refused: Refusal[]): { filters: HttpFilter[]; needs: Need[] } {
  const { provider, clientIDRef, cookieNames, cookieConfig, cookieDomain, scopes = [], resources, redirectURL, logoutPath = "/logout", forwardAccessToken, forwardIDToken, denyRedirect } = spec;
  const refuse = (field: string) => (why: string): void => void refused.push({ field: `oidc.${field}`, why });
  const clientId = clientIDRef ? references.secretText(clientIDRef, "client-id", refuse("clientIDRef")) : spec.clientID;
  const clientSecret = references.secretText(spec.clientSecret, "client-secret", refuse("clientSecret"));
  if (spec.disableTokenEncryption) refuse("disableTokenEncryption")("is not honoured: tokens in cookies are always encrypted");
  const { needs, upstreams } = upstreamsOf(provider, references, refused);
  const { authorizationEndpoint: authorization, tokenEndpoint: token, endSessionEndpoint: endSession } = provider;
  const filter: OidcFilter = {
    type: "oidc",
    issuer: provider.issuer,
    clientId: (clientId ?? "").trim(),
    clientSecret: (clientSecret ?? "").trim(),
    upstreams,
    ...((authorization ?? token ?? endSession) !== undefined && { endpoints: { ...(authorization !== undefined && { authorization }), ...(token !== undefined && { token }), ...(endSession !== undefined && { endSession }) } }),
    redirectUrl: redirectURL ?? "%REQ(x-forwarded-proto)%://%REQ(:authority)%/oauth2/callback",
    logoutPath,
    scopes: scopes.includes("openid") ? scopes : ["openid", ...scopes],
    ...(resources?.length && { resources }),
    cookies: {
      suffix: createHash("sha256").update(policies.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(" ")).digest("hex").slice(0, 8),
      ...(cookieNames?.idToken !== undefined && { idToken: cookieNames.idToken }),
      ...(cookieNames?.accessToken !== undefined && { accessToken: cookieNames.accessToken }),
      ...(cookieDomain !== undefined && { domain: cookieDomain }),
      ...(cookieConfig?.sameSite && { sameSite: cookieConfig.sameSite }),
    },
    refresh: spec.refreshToken ?? true,
    ...(spec.defaultTokenTTL && { defaultTokenMs: parseDuration(spec.defaultTokenTTL) }),
    defaultRefreshMs: parseDuration(spec.defaultRefreshTokenTTL ?? "168h"),
    flowMs: parseDuration(spec.csrfTokenTTL ?? "10m"),
    ...(forwardAccessToken && { forwardAccessToken }),
    ...(forwardIDToken && { forwardIdTokenHeader: forwardIDToken.header }),
    ...(denyRedirect?.headers?.length && { denyRedirect: denyRedirect.headers.map(({ name, type = "Exact", value }) => ({ name, type: matchTypes[type] ?? "exact", value })) }),
    ...(spec.passThroughAuthHeader && { passThrough: passThroughOf(jwt, forwardIDToken?.header, refuse("passThroughAuthHeader")) }),
  };
  return { filters: [filter], needs };
}

/** With a Service for the provider everything is asked there; else what its addresses lead to. Users reach it by themselves. */
function upstreamsOf({ issuer, tokenEndpoint, backendRef, backendRefs }: OidcSpec["provider"], references: References, refused: Refusal[]): { needs: Need[]; upstreams: OidcFilter["upstreams"] } {
  if (backendRef || backendRefs?.length) {
    const { needs, upstreams } = backendsOf({ ...(backendRef && { backendRef }), ...(backendRefs && { backendRefs }) }, "oidc.provider", references, refused);
    if (upstreams.length > 1) refused.push({ field: "oidc.provider.backendRefs", why: "may name one" });
    return { needs, upstreams: upstreams.slice(0, 1).map(({ upstream }) => ({ upstream })) };
  }
  const needs: Need[] = [];
  const upstreams: OidcFilter["upstreams"] = [];
  for (const [field, url] of Object.entries({ issuer, tokenEndpoint })) {
    const origin = url === undefined ? undefined : URL.parse(url)?.origin;
    if (url === undefined || upstreams.some((one) => one.origin === origin)) continue;
    const need = references.url(url, (why) => refused.push({ field: `oidc.provider.${field}`, why }));
    if (!need) continue;
    needs.push(need);
    upstreams.push({ upstream: need.id, origin: origin!, ...(need.settings?.tls && { isVerified: true }) });
  }
  return { needs, upstreams };
}

/** A request that brings a token where the policy's `jwt` looks for one is judged by that. */
function passThroughOf(jwt: JwtSpec | undefined, forwarded: string | undefined, refuse: (why: string) => void): OidcFilter["passThrough"] {
  if (!jwt?.providers.length) {
    refuse("needs jwt, which judges what passes");
    return [];
  }
  if (jwt.failOpen) refuse("lets anybody in where jwt fails open");
  const headers = jwt.providers.flatMap(({ extractFrom }) => (extractFrom ? (extractFrom.headers ?? []).map(({ name, valuePrefix = "" }) => ({ name: name.toLowerCase(), prefix: valuePrefix })) : [{ name: "authorization", prefix: "Bearer " }]));
  if (forwarded !== undefined && headers.some(({ name }) => name === forwarded.toLowerCase())) refuse("reads tokens from the header that forwardIDToken writes");
  return headers.length === 0 ? [] : [{ headers }];
}
