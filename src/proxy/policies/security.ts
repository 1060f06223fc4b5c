import type { Policy } from "../../api/envoy/kinds.ts";
import type { Effect } from "./effect.ts";
import type { References } from "./references.ts";
import { type AuthorizationSpec, authorizationFilter } from "./security/authorization.ts";
import { apiKeyFilter, type ApiKeySpec, basicFilter, type BasicSpec } from "./security/credentials.ts";
import { extAuthFilter, type ExtAuthSpec } from "./security/ext-auth.ts";
import { jwtFilter, type JwtSpec } from "./security/jwt.ts";
import { oidcFilter, type OidcSpec } from "./security/oidc.ts";
import { parseDuration } from "../gateway/duration.ts";

interface SecuritySpec {
  cors?: { allowOrigins?: string[]; allowMethods?: string[]; allowHeaders?: string[]; exposeHeaders?: string[]; maxAge?: string; allowCredentials?: boolean };
  extAuth?: ExtAuthSpec;
  oidc?: OidcSpec;
  csrf?: { additionalOrigins?: string[]; shadowFraction?: { numerator: number; denominator?: number } };
  apiKeyAuth?: ApiKeySpec;
  basicAuth?: BasicSpec;
  jwt?: JwtSpec;
  authorization?: AuthorizationSpec;
}

/** A SecurityPolicy for the requests of one rule. Fails closed: what cannot be checked is not served. */
export function securityEffect(spec: object, references: References, policies: readonly Policy[]): Effect {
  const { cors, extAuth, oidc, csrf, apiKeyAuth, basicAuth, jwt, authorization } = spec as SecuritySpec;
  const effect: Effect = { filters: [], refused: [] };
  if (cors) {
    const { allowOrigins = [], allowMethods = [], allowHeaders = [], exposeHeaders = [], maxAge = "5s", allowCredentials = false } = cors;
    effect.filters!.push({ type: "cors", origins: allowOrigins, methods: allowMethods, headers: allowHeaders, exposeHeaders, maxAgeSeconds: Math.floor(parseDuration(maxAge) / 1000), credentials: allowCredentials });
  }
  if (oidc) {
    const { filters, needs } = oidcFilter(oidc, jwt, references.of("oidc", policies), policies, effect.refused);
    effect.filters!.push(...filters);
    effect.needs = [...(effect.needs ?? []), ...needs];
  }
  if (extAuth) {
    const { filters, needs } = extAuthFilter(extAuth, references.of("extAuth", policies), effect.refused);
    effect.filters!.push(...filters);
    effect.needs = [...(effect.needs ?? []), ...needs];
  }
  if (csrf) {
    const { additionalOrigins = [], shadowFraction: { numerator, denominator = 100 } = { numerator: 0 } } = csrf;
    const shadowPerMillion = Math.min(1_000_000, Math.round((numerator / denominator) * 1_000_000));
    effect.filters!.push({ type: "csrf", origins: additionalOrigins, ...(shadowPerMillion > 0 && { shadowPerMillion }) });
  }
  if (apiKeyAuth) effect.filters!.push(...apiKeyFilter(apiKeyAuth, references.of("apiKeyAuth", policies), effect.refused));
  if (basicAuth) effect.filters!.push(...basicFilter(basicAuth, references.of("basicAuth", policies), effect.refused));
  if (jwt) {
    const { filters, needs } = jwtFilter(jwt, references.of("jwt", policies), effect.refused);
    effect.filters!.push(...filters);
    effect.needs = [...(effect.needs ?? []), ...needs];
  }
  if (authorization) effect.filters!.push(...authorizationFilter(authorization, jwt?.providers.map(({ name }) => name) ?? [], effect.refused));
  return effect;
}
