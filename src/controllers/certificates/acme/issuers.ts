import type { CertificateRequest, Issuer } from "../../../api/cert-manager/types.ts";
import type { GroupVersionResource } from "../../../api/meta.ts";
import type { Action, Plan } from "../../action.ts";
import type { Cache } from "../../cache.ts";
import { tellIssuer } from "../issuer.ts";
import type { Outcome } from "../request.ts";

/** Issuers whose ACME server is spoken to, and what they sign. */
export interface AcmeIssuers {
  plan(resource: GroupVersionResource, key: string, issuer: Issuer, cache: Cache, nowMs: number): Plan;
  /** Called again whenever there is something new; `tell` makes the actions that say an outcome. */
  planRequest(key: string, request: CertificateRequest, issuer: Issuer, cache: Cache, nowMs: number, tell: (outcome: Outcome) => Action[]): Plan;
  stop(): Promise<void>;
}

/** Where nobody can answer challenges: an API server alone. */
export const withoutAcme: AcmeIssuers = {
  plan: (resource, _key, issuer, _cache, nowMs) => ({ actions: tellIssuer(resource, issuer, { status: "False", reason: "NotSupported", message: "no data plane is here that could answer an ACME server's challenges" }, nowMs) }),
  planRequest: () => ({ actions: [] }),
  stop: () => Promise.resolve(),
};
