import { createHash, createHmac, createPublicKey, type KeyObject, sign } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { request } from "node:https";
import type { Clock } from "../../../base/clock.ts";

/** What an ACME server refuses, in its words. Source: RFC 8555 §6.7. */
export class AcmeProblem extends Error {
  /** Without "urn:ietf:params:acme:error:". */
  readonly type: string;
  readonly status: number;
  /** It asks us to wait. */
  readonly retryAfterMs: number | undefined;

  constructor({ type, detail, status, retryAfterMs }: { type: string; detail: string; status: number; retryAfterMs?: number | undefined }) {
    super(`${status} urn:ietf:params:acme:error:${type}: ${detail}`);
    this.type = type;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface AcmeServer {
  /** Of its directory; https. */
  url: string;
  /** PEM of who vouches for the server; absent: what the system trusts. */
  ca?: string | undefined;
  skipVerification?: boolean;
}

interface Directory {
  newNonce: string;
  newAccount: string;
  newOrder: string;
  meta?: { termsOfService?: string; externalAccountRequired?: boolean; profiles?: Record<string, string> };
}

export interface Order {
  url: string;
  status: "pending" | "ready" | "processing" | "valid" | "invalid";
  authorizations: string[];
  finalize: string;
  certificate?: string;
  error?: Problem;
  /** How long to wait before it is looked at again. */
  retryAfterMs?: number | undefined;
}
export interface Authorization {
  identifier: { type: string; value: string };
  status: "pending" | "valid" | "invalid" | "deactivated" | "expired" | "revoked";
  wildcard?: boolean;
  challenges: { type: string; url: string; token?: string; status: string; error?: Problem }[];
  retryAfterMs?: number | undefined;
}
export interface Problem {
  type?: string;
  detail?: string;
  status?: number;
  subproblems?: (Problem & { identifier?: { value: string } })[];
}

/** "connection: …", with what is said of single names. */
export const problemText = ({ type = "about:blank", detail = "", subproblems = [] }: Problem = {}): string => [`${type.replace("urn:ietf:params:acme:error:", "")}: ${detail}`, ...subproblems.map(({ identifier, detail: more = "" }) => `${identifier?.value ?? ""}: ${more}`)].join("; ").slice(0, 900);

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

const answerBytesMax = 1024 * 1024;
const timeoutMs = 30_000;
const nonceTries = 5;
const base64url = (value: string | Buffer): string => Buffer.from(value as string).toString("base64url");

/** One account at one ACME server: requests are signed with its key, and a nonce that was refused is replaced. Source: RFC 8555. */
export class AcmeClient {
  readonly #server: AcmeServer;
  readonly #key: KeyObject;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #directory: Promise<Directory> | undefined;
  #nonces: string[] = [];
  #account: string | undefined;

  constructor(server: AcmeServer, key: KeyObject, clock: Clock, signal: AbortSignal) {
    if (!server.url.startsWith("https://")) throw new AcmeProblem({ type: "malformed", detail: `${server.url} is no https URL`, status: 0 });
    this.#server = server;
    this.#key = key;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Finds the account of the key, or makes one; gives its URL. `binding`: of an account elsewhere, the key being HMAC. */
  async register(contact: readonly string[], binding?: { id: string; key: Buffer }): Promise<string> {
    const { newAccount, meta } = await this.#directoryOf();
    if (meta?.externalAccountRequired && !binding) throw new AcmeProblem({ type: "externalAccountRequired", detail: "the server wants spec.acme.externalAccountBinding", status: 0 });
    const bound = binding && { externalAccountBinding: hmacSigned({ alg: "HS256", kid: binding.id, url: newAccount }, JSON.stringify(publicJwk(this.#key)), binding.key) };
    const { status, headers, body } = await this.#post(newAccount, { termsOfServiceAgreed: true, contact, ...bound }, "key");
    this.#account = String(headers.location);
    // An account that was there keeps whom it knew: §7.3.2.
    const known = status === 200 ? (json(body) as { contact?: string[] }).contact : undefined;
    if (known && contact.length > 0 && known.join() !== contact.join()) await this.#post(this.#account, { contact });
    return this.#account;
  }

  async order(names: readonly string[], profile?: string): Promise<Order> {
    const { newOrder } = await this.#directoryOf();
    const identifiers = names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? "ip" : "dns", value }));
    const { headers, body } = await this.#post(newOrder, { identifiers, ...(profile && { profile }) });
    return this.#orderOf(String(headers.location), headers, body);
  }
  async getOrder(url: string): Promise<Order> {
    const { headers, body } = await this.#post(url, undefined);
    return this.#orderOf(url, headers, body);
  }
  async authorization(url: string): Promise<Authorization> {
    const { headers, body } = await this.#post(url, undefined);
    return { ...(json(body) as Authorization), retryAfterMs: retryAfter(headers, this.#clock.now()) };
  }
  /** Says that the answer is there to be looked at. */
  async accept(challengeUrl: string): Promise<void> {
    await this.#post(challengeUrl, {});
  }
  /** `request`: DER. */
  async finalize(order: Order, certificateRequest: Buffer): Promise<Order> {
    const { headers, body } = await this.#post(order.finalize, { csr: base64url(certificateRequest) });
    return this.#orderOf(order.url, headers, body);
  }
  /** PEM chains: the server's own choice first, then its alternatives. */
  async *chains(url: string): AsyncIterable<string> {
    const { headers, body } = await this.#post(url, undefined, undefined, "application/pem-certificate-chain");
    yield body.toString("utf8");
    for (const [, alternative] of String(headers.link ?? "").matchAll(/<([^>]+)>\s*;\s*rel="?alternate"?/g)) yield (await this.#post(new URL(alternative!, url).href, undefined, undefined, "application/pem-certificate-chain")).body.toString("utf8");
  }

  /** What is to be found where the server looks: RFC 8555 §8.1. */
  keyAuthorization(token: string): string {
    const jwk = publicJwk(this.#key);
    // RFC 7638: the required members in the order of their names.
    const members = Object.fromEntries(Object.entries(jwk).sort(([a], [b]) => (a < b ? -1 : 1)));
    return `${token}.${createHash("sha256").update(JSON.stringify(members)).digest("base64url")}`;
  }

  #orderOf = (url: string, headers: IncomingHttpHeaders, body: Buffer): Order => ({ ...(json(body) as Order), url, retryAfterMs: retryAfter(headers, this.#clock.now()) });

  #directoryOf(): Promise<Directory> {
    this.#directory ??= this.#send("GET", this.#server.url).then(({ status, body }) => {
      if (status !== 200) throw new AcmeProblem({ type: "directory", detail: `${this.#server.url} answers ${status}`, status });
      return json(body) as Directory;
    });
    // What failed once may succeed later.
    this.#directory.catch(() => (this.#directory = undefined));
    return this.#directory;
  }

  async #post(url: string, payload: object | undefined, by: "account" | "key" = "account", accept = "application/json"): Promise<Answer> {
    for (let tries = 1; ; tries++) {
      const answer = await this.#send("POST", url, this.#signed(url, payload, by, await this.#nonce()), accept);
      const { status, headers, body } = answer;
      if (status < 400) return answer;
      const problem = problemOf(body);
      const type = (problem.type ?? "").replace("urn:ietf:params:acme:error:", "") || "unknown";
      // The answer brought a fresh one: §6.5.
      if (type === "badNonce" && tries < nonceTries) continue;
      throw new AcmeProblem({ type, detail: problem.detail ? problemText(problem).replace(`${type}: `, "") : `${new URL(url).host} answers ${status}`, status, retryAfterMs: retryAfter(headers, this.#clock.now()) });
    }
  }

  async #nonce(): Promise<string> {
    const kept = this.#nonces.shift();
    if (kept !== undefined) return kept;
    await this.#send("HEAD", (await this.#directoryOf()).newNonce);
    const nonce = this.#nonces.shift();
    if (nonce === undefined) throw new AcmeProblem({ type: "badNonce", detail: "the server gives no nonce", status: 0 });
    return nonce;
  }

  #signed(url: string, payload: object | undefined, by: "account" | "key", nonce: string): string {
    const isEc = this.#key.asymmetricKeyType === "ec";
    const who = by === "key" ? { jwk: publicJwk(this.#key) } : { kid: this.#account };
    const head = base64url(JSON.stringify({ alg: isEc ? "ES256" : "RS256", ...who, nonce, url }));
    const body = payload === undefined ? "" : base64url(JSON.stringify(payload));
    const signature = sign("sha256", Buffer.from(`${head}.${body}`), isEc ? { key: this.#key, dsaEncoding: "ieee-p1363" } : this.#key);
    return JSON.stringify({ protected: head, payload: body, signature: base64url(signature) });
  }

  #send(method: string, url: string, body?: string, accept = "application/json"): Promise<Answer> {
    const { ca, skipVerification = false } = this.#server;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const headers = { accept, "user-agent": "wherry", ...(body !== undefined && { "content-type": "application/jose+json", "content-length": Buffer.byteLength(body) }) };
    const sent = request(url, { method, headers, signal: AbortSignal.any([this.#signal, AbortSignal.timeout(timeoutMs)]), rejectUnauthorized: !skipVerification, ...(ca && { ca }) }, (answer) => {
      const chunks: Buffer[] = [];
      let length = 0;
      answer.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length > answerBytesMax) sent.destroy(new Error(`${url} answers with more than ${answerBytesMax} bytes`));
        else chunks.push(chunk);
      });
      answer.on("error", reject);
      answer.on("end", () => {
        const nonce = answer.headers["replay-nonce"];
        if (typeof nonce === "string") this.#nonces = [nonce, ...this.#nonces].slice(0, 10);
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) });
      });
    });
    sent.on("error", (error: NodeJS.ErrnoException) => reject(new Error(`${new URL(url).host}: ${error.message || error.code}`, { cause: error })));
    sent.end(body);
    return promise;
  }
}

function publicJwk(key: KeyObject): Record<string, unknown> {
  const { kty, crv, x, y, n, e } = createPublicKey(key as never).export({ format: "jwk" });
  return Object.fromEntries(Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined));
}

function hmacSigned(head: object, payload: string, key: Buffer): object {
  const [first, second] = [base64url(JSON.stringify(head)), base64url(payload)];
  return { protected: first, payload: second, signature: createHmac("sha256", key).update(`${first}.${second}`).digest("base64url") };
}

const json = (body: Buffer): unknown => {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    throw new AcmeProblem({ type: "malformed", detail: "the server's answer is no JSON", status: 0 });
  }
};
const problemOf = (body: Buffer): Problem => {
  try {
    const found = JSON.parse(body.toString("utf8")) as Problem | null;
    return found !== null && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
};
/** Seconds, or a date. */
function retryAfter({ "retry-after": text }: IncomingHttpHeaders, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), 24 * 3_600_000);
}
