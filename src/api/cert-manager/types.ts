import type { Condition, GroupVersionResource, KubeObject } from "../meta.ts";

/** cert-manager.io/v1, as cert-manager/cert-manager defines it. */
export const certManagerGroup = "cert-manager.io";
const resource = (name: string): GroupVersionResource => ({ group: certManagerGroup, version: "v1", resource: name });
export const certManager = {
  certificates: resource("certificates"),
  certificateRequests: resource("certificaterequests"),
  issuers: resource("issuers"),
  clusterIssuers: resource("clusterissuers"),
} as const;

export interface IssuerRef {
  name: string;
  /** Issuer, unless said. */
  kind?: string;
  group?: string;
}

export interface CertificateSpec {
  secretName: string;
  issuerRef: IssuerRef;
  commonName?: string;
  dnsNames?: string[];
  ipAddresses?: string[];
  uris?: string[];
  emailAddresses?: string[];
  subject?: { organizations?: string[]; countries?: string[]; organizationalUnits?: string[]; localities?: string[]; provinces?: string[]; streetAddresses?: string[]; postalCodes?: string[]; serialNumber?: string };
  duration?: string;
  renewBefore?: string;
  renewBeforePercentage?: number;
  isCA?: boolean;
  usages?: string[];
  encodeUsagesInRequest?: boolean;
  privateKey?: { algorithm?: "RSA" | "ECDSA" | "Ed25519"; size?: number; encoding?: "PKCS1" | "PKCS8"; rotationPolicy?: "Never" | "Always" };
  signatureAlgorithm?: string;
  secretTemplate?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  additionalOutputFormats?: { type: "DER" | "CombinedPEM" }[];
  revisionHistoryLimit?: number;
  renewal?: { policy?: "RenewBefore" | "Disabled"; windows?: object[] };
  keystores?: { jks?: { create: boolean }; pkcs12?: { create: boolean } };
  literalSubject?: string;
  otherNames?: object[];
  nameConstraints?: object;
}

export interface CertificateStatus {
  conditions?: Condition[];
  lastFailureTime?: string;
  failedIssuanceAttempts?: number;
  nextPrivateKeySecretName?: string;
  notBefore?: string;
  notAfter?: string;
  renewalTime?: string;
  revision?: number;
}

export interface Certificate extends KubeObject {
  spec: CertificateSpec;
  status?: CertificateStatus;
}

export interface CertificateRequestSpec {
  /** PEM in base64. */
  request: string;
  issuerRef: IssuerRef;
  duration?: string;
  isCA?: boolean;
  usages?: string[];
}

export interface CertificateRequestStatus {
  conditions?: Condition[];
  /** PEM in base64, with what lies between it and the root. */
  certificate?: string;
  ca?: string;
  failureTime?: string;
}

export interface CertificateRequest extends KubeObject {
  spec: CertificateRequestSpec;
  status?: CertificateRequestStatus;
}

export interface AcmeIssuer {
  server: string;
  email?: string;
  privateKeySecretRef: { name: string; key?: string };
  /** PEM in base64. */
  caBundle?: string;
  skipTLSVerify?: boolean;
  preferredChain?: string;
  profile?: string;
  enableDurationFeature?: boolean;
  disableAccountKeyGeneration?: boolean;
  externalAccountBinding?: object;
  solvers?: AcmeSolver[];
}

export interface AcmeSolver {
  selector?: { matchLabels?: Record<string, string>; dnsNames?: string[]; dnsZones?: string[] };
  http01?: object;
  dns01?: object;
}

/** An Issuer or a ClusterIssuer. */
export interface Issuer extends KubeObject {
  spec: {
    selfSigned?: { crlDistributionPoints?: string[] };
    ca?: { secretName: string; crlDistributionPoints?: string[]; ocspServers?: string[]; issuingCertificateURLs?: string[] };
    acme?: AcmeIssuer;
    vault?: object;
    venafi?: object;
  };
  status?: { conditions?: Condition[]; acme?: { uri?: string; lastRegisteredEmail?: string; lastPrivateKeyHash?: string } };
}

/** Where a ClusterIssuer's Secrets lie, as cert-manager has it. */
export const clusterResourceNamespace = "cert-manager";

export const annotation = {
  certificateName: "cert-manager.io/certificate-name",
  revision: "cert-manager.io/certificate-revision",
  privateKeySecret: "cert-manager.io/private-key-secret-name",
  issuerName: "cert-manager.io/issuer-name",
  issuerKind: "cert-manager.io/issuer-kind",
  issuerGroup: "cert-manager.io/issuer-group",
  commonName: "cert-manager.io/common-name",
  altNames: "cert-manager.io/alt-names",
  ipSans: "cert-manager.io/ip-sans",
  uriSans: "cert-manager.io/uri-sans",
  emailSans: "cert-manager.io/email-sans",
  /** On an ACME issuer: "true" has its server spoken to; else the local authority stands in for it. */
  acme: "wherry.dev/acme",
  /** On a CertificateRequest: where its order is. */
  acmeOrder: "wherry.dev/acme-order",
} as const;
export const label = { nextPrivateKey: "cert-manager.io/next-private-key", managed: "controller.cert-manager.io/fao" } as const;

export const kindOf = ({ kind }: IssuerRef): string => kind || "Issuer";
export const groupOf = ({ group }: IssuerRef): string => group || certManagerGroup;

export const conditionOf = (object: { status?: { conditions?: Condition[] } }, type: string): Condition | undefined => object.status?.conditions?.find((condition) => condition.type === type);

/** The list with this condition in it; the time changes with the status only. */
export function withCondition(conditions: readonly Condition[] = [], { type, status, reason, message }: Condition, nowText: string, generation?: number): Condition[] {
  const old = conditions.find((condition) => condition.type === type);
  const changed: Condition = { type, status, reason: reason ?? "", message: message ?? "", lastTransitionTime: old?.status === status && old.lastTransitionTime ? old.lastTransitionTime : nowText, ...(generation !== undefined && { observedGeneration: generation }) };
  return old ? conditions.map((condition) => (condition === old ? changed : condition)) : [...conditions, changed];
}

/** Of Go's notation ("2160h", "1h30m"): milliseconds; undefined when it is none. */
export function durationMs(duration: string | undefined): number | undefined {
  if (duration === undefined || !/^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(duration)) return undefined;
  return [...duration.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g)].reduce((sum, [, amount, unit]) => sum + Number(amount) * unitMs[unit!]!, 0);
}
const unitMs: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
