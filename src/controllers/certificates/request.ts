import { isDeepStrictEqual } from "node:util";
import { annotation, certManager, type CertificateRequest, certManagerGroup, conditionOf, groupOf, type Issuer, kindOf, withCondition } from "../../api/cert-manager/types.ts";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Secret } from "../../api/types.ts";
import type { LocalAuthority } from "../../api/x509/local-authority.ts";
import type { Action, Existing, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { type Controller, controller } from "../runner.ts";
import type { AcmeIssuers } from "./acme/issuers.ts";
import { notTrusted, secretNamespaceOf, speaksAcme } from "./issuer.ts";
import { base64, fieldOf, readKey } from "./keys.ts";
import { chainIn, hasNoSubject, signByAuthority, type Signed, SigningError, signLocally, signSelf } from "./signing.ts";

/** Gives the authority of this stack; made at first need. */
export type OpenAuthority = () => LocalAuthority;

/**
 * CertificateRequests: approved, and signed by the issuer that they name. What stands in the way is a Pending condition; what can
 * never be is Failed, for good. Source: cert-manager pkg/controller/certificaterequests.
 */
export const requestController = (authority: OpenAuthority, acme: AcmeIssuers): Controller =>
  controller<CertificateRequest>({
    name: "cert-manager-certificaterequests",
    for: certManager.certificateRequests,
    watches: [
      { resource: certManager.issuers, keys: (issuer: Issuer, cache) => waitingFor(cache, (request) => request.metadata.namespace === issuer.metadata.namespace && kindOf(request.spec.issuerRef) === "Issuer" && request.spec.issuerRef.name === issuer.metadata.name) },
      { resource: certManager.clusterIssuers, keys: (issuer: Issuer, cache) => waitingFor(cache, ({ spec }) => kindOf(spec.issuerRef) === "ClusterIssuer" && spec.issuerRef.name === issuer.metadata.name) },
      { resource: resources.secrets, keys: ({ metadata }: Secret, cache) => waitingFor(cache, (request) => request.metadata.annotations?.[annotation.privateKeySecret] === metadata.name && request.metadata.namespace === metadata.namespace) },
    ],
    plan: ({ key, object, cache, nowMs }) => planRequest(key, object, cache, nowMs, authority, acme),
  });

const waitingFor = (cache: Cache, concerns: (request: CertificateRequest) => boolean): string[] => cache.list<CertificateRequest>(certManager.certificateRequests).filter((request) => conditionOf(request, "Ready")?.status !== "True" && concerns(request)).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);

/** What became of a request, for its status. */
export type Outcome =
  | { pending: string; message: string; silent?: boolean }
  | { failed: string; message: string }
  | (Signed & { local?: { reason: string; message: string; warning?: boolean } });

const over = new Set(["Failed", "Issued", "Denied"]);

export function planRequest(key: string, request: CertificateRequest, cache: Cache, nowMs: number, authority: OpenAuthority, acme: AcmeIssuers): Plan {
  const { metadata, spec } = request;
  if (metadata.deletionTimestamp || groupOf(spec.issuerRef) !== certManagerGroup) return { actions: [] };
  const ready = conditionOf(request, "Ready");
  if (over.has(ready?.reason ?? "") || conditionOf(request, "InvalidRequest")?.status === "True") return { actions: [] };
  if (conditionOf(request, "Denied")?.status === "True") return { actions: tellDenied(request, nowMs) };
  const issuer = issuerOf(request, cache);
  if (typeof issuer === "object" && speaksAcme(issuer) && conditionOf(issuer, "Ready")?.status === "True") return acme.planRequest(key, request, issuer, nowMs, (outcome) => tell(request, outcome, nowMs));
  return { actions: tell(request, sign(request, issuer, cache, nowMs, authority), nowMs) };
}

/** "undefined": it is not there. */
function issuerOf({ metadata, spec }: CertificateRequest, cache: Cache): Issuer | "undefined" | "invalid" {
  const kind = kindOf(spec.issuerRef);
  if (kind === "Issuer") return cache.get<Issuer>(certManager.issuers, `${metadata.namespace}/${spec.issuerRef.name}`) ?? "undefined";
  return kind === "ClusterIssuer" ? (cache.get<Issuer>(certManager.clusterIssuers, spec.issuerRef.name) ?? "undefined") : "invalid";
}

function sign(request: CertificateRequest, issuer: ReturnType<typeof issuerOf>, cache: Cache, nowMs: number, authority: OpenAuthority): Outcome {
  const { name, ...ref } = request.spec.issuerRef;
  const kind = kindOf({ name, ...ref });
  try {
    if (issuer === "invalid") return { pending: "IssuerNotFound", message: `Referenced ${JSON.stringify(kind)} not found: invalid value ${JSON.stringify(kind)} for issuerRef.kind. Must be empty, "Issuer" or "ClusterIssuer"` };
    if (issuer === "undefined") {
      if (kind === "Issuer") return { pending: "IssuerNotFound", message: `Referenced "Issuer" not found: issuer.cert-manager.io ${JSON.stringify(name)} not found` };
      // Such a name is the cluster's, which manifests are written for, and not part of them.
      return local(request, authority, nowMs, { reason: "IssuerNotDefined", why: `there is no ClusterIssuer ${JSON.stringify(name)} in this stack`, warning: true });
    }
    if (conditionOf(issuer, "Ready")?.status !== "True") return { pending: "IssuerNotReady", message: "Referenced issuer does not have a Ready status condition" };
    if (issuer.spec.selfSigned) return bySelf(request, issuer, cache, nowMs);
    if (issuer.spec.ca) return byAuthority(request, issuer, cache, nowMs);
    if (issuer.spec.acme) return local(request, authority, nowMs, { reason: "LocalCA", why: `${issuer.spec.acme.server} was not asked (its issuer lacks ${annotation.acme}: "true")` });
    return { pending: "IssuerTypeMissing", message: "Missing issuer type" };
  } catch (error) {
    if (error instanceof SigningError) return { failed: error.reason, message: error.message };
    throw error;
  }
}

function local(request: CertificateRequest, authority: OpenAuthority, nowMs: number, { reason, why, warning = false }: { reason: string; why: string; warning?: boolean }): Outcome {
  const { trustable, ...signed } = signLocally(request, authority(), nowMs);
  const trust = trustable ? "`wherry trust` has this machine trust it" : "its names could be somebody's, so `wherry trust` does not cover it either: trust/names in the data directory adds names";
  return { ...signed, local: { reason, warning, message: `${why}: signed by Wherry's local CA. ${notTrusted[0]!.toUpperCase()}${notTrusted.slice(1)}; ${trust}` } };
}

function bySelf(request: CertificateRequest, issuer: Issuer, cache: Cache, nowMs: number): Outcome {
  const { namespace } = request.metadata;
  const name = request.metadata.annotations?.[annotation.privateKeySecret];
  if (!name) return { failed: "MissingAnnotation", message: `Annotation ${JSON.stringify(annotation.privateKeySecret)} missing or reference empty: secret name missing` };
  const secret = cache.get<Secret>(resources.secrets, `${namespace}/${name}`);
  if (!secret) return { pending: "MissingSecret", message: `Referenced secret ${namespace}/${name} not found: secrets ${JSON.stringify(name)} not found` };
  const key = readKey(fieldOf(secret, "tls.key"));
  if (!key) return { pending: "ErrorParsingKey", message: `Failed to get key ${JSON.stringify(name)} referenced in annotation ${JSON.stringify(annotation.privateKeySecret)}: error decoding private key PEM block` };
  return signSelf(request, key, issuer.spec, nowMs);
}

function byAuthority(request: CertificateRequest, issuer: Issuer, cache: Cache, nowMs: number): Outcome {
  const at = `${secretNamespaceOf(issuer)}/${issuer.spec.ca!.secretName}`;
  const secret = cache.get<Secret>(resources.secrets, at);
  if (!secret) return { pending: "SecretMissing", message: `Referenced secret ${at} not found: secrets ${JSON.stringify(issuer.spec.ca!.secretName)} not found` };
  const key = readKey(fieldOf(secret, "tls.key"));
  let chain: string[] = [];
  try {
    chain = chainIn(fieldOf(secret, "tls.crt"), fieldOf(secret, "ca.crt"));
  } catch {
    // told below
  }
  if (!key || chain.length === 0) return { pending: "SecretInvalidData", message: `Failed to parse signing CA keypair from secret ${at}: error decoding ${key ? "certificate" : "private key"} PEM block` };
  return signByAuthority(request, chain, key, issuer.spec, nowMs);
}

const approval = { type: "Approved", status: "True", reason: "cert-manager.io", message: "Certificate request has been approved by cert-manager.io" } as const;

/** Status and Events of an outcome; approval is part of the first. */
function tell(request: CertificateRequest, outcome: Outcome, nowMs: number): Action[] {
  const now = timestamp(nowMs);
  const status = { ...request.status };
  const events: Action[] = [];
  const event = (type: "Normal" | "Warning", reason: string, message: string) => events.push({ do: "event", about: request, type, reason, message });
  if (!conditionOf(request, "Approved")) {
    status.conditions = withCondition(status.conditions, approval, now);
    event("Normal", approval.reason, approval.message);
  }
  const set = (reason: string, message: string, isReady = false) => (status.conditions = withCondition(status.conditions, { type: "Ready", status: isReady ? "True" : "False", reason, message }, now));
  if ("pending" in outcome) {
    if (conditionOf(request, "Ready")?.message !== outcome.message && !outcome.silent) event("Normal", outcome.pending, outcome.message);
    set("Pending", outcome.message);
  } else if ("failed" in outcome) {
    event("Warning", outcome.failed, outcome.message);
    status.failureTime ??= now;
    set("Failed", outcome.message);
  } else {
    const { certificate, ca, local: signedLocally } = outcome;
    Object.assign(status, { certificate: base64(certificate), ...(ca && { ca: base64(ca) }) });
    if (signedLocally) {
      status.conditions = withCondition(status.conditions, { type: "PubliclyTrusted", status: "False", reason: signedLocally.reason, message: signedLocally.message }, now);
      event(signedLocally.warning ? "Warning" : "Normal", signedLocally.reason, signedLocally.message);
    } else if (hasNoSubject(request) && ca === certificate) {
      event("Warning", "BadConfig", "Certificate will be issued with an empty Issuer DN, which contravenes RFC 5280 and could break some strict clients");
    }
    event("Normal", "CertificateIssued", "Certificate fetched from issuer successfully");
    set("Issued", "Certificate fetched from issuer successfully", true);
  }
  if (isDeepStrictEqual(status, request.status)) return [];
  return [{ do: "status", resource: certManager.certificateRequests, object: { ...request, status } as Existing, after: () => events }];
}

function tellDenied(request: CertificateRequest, nowMs: number): Action[] {
  const now = timestamp(nowMs);
  const conditions = withCondition(request.status?.conditions, { type: "Ready", status: "False", reason: "Denied", message: "The CertificateRequest was denied by an approval controller" }, now);
  return [{ do: "status", resource: certManager.certificateRequests, object: { ...request, status: { ...request.status, conditions, failureTime: request.status?.failureTime ?? now } } as Existing }];
}
