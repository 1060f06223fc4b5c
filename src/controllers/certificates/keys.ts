import { createPrivateKey, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import type { CertificateSpec } from "../../api/cert-manager/types.ts";

const generate = promisify(generateKeyPair) as unknown as (type: string, options: object) => Promise<{ privateKey: KeyObject }>;
const curves: Record<number, string> = { 256: "prime256v1", 384: "secp384r1", 521: "secp521r1" };

/** A new key as the Certificate wants it: RSA with 2048 bits unless said. Not on this thread: a large one takes seconds. */
export async function newKey({ algorithm = "RSA", size = 0 }: NonNullable<CertificateSpec["privateKey"]> = {}): Promise<KeyObject> {
  if (algorithm === "Ed25519") return (await generate("ed25519", {})).privateKey;
  if (algorithm === "ECDSA") return (await generate("ec", { namedCurve: curves[size || 256] })).privateKey;
  return (await generate("rsa", { modulusLength: size || 2048 })).privateKey;
}

/** Which fields of the Certificate it is not as. */
export function keyMismatches(key: KeyObject, { algorithm = "RSA", size = 0 }: NonNullable<CertificateSpec["privateKey"]> = {}): string[] {
  const type = { RSA: "rsa", ECDSA: "ec", Ed25519: "ed25519" }[algorithm];
  if (key.asymmetricKeyType !== type) return ["spec.privateKey.algorithm"];
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (algorithm === "RSA" && modulusLength !== (size || 2048)) return ["spec.privateKey.size"];
  if (algorithm === "ECDSA" && namedCurve !== curves[size || 256]) return ["spec.privateKey.size"];
  return [];
}

/** PEM: PKCS #8, or what its kind of key had before it ("PKCS1"), which Ed25519 has not. */
export function encodeKey(key: KeyObject, encoding: "PKCS1" | "PKCS8" = "PKCS1"): string {
  const type = encoding === "PKCS8" || key.asymmetricKeyType === "ed25519" ? "pkcs8" : key.asymmetricKeyType === "ec" ? "sec1" : "pkcs1";
  return key.export({ type: type as "pkcs8", format: "pem" }) as string;
}

/** Undefined: it is no key. */
export function readKey(pem: string | undefined): KeyObject | undefined {
  if (!pem) return undefined;
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

export const base64 = (value: string | Uint8Array): string => Buffer.from(value as string).toString("base64");
/** The text of a field of a Secret. */
export const fieldOf = (secret: { data?: Record<string, string> } | undefined, field: string): string => Buffer.from(secret?.data?.[field] ?? "", "base64").toString("utf8");
