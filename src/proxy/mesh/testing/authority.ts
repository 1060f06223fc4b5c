import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import type { MeshAccount, MeshIdentity } from "../../../api/mesh-identity.ts";
import { type CertificateTemplate, generalNames, makeCertificate, nameOf, type Pair, publicKeyOf } from "../../../api/x509/certificate.ts";

const hourMs = 3_600_000;

/** A root of a mesh, and what it signs: also what the real one never would. */
export class TestAuthority {
  readonly root: Pair;

  constructor(name = "test mesh") {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const subject = nameOf([["CN", name]]);
    const cert = makeCertificate({ subject, publicKey: publicKeyOf(privateKey), notBefore: new Date(Date.now() - hourMs), notAfter: new Date(Date.now() + 24 * hourMs), isCA: true, usages: ["cert sign", "crl sign"] }, privateKey);
    this.root = { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
  }

  /** Of a program with these URIs among its names; `changed`: unlike a good one. */
  certificate(uris: readonly string[], changed: Partial<CertificateTemplate> = {}, signer: Pair = this.root): Pair {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const template: CertificateTemplate = { subject: nameOf([]), publicKey: publicKeyOf(privateKey), alternativeNames: generalNames({ uris }), notBefore: new Date(Date.now() - hourMs), notAfter: new Date(Date.now() + hourMs), isCA: false, usages: ["digital signature", "server auth", "client auth"], ...changed };
    return { cert: makeCertificate(template, createPrivateKey(signer.key), signer), key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
  }
  of(account: string, changed: Partial<CertificateTemplate> = {}): Pair {
    const [namespace, serviceAccount] = account.split("/");
    return this.certificate([`spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`], changed);
  }
  identity(account: MeshAccount, changed: Partial<CertificateTemplate> = {}): MeshIdentity {
    const { cert, key } = this.of(`${account.namespace}/${account.serviceAccount}`, changed);
    return { ...account, certificate: cert, key, roots: this.root.cert, notBefore: (changed.notBefore ?? new Date(Date.now() - hourMs)).getTime(), notAfter: (changed.notAfter ?? new Date(Date.now() + hourMs)).getTime() };
  }
}
