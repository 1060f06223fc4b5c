import type { AuthorisationPolicy } from "./authorisation.ts";

/**
 * What stands before pods, compiled from one AuthorizationPolicy, PeerAuthentication or RequestAuthentication: plain JSON, which
 * crosses process borders. Pods are named by their labels and not by their addresses: one that starts is guarded before its
 * first program runs, whatever else is still to be compiled.
 */
export interface Guard {
  /** "istio:AuthorizationPolicy/NAMESPACE/NAME". */
  id: string;
  /** Seconds since the epoch: of two `peer` for the same pods the older is in force, then the lesser id. */
  createdAt: number;
  /** Absent: pods of all namespaces. */
  namespace?: string;
  /** Only pods that have all of these. */
  labels?: Record<string, string>;
  /** "NAMESPACE/NAME" of Services, instead of pods: whoever calls them by their own addresses. */
  services?: string[];
  authorisation?: AuthorisationPolicy;
  peer?: PeerRule;
  /** Which tokens are believed; a request with one that is not is refused, and one without goes on. */
  tokens?: TokenRule[];
  log?: LogRule;
}

/** Which requests have a line in the access log; of several the one for the fewest pods says it, then the oldest. */
export interface LogRule {
  /** Absent: all. */
  when?: LogTest;
  isDisabled?: boolean;
}
/** What has no such field, or header, is neither true nor false, and has no line. */
export type LogTest =
  | { field: string; is: "==" | "!=" | "<" | "<=" | ">" | ">=" | "startsWith" | "endsWith" | "contains" | "matches"; value: string | number }
  /** A header that need only be there. */
  | { has: string }
  | { all: LogTest[] }
  | { any: LogTest[] }
  | { not: LogTest };

/** `STRICT`: only callers whose identity is proved. */
export type PeerMode = "DISABLE" | "PERMISSIVE" | "STRICT";
export interface PeerRule {
  /** Absent: what holds for more pods than these, else PERMISSIVE. */
  mode?: PeerMode;
  /** By the pod's port. */
  ports?: Record<string, PeerMode>;
}

/** JSON Web Tokens of one issuer. Source: istio.io, JWTRule; RFC 7519. */
export interface TokenRule {
  /** Absent: any. */
  issuer?: string;
  /** One of them must be among the token's; absent: any. */
  audiences?: string[];
  /** A JSON Web Key Set, else where one is to be had: "http://SERVICE.NAMESPACE…/PATH" within the cluster. */
  jwks?: string;
  jwksUri?: string;
  /** Where tokens are looked for, names in lower case. Without any: "Authorization: Bearer …", and the parameter "access_token". */
  headers?: { name: string; prefix: string; /** Of "Bearer ", in any case: with or without it. */ isOptional?: true }[];
  params?: string[];
  cookies?: string[];
  /** Of a token without an audience its client id (`client_id`) is one. */
  clientIdIsAudience?: boolean;
  /** The program gets the token too. */
  isForwarded?: boolean;
  /** A header for the program: the token's payload in base64url. */
  payloadHeader?: string;
  claimHeaders?: { header: string; claim: string }[];
  /** Claims that are lists with spaces between, besides "scope" and "permission". */
  spaceDelimited?: string[];
}
