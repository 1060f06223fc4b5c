import { createHmac, createPublicKey, createSecretKey, type KeyObject, timingSafeEqual, verify } from "node:crypto";
import type { TokenRule } from "../../api/guard.ts";
import type { HeaderEdits, RequestView } from "../../policy/exchange.ts";

export type Claims = Readonly<Record<string, unknown>>;

/** What became of a request's tokens. Neither claims nor refusal: it had none. */
export interface TokensRead {
  claims?: Claims;
  refusal?: { status: 401 | 403; reason: string };
  /** For the request that goes on. */
  edits: HeaderEdits;
  /** Parameters that end here. */
  withoutParams: readonly string[];
}

/** Gets a JSON Web Key Set. Calls `then` with its text at once and whenever it is another, or with undefined when it cannot be had. Returns how to stop. */
export type FetchKeys = (uri: string, then: (text: string | undefined) => void) => () => void;

/** Clocks of issuers may differ from ours by so much; as Envoy has it. */
const skewSeconds = 60;
const tokenCharsMax = 16_384;
const keptMax = 1_000;

/**
 * Reads and verifies JSON Web Tokens, for one set of rules. Whatever is not understood is refused; the words are Envoy's. A token
 * is believed when any rule believes it. Sources: RFC 7515, 7517, 7518, 7519, 8725.
 */
export class TokenReader {
  readonly #rules: readonly Rule[];
  readonly #now: () => number;
  /** Verified tokens, until they end. */
  readonly #kept = new Map<string, { rule: Rule; claims: Claims; payload: string }>();
  readonly #stops: (() => void)[] = [];
  readonly #sanitised: readonly string[];

  /** `now`: milliseconds since the epoch. */
  constructor(rules: readonly TokenRule[], fetchKeys: FetchKeys, now: () => number = Date.now) {
    this.#now = now;
    this.#rules = rules.map((rule): Rule => ({ rule, places: placesOf(rule), keys: rule.jwks === undefined ? undefined : readKeys(rule.jwks) }));
    for (const one of this.#rules) {
      const { jwks, jwksUri } = one.rule;
      if (jwks !== undefined || jwksUri === undefined) continue;
      this.#stops.push(
        fetchKeys(jwksUri, (text) => {
          one.keys = text === undefined ? undefined : readKeys(text);
          this.#kept.clear();
        }),
      );
    }
    // Nobody says for himself what only a verified token may say.
    this.#sanitised = rules.flatMap(({ payloadHeader, claimHeaders = [] }) => [...(payloadHeader === undefined ? [] : [payloadHeader]), ...claimHeaders.map(({ header }) => header)]).map((name) => name.toLowerCase());
  }
  close(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  read(request: Pick<RequestView, "header" | "query">): TokensRead {
    let refusal: TokensRead["refusal"];
    for (const one of this.#rules) {
      for (const place of one.places) {
        for (const token of place.tokens(request)) {
          const found = this.#verify(token, one);
          if ("reason" in found) {
            refusal ??= found;
            continue;
          }
          const isForwarded = one.rule.isForwarded === true;
          return {
            claims: found.claims,
            edits: { remove: [...this.#sanitised, ...(isForwarded || place.header === undefined ? [] : [place.header])], set: headersFor(one.rule, found), add: [] },
            withoutParams: isForwarded || place.param === undefined ? [] : [place.param],
          };
        }
      }
    }
    return { ...(refusal && { refusal }), edits: { remove: this.#sanitised, set: [], add: [] }, withoutParams: [] };
  }

  #verify(token: string, one: Rule): { claims: Claims; payload: string } | { status: 401 | 403; reason: string } {
    const seconds = this.#now() / 1000;
    const kept = this.#kept.get(token);
    if (kept?.rule === one && isInTime(kept.claims, seconds) === undefined) return kept;
    const found = verifyToken(token, one, seconds);
    if ("reason" in found) return found;
    if (this.#kept.size >= keptMax) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(token, { rule: one, ...found });
    return found;
  }
}

interface Rule {
  rule: TokenRule;
  places: readonly Place[];
  /** Undefined: they cannot be had. */
  keys: readonly Key[] | undefined;
}

interface Place {
  /** What is taken off the request that goes on. */
  header?: string;
  param?: string;
  tokens(request: Pick<RequestView, "header" | "query">): readonly string[];
}

interface Key {
  key: KeyObject;
  kid: string | undefined;
  alg: string | undefined;
}

const none: readonly string[] = [];
const inHeader = (name: string, prefix: string): Place => ({
  header: name,
  tokens: (request) => {
    const value = request.header(name);
    // Two of them would be joined, and are no token then.
    return value === undefined || !value.startsWith(prefix) ? none : [value.slice(prefix.length).trim()];
  },
});
const inParam = (name: string): Place => ({ param: name, tokens: ({ query }) => (query.includes(name) ? new URLSearchParams(query).getAll(name) : none) });
const inCookie = (name: string): Place => ({ tokens: (request) => (request.header("cookie") ?? "").split(/[;,]\s*/).flatMap((pair) => (pair.startsWith(`${name}=`) ? [pair.slice(name.length + 1)] : [])) });
const bearer: Place = {
  header: "authorization",
  tokens: (request) => {
    const found = /^bearer +(.*)$/i.exec(request.header("authorization") ?? "");
    return found ? [found[1]!.trim()] : none;
  },
};

function placesOf({ headers = [], params = [], cookies = [] }: TokenRule): Place[] {
  if (headers.length + params.length + cookies.length === 0) return [bearer, inParam("access_token")];
  return [...headers.map(({ name, prefix }) => inHeader(name, prefix)), ...params.map(inParam), ...cookies.map(inCookie)];
}

function headersFor({ payloadHeader, claimHeaders = [] }: TokenRule, { claims, payload }: { claims: Claims; payload: string }): [string, string][] {
  const set: [string, string][] = payloadHeader === undefined ? [] : [[payloadHeader.toLowerCase(), payload]];
  for (const { header, claim } of claimHeaders) {
    const value = claimAt(claims, claim);
    if (value === undefined || value === null) continue;
    const text = typeof value === "string" ? value : typeof value === "object" ? Buffer.from(JSON.stringify(value)).toString("base64url") : String(value);
    // What no header can hold is left out.
    if (/^[\x20-\x7e]*$/.test(text)) set.push([header.toLowerCase(), text]);
  }
  return set;
}
/** "realm.roles" is inside, unless there is a claim of that very name. */
const claimAt = (claims: Claims, path: string): unknown => (path in claims ? claims[path] : path.split(".").reduce<unknown>((value, part) => (isObject(value) ? value[part] : undefined), claims));

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

const refused = (reason: string, status: 401 | 403 = 401) => ({ status, reason });

function verifyToken(token: string, { rule, keys }: Rule, seconds: number): { claims: Claims; payload: string } | { status: 401 | 403; reason: string } {
  const parts = token.split(".");
  if (token.length > tokenCharsMax || parts.length !== 3) return refused("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections");
  const [head, payload, signature] = parts as [string, string, string];
  const header = objectIn(head);
  if (!header || typeof header["alg"] !== "string") return refused("Jwt header is an invalid JSON");
  const claims = objectIn(payload);
  if (!claims) return refused("Jwt payload is an invalid JSON");
  if (!isBase64Url(signature)) return refused("Jwt signature is an invalid Base64url encoded");
  const { alg, kid, crit, b64 } = header as { alg: string; kid?: unknown; crit?: unknown; b64?: unknown };
  const algorithm = Object.hasOwn(algorithms, alg) ? algorithms[alg] : undefined;
  if (!algorithm || crit !== undefined || b64 !== undefined || (kid !== undefined && typeof kid !== "string")) return refused("Jwt header [alg] is not supported");
  if (rule.issuer !== undefined && claims["iss"] !== rule.issuer) return refused("Jwt issuer is not configured");
  const late = isInTime(claims, seconds);
  if (late !== undefined) return refused(late);
  if (!isForUs(claims["aud"], rule.audiences)) return refused("Audiences in Jwt are not allowed", 403);
  if (!keys) return refused("Jwks remote fetch is failed");
  const fitting = keys.filter((key) => (key.kid === undefined || kid === undefined || key.kid === kid) && (key.alg === undefined || key.alg === alg) && algorithm.fits(key.key));
  if (fitting.length === 0) return refused("Jwks doesn't have key to match kid or alg from Jwt");
  const signed = Buffer.from(`${head}.${payload}`, "latin1");
  const bytes = Buffer.from(signature, "base64url");
  if (!fitting.some(({ key }) => algorithm.verifies(signed, key, bytes))) return refused("Jwt verification fails");
  return { claims: withLists(claims, rule.spaceDelimited ?? []), payload };
}

function isInTime({ exp, nbf }: Claims, seconds: number): string | undefined {
  if (exp !== undefined && (typeof exp !== "number" || exp + skewSeconds < seconds)) return "Jwt is expired";
  if (nbf !== undefined && (typeof nbf !== "number" || nbf - skewSeconds > seconds)) return "Jwt not yet valid";
  return undefined;
}

function isForUs(aud: unknown, wanted: readonly string[] | undefined): boolean {
  if (!wanted?.length) return true;
  const named = (typeof aud === "string" ? [aud] : Array.isArray(aud) ? aud : []).filter((name) => typeof name === "string").map(plain);
  return wanted.some((name) => named.includes(plain(name)));
}
/** Envoy makes no difference between "https://shop/" and "shop". */
const plain = (audience: string): string => audience.replace(/^https?:\/\//, "").replace(/\/$/, "");

function withLists(claims: Record<string, unknown>, more: readonly string[]): Claims {
  const lists = ["scope", "permission", ...more].filter((name) => typeof claims[name] === "string");
  return lists.length === 0 ? claims : { ...claims, ...Object.fromEntries(lists.map((name) => [name, (claims[name] as string).split(" ").filter(Boolean)])) };
}

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
  verifies: (signed, key, signature) => verify(hash, signed, padding === undefined ? key : { key, padding, saltLength: Number(hash.slice(3)) / 8 }, signature),
});
const ec = (hash: string, curve: string): Algorithm => ({
  fits: ({ asymmetricKeyType, asymmetricKeyDetails }) => asymmetricKeyType === "ec" && asymmetricKeyDetails?.namedCurve === curve,
  verifies: (signed, key, signature) => verify(hash, signed, { key, dsaEncoding: "ieee-p1363" }, signature),
});
const hmac = (hash: string): Algorithm => ({
  fits: ({ type, symmetricKeySize = 0 }) => type === "secret" && symmetricKeySize >= Number(hash.slice(3)) / 8,
  verifies: (signed, key, signature) => {
    const made = createHmac(hash, key).update(signed).digest();
    return made.length === signature.length && timingSafeEqual(made, signature);
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
  EdDSA: { fits: ({ asymmetricKeyType }) => asymmetricKeyType === "ed25519", verifies: (signed, key, signature) => verify(null, signed, key, signature) },
  HS256: hmac("sha256"),
  HS384: hmac("sha384"),
  HS512: hmac("sha512"),
};

/** Keys that can be read and may verify; undefined when it is no key set at all. */
function readKeys(text: string): Key[] | undefined {
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
      const key = kty === "oct" ? createSecretKey(Buffer.from(String(k), "base64url")) : createPublicKey({ key: jwk, format: "jwk" });
      return [{ key, kid: typeof kid === "string" && kid !== "" ? kid : undefined, alg: typeof alg === "string" && alg !== "" ? alg : undefined }];
    } catch {
      return [];
    }
  });
}
