import { createPrivateKey, X509Certificate } from "node:crypto";
import { parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import { isUsage, makeCertificate } from "../../api/x509/certificate.ts";

/** How a request shall be signed; usages are those of the API ("client auth"). */
export interface SigningWish {
  /** PEM. */
  request: string;
  usages: readonly string[];
  seconds: number;
  nowMs: number;
}

const backdateMs = 5 * 60_000;
/** Shorter lives are not shortened further by what clocks may differ. */
const shortMs = 8 * 3600_000;

/** What only an authority's certificate is for, and what browsers stopped asking for. */
const notSigned: ReadonlySet<string> = new Set(["cert sign", "crl sign", "microsoft sgc", "netscape sgc"]);

/**
 * Signs what somebody else has the key of: subject, key and alternative names are the request's, everything else ours.
 * Gives PEM. Source: k8s.io/kubernetes/pkg/controller/certificates/authority/policies.go.
 */
export function signRequest(authority: { cert: string; key: string }, { request: asked, usages, seconds, nowMs }: SigningWish): string {
  const request = parseRequest(asked);
  const problem = request.signatureError();
  if (problem) throw new Error(problem);
  const unknown = usages.find((name) => !isUsage(name) || notSigned.has(name));
  if (unknown !== undefined) throw new Error(`unrecognized usage values: [${JSON.stringify(unknown)}]`);
  const lifeMs = seconds * 1000;
  const end = Math.min(nowMs + (lifeMs < shortMs ? lifeMs : lifeMs - backdateMs), new X509Certificate(authority.cert).validToDate.getTime());
  const { subject, publicKey, alternativeNames } = request;
  return makeCertificate({ subject, publicKey, alternativeNames, notBefore: new Date(nowMs - backdateMs), notAfter: new Date(end), isCA: false, usages }, createPrivateKey(authority.key), authority);
}
