import type { Effect } from "./effect.ts";
import { parseDuration } from "../gateway/duration.ts";

interface SecuritySpec {
  cors?: { allowOrigins?: string[]; allowMethods?: string[]; allowHeaders?: string[]; exposeHeaders?: string[]; maxAge?: string; allowCredentials?: boolean };
}

/** A SecurityPolicy for the requests of one rule. Fails closed: what cannot be checked is not served. */
export function securityEffect(spec: object): Effect {
  const { cors } = spec as SecuritySpec;
  const effect: Effect = { filters: [], refused: [] };
  if (cors) {
    const { allowOrigins = [], allowMethods = [], allowHeaders = [], exposeHeaders = [], maxAge = "5s", allowCredentials = false } = cors;
    effect.filters!.push({ type: "cors", origins: allowOrigins, methods: allowMethods, headers: allowHeaders, exposeHeaders, maxAgeSeconds: Math.floor(parseDuration(maxAge) / 1000), credentials: allowCredentials });
  }
  return effect;
}
