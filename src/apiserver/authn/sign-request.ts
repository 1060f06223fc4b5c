import { createPrivateKey, randomBytes } from "node:crypto";
import { parseRequest } from "../../api/kinds/certificates/pkcs10.ts";

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

const extended: Record<string, string> = {
  any: "2.5.29.37.0",
  "server auth": "1.3.6.1.5.5.7.3.1",
  "client auth": "1.3.6.1.5.5.7.3.2",
  "code signing": "1.3.6.1.5.5.7.3.3",
  "email protection": "1.3.6.1.5.5.7.3.4",
  "s/mime": "1.3.6.1.5.5.7.3.4",
  "ipsec end system": "1.3.6.1.5.5.7.3.5",
  "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
  "ipsec user": "1.3.6.1.5.5.7.3.7",
  timestamping: "1.3.6.1.5.5.7.3.8",
  "ocsp signing": "1.3.6.1.5.5.7.3.9",
};

/**
 * Signs what somebody else has the key of: subject, key and alternative names are the request's, everything else ours.
 * Gives PEM. Source: k8s.io/kubernetes/pkg/controller/certificates/authority/policies.go.
 */
export async function signRequest(authority: { cert: string; key: string }, wish: SigningWish): Promise<string> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const request = parseRequest(wish.request);
  const problem = request.signatureError();
  if (problem) throw new Error(problem);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const der = createPrivateKey(authority.key).export({ type: "pkcs8", format: "der" });
  const signingKey = await crypto.subtle.importKey("pkcs8", new Uint8Array(der), algorithm, false, ["sign"]);
  const issuer = new x509.X509Certificate(authority.cert);
  const flags: Record<string, number> = {
    signing: x509.KeyUsageFlags.digitalSignature,
    "digital signature": x509.KeyUsageFlags.digitalSignature,
    "content commitment": x509.KeyUsageFlags.nonRepudiation,
    "key encipherment": x509.KeyUsageFlags.keyEncipherment,
    "key agreement": x509.KeyUsageFlags.keyAgreement,
    "data encipherment": x509.KeyUsageFlags.dataEncipherment,
    "encipher only": x509.KeyUsageFlags.encipherOnly,
    "decipher only": x509.KeyUsageFlags.decipherOnly,
  };
  const usage = wish.usages.reduce((sum, name) => sum | (flags[name] ?? 0), 0);
  const purposes = [...new Set(wish.usages.flatMap((name) => extended[name] ?? []))];
  const unknown = wish.usages.find((name) => !(name in flags) && !(name in extended));
  if (unknown) throw new Error(`unrecognized usage values: [${JSON.stringify(unknown)}]`);
  const lifeMs = wish.seconds * 1000;
  const end = Math.min(wish.nowMs + (lifeMs < shortMs ? lifeMs : lifeMs - backdateMs), issuer.notAfter.getTime());
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: `00${randomBytes(15).toString("hex")}`,
    subject: new x509.Name(new Uint8Array(request.subject)),
    // Byte by byte the authority's own: Go compares no other way.
    issuer: new x509.Name(issuer.subjectName.toArrayBuffer()),
    notBefore: new Date(wish.nowMs - backdateMs),
    notAfter: new Date(end),
    publicKey: new Uint8Array(request.publicKey),
    signingAlgorithm: algorithm,
    signingKey,
    extensions: [
      ...(usage ? [new x509.KeyUsagesExtension(usage, true)] : []),
      ...(purposes.length > 0 ? [new x509.ExtendedKeyUsageExtension(purposes)] : []),
      new x509.BasicConstraintsExtension(false, undefined, true),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(request.alternativeNames ? [new x509.Extension("2.5.29.17", false, new Uint8Array(request.alternativeNames))] : []),
    ],
  });
  return `${cert.toString("pem")}\n`;
}
