import { createPublicKey, type KeyObject, sign, verify, type webcrypto } from "node:crypto";
import { createHttpClient, Problem, type Service } from "wherry/chassis";
import { uuidPattern } from "./schemas.ts";
import { serviceUrl } from "./service.ts";

/**
 * Who asks: JSON Web Tokens of user-service, ES256. It has the private keys, and everybody else gets the public ones from
 * /.well-known/jwks.json. Source: RFC 7519, RFC 7515, RFC 7517, and RFC 8725 for what to refuse.
 */
export const issuer = "user-service";
export const audience = "shop";

export interface Caller {
  id: string;
  role: "customer" | "admin";
  /** As it came, for calls in the caller's name. */
  token: string;
}
export type Jwk = webcrypto.JsonWebKey & { kid: string };

export function signToken(kid: string, key: KeyObject, user: { id: string; role: string }, lifetimeMs: number, nowMs = Date.now()): string {
  const now = Math.floor(nowMs / 1000);
  const text = [{ alg: "ES256", typ: "JWT", kid }, { iss: issuer, aud: audience, sub: user.id, role: user.role, iat: now, exp: now + Math.floor(lifetimeMs / 1000) }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${text}.${sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/** Clocks of two machines differ by this much. */
const skewMs = 30_000;
const keysMaxMs = 300_000;
/** For a key that is not known: anybody may send tokens that name one. */
const againMs = 2_000;
const tokenCharsMax = 4_096;

/** Judges tokens by keys that are fetched when they are first needed, and again when one is missing. */
export class Tokens {
  readonly #fetchKeys: () => Promise<Jwk[]>;
  readonly #now: () => number;
  #keys = new Map<string, KeyObject>();
  #fetchedMs = -Infinity;
  #fetching: Promise<void> | undefined;

  constructor(fetchKeys: () => Promise<Jwk[]>, now: () => number = Date.now) {
    this.#fetchKeys = fetchKeys;
    this.#now = now;
  }

  /** With the keys of user-service. */
  static of(service: Service): Tokens {
    const users = createHttpClient({ url: serviceUrl("user-service"), name: "user-service keys", timeoutMs: 3_000, service });
    return new Tokens(async () => (await users.json<{ keys: Jwk[] }>("GET", "/.well-known/jwks.json")).keys);
  }

  /** Undefined without a token. @throws Problem 401 for one that is not good; a CallError where the keys cannot be had */
  async caller(request: { headers: { authorization?: string | undefined } }): Promise<Caller | undefined> {
    const { authorization } = request.headers;
    if (authorization === undefined) return undefined;
    const token = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization)?.[1];
    if (token === undefined || token.length > tokenCharsMax) throw refused("it is no bearer token");
    return await this.#verified(token);
  }

  /** @throws Problem 401 without one */
  async required(request: { headers: { authorization?: string | undefined } }): Promise<Caller> {
    const caller = await this.caller(request);
    if (!caller) throw new Problem(401, "log in first: POST /users/login");
    return caller;
  }

  async #verified(token: string): Promise<Caller> {
    const [head, body, signature] = token.split(".") as [string, string, string];
    const { alg, kid, crit } = parsed(head);
    // The one algorithm: a token does not choose how it is judged.
    if (alg !== "ES256" || typeof kid !== "string" || crit !== undefined) throw refused("its algorithm or key is not one of ours");
    const key = await this.#key(kid);
    if (!key || !verify("sha256", Buffer.from(`${head}.${body}`), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"))) throw refused("its signature is not valid");
    const { iss, aud, sub, role, exp, nbf } = parsed(body);
    const now = this.#now();
    if (iss !== issuer || aud !== audience) throw refused("it is for somebody else");
    if (typeof exp !== "number" || exp * 1000 + skewMs <= now) throw refused("it has expired");
    if (nbf !== undefined && (typeof nbf !== "number" || nbf * 1000 - skewMs > now)) throw refused("it is not valid yet");
    if (typeof sub !== "string" || (role !== "customer" && role !== "admin")) throw refused("it names nobody");
    return { id: sub, role, token };
  }

  async #key(kid: string): Promise<KeyObject | undefined> {
    const ageMs = this.#now() - this.#fetchedMs;
    if (ageMs > keysMaxMs || (!this.#keys.has(kid) && ageMs > againMs)) {
      // Keys that are known go on being good while no new ones can be had.
      await (this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined))).catch((error: unknown) => {
        if (!this.#keys.has(kid)) throw error;
      });
    }
    return this.#keys.get(kid);
  }

  async #fetch(): Promise<void> {
    const keys = await this.#fetchKeys();
    this.#keys = new Map(keys.filter(({ kty, crv }) => kty === "EC" && crv === "P-256").map((key) => [key.kid, createPublicKey({ key, format: "jwk" })]));
    this.#fetchedMs = this.#now();
  }
}

const userHeader = new RegExp(uuidPattern);

/**
 * X-User-Id, which an edge that has judged the token itself makes of its `sub` (k8s/edge/tokens.yaml): what is asked for is this user's
 * alone. It narrows what a token allows, and opens nothing by itself: whoever is in the cluster could write it, too.
 * @throws Problem 400 for what is no id
 */
export function onlyOf(request: { headers: Readonly<Record<string, string | string[] | undefined>> }): string | undefined {
  const given = request.headers["x-user-id"];
  if (given === undefined) return undefined;
  if (typeof given !== "string" || !userHeader.test(given)) throw new Problem(400, "X-User-Id is not an id");
  return given.toLowerCase();
}

function parsed(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString());
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // as below
  }
  throw refused("it is no token");
}

const refused = (why: string): Problem => new Problem(401, `the token was refused: ${why}`);
