import type { HttpFilter } from "../../api/traffic.ts";
import { isObject } from "../../base/is-object.ts";
import type { FilterTools, SideAnswer, SideRequest } from "../exchange.ts";
import { RemoteKeys } from "../tokens/remote-keys.ts";
import { type Claims, type Key, readKeys, verifyToken } from "../tokens/verify.ts";
import { isSame, sha256 } from "./seal.ts";

type Config = Extract<HttpFilter, { type: "oidc" }>;

const answerMs = 10_000;
const answerBytesMax = 256 * 1024;
const documentMs = 10 * 60_000;
const retryMs = 1_000;
const tokenCharsMax = 16_384;
/** An ID token that was made longer ago was not made for this login. */
const issuedSecondsMax = 600;
const skewSeconds = 60;

/** Where a provider is asked, and its user is sent. */
export interface Endpoints {
  authorization: string;
  token: string;
  endSession?: string;
  keys?: string;
  /** RFC 9207: its answers say whose they are. */
  saysIssuer: boolean;
  /** How a client says who it is; undefined: nothing is known of it. */
  clientMethods?: readonly string[];
}

export interface Tokens {
  idToken: string | undefined;
  accessToken: string;
  refreshToken: string | undefined;
  expiresIn: number | undefined;
}

/** A refusal, or no answer: `isRefused` says that it was the provider's own word. */
export class ProviderError extends Error {
  readonly isRefused: boolean;
  constructor(message: string, isRefused = false) {
    super(message);
    this.isRefused = isRefused;
  }
}
type Then<T> = (result: T | ProviderError) => void;

/**
 * One OpenID provider, as a client of it sees it. What is configured counts; the rest its own document says. Sources: OpenID Connect
 * Core 1.0 and Discovery 1.0; RFC 6749, 7636, 8707, 9207.
 */
export class Provider {
  readonly #config: Config;
  readonly #tools: FilterTools;
  #found: Endpoints | undefined;
  #foundAt = -Infinity;
  #askedAt = -Infinity;
  #failure = new ProviderError("the provider was not asked yet");
  #waiting: Then<Endpoints>[] | undefined;
  #keys: { uri: string; remote: RemoteKeys } | undefined;
  #known: readonly Key[] | undefined;

  constructor(config: Config, tools: FilterTools) {
    this.#config = config;
    this.#tools = tools;
  }

  /** For sending a user there. */
  forLogin(then: Then<Pick<Endpoints, "authorization" | "saysIssuer">>): void {
    const { authorization } = this.#config.endpoints ?? {};
    if (authorization !== undefined && this.#found === undefined) return then({ authorization, saysIssuer: false });
    this.endpoints(then);
  }
  /** Where it may be said that somebody has logged out, as far as that is known. */
  get endSession(): string | undefined {
    return this.#config.endpoints?.endSession ?? this.#found?.endSession;
  }

  endpoints(then: Then<Endpoints>): void {
    const { nowMs } = this.#tools;
    if (this.#found && nowMs() - this.#foundAt < documentMs) return then(this.#found);
    if (this.#waiting) return void this.#waiting.push(then);
    const { authorization, token } = this.#config.endpoints ?? {};
    // What is there is good until something newer is.
    const fallback = this.#found ?? (authorization !== undefined && token !== undefined ? { authorization, token, ...this.#configured(), saysIssuer: false } : undefined);
    if (nowMs() - this.#askedAt < retryMs) return then(fallback ?? this.#failure);
    this.#askedAt = nowMs();
    this.#waiting = [then];
    const { issuer } = this.#config;
    this.#call({ method: "GET", url: `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, headers: [["accept", "application/json"]] }, (answer) => {
      this.#askedAt = nowMs();
      const read = answer instanceof ProviderError ? answer : this.#document(answer);
      if (read instanceof ProviderError) this.#failure = read;
      else {
        this.#found = read;
        this.#foundAt = nowMs();
      }
      const waiting = this.#waiting!;
      this.#waiting = undefined;
      for (const one of waiting) one(read instanceof ProviderError ? (fallback ?? read) : read);
    });
  }
  #configured(): Partial<Endpoints> {
    const { authorization, token, endSession } = this.#config.endpoints ?? {};
    return { ...(authorization !== undefined && { authorization }), ...(token !== undefined && { token }), ...(endSession !== undefined && { endSession }) };
  }
  #document({ status, body }: SideAnswer): Endpoints | ProviderError {
    if (status !== 200) return new ProviderError(`its configuration: it answered ${status}`);
    const document = jsonOf(body);
    if (!document) return new ProviderError("its configuration is not JSON");
    const text = (name: string): string | undefined => (typeof document[name] === "string" ? document[name] : undefined);
    // Discovery §4.3: who says that it is another is none.
    if (text("issuer") !== this.#config.issuer) return new ProviderError(`its configuration is that of ${JSON.stringify(document["issuer"])}`);
    const { authorization = text("authorization_endpoint"), token = text("token_endpoint"), endSession = text("end_session_endpoint") } = this.#configured();
    const keys = text("jwks_uri");
    for (const url of [authorization, token]) if (url === undefined || !/^https?:$/.test(URL.parse(url)?.protocol ?? "")) return new ProviderError("its configuration names no endpoint for logins or for tokens");
    const methods = document["token_endpoint_auth_methods_supported"];
    return {
      authorization: authorization!,
      token: token!,
      ...(endSession !== undefined && /^https?:$/.test(URL.parse(endSession)?.protocol ?? "") && { endSession }),
      ...(keys !== undefined && { keys }),
      saysIssuer: document["authorization_response_iss_parameter_supported"] === true,
      // Without the list it is client_secret_basic.
      clientMethods: Array.isArray(methods) ? methods.map(String) : ["client_secret_basic"],
    };
  }

  /** `form`: what is given for tokens. */
  tokens(form: Readonly<Record<string, string>>, then: Then<Tokens>): void {
    this.endpoints((endpoints) => {
      if (endpoints instanceof ProviderError) return then(endpoints);
      const { clientId, clientSecret } = this.#config;
      const body = new URLSearchParams(form);
      const headers: [string, string][] = [["content-type", "application/x-www-form-urlencoded"], ["accept", "application/json"]];
      // As Envoy does it, unless the provider says that it does not take that.
      if (endpoints.clientMethods && !endpoints.clientMethods.includes("client_secret_post") && endpoints.clientMethods.includes("client_secret_basic")) {
        headers.push(["authorization", `Basic ${Buffer.from(`${formText(clientId)}:${formText(clientSecret)}`).toString("base64")}`]);
      } else {
        body.set("client_id", clientId);
        body.set("client_secret", clientSecret);
      }
      this.#call({ method: "POST", url: endpoints.token, headers, body: Buffer.from(body.toString()) }, (answer) => then(answer instanceof ProviderError ? answer : tokensOf(answer)));
    });
  }

  /**
   * Whether an ID token says who has logged in, for us: its signature, and all that Core §3.1.3.7 wants to be looked at. Where its keys cannot
   * be known, one that came by verified TLS from the provider itself is believed for that (no. 6 there).
   */
  verify(idToken: string, expected: { nonce?: string; accessToken: string; subject?: string }, then: Then<Claims>): void {
    this.endpoints((endpoints) => {
      if (endpoints instanceof ProviderError) return then(endpoints);
      const remote = endpoints.keys === undefined ? undefined : this.#remoteKeys(endpoints.keys);
      if (!remote) {
        if (this.#upstreamOf(endpoints.token)?.isVerified !== true) return then(new ProviderError("where its keys are cannot be asked, and its tokens come without TLS"));
        return then(this.#judge(idToken, undefined, expected, true).result);
      }
      remote.ready(() => {
        const first = this.#judge(idToken, this.#known, expected, false);
        if (!first.lacksKey) return then(first.result);
        remote.missed(() => then(this.#judge(idToken, this.#known, expected, false).result));
      });
    });
  }
  #remoteKeys(uri: string): RemoteKeys | undefined {
    if (this.#keys?.uri === uri) return this.#keys.remote;
    const upstream = this.#upstreamOf(uri);
    const url = URL.parse(uri);
    if (!upstream || !url) return undefined;
    const take = (text: string): boolean => {
      // Who publishes keys must not be able to publish a secret: a token is not signed with what everybody may read.
      const keys = readKeys(text)?.filter(({ key }) => key.type === "public");
      if (keys) this.#known = keys;
      return keys !== undefined;
    };
    this.#known = undefined;
    this.#keys = { uri, remote: new RemoteKeys({ upstream: upstream.upstream, host: url.host, target: `${url.pathname}${url.search}` }, this.#tools, take, () => (this.#known = undefined)) };
    return this.#keys.remote;
  }
  #judge(idToken: string, keys: readonly Key[] | undefined, { nonce, accessToken, subject }: Parameters<Provider["verify"]>[1], isTold: boolean): { result: Claims | ProviderError; lacksKey?: boolean } {
    const { issuer, clientId } = this.#config;
    const no = (why: string) => ({ result: new ProviderError(`its ID token: ${why}`, true) });
    if (idToken.length > tokenCharsMax) return no("is too long");
    const seconds = (this.#tools.dateMs ?? Date.now)() / 1000;
    const found = verifyToken(idToken, { issuer, audiences: [clientId] }, isTold ? undefined : keys, seconds);
    let claims: Claims;
    if (!("reason" in found)) ({ claims } = found);
    else if (isTold && found.lacksKey) claims = JSON.parse(Buffer.from(idToken.split(".")[1]!, "base64url").toString("utf8")) as Claims;
    else return { ...no(found.reason), ...(found.lacksKey && { lacksKey: true }) };
    const { aud, azp, exp, iat, sub } = claims;
    const audiences = Array.isArray(aud) ? aud : [aud];
    if (!audiences.includes(clientId)) return no("is for another client");
    if ((audiences.length > 1 || azp !== undefined) && azp !== clientId) return no("was made for another client");
    if (typeof sub !== "string" || sub === "") return no("names nobody");
    if (typeof exp !== "number" || typeof iat !== "number") return no("does not say when it was made or ends");
    if (iat - skewSeconds > seconds) return no("was made in the future");
    if (nonce !== undefined && (typeof claims["nonce"] !== "string" || !isSame(claims["nonce"], nonce) || iat < seconds - issuedSecondsMax)) return no("was not made for this login");
    if (subject !== undefined && sub !== subject) return no("is another user's");
    const hash = claims["at_hash"];
    const alg = String((JSON.parse(Buffer.from(idToken.split(".")[0]!, "base64url").toString("utf8")) as { alg?: unknown }).alg);
    if (typeof hash === "string" && alg.endsWith("256") && hash !== Buffer.from(sha256(accessToken), "base64url").subarray(0, 16).toString("base64url")) return no("goes with another access token");
    return { result: claims };
  }

  #upstreamOf(url: string): Config["upstreams"][number] | undefined {
    const origin = URL.parse(url)?.origin;
    return this.#config.upstreams.find((one) => one.origin === undefined || one.origin === origin);
  }
  #call({ url: text, ...rest }: { url: string } & Pick<SideRequest, "method" | "headers" | "body">, then: Then<SideAnswer>): void {
    const url = URL.parse(text);
    const upstream = this.#upstreamOf(text);
    const { call } = this.#tools;
    if (!url || !upstream) return then(new ProviderError(`nothing leads to ${text}: its address must be among those that the policy names`));
    if (!call) return then(new ProviderError("there is nobody to ask"));
    call({ ...rest, upstream: upstream.upstream, host: url.host, target: `${url.pathname}${url.search}`, timeoutMs: answerMs, bytesMax: answerBytesMax }, (answer, reason) => then(answer ?? new ProviderError(reason)));
  }
}

/** RFC 6749 §2.3.1: both parts are form-encoded before they are joined. */
const formText = (text: string): string => new URLSearchParams([["", text]]).toString().slice(1);

function jsonOf(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function tokensOf({ status, body }: SideAnswer): Tokens | ProviderError {
  const told = jsonOf(body);
  if (status !== 200) return new ProviderError(`its token endpoint answered ${status}${typeof told?.["error"] === "string" ? `, ${JSON.stringify(told["error"].slice(0, 100))}` : ""}`, status >= 400 && status < 500 && status !== 429);
  const { id_token: idToken, access_token: accessToken, refresh_token: refreshToken, expires_in: expires, token_type: type } = told ?? {};
  if (typeof accessToken !== "string" || !/^[\x21-\x7e]+$/.test(accessToken) || typeof type !== "string" || type.toLowerCase() !== "bearer") return new ProviderError("its token endpoint gave no bearer token");
  const expiresIn = typeof expires === "string" ? Number(expires) : expires;
  return {
    idToken: typeof idToken === "string" ? idToken : undefined,
    accessToken,
    refreshToken: typeof refreshToken === "string" && refreshToken !== "" ? refreshToken : undefined,
    expiresIn: typeof expiresIn === "number" && Number.isFinite(expiresIn) && expiresIn > 0 ? expiresIn : undefined,
  };
}
