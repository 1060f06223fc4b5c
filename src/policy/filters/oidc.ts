import type { HttpFilter } from "../../api/traffic.ts";
import type { Exchange, Filter, FilterTools, Handler, Limiter, Outcome, RequestView } from "../exchange.ts";
import { compileEdits, mergeEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { type CookieShape, dropCookie, joinCookie, piecesMax, readCookies, setCookie, splitCookie } from "../oidc/cookies.ts";
import { Provider, ProviderError, type Tokens } from "../oidc/provider.ts";
import { isSame, Seal, secretText, sha256 } from "../oidc/seal.ts";
import { at, PolicyError } from "../policy-error.ts";
import { editHeaders } from "../request-edits.ts";
import { compileTextMatch } from "../text-match.ts";
import { placesOf } from "../tokens/places.ts";
import { parametersOf } from "../values.ts";

type Config = Extract<HttpFilter, { type: "oidc" }>;

/** Logins that one browser has begun, in its tabs; who begins more forgets those before. */
const flowsMax = 4;
/** Tokens are made new so long before they end, or a tenth of their life, so that who comes second still has good ones. */
const aheadSeconds = 30;
/** Other clocks may differ from ours by so much. */
const skewSeconds = 60;
/** What came of a refresh is there for requests that still carry what was before it. */
const keptMs = 30_000;
const usedMax = 10_000;

/** What the browser keeps of a login that has begun. */
interface Flow {
  state: string;
  nonce: string;
  verifier: string;
  /** Where the user wanted to go, and where the provider sends him to. */
  to: string;
  redirect: string;
  /** Seconds since the epoch. */
  at: number;
}
/** Who has logged in. Its parts are cookies of their own, which name the same `id`: none can be put into another's place. */
interface Session {
  id: string;
  subject: string;
  idToken: string;
  accessToken: string;
  refreshToken: string | undefined;
  /** Seconds since the epoch: when the tokens came, end, and can no more be made new. */
  from: number;
  until: number;
  refreshUntil: number;
}

/** What all rules and routes under one policy share. */
interface Desk {
  provider: Provider;
  /** By the refresh token's hash: who waits, and what came of it. */
  refreshes: Map<string, { waiting: ((result: Session | ProviderError) => void)[] | undefined; result: Session | ProviderError; until: number }>;
  /** States that have come back. */
  used: Map<string, number>;
  lock: Limiter | undefined;
  seal: Seal;
}

/**
 * Lets in who has logged in at an OpenID provider, and sends others there: the authorization code flow with PKCE, state and nonce. All
 * that is kept of it is kept by the browser, encrypted, so that any worker goes on where another began. Sources: OpenID Connect Core
 * 1.0; RFC 6749, 7636, 9700; Envoy's oauth2 filter and envoyproxy/gateway oidc_types.go for the meaning of the settings.
 */
export const oidc: Filter<Config> = (config, tools) => {
  check(config);
  const make = (limiter: FilterTools["limiter"]): Desk => ({
    provider: new Provider(config, tools),
    refreshes: new Map(),
    used: new Map(),
    lock: limiter?.(`oidc/${config.cookies.suffix}`, { requests: 1, periodMs: 10_000, burst: 0 }),
    seal: new Seal([tools.sessionKey ?? secretText(), config.clientSecret], JSON.stringify([config.issuer, config.clientId, config.cookies.suffix])),
  });
  let desk: Desk | undefined;
  const getDesk = (): Desk => (desk ??= tools.shared ? tools.shared(`oidc/${JSON.stringify(config)}`, make) : make(tools.limiter));
  // Kept as long as a rule has it, and counted from the rule's making on.
  if (tools.shared) getDesk();
  const context: Context = { config, tools, names: namesOf(config), denies: (config.denyRedirect ?? []).map(({ name, ...match }, i) => ({ name: name.toLowerCase(), fits: compileTextMatch(match, `denyRedirect[${i}]`) })), seconds: () => (tools.dateMs ?? Date.now)() / 1000 };
  const passing = config.passThrough?.flatMap(placesOf) ?? [];
  const callbackPath = new URL(config.redirectUrl.replaceAll(placeholder, "x").replace(/^x:/, "http:")).pathname;
  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    // Whoever brings a token of his own is judged by what reads tokens.
    if (passing.some((place) => place.tokens(request).length > 0)) return next(exchange, outcome);
    const visit = new Visit(context, getDesk(), exchange, outcome, next);
    if (request.path === config.logoutPath) visit.logout();
    else if (request.path === callbackPath) visit.callback();
    else visit.enter();
  };
};

interface Context {
  config: Config;
  tools: FilterTools;
  names: { id: string; access: string; refresh: string; flow: string };
  denies: { name: string; fits(text: string): boolean }[];
  seconds(): number;
}

const placeholder = /%REQ\((?:x-forwarded-proto|:authority)\)%/gi;
const cookieName = /^[!#$%&'*+\-^_`|~0-9A-Za-z]+$/;

function check({ issuer, clientId, upstreams, redirectUrl, logoutPath, cookies, flowMs, forwardIdTokenHeader }: Config): void {
  if (!/^https?:$/.test(URL.parse(issuer)?.protocol ?? "")) throw new PolicyError("issuer", issuer, "must be an address of http or https");
  if (clientId === "") throw new PolicyError("clientId", clientId, "must not be empty");
  if (upstreams.length === 0) throw new PolicyError("upstreams", upstreams, "must name somebody to ask");
  const plain = redirectUrl.replaceAll(placeholder, "x").replace(/^x:/, "http:");
  if (!URL.parse(plain) || plain.includes("%REQ(") || /[?#]/.test(plain)) throw new PolicyError("redirectUrl", redirectUrl, "must be an address without query, in which %REQ(x-forwarded-proto)% and %REQ(:authority)% may stand");
  if (!logoutPath.startsWith("/")) throw new PolicyError("logoutPath", logoutPath, "must begin with '/'");
  for (const [name, value] of [["suffix", `n-${cookies.suffix}`], ["idToken", cookies.idToken ?? "n"], ["accessToken", cookies.accessToken ?? "n"]] as const) if (!cookieName.test(value)) throw new PolicyError(`cookies.${name}`, value, "must be the name of a cookie without '.'");
  if (cookies.idToken !== undefined && cookies.idToken === cookies.accessToken) throw new PolicyError("cookies.accessToken", cookies.accessToken, "must not be that of the ID token");
  if (cookies.domain !== undefined && !/^[a-z0-9.-]+$/i.test(cookies.domain)) throw new PolicyError("cookies.domain", cookies.domain, "must be a host name");
  if (!(flowMs > 0)) throw new PolicyError("flowMs", flowMs, "must be above 0");
  if (forwardIdTokenHeader !== undefined) at("forwardIdTokenHeader", () => compileEdits({ set: [{ name: forwardIdTokenHeader, value: "" }] }));
}
const namesOf = ({ cookies: { suffix, idToken, accessToken } }: Config): Context["names"] => ({ id: idToken ?? `IdToken-${suffix}`, access: accessToken ?? `AccessToken-${suffix}`, refresh: `RefreshToken-${suffix}`, flow: `OauthFlow-${suffix}-` });

/** One request before the desk. */
class Visit {
  readonly #context: Context;
  readonly #desk: Desk;
  readonly #exchange: Exchange;
  readonly #outcome: Outcome;
  readonly #next: Handler;
  readonly #cookies: Map<string, string>;
  #isGone = false;

  constructor(context: Context, desk: Desk, exchange: Exchange, outcome: Outcome, next: Handler) {
    this.#context = context;
    this.#desk = desk;
    this.#exchange = exchange;
    this.#outcome = outcome;
    this.#next = next;
    this.#cookies = readCookies(exchange.request.header("cookie"));
    exchange.onEnd(() => (this.#isGone = true));
  }
  get #request(): RequestView {
    return this.#exchange.request;
  }
  get #shape(): CookieShape {
    const { domain, sameSite } = this.#context.config.cookies;
    return { secure: this.#request.scheme === "https", ...(sameSite && { sameSite }), ...(domain !== undefined && { domain }) };
  }
  /** A login comes back from elsewhere, whatever is said of those that have logged in. */
  get #flowShape(): CookieShape {
    return { ...this.#shape, sameSite: this.#context.config.cookies.sameSite === "None" ? "None" : "Lax" };
  }
  get #origin(): string {
    return `${this.#request.scheme}://${authorityOf(this.#request)}`;
  }

  // Who has logged in.
  enter(): void {
    const session = this.#session();
    const { seconds } = this.#context;
    const now = seconds();
    const ahead = session ? Math.min(aheadSeconds, (session.until - session.from) / 10) : 0;
    if (session && now < session.until - ahead) return this.#let(session);
    if (!session || session.refreshToken === undefined || now >= session.refreshUntil) return session && now < session.until ? this.#let(session) : this.#login();
    this.#refresh(session, (result) => {
      if (this.#isGone) return;
      if (!(result instanceof ProviderError)) return this.#let(result, result.accessToken === session.accessToken ? [] : this.#sealed(result));
      // A provider that cannot be had ends nobody's session before its time.
      if (!result.isRefused && seconds() < session.until + skewSeconds) return this.#let(session);
      if (result.isRefused) return this.#login();
      this.#answer(503, "OIDC", `whoever is logged in cannot be asked for: ${result.message}`);
    });
  }
  #session(): Session | undefined {
    const { names } = this.#context;
    const open = (role: string, name: string): Record<string, unknown> | undefined => {
      const text = joinCookie(this.#cookies, name);
      return text === undefined ? undefined : (this.#desk.seal.open(role, text) as Record<string, unknown> | undefined);
    };
    const [id, access, refresh] = [open("id", names.id), open("access", names.access), open("refresh", names.refresh)];
    if (!id || !access || id["s"] !== access["s"]) return undefined;
    const isOf = refresh?.["s"] === id["s"];
    return { id: id["s"] as string, subject: id["u"] as string, idToken: id["t"] as string, accessToken: access["t"] as string, from: id["f"] as number, until: id["e"] as number, refreshToken: isOf ? (refresh!["t"] as string) : undefined, refreshUntil: isOf ? (refresh!["e"] as number) : 0 };
  }
  /** Undefined: no browser keeps so much. */
  #sealed({ id, subject, idToken, accessToken, refreshToken, from, until, refreshUntil }: Session): string[] | undefined {
    const { names, seconds } = this.#context;
    const { seal } = this.#desk;
    const life = Math.max(until, refreshToken === undefined ? 0 : refreshUntil) - seconds();
    const parts: [role: string, name: string, value: object][] = [["id", names.id, { s: id, u: subject, t: idToken, f: from, e: until }], ["access", names.access, { s: id, t: accessToken }]];
    if (refreshToken !== undefined) parts.push(["refresh", names.refresh, { s: id, t: refreshToken, e: refreshUntil }]);
    const lines = parts.map(([role, name, value]) => splitCookie(name, seal.close(role, value), life, this.#shape, this.#cookies));
    const gone = refreshToken === undefined ? dropCookie(names.refresh, this.#shape, this.#cookies) : [];
    const all = lines.some((one) => one === undefined) ? undefined : (lines as string[][]).flat();
    return all && all.filter((line) => !line.includes("Max-Age=0")).length <= piecesMax ? [...all, ...gone] : undefined;
  }
  #let(session: Session, setting: string[] | undefined = []): void {
    if (!setting) return this.#answer(502, "OIDC", "the provider's tokens are too long for cookies");
    const { names } = this.#context;
    const { forwardAccessToken, forwardIdTokenHeader } = this.#context.config;
    const exchange = this.#exchange;
    if (setting.length > 0) exchange.responseHeaders = mergeEdits(exchange.responseHeaders, { remove: [], set: [], add: setting.map((line) => ["set-cookie", line]) });
    const set: [string, string][] = forwardAccessToken ? [["authorization", `Bearer ${session.accessToken}`]] : [];
    if (forwardIdTokenHeader !== undefined) {
      const name = forwardIdTokenHeader.toLowerCase();
      set.push([name, name === "authorization" ? `Bearer ${session.idToken}` : session.idToken]);
    }
    // What nobody has looked at does not go on beside what was; and what is sealed is of no use to anybody behind.
    const own = [names.id, names.access, names.refresh];
    const left = [...this.#cookies].filter(([name]) => !own.some((one) => name === one || name.startsWith(`${one}.`)) && !name.startsWith(names.flow)).map(([name, value]) => `${name}=${value}`);
    editHeaders(exchange, { remove: ["authorization", ...(left.length === 0 ? ["cookie"] : [])], set: left.length === 0 ? set : [...set, ["cookie", left.join("; ")]] });
    exchange.caller = { ...exchange.caller, cookies: new Map([[names.id, session.idToken], [names.access, session.accessToken]]) };
    this.#next(exchange, this.#outcome);
  }

  /** One at a time for one session, here and in other workers; what comes of it is everybody's. */
  #refresh(session: Session, then: (result: Session | ProviderError) => void): void {
    const { seconds, config, tools } = this.#context;
    const { refreshes, provider, lock } = this.#desk;
    const key = sha256(session.refreshToken!);
    const known = refreshes.get(key);
    if (known?.waiting) return void known.waiting.push(then);
    if (known && tools.nowMs() < known.until && (known.result instanceof ProviderError || seconds() < known.result.until)) return then(known.result);
    for (const [old, { until, waiting }] of refreshes) if (!waiting && until <= tools.nowMs()) refreshes.delete(old);
    const entry = { waiting: [then] as ((result: Session | ProviderError) => void)[] | undefined, result: session as Session | ProviderError, until: 0 };
    refreshes.set(key, entry);
    const done = (result: Session | ProviderError, keepMs = keptMs): void => {
      const waiting = entry.waiting!;
      Object.assign(entry, { waiting: undefined, result, until: tools.nowMs() + keepMs });
      for (const one of waiting) one(result);
    };
    const ask = (): void =>
      provider.tokens({ grant_type: "refresh_token", refresh_token: session.refreshToken! }, (tokens) => {
        if (tokens instanceof ProviderError) return done(tokens, tokens.isRefused ? keptMs : 1_000);
        const { idToken = session.idToken, accessToken, refreshToken = session.refreshToken } = tokens;
        const made = (): void => {
          const times = lifeOf(tokens, idToken, config, seconds());
          if (times instanceof ProviderError) return done(times);
          // A refresh token that stays goes on ending when it did.
          done({ ...session, ...times, idToken, accessToken, refreshToken, refreshUntil: tokens.refreshToken === undefined ? session.refreshUntil : times.refreshUntil });
        };
        if (tokens.idToken === undefined) return made();
        // Core §12.2: it must be the same user's, and was not made for a login.
        provider.verify(tokens.idToken, { accessToken, subject: session.subject }, (claims) => (claims instanceof ProviderError ? done(claims) : made()));
      });
    if (!lock) return ask();
    // Another worker is at it: what is there is good for a while yet.
    lock.take(key, (waitMs) => (waitMs > 0 && seconds() < session.until ? done(session, Math.min(waitMs, 1_000)) : ask()));
  }

  // Logins.
  #login(): void {
    const { config, denies, names, seconds } = this.#context;
    const request = this.#request;
    if (denies.some(({ name, fits }) => fits(request.header(name) ?? "\0"))) return this.#answer(401, "OIDC", "nobody is logged in");
    this.#desk.provider.forLogin((endpoints) => {
      if (this.#isGone) return;
      if (endpoints instanceof ProviderError) return this.#answer(503, "OIDC", `nobody can log in: ${endpoints.message}`);
      const flow: Flow = { state: secretText(), nonce: secretText(), verifier: secretText(), to: `${this.#origin}${ownPath(request)}`, redirect: config.redirectUrl.replaceAll(placeholder, (name) => (name.includes(":") ? authorityOf(request) : request.scheme)), at: seconds() };
      const url = new URL(endpoints.authorization);
      const params: Record<string, string> = { response_type: "code", client_id: config.clientId, redirect_uri: flow.redirect, scope: config.scopes.join(" "), state: flow.state, nonce: flow.nonce, code_challenge: sha256(flow.verifier), code_challenge_method: "S256" };
      for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value);
      for (const resource of config.resources ?? []) url.searchParams.append("resource", resource);
      const sealed = setCookie(flowName(names.flow, flow.state), this.#desk.seal.close("flow", flow), config.flowMs / 1000, this.#flowShape);
      const others = [...this.#cookies.keys()].filter((name) => name.startsWith(names.flow));
      this.#redirect(url.href, "sent to log in", [sealed, ...(others.length >= flowsMax ? others.map((name) => setCookie(name, "", 0, this.#flowShape)) : [])]);
    });
  }

  callback(): void {
    const { config, names, seconds } = this.#context;
    const { seal, used, provider } = this.#desk;
    const params = parametersOf(this.#request.query);
    const one = (name: string): string | undefined => (params.getAll(name).length === 1 ? params.get(name)! : undefined);
    const state = one("state") ?? "";
    const cookie = flowName(names.flow, state);
    const flow = /^[\w-]{43}$/.test(state) ? (seal.open("flow", this.#cookies.get(cookie) ?? "") as Flow | undefined) : undefined;
    const forget = this.#cookies.has(cookie) ? [setCookie(cookie, "", 0, this.#flowShape)] : [];
    const no = (why: string, status = 401): void => this.#answer(status, "OIDC", why, forget);
    if (!flow || !isSame(flow.state, state) || used.has(state)) {
      // A page that was asked for once more.
      const session = this.#session();
      return session && seconds() < session.until ? this.#redirect(`${this.#origin}/`, "is logged in already", forget) : no("this login was not begun here, or has ended before");
    }
    used.set(state, seconds() + config.flowMs / 1000);
    if (used.size > usedMax || used.size % 64 === 0) for (const [old, until] of used) if (until < seconds() || used.size > usedMax) used.delete(old);
    if (seconds() > flow.at + config.flowMs / 1000) return no("this login took too long");
    provider.forLogin((endpoints) => {
      if (this.#isGone) return;
      const issuer = params.getAll("iss");
      if (issuer.some((name) => name !== config.issuer) || (issuer.length === 0 && !(endpoints instanceof ProviderError) && endpoints.saysIssuer)) return no("this answer is not that of the provider that was asked");
      const error = params.get("error");
      if (error !== null) return no(`the provider refused: ${error.replaceAll(/[^\w .:-]/g, "?").slice(0, 100)}`);
      const code = one("code");
      if (code === undefined || code === "") return no("the provider gave no code");
      provider.tokens({ grant_type: "authorization_code", code, redirect_uri: flow.redirect, code_verifier: flow.verifier }, (tokens) => {
        if (tokens instanceof ProviderError) return this.#isGone ? undefined : no(`the login cannot be completed: ${tokens.message}`, tokens.isRefused ? 401 : 503);
        const { idToken, accessToken, refreshToken } = tokens;
        if (idToken === undefined) return no("the provider does not say who has logged in");
        provider.verify(idToken, { nonce: flow.nonce, accessToken }, (claims) => {
          if (this.#isGone) return;
          if (claims instanceof ProviderError) return no(`the login cannot be completed: ${claims.message}`, claims.isRefused ? 401 : 503);
          const times = lifeOf(tokens, idToken, config, seconds());
          if (times instanceof ProviderError) return no(`the login cannot be completed: ${times.message}`);
          const cookies = this.#sealed({ id: secretText(), subject: claims["sub"] as string, idToken, accessToken, refreshToken: config.refresh ? refreshToken : undefined, ...times });
          if (!cookies) return no("the provider's tokens are too long for cookies", 502);
          this.#redirect(this.#safe(flow.to), "has logged in", [...forget, ...cookies]);
        });
      });
    });
  }
  /** Only to where a login may have begun: this very host, or one that gets the same cookies. */
  #safe(to: string): string {
    const { domain } = this.#context.config.cookies;
    const url = URL.parse(to);
    const ours = domain?.replace(/^\./, "").toLowerCase();
    const isOurs = url !== null && (url.hostname === this.#request.host || (ours !== undefined && (url.hostname === ours || url.hostname.endsWith(`.${ours}`))));
    return isOurs ? to : `${this.#origin}/`;
  }

  logout(): void {
    const { config, names } = this.#context;
    const request = this.#request;
    // A picture on somebody's page logs nobody out.
    if (request.header("sec-fetch-site") === "cross-site" && (request.header("sec-fetch-mode") ?? "navigate") !== "navigate") return this.#answer(403, "OIDC", "another site cannot log somebody out");
    const session = this.#session();
    const gone = [names.id, names.access, names.refresh].flatMap((name) => dropCookie(name, this.#shape, this.#cookies));
    const flows = [...this.#cookies.keys()].filter((name) => name.startsWith(names.flow)).map((name) => setCookie(name, "", 0, this.#flowShape));
    const finish = (): void => {
      if (this.#isGone) return;
      const { endSession } = this.#desk.provider;
      const home = `${this.#origin}/`;
      const url = endSession === undefined ? null : URL.parse(endSession);
      if (url) {
        if (session) url.searchParams.set("id_token_hint", session.idToken);
        url.searchParams.set("client_id", config.clientId);
        url.searchParams.set("post_logout_redirect_uri", home);
      }
      this.#redirect(url?.href ?? home, "has logged out", [...gone, ...flows]);
    };
    if (this.#desk.provider.endSession !== undefined || config.endpoints?.authorization !== undefined) finish();
    else this.#desk.provider.forLogin(finish);
  }

  // Answers.
  #redirect(location: string, reason: string, cookies: readonly string[]): void {
    const headers: [string, string][] = [["cache-control", "no-store"], ["referrer-policy", "no-referrer"], ...cookies.map((line): [string, string] => ["set-cookie", line])];
    // A browser that was sent here from elsewhere would not show cookies of "Strict" where it is sent next: a page of ours sends it.
    if (this.#context.config.cookies.sameSite === "Strict" && reason === "has logged in") {
      const body = `<!doctype html><meta http-equiv="refresh" content="0;url=${location.replaceAll(/[^\w:/.?=%~-]/g, (sign) => `&#${sign.charCodeAt(0)};`)}"><title>Logged in</title>\n`;
      return this.#outcome.answer(this.#exchange, localAnswer(this.#request, "DR", reason, { status: 200, headers: [["content-type", "text/html; charset=utf-8"], ...headers], body }));
    }
    this.#outcome.answer(this.#exchange, localAnswer(this.#request, "DR", reason, { status: 302, headers: [["location", location], ...headers] }));
  }
  #answer(status: number, flag: "OIDC", reason: string, cookies: readonly string[] = []): void {
    this.#outcome.answer(this.#exchange, localAnswer(this.#request, flag, reason, { status, headers: [["cache-control", "no-store"], ...cookies.map((line): [string, string] => ["set-cookie", line])] }));
  }
}

const flowName = (prefix: string, state: string): string => `${prefix}${state.slice(0, 8)}`;

/** As the browser wrote it, port and all, where that is a host name and nothing else. */
function authorityOf(request: RequestView): string {
  const { host, port, scheme } = request;
  const given = request.header("host")?.toLowerCase();
  if (given !== undefined && /^[\w.-]+(?::\d{1,5})?$/.test(given) && given.replace(/\.?(?::\d+)?$/, "") === host) return given;
  return port === (scheme === "https" ? 443 : 80) ? host : `${host}:${port}`;
}
/** Two slashes, or one that leans the other way, would begin another host's name. */
const ownPath = ({ path, query }: RequestView): string => `${path.replace(/^[/\\]+/, "/")}${query === "" ? "" : `?${query}`}`;

/** How long what came is good for, in seconds since the epoch. */
function lifeOf({ expiresIn, refreshToken }: Tokens, idToken: string, { defaultTokenMs = 0, defaultRefreshMs }: Config, now: number): Pick<Session, "from" | "until" | "refreshUntil"> | ProviderError {
  const claimed = expiryOf(idToken);
  const life = expiresIn ?? (defaultTokenMs > 0 ? defaultTokenMs / 1000 : claimed === undefined ? undefined : claimed - now);
  if (life === undefined || life <= 0) return new ProviderError("its tokens have ended already", true);
  return { from: now, until: now + life, refreshUntil: (refreshToken === undefined ? undefined : expiryOf(refreshToken)) ?? now + defaultRefreshMs / 1000 };
}
/** Of a token that is a JSON Web Token; nothing is believed for it. */
function expiryOf(token: string): number | undefined {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8")) as { exp?: unknown };
    return typeof exp === "number" ? exp : undefined;
  } catch {
    return undefined;
  }
}
