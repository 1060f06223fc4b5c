import type { Effect } from "./effect.ts";
import type { References } from "./references.ts";
import { type AuthorizationSpec, authorizationFilter } from "./security/authorization.ts";
import { apiKeyFilter, type ApiKeySpec, basicFilter, type BasicSpec } from "./security/credentials.ts";
import { extAuthFilter, type ExtAuthSpec } from "./security/ext-auth.ts";
import { jwtFilter, type JwtSpec } from "./security/jwt.ts";
import { parseDuration } from "../gateway/duration.ts";

interface SecuritySpec {
  cors?: { allowOrigins?: string[]; allowMethods?: string[]; allowHeaders?: string[]; exposeHeaders?: string[]; maxAge?: string; allowCredentials?: boolean };
  extAuth?: ExtAuthSpec;
  csrf?: { additionalOrigins?: string[] };
  apiKeyAuth?: ApiKeySpec;
  basicAuth?: BasicSpec;
  jwt?: JwtSpec;
  authorization?: AuthorizationSpec;
}

/** A SecurityPolicy for the requests of one rule. Fails closed: what cannot be checked is not served. */
export function securityEffect(spec: object, references: References): Effect {
  const { cors, extAuth, csrf, apiKeyAuth, basicAuth, jwt, authorization } = spec as SecuritySpec;
  const effect: Effect = { filters: [], refused: [] };
  if (cors) {
    const { allowOrigins = [], allowMethods = [], allowHeaders = [], exposeHeaders = [], maxAge = "5s", allowCredentials = false } = cors;
    effect.filters!.push({ type: "cors", origins: allowOrigins, methods: allowMethods, headers: allowHeaders, exposeHeaders, maxAgeSeconds: Math.floor(parseDuration(maxAge) / 1000), credentials: allowCredentials });
  }
  if (extAuth) {
    const { filters, needs } = extAuthFilter(extAuth, references, effect.refused);
    effect.filters!.push(...filters);
    effect.needs = [...(effect.needs ?? []), ...needs];
  }
  if (csrf) effect.filters!.push({ type: "csrf", origins: csrf.additionalOrigins ?? [] });
  if (apiKeyAuth) effect.filters!.push(...apiKeyFilter(apiKeyAuth, references, effect.refused));
  if (basicAuth) effect.filters!.push(...basicFilter(basicAuth, references, effect.refused));
  if (jwt) {
    const { filters, needs } = jwtFilter(jwt, references, effect.refused);
    effect.filters!.push(...filters);
    effect.needs = [...(effect.needs ?? []), ...needs];
  }
  if (authorization) effect.filters!.push(...authorizationFilter(authorization, jwt?.providers.map(({ name }) => name) ?? [], effect.refused));
  return effect;
}
