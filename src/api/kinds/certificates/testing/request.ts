import "reflect-metadata";
import * as x509 from "@peculiar/x509";

/** A key of its own and a PKCS #10 request for it, both PEM. */
export async function makeRequest({ name, dns = [], addresses = [], emails = [], algorithm = "P-256" }: { name: string; dns?: string[]; addresses?: string[]; emails?: string[]; algorithm?: string }): Promise<{ request: string; key: string }> {
  const hash = algorithm === "P-384" ? "SHA-384" : algorithm === "P-521" ? "SHA-512" : "SHA-256";
  const rsa = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash };
  const wish = algorithm === "RSA" ? { name: "RSASSA-PKCS1-v1_5", ...rsa } : algorithm === "RSA-PSS" ? { name: "RSA-PSS", saltLength: 32, ...rsa } : algorithm === "Ed25519" ? { name: "Ed25519" } : { name: "ECDSA", namedCurve: algorithm, hash };
  const keys = (await crypto.subtle.generateKey(wish, true, ["sign", "verify"])) as { privateKey: CryptoKey; publicKey: CryptoKey };
  const names = [...dns.map((value) => ({ type: "dns" as const, value })), ...addresses.map((value) => ({ type: "ip" as const, value })), ...emails.map((value) => ({ type: "email" as const, value }))];
  const made = await x509.Pkcs10CertificateRequestGenerator.create({ name, keys, signingAlgorithm: wish, extensions: names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : [] });
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return { request: `${made.toString("pem")}\n`, key: `-----BEGIN PRIVATE KEY-----\n${der.toString("base64").replace(/(.{64})(?=.)/g, "$1\n")}\n-----END PRIVATE KEY-----\n` };
}
