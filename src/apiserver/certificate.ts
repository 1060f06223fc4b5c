import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { generalNames, makeCertificate as makeX509, nameOf, type Pair, publicKeyOf, type SubjectPart } from "../api/x509/certificate.ts";

export type { Pair } from "../api/x509/certificate.ts";

/** Certificates of our own making, always on P-256: an authority and what it signs. */
export interface CertificateWish {
  /** In order, as they are shown: O before CN. */
  subject: readonly SubjectPart[];
  notBefore: Date;
  notAfter: Date;
  /** Who signs; undefined: it is an authority and signs itself. */
  authority: Pair | undefined;
  /** What a server is known by; addresses are dotted or with colons. */
  names?: readonly string[];
  addresses?: readonly string[];
  /** For a client; else for a server. */
  client?: boolean;
}

export function makeCertificate({ subject, notBefore, notAfter, authority, names = [], addresses = [], client = false }: CertificateWish): Pair {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const usages = authority === undefined ? ["digital signature", "cert sign", "crl sign"] : ["digital signature", client ? "client auth" : "server auth"];
  const template = { subject: nameOf(subject), publicKey: publicKeyOf(privateKey), alternativeNames: generalNames({ dnsNames: names, addresses }), notBefore, notAfter, isCA: authority === undefined, usages };
  const cert = makeX509(template, authority === undefined ? privateKey : createPrivateKey(authority.key), authority);
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/** For names that nobody has a certificate for, signed by an authority that is forgotten at once: no client trusts it. */
export function makeFakeCertificate(nowMs: number): { certificate: string; key: string } {
  const common = { notBefore: new Date(nowMs - 3_600_000), notAfter: new Date(nowMs + 365 * 86_400_000) };
  const authority = makeCertificate({ ...common, subject: [["O", "Wherry"], ["CN", "Ingress Fake Authority"]], authority: undefined });
  const { cert, key } = makeCertificate({ ...common, subject: [["O", "Wherry"], ["CN", "Ingress Fake Certificate"]], authority, names: ["ingress.local"] });
  return { certificate: cert, key };
}
