import type { KeyObject } from "node:crypto";
import { isObject } from "../../base/is-object.ts";
import { lazyModule } from "../../base/lazy.ts";

const crypto = lazyModule<typeof import("node:crypto")>(import.meta.url, "node:crypto");

/** Clocks of issuers may differ from ours by so much; as Envoy has it. */
const skewSeconds = 60;
const tokenCharsMax = 16_384;


export type Claims = Readonly<Record<string, unknown>>;

/** Absent: any. */
export interface Expected {
  issuer?: string;
  /** One of them must be among the token's. */
  audiences?: readonly string[];
  clientIdIsAudience?: boolean;
}

export interface Key {
  key: KeyObject;
  kid: string | undefined;
  alg: string | undefined;
}

const refused = (reason: string, status: 401 | 403 = 401): NotBelieved => ({ status, reason });

/** What is known of one token, once its signature is believed; `payload`: its middle part as it stands there. */
export interface Believed {
  claims: Claims;
  payload: string;
}
export interface NotBelieved {
  status: 401 | 403;
  reason: string;
  /** Other keys than those that are here might make it be believed. */
  lacksKey?: boolean;
}

/**
 * Verifies one JSON Web Token; `seconds` since the epoch. Whatever is not understood is refused; the words are Envoy's. Sources: RFC
 * 7515, 7517, 7518, 7519, 8725.
 */
export function verifyToken(token: string, { issuer, audiences, clientIdIsAudience = false }: Expected, keys: readonly Key[] | undefined, seconds: number): Believed | NotBelieved {
  const parts = token.split(".");
  if (token.length > tokenCharsMax || parts.length !== 3) return refused("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections");
  const [head, payload, signature] = parts as [string, string, string];
  const header = objectIn(head);
  if (!header || typeof header["alg"] !== "string") return refused("Jwt header is an invalid JSON");
  const claims = objectIn(payload);
  if (!claims) return refused("Jwt payload is an invalid JSON");
  if (claims["sub"] !== undefined && typeof claims["sub"] !== "string") return refused("Jwt payload [sub] field is not a string");
  if (!isListOfNames(claims["aud"])) return refused("Jwt payload [aud] field is not a string or string list");
  if (!isBase64Url(signature)) return refused("Jwt signature is an invalid Base64url encoded");
  const { alg, kid, crit, b64 } = header as { alg: string; kid?: unknown; crit?: unknown; b64?: unknown };
  const algorithm = Object.hasOwn(algorithms, alg) ? algorithms[alg] : undefined;
  if (!algorithm || crit !== undefined || b64 !== undefined || (kid !== undefined && typeof kid !== "string")) return refused("Jwt header [alg] is not supported");
  if (issuer !== undefined && claims["iss"] !== issuer) return refused("Jwt issuer is not configured");
  const late = isInTime(claims, seconds);
  if (late !== undefined) return refused(late);
  if (!isForUs(claims["aud"] ?? (clientIdIsAudience ? claims["client_id"] : undefined), audiences)) return refused("Audiences in Jwt are not allowed", 403);
  if (!keys) return { ...refused("Jwks remote fetch is failed"), lacksKey: true };
  const fitting = keys.filter((key) => (key.kid === undefined || kid === undefined || key.kid === kid) && (key.alg === undefined || key.alg === alg) && algorithm.fits(key.key));
  if (fitting.length === 0) return { ...refused("Jwks doesn't have key to match kid or alg from Jwt"), lacksKey: true };
  const signed = Buffer.from(`${head}.${payload}`, "latin1");
  const bytes = Buffer.from(signature, "base64url");
  // A key without an id may have become another one.
  if (!fitting.some(({ key }) => algorithm.verifies(signed, key, bytes))) return { ...refused("Jwt verification fails"), ...(kid === undefined && { lacksKey: true }) };
  return { claims, payload };
}

export function isInTime({ exp, nbf }: Claims, seconds: number): string | undefined {
  if (exp !== undefined && (typeof exp !== "number" || exp + skewSeconds < seconds)) return "Jwt is expired";
  if (nbf !== undefined && (typeof nbf !== "number" || nbf - skewSeconds > seconds)) return "Jwt not yet valid";
  return undefined;
}

function isForUs(aud: unknown, wanted: readonly string[] | undefined): boolean {
  if (!wanted?.length) return true;
  const named = (typeof aud === "string" ? [aud] : Array.isArray(aud) ? aud : []).filter((name) => typeof name === "string").map(plain);
  return wanted.some((name) => named.includes(plain(name)));
}
const isListOfNames = (aud: unknown): boolean => aud === undefined || typeof aud === "string" || (Array.isArray(aud) && aud.every((name) => typeof name === "string"));
/** Envoy makes no difference between "https://shop/" and "shop". */
const plain = (audience: string): string => audience.replace(/^https?:\/\//, "").replace(/\/$/, "");

/** Without padding, and nothing else between: what others read otherwise is not read at all. */
const isBase64Url = (text: string): boolean => /^[\w-]+$/.test(text) && text.length % 4 !== 1;

function objectIn(text: string): Record<string, unknown> | undefined {
  if (!isBase64Url(text)) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

interface Algorithm {
  /** A key is used with the algorithms of its type alone: who may publish a key must not be able to name it a secret. */
  fits(key: KeyObject): boolean;
  verifies(signed: Buffer, key: KeyObject, signature: Buffer): boolean;
}

const rsaBitsMin = 2048;
const pss = 6; // RSA_PKCS1_PSS_PADDING
const rsa = (hash: string, padding?: number): Algorithm => ({
  fits: ({ asymmetricKeyType, asymmetricKeyDetails }) => asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) >= rsaBitsMin,
  verifies: (signed, key, signature) => crypto().verify(hash, signed, padding === undefined ? key : { key, padding, saltLength: Number(hash.slice(3)) / 8 }, signature),
});
const ec = (hash: string, curve: string): Algorithm => ({
  fits: ({ asymmetricKeyType, asymmetricKeyDetails }) => asymmetricKeyType === "ec" && asymmetricKeyDetails?.namedCurve === curve,
  verifies: (signed, key, signature) => crypto().verify(hash, signed, { key, dsaEncoding: "ieee-p1363" }, signature),
});
const hmac = (hash: string): Algorithm => ({
  fits: ({ type, symmetricKeySize = 0 }) => type === "secret" && symmetricKeySize >= Number(hash.slice(3)) / 8,
  verifies: (signed, key, signature) => {
    const made = crypto().createHmac(hash, key).update(signed).digest();
    return made.length === signature.length && crypto().timingSafeEqual(made, signature);
  },
});
const algorithms: Record<string, Algorithm> = {
  RS256: rsa("sha256"),
  RS384: rsa("sha384"),
  RS512: rsa("sha512"),
  PS256: rsa("sha256", pss),
  PS384: rsa("sha384", pss),
  PS512: rsa("sha512", pss),
  ES256: ec("sha256", "prime256v1"),
  ES384: ec("sha384", "secp384r1"),
  ES512: ec("sha512", "secp521r1"),
  EdDSA: { fits: ({ asymmetricKeyType }) => asymmetricKeyType === "ed25519", verifies: (signed, key, signature) => crypto().verify(null, signed, key, signature) },
  HS256: hmac("sha256"),
  HS384: hmac("sha384"),
  HS512: hmac("sha512"),
};

/** Keys that can be read and may verify; undefined when it is no key set at all. */
export function readKeys(text: string): Key[] | undefined {
  let set: unknown;
  try {
    set = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(set) || !Array.isArray(set["keys"])) return undefined;
  return set["keys"].flatMap((jwk: unknown): Key[] => {
    if (!isObject(jwk) || (jwk["use"] !== undefined && jwk["use"] !== "sig") || (Array.isArray(jwk["key_ops"]) && !jwk["key_ops"].includes("verify"))) return [];
    const { kty, k, kid, alg } = jwk;
    try {
      const key = kty === "oct" ? crypto().createSecretKey(Buffer.from(String(k), "base64url")) : crypto().createPublicKey({ key: jwk, format: "jwk" });
      return [{ key, kid: typeof kid === "string" && kid !== "" ? kid : undefined, alg: typeof alg === "string" && alg !== "" ? alg : undefined }];
    } catch {
      return [];
    }
  });
}
