import { createPrivateKey, X509Certificate } from "node:crypto";
import type { World } from "./world.ts";

export interface KeyPair {
  certificate: string;
  key: string;
}

/** The certificate and key of a Secret of type kubernetes.io/tls, proved to belong together; else what is wrong. */
export function keyPairOf(world: World, key: string): KeyPair | string {
  const secret = world.secret(key);
  if (!secret) return `Secret ${key} does not exist`;
  const decoded = (field: string): string => Buffer.from(secret.data?.[field] ?? "", "base64").toString("utf8");
  const pair = { certificate: decoded("tls.crt"), key: decoded("tls.key") };
  try {
    const leaf = new X509Certificate(pair.certificate);
    return leaf.checkPrivateKey(createPrivateKey(pair.key)) ? pair : `Secret ${key}: tls.key does not belong to tls.crt`;
  } catch {
    return `Secret ${key}: tls.crt and tls.key must hold a certificate and its key in PEM`;
  }
}

/** Whether a client that asks for the name would accept it. */
export function isFor({ certificate }: KeyPair, host: string): boolean {
  // A certificate for *.example.com is for the wildcard host of that name, and for any name below it.
  return new X509Certificate(certificate).checkHost(host.startsWith("*.") ? `any${host.slice(1)}` : host) !== undefined;
}
