/**
 * Who may call, compiled from AuthorizationPolicies: plain JSON, which crosses process borders. Texts in lists of strings are as
 * Istio has them: "abc" is exactly that, "abc*" a beginning, "*abc" an end, "*" anything that is there.
 */
export interface AuthorisationPolicy {
  /** "NAMESPACE/NAME". */
  name: string;
  action: "ALLOW" | "DENY" | "AUDIT" | "CUSTOM";
  /** Its verdict is told and not heeded. */
  isDryRun?: boolean;
  /** Any of them; none at all fits nothing. */
  rules: AuthorisationRule[];
}

/** All three. Absent: anybody, anything, always. */
export interface AuthorisationRule {
  /** Any of them. */
  from?: AuthorisationSource[];
  /** Any of them. */
  to?: AuthorisationOperation[];
  /** All of them. */
  when?: AuthorisationCondition[];
}

/** Of one value that is asked for, any text must fit, and none of the negative ones. Absent: not asked for. */
export interface TextsWanted {
  any?: string[];
  none?: string[];
}

/** All that are given must fit. */
export interface AuthorisationSource {
  /** "TRUST-DOMAIN/ns/NAMESPACE/sa/NAME". */
  principals?: TextsWanted;
  /** "ISSUER/SUBJECT" of a valid token. */
  requestPrincipals?: TextsWanted;
  namespaces?: TextsWanted;
  /** "NAMESPACE/NAME". */
  serviceAccounts?: TextsWanted;
  trustDomains?: TextsWanted;
  /** Addresses or CIDRs: of whoever opened the connection. */
  ipBlocks?: TextsWanted;
  /** Of the client that a trusted proxy has named, else the same. */
  remoteIpBlocks?: TextsWanted;
}

/** All that are given must fit; only ports mean something where HTTP is not spoken. */
export interface AuthorisationOperation {
  /** Regardless of case; a port behind the name is not asked for unless it is written. */
  hosts?: TextsWanted;
  /** Numbers: of the pod that is called. */
  ports?: TextsWanted;
  methods?: TextsWanted;
  /** Also with "{*}" for one part of a path and "{**}" for any number of them. */
  paths?: TextsWanted;
}

export interface AuthorisationCondition extends TextsWanted {
  /** "request.headers[x-user]", "source.ip", "request.auth.claims[groups]": see istio.io, Authorization Policy Conditions. */
  key: string;
}
