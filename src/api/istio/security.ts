import type { KubeObject } from "../meta.ts";

/** security.istio.io, as far as it is read. */
export const securityResources = {
  authorizationPolicies: { group: "security.istio.io", version: "v1", resource: "authorizationpolicies" },
  peerAuthentications: { group: "security.istio.io", version: "v1", resource: "peerauthentications" },
  requestAuthentications: { group: "security.istio.io", version: "v1", resource: "requestauthentications" },
} as const;

/** Which pods an object is for: those with these labels, what is named, or all of its namespace. */
export interface WorkloadTarget {
  selector?: { matchLabels?: Record<string, string> };
  targetRef?: TargetRef;
  targetRefs?: TargetRef[];
}

export interface TargetRef {
  group?: string;
  kind: string;
  name: string;
  namespace?: string;
}

export interface AuthorizationSource {
  principals?: string[];
  notPrincipals?: string[];
  requestPrincipals?: string[];
  notRequestPrincipals?: string[];
  namespaces?: string[];
  notNamespaces?: string[];
  serviceAccounts?: string[];
  notServiceAccounts?: string[];
  trustDomains?: string[];
  notTrustDomains?: string[];
  ipBlocks?: string[];
  notIpBlocks?: string[];
  remoteIpBlocks?: string[];
  notRemoteIpBlocks?: string[];
}

export interface AuthorizationOperation {
  hosts?: string[];
  notHosts?: string[];
  ports?: string[];
  notPorts?: string[];
  methods?: string[];
  notMethods?: string[];
  paths?: string[];
  notPaths?: string[];
}

export interface AuthorizationPolicy extends KubeObject {
  spec?: WorkloadTarget & {
    action?: "ALLOW" | "DENY" | "AUDIT" | "CUSTOM";
    provider?: { name?: string };
    rules?: { from?: { source?: AuthorizationSource }[]; to?: { operation?: AuthorizationOperation }[]; when?: { key: string; values?: string[]; notValues?: string[] }[] }[];
  };
}

export type MtlsMode = "UNSET" | "DISABLE" | "PERMISSIVE" | "STRICT";

export interface PeerAuthentication extends KubeObject {
  spec?: Pick<WorkloadTarget, "selector"> & { mtls?: { mode?: MtlsMode }; portLevelMtls?: Record<string, { mode?: MtlsMode }> };
}

export interface JwtRule {
  issuer?: string;
  audiences?: string[];
  jwksUri?: string;
  jwks_uri?: string;
  jwks?: string;
  fromHeaders?: { name: string; prefix?: string }[];
  fromParams?: string[];
  fromCookies?: string[];
  outputPayloadToHeader?: string;
  outputClaimToHeaders?: { header: string; claim: string }[];
  forwardOriginalToken?: boolean;
  timeout?: string;
  spaceDelimitedClaims?: string[];
}

export interface RequestAuthentication extends KubeObject {
  spec?: WorkloadTarget & { jwtRules?: JwtRule[] };
}
