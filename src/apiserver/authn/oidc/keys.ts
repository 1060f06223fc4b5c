import { createPublicKey, type KeyObject } from "node:crypto";
import { request } from "node:https";
import type { Clock } from "../../../base/clock.ts";

export interface KeySourceOptions {
  issuer: string;
  /** Where the discovery document lies when not below the issuer's own address. */
  discoveryUrl?: string | undefined;
  /** PEM; else what the system trusts. */
  ca?: string | undefined;
  clock: Clock;
  /** Of one fetch. */
  timeoutMs: number;
  /** Told why keys could not be had. */
  onFailure: (why: string) => void;
}
interface SigningKey {
  id: string | undefined;
  alg: string | undefined;
  key: KeyObject;
}

const documentBytesMax = 1 << 20;
const keysMax = 100;
/** Tokens with unknown keys are anybody's to send: the issuer is not asked more often than this. */
const restMs = 10_000;

/**
 * The keys of an issuer, by its discovery document. Those once fetched go on counting while the issuer is away; one that
 * is not among them makes us ask again. Source: OpenID Connect Discovery 1.0 §4, RFC 7517.
 */
export class KeySource {
  readonly #options: KeySourceOptions;
  #keys: readonly SigningKey[] = [];
  #askedAtMs = -Infinity;
  #asking: Promise<void> | undefined;

  constructor(options: KeySourceOptions) {
    this.#options = options;
  }

  /** Those that may have signed it; none when there are none. Never rejects. */
  async candidates(id: string | undefined, alg: string): Promise<KeyObject[]> {
    const found = this.#fitting(id, alg);
    if (found.length > 0) return found;
    await this.refresh();
    return this.#fitting(id, alg);
  }

  #fitting(id: string | undefined, alg: string): KeyObject[] {
    return this.#keys.filter((key) => (id === undefined || key.id === undefined || key.id === id) && (key.alg === undefined || key.alg === alg)).map(({ key }) => key);
  }

  refresh(): Promise<void> {
    if (this.#asking) return this.#asking;
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#askedAtMs < restMs) return Promise.resolve();
    this.#askedAtMs = nowMs;
    return (this.#asking = this.#ask()
      .catch((error: unknown) => this.#options.onFailure((error as Error).message))
      .finally(() => (this.#asking = undefined)));
  }

  async #ask(): Promise<void> {
    const { issuer, discoveryUrl = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration` } = this.#options;
    const document = (await this.#fetch(discoveryUrl)) as { issuer?: unknown; jwks_uri?: unknown };
    // Who answers for somebody else gives keys that would speak for him.
    if (document.issuer !== issuer) throw new Error(`${discoveryUrl} speaks for the issuer ${JSON.stringify(document.issuer)}, not ${JSON.stringify(issuer)}`);
    if (typeof document.jwks_uri !== "string" || !URL.canParse(document.jwks_uri)) throw new Error(`${discoveryUrl} has no jwks_uri`);
    const { keys } = (await this.#fetch(document.jwks_uri)) as { keys?: unknown };
    if (!Array.isArray(keys)) throw new Error(`${document.jwks_uri} holds no keys`);
    this.#keys = keys.slice(0, keysMax).flatMap(readKey);
  }

  #fetch(url: string): Promise<unknown> {
    const { ca, timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      if (!url.startsWith("https://")) return reject(new Error(`${url} is not https`));
      const outgoing = request(url, { headers: { accept: "application/json" }, agent: false, signal: AbortSignal.timeout(timeoutMs), ...(ca !== undefined && { ca }) }, (answer) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        // A redirect is not followed: it would lead where nobody configured us to go.
        if (answer.statusCode !== 200) outgoing.destroy(new Error(`${url} answered ${answer.statusCode}`));
        answer.on("data", (part: Buffer) => {
          bytes += part.length;
          if (bytes > documentBytesMax) outgoing.destroy(new Error(`${url} is longer than ${documentBytesMax} bytes`));
          else parts.push(part);
        });
        answer.on("error", reject);
        answer.on("end", () => {
          try {
            const value = JSON.parse(Buffer.concat(parts).toString("utf8")) as unknown;
            if (typeof value !== "object" || value === null) throw new Error("no object");
            resolve(value);
          } catch {
            reject(new Error(`${url} is no JSON object`));
          }
        });
      });
      outgoing.on("error", (error) => reject(new Error(`${url}: ${error.name === "TimeoutError" || error.name === "AbortError" ? `no answer within ${timeoutMs} ms` : error.message}`)));
      outgoing.end();
    });
  }
}

/** Keys for encryption, symmetric ones and what is no key at all are left out. */
function readKey(jwk: unknown): SigningKey[] {
  if (typeof jwk !== "object" || jwk === null) return [];
  const { kid, alg, use, kty } = jwk as Record<string, unknown>;
  if ((use !== undefined && use !== "sig") || (kty !== "RSA" && kty !== "EC")) return [];
  try {
    return [{ id: typeof kid === "string" ? kid : undefined, alg: typeof alg === "string" ? alg : undefined, key: createPublicKey({ key: jwk as never, format: "jwk" }) }];
  } catch {
    return [];
  }
}
