import { constants, type KeyObject, verify } from "node:crypto";

export interface Jwt {
  alg: string;
  keyId: string | undefined;
  claims: Record<string, unknown>;
  content: Buffer;
  signature: Buffer;
}

/** What signs for others: no secret shared with the issuer, and never "none". Source: RFC 7518 §3.1. */
const algorithms: Record<string, { hash: string; type: "rsa" | "ec"; curve?: string; pss?: true }> = {
  RS256: { hash: "sha256", type: "rsa" },
  RS384: { hash: "sha384", type: "rsa" },
  RS512: { hash: "sha512", type: "rsa" },
  PS256: { hash: "sha256", type: "rsa", pss: true },
  PS384: { hash: "sha384", type: "rsa", pss: true },
  PS512: { hash: "sha512", type: "rsa", pss: true },
  ES256: { hash: "sha256", type: "ec", curve: "prime256v1" },
  ES384: { hash: "sha384", type: "ec", curve: "secp384r1" },
  ES512: { hash: "sha512", type: "ec", curve: "secp521r1" },
};
const rsaBitsMin = 2048;
/** No header holds more; what a TokenReview brings may. */
const tokenLengthMax = 64 * 1024;

/** Undefined for what is no token of a form and algorithm that are taken. Its signature is not looked at yet. */
export function parseJwt(token: string): Jwt | undefined {
  if (token.length > tokenLengthMax) return undefined;
  const [head, body, signature, ...rest] = token.split(".");
  if (!head || !body || !signature || rest.length > 0) return undefined;
  try {
    const decode = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString("utf8")) as Record<string, unknown>;
    const { alg, kid, crit } = decode(head);
    const claims = decode(body);
    // What "crit" names must be understood, and nothing is (RFC 7515 §4.1.11).
    if (typeof alg !== "string" || !Object.hasOwn(algorithms, alg) || crit !== undefined || typeof claims !== "object" || claims === null || Array.isArray(claims)) return undefined;
    return { alg, keyId: typeof kid === "string" ? kid : undefined, claims, content: Buffer.from(`${head}.${body}`), signature: Buffer.from(signature, "base64url") };
  } catch {
    return undefined;
  }
}

/** The key must be of the kind that the algorithm wants: an RSA key is no EC key, a small one none at all. */
export function isSignedBy({ alg, content, signature }: Jwt, key: KeyObject): boolean {
  const algorithm = algorithms[alg]!;
  if (key.asymmetricKeyType !== algorithm.type) return false;
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (algorithm.type === "ec" ? namedCurve !== algorithm.curve : modulusLength < rsaBitsMin) return false;
  try {
    if (algorithm.type === "ec") return verify(algorithm.hash, content, { key, dsaEncoding: "ieee-p1363" }, signature);
    return verify(algorithm.hash, content, { key, ...(algorithm.pss ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : { padding: constants.RSA_PKCS1_PADDING }) }, signature);
  } catch {
    return false;
  }
}
