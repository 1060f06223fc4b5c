import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export interface SigningKey {
  kid: string;
  alg: "ES256" | "RS256";
  privateKey: KeyObject;
  /** As a key set has it. */
  jwk: Record<string, unknown>;
}

export function signingKey(kid: string, alg: SigningKey["alg"] = "ES256"): SigningKey {
  const { publicKey, privateKey } = alg === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { kid, alg, privateKey, jwk: { ...publicKey.export({ format: "jwk" }), kid } };
}

export const keySet = (...keys: SigningKey[]): string => JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token as its issuer makes it; `header` goes over what belongs there. */
export function signedBy({ kid, alg, privateKey }: SigningKey, claims: object, header: object = {}): string {
  const signed = `${encoded({ alg, kid, ...header })}.${encoded(claims)}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), alg === "ES256" ? { key: privateKey, dsaEncoding: "ieee-p1363" } : privateKey).toString("base64url")}`;
}

/** One whose secret is whatever somebody knows. */
export function hmacSigned(secret: string | Buffer, claims: object, header: object = {}): string {
  const signed = `${encoded({ alg: "HS256", ...header })}.${encoded(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

export const unsigned = (claims: object, alg: string, signature = ""): string => `${encoded({ alg })}.${encoded(claims)}.${signature}`;
