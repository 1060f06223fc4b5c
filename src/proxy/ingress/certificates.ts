import { createPrivateKey, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { World } from "./world.ts";

export interface KeyPair {
  certificate: string;
  key: string;
}

/**
 * Key pairs of Secrets of type kubernetes.io/tls, each proved to belong together and to be what TLS will take: they all share
 * one listener, which one of them must not be able to break. What was proved is remembered.
 */
export class KeyPairs {
  readonly #proved = new Map<string, { text: string; result: KeyPair | string }>();

  /** Else what is wrong. */
  of(world: World, key: string): KeyPair | string {
    const secret = world.secret(key);
    if (!secret) {
      this.#proved.delete(key);
      return `Secret ${key} does not exist`;
    }
    const text = JSON.stringify(secret.data ?? {});
    const known = this.#proved.get(key);
    if (known?.text === text) return known.result;
    const decoded = (field: string): string => Buffer.from(secret.data?.[field] ?? "", "base64").toString("utf8");
    const result = prove(key, { certificate: decoded("tls.crt"), key: decoded("tls.key") });
    this.#proved.set(key, { text, result });
    return result;
  }
}

function prove(key: string, pair: KeyPair): KeyPair | string {
  try {
    const leaf = new X509Certificate(pair.certificate);
    if (!leaf.checkPrivateKey(createPrivateKey(pair.key))) return `Secret ${key}: tls.key does not belong to tls.crt`;
  } catch {
    return `Secret ${key}: tls.crt and tls.key must hold a certificate and its key in PEM`;
  }
  try {
    // OpenSSL refuses short keys and what follows a good certificate in the same file.
    createSecureContext({ cert: pair.certificate, key: pair.key });
    return pair;
  } catch (error) {
    return `Secret ${key}: ${(error as Error).message}`;
  }
}

/** Whether a client that asks for the name would accept it. */
export function isFor({ certificate }: KeyPair, host: string): boolean {
  // A certificate for *.example.com is for the wildcard host of that name, and for any name below it.
  return new X509Certificate(certificate).checkHost(host.startsWith("*.") ? `any${host.slice(1)}` : host) !== undefined;
}
