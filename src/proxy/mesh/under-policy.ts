import type { Upstream } from "../../api/traffic.ts";

/**
 * An upstream of a Gateway, an Ingress or a route of Gateway API, under what a DestinationRule says of its Service port: each
 * part that nothing of its own says. Whoever says how TLS is spoken (BackendTLSPolicy), or cannot be had, is left with that.
 */
export function underPolicy(upstream: Upstream, rule: Upstream | undefined): Upstream {
  if (!rule) return upstream;
  const { balancer, connectMs, idleMs, connectionAgeMs, breaker, outlier, panicPercent, slowStart, retryBudget, tls, error, protocol } = rule;
  const parts = Object.fromEntries(Object.entries({ balancer, connectMs, idleMs, connectionAgeMs, breaker, outlier, panicPercent, slowStart, retryBudget }).filter(([, value]) => value !== undefined)) as Partial<Upstream>;
  if (upstream.tls || upstream.error) return { ...parts, ...upstream };
  const spoken = upstream.protocol === "http1" ? protocol : tls && upstream.protocol === "h2c" ? "h2" : upstream.protocol;
  return { ...parts, ...upstream, protocol: spoken, ...(tls && { tls }), ...(error && { error }) };
}
