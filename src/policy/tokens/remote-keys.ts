import type { TokenProvider } from "../../api/traffic.ts";
import type { FilterTools } from "../exchange.ts";

const cacheMsUsual = 5 * 60_000;
const retryMsUsual = 1_000;
const answerMs = 5_000;
const answerBytesMax = 256 * 1024;
/** Keys that cannot be asked for again are good for so long: longer than most outages, and no longer than a key that leaked may be good. */
const goodMs = 60 * 60_000;
/** A token with a key id that nobody knows makes us ask once in this time: whoever makes up tokens makes up no requests. */
const missMs = 10_000;

/** Where keys go when they are there. False: this is no key set, and those before it stay. */
export type TakeKeys = (text: string) => boolean;

/**
 * A provider's keys, which are elsewhere: asked for when a token needs them, once for all that wait; again in the background when they
 * are old, and at once, though seldom, when a token names one that is not among them. No timer: who shows no tokens costs nothing.
 */
export class RemoteKeys {
  readonly #where: NonNullable<TokenProvider["keys"]>;
  readonly #tools: Pick<FilterTools, "call" | "nowMs">;
  readonly #take: TakeKeys;
  readonly #forget: () => void;
  /** When they came, and when they were asked for last, by the monotonic clock. */
  #knownAt = -Infinity;
  #askedAt = -Infinity;
  #missedAt = -Infinity;
  #waiting: (() => void)[] | undefined;
  /** Why they could not be had last, for the log; "": they could. */
  failure = "";

  constructor(where: NonNullable<TokenProvider["keys"]>, tools: Pick<FilterTools, "call" | "nowMs">, take: TakeKeys, forget: () => void) {
    this.#where = where;
    this.#tools = tools;
    this.#take = take;
    this.#forget = forget;
  }

  /** Calls `then` when it is known which keys there are, or that there are none: mostly at once. */
  ready(then: () => void): void {
    const { cacheMs = cacheMsUsual, retryMs = retryMsUsual } = this.#where;
    const now = this.#tools.nowMs();
    const age = now - this.#knownAt;
    if (age < cacheMs) return then();
    const mayAsk = now - this.#askedAt >= retryMs;
    if (age < Math.max(cacheMs, goodMs)) {
      if (mayAsk && !this.#waiting) this.#ask(() => {});
      return then();
    }
    if (this.#knownAt !== -Infinity) {
      this.#knownAt = -Infinity;
      this.#forget();
    }
    if (this.#waiting || mayAsk) return this.#ask(then);
    then();
  }

  /** A token was signed with a key that is not there: calls `then` when others have come, or will not. */
  missed(then: () => void): void {
    if (this.#waiting) return this.#ask(then);
    const now = this.#tools.nowMs();
    const { retryMs = retryMsUsual } = this.#where;
    if (now - this.#missedAt < missMs || now - this.#askedAt < retryMs) return then();
    this.#missedAt = now;
    this.#ask(then);
  }

  #ask(then: () => void): void {
    if (this.#waiting) return void this.#waiting.push(then);
    const { call, nowMs } = this.#tools;
    this.#askedAt = nowMs();
    if (!call) return then();
    this.#waiting = [then];
    const { target, issuer } = this.#where;
    const done = (failure: string): void => {
      this.#askedAt = nowMs();
      this.failure = failure;
      if (failure === "") this.#knownAt = nowMs();
      const waiting = this.#waiting!;
      this.#waiting = undefined;
      for (const go of waiting) go();
    };
    const keysAt = (where: string): void => this.#get(where, (text, failure) => done(text === undefined ? failure : this.#take(text) ? "" : "is no key set"));
    if (issuer === undefined) return keysAt(target);
    this.#get(target, (text, failure) => {
      const found = text === undefined ? { failure } : keysIn(text, issuer, this.#where.host);
      if ("failure" in found) done(found.failure);
      else keysAt(found.target);
    });
  }

  #get(target: string, then: (text: string | undefined, failure: string) => void): void {
    const { upstream, host } = this.#where;
    this.#tools.call!({ upstream, method: "GET", target, host, headers: [["accept", "application/json"]], timeoutMs: answerMs, bytesMax: answerBytesMax }, (answer, reason) => {
      if (answer?.status === 200) then(answer.body.toString("utf8"), "");
      else then(undefined, answer ? `answered ${answer.status}` : reason);
    });
  }
}

/** Where an issuer's own document says that its keys are. Only who is asked is asked: nobody is sent elsewhere by an answer. */
function keysIn(text: string, issuer: string, host: string): { target: string } | { failure: string } {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return { failure: "its document is no JSON" };
  }
  const { issuer: own, jwks_uri: uri } = (typeof document === "object" && document !== null ? document : {}) as { issuer?: unknown; jwks_uri?: unknown };
  if (own !== issuer) return { failure: "its document is another issuer's" };
  const url = typeof uri === "string" ? URL.parse(uri) : null;
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) return { failure: "its document has no jwks_uri" };
  if (url.host !== host) return { failure: `its keys are at ${url.host}, which nobody has named: jwksUri does` };
  return { target: url.pathname + url.search };
}
