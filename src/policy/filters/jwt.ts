import type { HttpFilter, TokenProvider } from "../../api/traffic.ts";
import type { Exchange, Filter, FilterTools, Handler, Outcome } from "../exchange.ts";
import { compileEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { at, PolicyError } from "../policy-error.ts";
import { dropCookies, dropParams, editHeaders } from "../request-edits.ts";
import { headersFor, headersOf } from "../tokens/claims.ts";
import { type Place, placesOf } from "../tokens/places.ts";
import { TokenVerifier } from "../tokens/reader.ts";
import { RemoteKeys } from "../tokens/remote-keys.ts";
import type { Believed, Claims, NotBelieved } from "../tokens/verify.ts";

/** Of one name in one place: nobody has a use for two. */
const tokensMax = 4;

type Config = Extract<HttpFilter, { type: "jwt" }>;

/**
 * JSON Web Tokens: a request goes on when a provider vouches for one of its tokens. A token beside it that nobody vouches for does not
 * go on with it: a program behind must not read another than the one that was believed. Sources: RFC 6750, 8725; Envoy, jwt_authn.
 */
export const jwt: Filter<Config> = ({ providers, optional = false, failOpen = false }, tools) => {
  if (providers.length === 0) throw new PolicyError("providers", [], "must have at least one entry");
  const compiled = providers.map((provider, i) => at(`providers[${i}]`, () => new Provider(provider, tools)));
  const sanitised = [...new Set(providers.flatMap(headersOf))];
  const seconds = (): number => (tools.dateMs ?? Date.now)() / 1000;

  const judge = (exchange: Exchange, outcome: Outcome, next: Handler, shown: readonly Shown[], mayAsk: boolean): void => {
    const found = new Map<string, Believed>();
    let refusal: NotBelieved | undefined;
    const believed = new Set<string>();
    const lacking = new Set<RemoteKeys>();
    const now = seconds();
    for (const { provider, token } of shown) {
      if (found.has(provider.config.name)) continue;
      const result = provider.verifier.verify(token, now);
      if (!("reason" in result)) {
        found.set(provider.config.name, result);
        believed.add(token);
        continue;
      }
      if (result.lacksKey && provider.remote) lacking.add(provider.remote);
      // Another provider's token is no news.
      if (!refusal || refusal.reason === "Jwt issuer is not configured") refusal = result;
    }
    if (found.size === 0 && lacking.size > 0 && mayAsk) return whenAll([...lacking], (keys, then) => keys.missed(then), exchange, () => judge(exchange, outcome, next, shown, false));
    if (found.size === 0 && shown.length > 0 && !failOpen) return refuse(exchange, outcome, refusal!, [...lacking].map(({ failure }) => failure).filter(Boolean).join("; "));
    editHeaders(exchange, { remove: sanitised, set: claimHeaders(compiled, found) });
    if (found.size > 0) {
      exchange.caller = { ...exchange.caller, jwt: new Map<string, Claims>([...found].map(([name, { claims }]) => [name, claims])) };
      // Where anything may stand in place of a token, it is not ours to take away.
      const ends = ({ provider: { config }, token }: Shown): boolean => (believed.has(token) ? !config.isForwarded && found.has(config.name) : !failOpen);
      drop(exchange, shown.filter(ends).map(({ place }) => place));
    }
    next(exchange, outcome);
  };

  return (next) => (exchange, outcome) => {
    const shown: Shown[] = [];
    for (const provider of compiled) for (const place of provider.places) {
      const tokens = tokensAt(place, exchange);
      // Each would have to be verified, with each key.
      if (tokens.length > tokensMax) return refuse(exchange, outcome, { status: 401, reason: `more than ${tokensMax} tokens in one place` });
      for (const token of tokens) shown.push({ provider, place, token });
    }
    if (shown.length === 0 && !optional && !failOpen) return refuse(exchange, outcome, { status: 401, reason: "Jwt is missing" });
    const remote = new Set(shown.flatMap(({ provider }) => provider.remote ?? []));
    if (remote.size === 0) return judge(exchange, outcome, next, shown, false);
    whenAll([...remote], (keys, then) => keys.ready(then), exchange, () => judge(exchange, outcome, next, shown, true));
  };
};

/** A cookie that was opened is read as it is then. */
function tokensAt(place: Place, { caller, request }: Exchange): readonly string[] {
  const opened = place.cookie === undefined ? undefined : caller?.cookies?.get(place.cookie);
  return opened === undefined ? place.tokens(request) : [opened];
}

interface Shown {
  provider: Provider;
  place: Place;
  token: string;
}

class Provider {
  readonly config: TokenProvider;
  readonly places: readonly Place[];
  readonly verifier: TokenVerifier;
  readonly remote: RemoteKeys | undefined;

  constructor(config: TokenProvider, tools: FilterTools) {
    this.config = config;
    this.places = placesOf(config);
    const { issuer, audiences, clientIdIsAudience, jwks, keys } = config;
    if ((jwks === undefined) === (keys === undefined)) throw new PolicyError("jwks", jwks, "exactly one of jwks and keys must be given");
    at("claimHeaders", () => compileEdits({ set: headersOf(config).map((name) => ({ name, value: "" })) }));
    // Rules and routes that trust the same provider ask for its keys once, and verify a token once.
    const make = (): Pick<Provider, "verifier" | "remote"> => {
      const verifier = new TokenVerifier({ ...(issuer !== undefined && { issuer }), ...(audiences && { audiences }), ...(clientIdIsAudience && { clientIdIsAudience }) }, undefined);
      if (jwks !== undefined && !verifier.keysAre(jwks)) throw new PolicyError("jwks", jwks.slice(0, 100), "must be a JSON Web Key Set");
      return { verifier, remote: keys && new RemoteKeys(keys, tools, (text) => verifier.takes(text), () => void verifier.keysAre(undefined)) };
    };
    const key = `jwt/${JSON.stringify([issuer, audiences, jwks, keys, clientIdIsAudience])}`;
    const { verifier, remote } = tools.shared ? tools.shared(key, make) : make();
    this.verifier = verifier;
    this.remote = remote;
  }
}

/** Calls `then` when all are done, at once where they are at once, and never when the client has gone. */
function whenAll(keys: readonly RemoteKeys[], start: (keys: RemoteKeys, then: () => void) => void, exchange: Exchange, then: () => void): void {
  let left = keys.length;
  let isGone = false;
  for (const one of keys) {
    start(one, () => {
      if (--left === 0 && !isGone) then();
    });
  }
  if (left > 0) exchange.onEnd(() => void (isGone = true));
}

function claimHeaders(providers: readonly Provider[], found: ReadonlyMap<string, Believed>): [string, string][] {
  const set = new Map<string, string>();
  for (const { config } of providers) {
    const believed = found.get(config.name);
    // Of two providers that tell the same the first tells it.
    if (believed) for (const [name, value] of headersFor(config, believed)) if (!set.has(name)) set.set(name, value);
  }
  return [...set];
}

function drop(exchange: Exchange, places: readonly Place[]): void {
  if (places.length === 0) return;
  const named = (field: "header" | "param" | "cookie"): string[] => places.flatMap((place) => place[field] ?? []);
  editHeaders(exchange, { remove: named("header") });
  dropParams(exchange, named("param"));
  dropCookies(exchange, named("cookie"));
}

/** RFC 6750 §3: no error is named where there was no token. `detail` is for the log alone. */
function refuse(exchange: Exchange, outcome: Outcome, { status, reason }: NotBelieved, detail = ""): void {
  const { request } = exchange;
  const realm = `Bearer realm="${request.host.replaceAll(/[^\w.:[\]-]/g, "")}"`;
  const challenge = reason === "Jwt is missing" ? realm : `${realm}, error="${status === 403 ? "insufficient_scope" : "invalid_token"}"`;
  const answer = localAnswer(request, "JWT", reason, { status, headers: [["www-authenticate", challenge]] });
  if (detail !== "") answer.reason += `: ${detail}`;
  outcome.answer(exchange, answer);
}
