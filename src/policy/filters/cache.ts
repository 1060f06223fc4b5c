import type { HttpFilter } from "../../api/traffic.ts";
import { type Directives, parseDirectives } from "../cache/directives.ts";
import { fieldsOf, freshened, joined, madeOf, validatorsOf } from "../cache/made.ts";
import { type Fields, hasValidator, isStorable, isUnchanged, rangeOf, staleMs, useOf } from "../cache/rules.ts";
import { CacheStore, type Entry, varyOf } from "../cache/store.ts";
import type { AnswerHead, AnswerSink, Exchange, Filter, FilterTools, Handler, LocalAnswer, Outcome, RequestView, SideAnswer } from "../exchange.ts";
import { mergeEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { decoded } from "../path-names.ts";
import { PolicyError } from "../policy-error.ts";
import { editedHeader } from "../request-edits.ts";

type Config = Extract<HttpFilter, { type: "cache" }>;

/** Whoever asks for what somebody else is fetching waits for it, and no longer than this. */
const lockMs = 5_000;
const refreshMs = 30_000;
const defaults = { bytesMax: 64 * 1024 * 1024, entryBytesMax: 1024 * 1024 };
/** A 304's fields (RFC 9110 §15.4.5). */
const unchangedNames = new Set(["cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary"]);
/** Safe methods (RFC 9110 §9.2.1): they make nothing that is kept untrue. */
const safe = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);

/**
 * A cache that clients share, as HTTP has it: RFC 9111, with RFC 5861 (stale while revalidated, stale instead of an error), RFC 9211
 * (`Cache-Status`), single ranges, and one request to the upstream however many ask. What is kept is in the memory of this worker.
 */
export const cache: Filter<Config> = (config, tools) => {
  const { name, ttlSeconds = 0, bytesMax = defaults.bytesMax, entryBytesMax = Math.min(defaults.entryBytesMax, bytesMax), share, epoch = "" } = config;
  if (!(ttlSeconds >= 0)) throw new PolicyError("ttlSeconds", ttlSeconds, "must not be negative");
  if (!Number.isSafeInteger(bytesMax) || bytesMax < 1) throw new PolicyError("bytesMax", bytesMax, "must be at least 1");
  if (!Number.isSafeInteger(entryBytesMax) || entryBytesMax < 1 || entryBytesMax > bytesMax) throw new PolicyError("entryBytesMax", entryBytesMax, "must be between 1 and bytesMax");
  const make = (): Shelf => new Shelf(bytesMax);
  const { keep, shared } = tools;
  const shelf = share !== undefined && shared ? shared(JSON.stringify(["cache", share, epoch, bytesMax]), make) : keep ? keep("cache", make) : make();
  const told = name ?? "wherry";
  tools.shelves?.add(share ?? told, shelf);
  const context: Context = { config, tools, shelf, ttlMs: ttlSeconds * 1000, entryBytesMax, name: told, hitLine: `\r\ncache-status: ${told}; hit\r\n`, keyOf: keyFunction(config), keepsCookiesApart: config.key?.headers?.some((name) => name.toLowerCase() === "cookie") ?? false, now: tools.dateMs ?? Date.now };
  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    const kept = request.method === "GET" && isPlain(request) ? plainHit(context, exchange) : undefined;
    if (kept) outcome.answer(exchange, kept);
    else new Asking(context, exchange, outcome, next).start();
  };
};

/** It says nothing that what is kept would have to be looked at for. */
const isPlain = (request: RequestView): boolean =>
  request.header("cache-control") === undefined && request.header("if-none-match") === undefined && request.header("if-modified-since") === undefined && request.header("range") === undefined && request.header("pragma") === undefined && request.header("upgrade") === undefined && !hasBody(request);

/** A request that has one may be answered by it, and it is part of no key. */
const hasBody = (request: RequestView): boolean => request.header("transfer-encoding") !== undefined || (request.header("content-length") ?? "0") !== "0";
/** Headers by which some programs take GET for another method. */
const overrides = ["x-http-method-override", "x-http-method", "x-method-override"];

/** Most requests' way, as short as it can be: it is there, fresh, and wanted whole. {@link Asking} says the same of it. */
function plainHit({ shelf, keyOf, now, name, hitLine }: Context, exchange: Exchange): LocalAnswer | undefined {
  const entry = shelf.store.find(keyOf(exchange), headersSeen(exchange));
  if (!entry) return undefined;
  const ageMs = entry.initialAgeMs + Math.max(0, now() - entry.answeredAt);
  if (ageMs >= entry.lifetimeMs || entry.directives.has("no-cache")) return undefined;
  return new Whole(entry, String(Math.floor(ageMs / 1000)), name, hitLine);
}

/** All of what is kept, for one client. */
class Whole implements LocalAnswer {
  readonly status: number;
  readonly body = "";
  readonly bytes: Uint8Array;
  readonly kept: NonNullable<LocalAnswer["kept"]>;
  readonly flag = "CH";
  readonly reason = "kept";
  readonly #entry: Entry;
  readonly #age: string;
  readonly #name: string;

  constructor(entry: Entry, age: string, name: string, hitLine: string) {
    this.status = entry.status;
    this.bytes = entry.body;
    this.#entry = entry;
    this.#age = age;
    this.#name = name;
    this.kept = { own: entry, lines: `age: ${age}${hitLine}` };
  }
  get headers(): [name: string, value: string][] {
    return [...this.#entry.headers, ["age", this.#age], ["cache-status", `${this.#name}; hit`]];
  }
}

/** What a route's cache has; it outlives a change of the route. */
class Shelf {
  readonly store: CacheStore;
  /** Who waits for what is being fetched. */
  readonly flights = new Map<string, Asking[]>();
  readonly refreshing = new Set<string>();
  /** By key: what was asked for before a change made it untrue is not kept when it comes. */
  readonly #fetches = new Map<string, Set<Fetch>>();

  constructor(bytesMax: number) {
    this.store = new CacheStore(bytesMax);
  }
  began(key: string): Fetch {
    const fetch = { isVoid: false };
    const others = this.#fetches.get(key);
    if (others) others.add(fetch);
    else this.#fetches.set(key, new Set([fetch]));
    return fetch;
  }
  ended(key: string, fetch: Fetch): void {
    const all = this.#fetches.get(key);
    if (all?.delete(fetch) && all.size === 0) this.#fetches.delete(key);
  }
  purge(fits: (key: string) => boolean): number {
    for (const [key, all] of this.#fetches) if (fits(key)) for (const fetch of all) fetch.isVoid = true;
    return this.store.purge(fits);
  }
  remove(key: string): void {
    for (const fetch of this.#fetches.get(key) ?? []) fetch.isVoid = true;
    this.store.remove(key);
  }
}
interface Fetch {
  isVoid: boolean;
}
interface Context {
  config: Config;
  tools: FilterTools;
  shelf: Shelf;
  ttlMs: number;
  entryBytesMax: number;
  name: string;
  /** What follows the age of one that is simply there. */
  hitLine: string;
  keyOf(exchange: Exchange): string;
  /** They are part of the key. */
  keepsCookiesApart: boolean;
  /** Milliseconds since the epoch. */
  now(): number;
}

/**
 * Scheme, host and path; of the query, and of headers, what the configuration says; and how the host was written, where it is written in
 * another way: its upstream hears that, and may tell it to whoever comes next.
 */
function keyFunction({ key }: Config): (exchange: Exchange) => string {
  const { query, headers = [] } = key ?? {};
  const names = headers.map((header) => header.toLowerCase());
  return ({ request, requestHeaders, query: left = request.query }) => {
    let text = `${request.scheme}://${request.host}${request.path}`;
    if (left !== "" && query === undefined) text += `?${left}`;
    else if (query !== undefined && query.length > 0) text += `?${namedIn(left, query)}`;
    for (const header of names) text += `\n${header}:${editedHeader(request, requestHeaders, header) ?? ""}`;
    const authority = request.header("host");
    return authority === undefined || authority === request.host ? text : `${text}\n@${authority}`;
  };
}
/** Of a query what is named, in the order of the names and as it was written: what one reader takes for the same, another may not. */
function namedIn(query: string, names: readonly string[]): string {
  const given = query.split("&").map((pair) => {
    const [name = ""] = pair.split("=", 1);
    return { name: decoded(name.replaceAll("+", " ")), rest: pair.slice(name.length) };
  });
  return names.flatMap((name) => given.flatMap((one) => (one.name === name ? [`${encodeURIComponent(name)}${one.rest}`] : []))).join("&");
}

/** Headers as filters before the cache have left them, whose words answers differ by: a client's own may be somebody else's. */
function headersSeen({ request, requestHeaders }: Exchange): (name: string) => string | undefined {
  return (name) => editedHeader(request, requestHeaders, name);
}

/** One request before the cache. */
class Asking {
  readonly #context: Context;
  readonly #exchange: Exchange;
  readonly #outcome: Outcome;
  readonly #next: Handler;
  readonly #key: string;
  readonly #header: (name: string) => string | undefined;
  readonly #fields: Fields;
  readonly #directives: Directives;
  #isGone = false;

  constructor(context: Context, exchange: Exchange, outcome: Outcome, next: Handler) {
    this.#context = context;
    this.#exchange = exchange;
    this.#outcome = outcome;
    this.#next = next;
    this.#key = context.keyOf(exchange);
    this.#header = headersSeen(exchange);
    this.#fields = { get: (name) => exchange.request.header(name) };
    const { request } = exchange;
    // RFC 9111 §5.4: what HTTP/1.0 says counts where HTTP/1.1 says nothing.
    const told = request.header("cache-control") ?? (/\bno-cache\b/i.test(request.header("pragma") ?? "") ? "no-cache" : undefined);
    this.#directives = parseDirectives(context.config.ignoresClients ? undefined : told);
  }
  get #request(): RequestView {
    return this.#exchange.request;
  }
  #forward(): void {
    this.#next(this.#exchange, this.#outcome);
  }

  start(): void {
    const { method } = this.#request;
    if (!safe.has(method)) return this.#invalidating();
    if ((method !== "GET" && method !== "HEAD") || this.#request.header("upgrade") !== undefined || hasBody(this.#request)) return this.#forward();
    if (overrides.some((name) => this.#header(name) !== undefined)) return this.#forward();
    const entry = this.#context.shelf.store.find(this.#key, this.#header);
    if (entry) return this.#kept(entry);
    if (this.#directives.has("only-if-cached")) return this.#answer(localAnswer(this.#request, "UT", "only what is kept was asked for, and it is not", { status: 504 }));
    if (method === "HEAD" || this.#directives.has("no-store") || this.#fields.get("range") !== undefined) return this.#forward();
    const waiting = this.#context.shelf.flights.get(this.#key);
    if (waiting) this.#wait(waiting);
    else this.#fetch(undefined);
  }

  /** There is something. */
  #kept(entry: Entry): void {
    const ageMs = this.#ageOf(entry);
    const { directives } = entry;
    const use = useOf({ ageMs, lifetimeMs: entry.lifetimeMs, directives }, this.#directives);
    if (use === "fresh") return this.#give(entry, ageMs, "hit");
    if (use === "stale" && ageMs - entry.lifetimeMs <= staleMs(directives, "stale-while-revalidate", (this.#context.config.staleWhileRevalidateSeconds ?? 0) * 1000) && this.#isRefreshing(entry)) return this.#give(entry, ageMs, "hit; detail=stale");
    if (this.#directives.has("only-if-cached")) return this.#answer(localAnswer(this.#request, "UT", "what is kept is too old, and nothing newer may be asked for", { status: 504 }));
    // What a part or the head of it would tell is too little to keep.
    if (this.#request.method === "HEAD" || this.#fields.get("range") !== undefined) return this.#forward();
    const waiting = this.#context.shelf.flights.get(this.#key);
    if (waiting && !this.#directives.has("no-cache")) this.#wait(waiting);
    else this.#fetch(entry);
  }
  #ageOf({ answeredAt, initialAgeMs: initial }: Entry): number {
    return initial + Math.max(0, this.#context.now() - answeredAt);
  }

  #answer(answer: LocalAnswer): void {
    if (!this.#isGone) this.#outcome.answer(this.#exchange, answer);
  }
  #give(entry: Entry, ageMs: number, status: string): void {
    const given = this.#given(entry, ageMs, status);
    if (given.head.status === entry.status && given.body === entry.body && status === "hit") return this.#answer(new Whole(entry, String(Math.floor(ageMs / 1000)), this.#context.name, this.#context.hitLine));
    this.#answer({ status: given.head.status, headers: given.head.headers, body: "", bytes: given.body, flag: "CH", reason: "kept" });
  }
  /** What this client gets of it: all, a part, or that it has it already. */
  #given(entry: Entry, ageMs: number, status: string): { head: AnswerHead; body: Uint8Array } {
    const more: [string, string][] = [["age", String(Math.floor(ageMs / 1000))], ["cache-status", `${this.#context.name}; ${status}`]];
    const kept = fieldsOf(entry.headers);
    const nowMs = this.#context.now();
    if (isUnchanged(this.#fields, kept, nowMs)) return { head: { status: 304, headers: [...entry.headers.filter(([name]) => unchangedNames.has(name)), ...more], length: undefined }, body: nothing };
    const range = entry.status === 200 && this.#request.method === "GET" ? rangeOf(this.#fields, kept, entry.body.length, nowMs) : undefined;
    if (range === "unsatisfiable") return { head: { status: 416, headers: [["content-range", `bytes */${entry.body.length}`], ...more], length: 0 }, body: nothing };
    if (range) {
      const body = entry.body.subarray(range.from, range.to);
      return { head: { status: 206, headers: [...entry.headers, ["content-range", `bytes ${range.from}-${range.to - 1}/${entry.body.length}`], ...more], length: body.length }, body };
    }
    return { head: { status: entry.status, headers: [...entry.headers, ...more], length: entry.body.length }, body: entry.body };
  }

  /** Why the upstream is asked. Source: RFC 9211 §2.2. */
  #reasonFor(entry: Entry | undefined): string {
    if (!entry) return this.#context.shelf.store.has(this.#key) ? "vary-miss" : "uri-miss";
    return this.#ageOf(entry) < entry.lifetimeMs && !entry.directives.has("no-cache") ? "request" : "stale";
  }

  // Together.
  #wait(waiting: Asking[]): void {
    waiting.push(this);
    const leave = (): void => {
      const at = waiting.indexOf(this);
      if (at >= 0) waiting.splice(at, 1);
    };
    const timer = this.#context.tools.setTimer(lockMs, () => {
      leave();
      if (!this.#isGone) this.#fetch(undefined, false);
    });
    this.#awake = () => timer.cancel();
    this.#exchange.onEnd(() => {
      this.#isGone = true;
      timer.cancel();
      leave();
    });
  }
  #awake: (() => void) | undefined;
  /** What was waited for is there, or is nothing that may be kept: then everybody asks for himself. */
  #landed(waiting: Asking[]): void {
    const { flights, store } = this.#context.shelf;
    if (flights.get(this.#key) === waiting) flights.delete(this.#key);
    for (const one of waiting.splice(0)) {
      one.#awake?.();
      if (one.#isGone) continue;
      const entry = store.find(one.#key, one.#header);
      const ageMs = entry ? one.#ageOf(entry) : 0;
      if (entry && useOf({ ageMs, lifetimeMs: entry.lifetimeMs, directives: entry.directives }, one.#directives) === "fresh") one.#give(entry, ageMs, "hit; detail=collapsed");
      else one.#fetch(undefined, false);
    }
  }

  /** Asks the upstream; with a validator where there is one. */
  #fetch(entry: Entry | undefined, leads = true): void {
    const { flights } = this.#context.shelf;
    const waiting: Asking[] = [];
    if (leads && !flights.has(this.#key)) flights.set(this.#key, waiting);
    const askedAt = this.#context.now();
    const validators = entry ? validatorsOf(entry) : [];
    const exchange = this.#exchange;
    if (validators.length > 0) exchange.requestHeaders = mergeEdits(exchange.requestHeaders ?? noEdits, { remove: ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range"], set: validators, add: [] });
    const fetch = this.#context.shelf.began(this.#key);
    exchange.takeAnswer((_response, next) => new Storing(this.#context, { next, askedAt, fetch, forwarded: this.#reasonFor(entry), given: (kept, status) => this.#given(kept, this.#ageOf(kept), status), entry: validators.length > 0 ? entry : undefined, stale: entry, key: this.#key, exchange, seen: this.#header, landed: () => this.#landed(waiting) }));
    exchange.onEnd(() => {
      this.#context.shelf.ended(this.#key, fetch);
      this.#landed(waiting);
    });
    this.#forward();
  }

  /** Whether the stale one is to be given meanwhile; whoever is the first fetches a newer one where the gateway cannot do so by itself. */
  #isRefreshing(entry: Entry): boolean {
    return this.#context.config.fetchesWithClients ? this.#context.shelf.flights.has(this.#key) : this.#refresh(entry);
  }
  /** In the background, while the stale one is given. False: it cannot be. */
  #refresh(entry: Entry): boolean {
    const { tools, shelf, entryBytesMax, now } = this.#context;
    if (!tools.call) return false;
    const id = `${this.#key}\n${JSON.stringify(entry.vary)}`;
    if (shelf.refreshing.has(id)) return true;
    shelf.refreshing.add(id);
    const { origin } = entry;
    const askedAt = now();
    // What makes its key different made its answer different, too.
    const keyed = (this.#context.config.key?.headers ?? []).map((name) => name.toLowerCase()).filter((name) => !entry.vary.some(([own]) => own === name)).map((name) => [name, this.#header(name)] as const);
    const headers: [string, string][] = [...[...entry.vary, ...keyed].flatMap(([name, value]): [string, string][] => (value === undefined ? [] : [[name, value]])), ...validatorsOf(entry)];
    const fetch = shelf.began(this.#key);
    tools.call({ ...origin, method: "GET", headers, timeoutMs: refreshMs, bytesMax: entryBytesMax }, (answer) => {
      shelf.refreshing.delete(id);
      shelf.ended(this.#key, fetch);
      if (answer && !fetch.isVoid) this.#refreshed(entry, answer, askedAt);
    });
    return true;
  }
  #refreshed(entry: Entry, answer: SideAnswer, askedAt: number): void {
    const { shelf, ttlMs, now } = this.#context;
    const times = { askedAt, answeredAt: now() };
    if (answer.status === 304) return shelf.store.put(this.#key, freshened(entry, answer.headers, times, ttlMs));
    const fields = fieldsOf(answer.headers);
    // An error leaves what there is, for as long as it may be given.
    if (answer.status >= 500) return;
    if (isStorable({ method: "GET", cacheControl: undefined, isAuthorized: false, hasCookies: false }, answer.status, fields, ttlMs)) shelf.store.put(this.#key, madeOf(answer.status, answer.headers, joined([answer.body], answer.body.length), times, ttlMs, entry.vary, entry.origin));
    else shelf.store.remove(this.#key);
  }

  /** A change that succeeds makes untrue what is kept of what it changed. Source: RFC 9111 §4.4. */
  #invalidating(): void {
    const { request } = this.#exchange;
    this.#exchange.onResponse((response) => {
      if (response.isLocal || response.status < 200 || response.status >= 400) return;
      const { shelf } = this.#context;
      shelf.remove(this.#key);
      const base = `${request.scheme}://${request.host}`;
      // Whatever else makes its answers different: all of them are of what was changed.
      const { query, headers = [] } = this.#context.config.key ?? {};
      const left = this.#exchange.query ?? request.query;
      const own = `${base}${request.path}${query === undefined && left !== "" ? `?${left}` : ""}`;
      shelf.remove(own);
      if (query !== undefined || headers.length > 0) shelf.purge((key) => key.startsWith(own) && (key.length === own.length || key[own.length] === "\n" || (query !== undefined && key[own.length] === "?")));
      for (const name of ["location", "content-location"]) {
        const told = response.header(name);
        const url = told === undefined ? null : URL.parse(told, `${base}${request.path}`);
        // Of its own origin alone: nobody may empty others' shelves.
        const named = url && url.hostname === new URL(base).hostname ? `${base}${url.pathname}${url.search}` : undefined;
        if (named !== undefined) shelf.purge((key) => key === named || key.startsWith(`${named}\n`));
      }
    });
    this.#forward();
  }
}

const nothing = new Uint8Array();
const noEdits = { remove: [], set: [], add: [] };

interface StoringOptions {
  next: AnswerSink;
  askedAt: number;
  fetch: Fetch;
  /** Why: of `Cache-Status`. */
  forwarded: string;
  /** What this client gets of it. */
  given(entry: Entry, status: string): { head: AnswerHead; body: Uint8Array };
  /** Whose validators were sent. */
  entry: Entry | undefined;
  /** What may be given instead of an error. */
  stale: Entry | undefined;
  key: string;
  exchange: Exchange;
  seen: (name: string) => string | undefined;
  landed(): void;
}

/** An answer on its way to the client, kept on the way where it may be. */
class Storing implements AnswerSink {
  readonly #context: Context;
  readonly #options: StoringOptions;
  #made: Omit<Entry, "size" | "body"> | undefined;
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Something else was given instead. */
  #isGiven = false;

  constructor(context: Context, options: StoringOptions) {
    this.#context = context;
    this.#options = options;
  }
  get isBlocked(): boolean {
    return this.#options.next.isBlocked;
  }

  begin(head: AnswerHead): void {
    const { next, exchange, seen, askedAt, entry, stale, key, fetch, forwarded } = this.#options;
    const { shelf, ttlMs, entryBytesMax, name, now } = this.#context;
    const times = { askedAt, answeredAt: now() };
    if (entry && head.status === 304) {
      const fresh = freshened(entry, head.headers, times, ttlMs);
      if (fetch.isVoid) return this.#give({ ...fresh, size: 0 }, "hit; detail=validated");
      shelf.store.put(key, fresh);
      const kept = shelf.store.find(key, seen) ?? entry;
      return this.#give(kept, "hit; detail=validated");
    }
    if (stale && head.status >= 500 && this.#mayBeStale(stale)) return this.#give(stale, "hit; detail=stale-if-error");
    const { request } = exchange;
    const fields = fieldsOf(head.headers);
    const isKept = isStorable({ method: request.method, cacheControl: this.#context.config.ignoresClients ? undefined : request.header("cache-control"), isAuthorized: request.header("authorization") !== undefined || exchange.caller !== undefined || seen("x-forwarded-client-cert") !== undefined, hasCookies: !this.#context.keepsCookiesApart && request.header("cookie") !== undefined }, head.status, fields, ttlMs);
    const origin = { upstream: exchange.upstream ?? "", target: exchange.target ?? (request.query === "" ? request.path : `${request.path}?${request.query}`), host: exchange.host ?? request.header("host") ?? request.host };
    // What was too long may be what is not part of the key.
    const isOfKey = head.status !== 414 || this.#context.config.key?.query === undefined;
    if (isKept && isOfKey && (head.length ?? 0) <= entryBytesMax && origin.upstream !== "") {
      const made = madeOf(head.status, head.headers, nothing, times, ttlMs, varyOf(fields.get("vary"), seen), origin);
      // What is never fresh and cannot be validated is of no use.
      if (made.lifetimeMs > made.initialAgeMs || hasValidator(fields)) this.#made = made;
    }
    // What is not kept is waited for by nobody; and what a newer answer replaces is not kept either.
    if (!this.#made) {
      if (stale && head.status < 400) shelf.store.remove(key);
      this.#options.landed();
    }
    next.begin({ ...head, headers: [...head.headers, ["cache-status", `${name}; fwd=${forwarded}${this.#made ? "; stored" : ""}`]] });
  }
  content(bytes: Uint8Array): void {
    if (this.#isGiven) return;
    if (this.#made) {
      this.#bytes += bytes.length;
      if (this.#bytes > this.#context.entryBytesMax || !this.#options.exchange.hold(bytes.length)) {
        this.#made = undefined;
        this.#pieces = [];
        this.#options.landed();
      } else {
        this.#pieces.push(Buffer.from(bytes));
      }
    }
    this.#options.next.content(bytes);
  }
  end(trailers?: readonly (readonly [name: string, value: string])[]): void {
    if (this.#isGiven) return;
    if (this.#made) {
      if (!this.#options.fetch.isVoid) this.#context.shelf.store.put(this.#options.key, { ...this.#made, body: joined(this.#pieces, this.#bytes) });
      this.#options.landed();
    }
    this.#options.next.end(trailers);
  }
  fail(flag: Parameters<AnswerSink["fail"]>[0], reason: string): void {
    // Half of it is nothing to keep.
    this.#made = undefined;
    this.#options.landed();
    if (!this.#isGiven) this.#options.next.fail(flag, reason);
  }

  #give(entry: Entry, status: string): void {
    this.#isGiven = true;
    const { head, body } = this.#options.given(entry, status);
    const { next } = this.#options;
    next.begin(head);
    if (body.length > 0) next.content(body);
    next.end();
    this.#options.landed();
  }
  #mayBeStale({ directives, answeredAt, initialAgeMs: initial, lifetimeMs: lifetime }: Entry): boolean {
    if (directives.has("must-revalidate") || directives.has("proxy-revalidate")) return false;
    const ageMs = initial + Math.max(0, this.#context.now() - answeredAt);
    return ageMs - lifetime <= staleMs(directives, "stale-if-error", (this.#context.config.staleIfErrorSeconds ?? 0) * 1000);
  }
}
