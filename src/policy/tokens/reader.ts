import type { TokenRule } from "../../api/guard.ts";
import type { HeaderEdits, RequestView } from "../exchange.ts";
import { headersFor, headersOf, withLists } from "./claims.ts";
import { type Place, placesOf } from "./places.ts";
import { type Believed, type Claims, type Expected, isInTime, type Key, type NotBelieved, readKeys, verifyToken } from "./verify.ts";

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

/** Tokens that are remembered for one rule. */
const keptMax = 1_000;

/** Verifies the tokens of one rule, and remembers those that it has believed until they end. */
export class TokenVerifier {
  readonly #expected: Expected;
  /** Undefined: they cannot be had. */
  #keys: readonly Key[] | undefined;
  readonly #kept = new Map<string, Believed>();
  readonly #shaped: ((claims: Claims) => Claims) | undefined;

  /** `shaped`: claims as whoever asks wants them. */
  constructor(expected: Expected, jwks: string | undefined, shaped?: (claims: Claims) => Claims) {
    this.#expected = expected;
    this.#shaped = shaped;
    this.keysAre(jwks);
  }
  /** What was believed by other keys is forgotten. Whether it is a key set. */
  keysAre(jwks: string | undefined): boolean {
    this.#keys = jwks === undefined ? undefined : readKeys(jwks);
    this.#kept.clear();
    return this.#keys !== undefined;
  }
  /** The same, but what is no key set changes nothing. */
  takes(jwks: string): boolean {
    const keys = readKeys(jwks);
    if (!keys) return false;
    this.#keys = keys;
    this.#kept.clear();
    return true;
  }

  /** `seconds` since the epoch. */
  verify(token: string, seconds: number): Believed | NotBelieved {
    const kept = this.#kept.get(token);
    if (kept && isInTime(kept.claims, seconds) === undefined) return kept;
    let found = verifyToken(token, this.#expected, this.#keys, seconds);
    if ("reason" in found) return found;
    if (this.#shaped) found = { ...found, claims: this.#shaped(found.claims) };
    if (this.#kept.size >= keptMax) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(token, found);
    return found;
  }
}

/**
 * Reads and verifies JSON Web Tokens, for one set of rules. Whatever is not understood is refused; the words are Envoy's. A token
 * is believed when any rule believes it. Sources: RFC 7515, 7517, 7518, 7519, 8725.
 */
export class TokenReader {
  readonly #rules: readonly Rule[];
  readonly #now: () => number;
  readonly #stops: (() => void)[] = [];
  readonly #sanitised: readonly string[];

  /** `now`: milliseconds since the epoch. */
  constructor(rules: readonly TokenRule[], fetchKeys: FetchKeys, now: () => number = Date.now) {
    this.#now = now;
    this.#rules = rules.map((rule): Rule => ({ rule, places: placesOf(rule), verifier: new TokenVerifier(rule, rule.jwks, (claims) => withLists(claims, rule.spaceDelimited ?? [])) }));
    for (const one of this.#rules) {
      const { jwks, jwksUri } = one.rule;
      if (jwks !== undefined || jwksUri === undefined) continue;
      this.#stops.push(fetchKeys(jwksUri, (text) => void one.verifier.keysAre(text)));
    }
    this.#sanitised = rules.flatMap(headersOf);
  }
  close(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  read(request: Pick<RequestView, "header" | "query">): TokensRead {
    let refusal: TokensRead["refusal"];
    for (const one of this.#rules) {
      for (const place of one.places) {
        for (const token of place.tokens(request)) {
          const found = one.verifier.verify(token, this.#now() / 1000);
          if ("reason" in found) {
            refusal ??= { status: found.status, reason: found.reason };
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
}

interface Rule {
  rule: TokenRule;
  places: readonly Place[];
  verifier: TokenVerifier;
}
