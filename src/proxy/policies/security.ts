import type { Effect } from "./effect.ts";
import type { References } from "./references.ts";
import { extAuthFilter, type ExtAuthSpec } from "./security/ext-auth.ts";
import { parseDuration } from "../gateway/duration.ts";

interface SecuritySpec {
  cors?: { allowOrigins?: string[]; allowMethods?: string[]; allowHeaders?: string[]; exposeHeaders?: string[]; maxAge?: string; allowCredentials?: boolean };
  extAuth?: ExtAuthSpec;
}

/** A SecurityPolicy for the requests of one rule. Fails closed: what cannot be checked is not served. */
export function securityEffect(spec: object, references: References): Effect {
  const { cors, extAuth } = spec as SecuritySpec;
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
  return effect;
}
