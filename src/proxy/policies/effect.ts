import type { EdgeListener, HttpFilter, HttpRule, ListenerTls, Upstream } from "../../api/traffic.ts";
import type { ResolvedBackend } from "../gateway/backends.ts";

/** A field that cannot be done as it is written: the policy is not accepted, and what it is for is not served without it. */
export interface Refusal {
  /** From `spec`: "jwt.providers[0].remoteJWKS.uri". */
  field: string;
  why: string;
}

/** What one kind's policy comes to, for the requests of one rule. */
export interface Effect {
  /** Before the rule's own, in the order of {@link filterOrder}. */
  filters?: HttpFilter[];
  /** Unless the rule says it itself. */
  rule?: Pick<HttpRule, "timeouts" | "retry" | "persistence">;
  /** How the rule's backends are called. */
  upstream?: Partial<Upstream>;
  /** Service ports that filters ask by themselves. */
  needs?: NonNullable<ResolvedBackend["upstream"]>[];
  refused: Refusal[];
}

/** What a ClientTrafficPolicy comes to, for one listener. */
export interface ListenerEffect extends Pick<EdgeListener, "limits" | "manners" | "proxyProtocol" | "keepAliveSeconds" | "streamIdleMs" | "openingMs"> {
  /** Of a listener that decrypts. */
  tls?: Partial<ListenerTls>;
  refused: Refusal[];
}

/**
 * In which order policies' filters see a request: who may not come in costs as little as can be, and what is counted or stored is
 * known to be somebody's. Answers pass them the other way. A rule's own filters (rewrites, headers, mirrors) come behind all of these.
 */
export const filterOrder: readonly HttpFilter["type"][] = ["compress", "override", "sourceRanges", "upgrades", "cors", "requestRules", "csrf", "apiKey", "basic", "oidc", "jwt", "extAuth", "authorizer", "anyOf", "authorise", "bodyLimit", "requestBuffer", "rateLimit", "plans", "quota", "concurrency", "fault", "cache", "admission", "bandwidth", "validate", "requestTemplate", "responseTemplate"];

export function inOrder(filters: readonly HttpFilter[]): HttpFilter[] {
  const place = ({ type }: HttpFilter): number => {
    const at = filterOrder.indexOf(type);
    return at < 0 ? filterOrder.length : at;
  };
  return filters.toSorted((a, b) => place(a) - place(b));
}
