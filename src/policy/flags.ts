/**
 * Why an answer is not the upstream's, in the access log and in {@link LocalAnswer.flag}: the short words that Envoy's
 * `%RESPONSE_FLAGS%` has made known, and five of our own where Envoy has none. `status` is what the client gets unless
 * the configuration says otherwise; 0: there is nobody left to answer, or the answer had begun.
 */
export const flags = {
  NR: { status: 404, meaning: "No route: no listener, host name or rule fits the request." },
  MD: { status: 421, meaning: "Misdirected: the connection was made for another host name. Not in Envoy." },
  LD: { status: 508, meaning: "Loop detected: the request has come through a gateway of this kind again and again. Not in Envoy." },
  NC: { status: 500, meaning: "No backend: the rule names none that exists, or all have weight 0." },
  UH: { status: 503, meaning: "No healthy upstream: the Service has no endpoint that may be used." },
  UF: { status: 503, meaning: "Upstream connection failure: no endpoint that was tried accepted a connection." },
  UC: { status: 503, meaning: "Upstream connection termination: it broke before an answer came." },
  UT: { status: 504, meaning: "Upstream request timeout: no answer within the rule's time." },
  UO: { status: 503, meaning: "Upstream overflow: a bound of its circuit breaker is reached, or the circuit is open." },
  UPE: { status: 502, meaning: "Upstream protocol error: the answer was not HTTP as it must be." },
  URX: { status: 503, meaning: "Upstream retry limit: the request was tried as often as the rule allows." },
  RL: { status: 429, meaning: "Rate limited: more requests than the rule allows in this time." },
  CL: { status: 503, meaning: "Concurrency limited: more requests at once than the rule allows. Not in Envoy." },
  AC: { status: 503, meaning: "Admission control: too many of the last requests have failed, and this one was not tried. Not in Envoy, which says it in %RESPONSE_CODE_DETAILS%." },
  FI: { status: 503, meaning: "Fault injected: the rule ends a share of its requests on purpose." },
  AD: { status: 403, meaning: "Access denied: the client's address is not among those allowed. Not in Envoy." },
  PD: { status: 403, meaning: "Policy denies: an AuthorizationPolicy or a rule of a SecurityPolicy, which the reason names. Not in Envoy, which says it in %RESPONSE_CODE_DETAILS%." },
  NI: { status: 403, meaning: "No identity: a PeerAuthentication is STRICT, and nobody knows who calls. Not in Envoy, which breaks the connection." },
  JWT: { status: 401, meaning: "A RequestAuthentication or SecurityPolicy does not believe the token, or there is none; 403 when it is for another audience. Not in Envoy, which says it in %RESPONSE_CODE_DETAILS%." },
  NA: { status: 401, meaning: "Not authenticated: no API key or password that is known. Not in Envoy." },
  XO: { status: 403, meaning: "Cross-origin: a page of another site has made its browser ask for a change. Not in Envoy." },
  UAEX: { status: 403, meaning: "Unauthorised by an external service: who says who may said no, or could not be asked." },
  RV: { status: 400, meaning: "Request validation: parameters or body are not as the API describes them; 415 for a body that cannot be read. Not in Envoy." },
  RB: { status: 403, meaning: "Rule broken: a request rule refuses it, which the reason names. Not in Envoy." },
  TF: { status: 500, meaning: "Template failed: a request or an answer could not be made of what it had. Not in Envoy." },
  OIDC: { status: 401, meaning: "OpenID Connect: nobody is logged in and may not be sent to log in, or a login did not come to its end. Not in Envoy." },
  OM: { status: 503, meaning: "Overload: too much of other requests and answers is held here already." },
  BL: { status: 413, meaning: "Body limit: the request's body is larger than allowed. Not in Envoy." },
  CH: { status: 200, meaning: "Cache hit: what was kept of an earlier answer. Not in Envoy." },
  DR: { status: 200, meaning: "Direct response: the rule itself answers (redirect, fixed answer, CORS preflight). Not in Envoy." },
  DPE: { status: 400, meaning: "Downstream protocol error: the request was not HTTP as it must be." },
  SI: { status: 408, meaning: "Stream idle timeout: nothing came from the client for too long." },
  DC: { status: 0, meaning: "Downstream connection termination: the client went away before the answer ended." },
} as const satisfies Record<string, { status: number; meaning: string }>;

export type Flag = keyof typeof flags;
