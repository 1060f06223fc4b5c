import { X509Certificate } from "node:crypto";
import { type CertificateRequest, parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import type { KubeObject } from "../../api/meta.ts";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Plan } from "../action.ts";
import { type Controller, controller } from "../runner.ts";

export interface SigningRequest extends KubeObject {
  metadata: KubeObject["metadata"] & { uid: string; resourceVersion: string; creationTimestamp: string };
  spec: { request: string; signerName: string; usages?: string[]; expirationSeconds?: number };
  status?: { certificate?: string; conditions?: { type: string; status: string; reason?: string; message?: string; lastUpdateTime?: string }[] };
}
/** Gives the certificate, PEM. */
export type SignCertificate = (wish: { request: string; usages: readonly string[]; seconds: number; nowMs: number }) => Promise<string>;

const defaultSeconds = 365 * 24 * 3600;
const leastSeconds = 600;

/**
 * Signs approved requests for the signers that are ours; others are left to who watches for them.
 * Source: k8s.io/kubernetes/pkg/controller/certificates/signer.
 */
export function certificateSigner(sign: SignCertificate, write: (object: SigningRequest) => Promise<unknown>): Controller {
  return controller<SigningRequest>({
    name: "csrsigning-controller",
    for: resources.certificateSigningRequests,
    plan({ object, nowMs }) {
      const verdict = judge(object);
      if (verdict === undefined) return { actions: [] };
      const { status = {} } = object;
      if (verdict.error !== undefined) {
        const failed = { type: "Failed", status: "True", reason: "SignerValidationFailure", message: verdict.error, lastUpdateTime: timestamp(nowMs) };
        return { actions: [{ do: "status", resource: resources.certificateSigningRequests, object: { ...object, status: { ...status, conditions: [...(status.conditions ?? []), failed] } } }] };
      }
      const { usages = [], expirationSeconds = defaultSeconds } = object.spec;
      const seconds = Math.max(leastSeconds, Math.min(expirationSeconds, defaultSeconds));
      const run = async (): Promise<void> => {
        const certificate = await sign({ request: pemOf(object), usages, seconds, nowMs });
        await write({ ...object, status: { ...status, certificate: Buffer.from(certificate).toString("base64") } });
      };
      return { actions: [{ do: "call", run }] };
    },
  });
}

const pemOf = ({ spec }: SigningRequest): string => Buffer.from(spec.request, "base64").toString("latin1");
const isTrue = ({ status }: SigningRequest, type: string): boolean => (status?.conditions ?? []).some((entry) => entry.type === type && entry.status === "True");

/** Undefined: there is nothing to do. */
export function judge(object: SigningRequest): { error?: string } | undefined {
  if (object.status?.certificate || object.metadata.deletionTimestamp || !isTrue(object, "Approved") || isTrue(object, "Denied") || isTrue(object, "Failed")) return undefined;
  const check = signers[object.spec.signerName];
  if (!check) return undefined;
  const error = check(parseRequest(pemOf(object)), object.spec.usages ?? []);
  return error === undefined ? {} : { error };
}

type Check = (request: CertificateRequest, usages: readonly string[]) => string | undefined;
const isSet = (usages: readonly string[], ...wanted: string[]): boolean => new Set(usages).size === wanted.length && wanted.every((usage) => usages.includes(usage));
const ofNode = ({ organizations }: CertificateRequest): string | undefined => (organizations.length === 1 && organizations[0] === "system:nodes" ? undefined : "subject organization is not system:nodes");
const nodeName = ({ commonName }: CertificateRequest): string | undefined => (commonName.startsWith("system:node:") ? undefined : "subject common name does not begin with system:node:");
const none = (list: readonly string[], what: string): string | undefined => (list.length > 0 ? `${what} subjectAltNames are not allowed` : undefined);

const signers: Record<string, Check> = {
  "kubernetes.io/kube-apiserver-client"(_, usages) {
    const odd = usages.find((usage) => !["digital signature", "key encipherment", "client auth"].includes(usage));
    if (odd !== undefined) return `invalid usage for client certificate: ${odd}`;
    return usages.includes("client auth") ? undefined : "missing required usage for client certificate: client auth";
  },
  "kubernetes.io/kube-apiserver-client-kubelet": (request, usages) =>
    ofNode(request) ??
    none(request.dnsNames, "DNS") ??
    none(request.emails, "Email") ??
    none(request.addresses, "IP") ??
    none(request.uris, "URI") ??
    nodeName(request) ??
    (isSet(usages, "client auth", "digital signature") || isSet(usages, "client auth", "digital signature", "key encipherment") ? undefined : "usages did not match [client auth digital signature key encipherment]"),
  "kubernetes.io/kubelet-serving": (request, usages) =>
    ofNode(request) ??
    (request.dnsNames.length + request.addresses.length === 0 ? "DNS or IP subjectAltName is required" : undefined) ??
    none(request.emails, "Email") ??
    none(request.uris, "URI") ??
    (isSet(usages, "digital signature", "server auth") || isSet(usages, "digital signature", "key encipherment", "server auth") ? undefined : "usages did not match [digital signature key encipherment server auth]") ??
    nodeName(request),
};

const hourMs = 3600_000;
const keptMs = { decided: hourMs, pending: 24 * hourMs };

/** Requests go once they are of no use: an hour after the decision, a day without one, or with their certificate. Source: k8s.io/kubernetes/pkg/controller/certificates/cleaner. */
export const certificateCleaner: Controller = controller<SigningRequest>({
  name: "csrcleaner-controller",
  for: resources.certificateSigningRequests,
  plan: ({ object, nowMs }) => planCleaning(object, nowMs),
});

export function planCleaning(object: SigningRequest, nowMs: number): Plan {
  const endMs = endOf(object);
  if (endMs === undefined || object.metadata.deletionTimestamp) return { actions: [] };
  if (nowMs >= endMs) return { actions: [{ do: "delete", resource: resources.certificateSigningRequests, object }] };
  return { actions: [], requeueAfterMs: endMs - nowMs };
}

function endOf({ metadata, status }: SigningRequest): number | undefined {
  const conditions = status?.conditions ?? [];
  if (conditions.length === 0) return Date.parse(metadata.creationTimestamp) + keptMs.pending;
  const since = (type: string): number | undefined => {
    const time = conditions.find((entry) => entry.type === type)?.lastUpdateTime;
    return time ? Date.parse(time) + keptMs.decided : undefined;
  };
  const denied = since("Denied");
  if (denied !== undefined || !status?.certificate) return denied;
  const ends = [since("Approved"), new X509Certificate(Buffer.from(status.certificate, "base64")).validToDate.getTime()];
  return Math.min(...ends.filter((end) => end !== undefined));
}
