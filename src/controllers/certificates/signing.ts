import { createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { type CertificateRequest, type Issuer } from "../../api/cert-manager/types.ts";
import { parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import { type CertificateTemplate, makeCertificate, readName } from "../../api/x509/certificate.ts";
import type { LocalAuthority } from "../../api/x509/local-authority.ts";
import { pemBlocks } from "../../base/der.ts";
import { lifeMs, usagesOf } from "./wish.ts";

/** PEM. */
export interface Signed {
  certificate: string;
  ca: string;
}

/** Why a request can never be signed; the texts are those of its condition and Event. */
export class SigningError extends Error {
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** What is asked for: subject, key and alternative names are the request's. Throws {@link SigningError}. */
function templateOf({ spec }: CertificateRequest, nowMs: number): CertificateTemplate {
  try {
    const request = parseRequest(Buffer.from(spec.request, "base64").toString("latin1"));
    const problem = request.signatureError();
    if (problem) throw new Error(problem);
    const startMs = Math.floor(nowMs / 1000) * 1000;
    return {
      subject: request.subject,
      publicKey: request.publicKey,
      alternativeNames: request.alternativeNames,
      notBefore: new Date(startMs),
      notAfter: new Date(startMs + lifeMs(spec)),
      isCA: spec.isCA ?? false,
      usages: usagesOf(spec),
    };
  } catch (error) {
    throw new SigningError("SigningError", `Error generating certificate template: ${(error as Error).message}`);
  }
}

/** By the key that the request is for. */
export function signSelf(request: CertificateRequest, key: KeyObject, { selfSigned = {} }: Issuer["spec"], nowMs: number): Signed {
  const template = { ...templateOf(request, nowMs), crlDistributionPoints: selfSigned.crlDistributionPoints ?? [] };
  if (!createPublicKey(key as never).export({ type: "spki", format: "der" }).equals(template.publicKey)) throw new SigningError("ErrorKeyMatch", "Error generating certificate template: CSR not signed by referenced private key");
  const certificate = makeCertificate(template, key);
  return { certificate, ca: certificate };
}

/** `chain`: the authority's certificate first, then those above it. The root is no part of what servers show. */
export function signByAuthority(request: CertificateRequest, chain: readonly string[], key: KeyObject, { ca }: Issuer["spec"], nowMs: number): Signed {
  const { crlDistributionPoints = [], ocspServers = [], issuingCertificateURLs = [] } = ca ?? {};
  const leaf = makeCertificate({ ...templateOf(request, nowMs), crlDistributionPoints, ocspServers, issuingCertificateURLs }, key, { cert: chain[0]! });
  const isRoot = (pem: string): boolean => {
    const certificate = new X509Certificate(pem);
    return certificate.checkIssued(certificate);
  };
  return { certificate: [leaf, ...chain.filter((pem) => !isRoot(pem))].join(""), ca: chain.find(isRoot) ?? chain.at(-1)! };
}

/** By the authority of this stack; whether the machine can be told to trust it. */
export function signLocally(request: CertificateRequest, authority: LocalAuthority, nowMs: number): Signed & { trustable: boolean } {
  if (request.spec.isCA) throw new SigningError("LocalCA", "the local CA signs no further authorities: a public one would not either; use an Issuer with selfSigned or ca");
  const template = templateOf(request, nowMs);
  const { commonName, dnsNames, addresses, emails, uris } = parseRequest(Buffer.from(request.spec.request, "base64").toString("latin1"));
  // Where there is no other name, some verifiers still take the common one for a host's.
  const hosts = dnsNames.length + addresses.length > 0 ? [...dnsNames, ...addresses] : [commonName];
  const names = [...hosts, ...emails, ...uris];
  const { pair, key, trustable } = authority.signerOf({ names, usages: template.usages });
  return { certificate: makeCertificate(template, key, pair), ca: pair.cert, trustable };
}

/** The certificates of a PEM text, each one PEM. Throws when one is none. */
export const certificatesIn = (pem: string): string[] =>
  pemBlocks(pem)
    .filter(({ label }) => label === "CERTIFICATE")
    .map(({ bytes }) => new X509Certificate(bytes).toString());

/** The authority in a Secret: its own certificate, then what `tls.crt` and `ca.crt` have above it, each the issuer of the one before. */
export function chainIn(tlsCrt: string, caCrt: string): string[] {
  const [first, ...others] = [...new Set([...certificatesIn(tlsCrt), ...certificatesIn(caCrt)])];
  const chain = first === undefined ? [] : [first];
  for (let at = first; at !== undefined; ) {
    const below = new X509Certificate(at);
    at = others.find((pem) => !chain.includes(pem) && below.checkIssued(new X509Certificate(pem)));
    if (at) chain.push(at);
  }
  return chain;
}

/** Whether the subject says nothing: RFC 5280 §4.1.2.4 wants issuers to have a name. */
export const hasNoSubject = ({ spec }: CertificateRequest): boolean => readName(parseRequest(Buffer.from(spec.request, "base64").toString("latin1")).subject).length === 0;
