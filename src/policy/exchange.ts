import type { HttpMatch } from "../api/traffic.ts";
import type { Random } from "../base/random.ts";
import type { Caller } from "./caller.ts";
import type { Shelves } from "./cache/shelves.ts";
import type { Tally } from "./tally.ts";
import type { Flag } from "./flags.ts";

/**
 * One request and its answer, as the policy sees it: what the gateway, the Service listeners, the preload and the chassis
 * have in common. The policy is pure: it reads and changes an {@link Exchange}, and never a socket or a timer.
 */
export interface RequestView {
  readonly method: string;
  /** Of the listener, or of a trusted header. */
  readonly scheme: "http" | "https";
  /** Lower case, without port, trailing dot removed. */
  readonly host: string;
  /** The port the client dialled. */
  readonly port: number;
  /**
   * The one normal form that is matched, judged and sent on: percent-encoding of unreserved characters undone, dot
   * segments removed; what cannot be brought into it never gets here. Without query.
   */
  readonly path: string;
  /** Without "?"; "" when there is none. */
  readonly query: string;
  /** The client's address, after trusted proxies were taken off. */
  readonly client: string;
  /** Name in lower case; values of repeated headers joined by ", ". Undefined when absent. */
  header(name: string): string | undefined;
  /** All of them as they came, repeated ones apart; names in lower case. Absent where nobody can list them. */
  headers?(): [name: string, value: string][];
}

/** Order of application: `remove`, then `set`, then `add`. Names in lower case. Never changed: requests of one rule share it. */
export interface HeaderEdits {
  readonly remove: readonly string[];
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
}

/** An answer that is not the upstream's. */
export interface LocalAnswer {
  status: number;
  headers: [name: string, value: string][];
  body: string;
  /** Instead of `body`, where it is not text. */
  bytes?: Uint8Array;
  /** Of one that is given many times, and is not changed on its way: the same as `headers`, most of it made once. */
  kept?: KeptHead;
  /** For the access log: who decided, in the short words of `policy/flags.ts`. */
  flag: string;
  reason: string;
}

/** The fields of a kept answer with those that differ each time. */
export interface KeptHead {
  /** The same from one time to the next; with its Date. */
  readonly own: { readonly headers: readonly (readonly [name: string, value: string])[]; /** Whoever writes heads keeps here what became of them. */ composed?: Uint8Array };
  /** What follows them: whole lines as HTTP/1.1 has them. */
  readonly lines: string;
}

/** An answer's head on its way to the client, whoever gave it. */
export interface AnswerHead {
  status: number;
  /** As they came, repeated ones apart; without what frames the body. */
  headers: [name: string, value: string][];
  /** Of the body, or of the one that is left out (HEAD, 304); undefined: known at its end. */
  length: number | undefined;
}

/**
 * Where an answer goes: `begin`, any number of `content`, `end`; or `fail` at any time before the end, and nothing after. What takes
 * part hands it to the next one, changed, later, or as something else.
 */
export interface AnswerSink {
  /** It does not take more for the moment. */
  readonly isBlocked: boolean;
  begin(head: AnswerHead): void;
  /** Valid during the call only. */
  content(bytes: Uint8Array): void;
  end(trailers?: readonly (readonly [name: string, value: string])[]): void;
  /** It cannot be brought to its end. Told to the client as an answer as long as none has begun (`answer`, or a line of text), else by breaking off. */
  fail(flag: Flag, reason: string, answer?: LocalAnswer): void;
}

/**
 * Takes part in an answer, or does not. `response` is what came from the upstream, or from a filter further in; what others make
 * of it comes with `begin`. `drained` is to be called when the sink was blocked and is not any more.
 */
export type AnswerFilter = (response: ResponseView, next: AnswerSink, drained: () => void) => AnswerSink | undefined;

export interface Exchange {
  readonly request: RequestView;
  /** As the access log has it; absent where none is written. */
  readonly requestId?: string;
  /** What the upstream gets instead; undefined: as it came. */
  host: string | undefined;
  /** Never from or to HEAD, which says what an answer has. */
  method?: string | undefined;
  /** With its query. */
  target: string | undefined;
  /** What is left of the query for whoever is behind, also for a rewrite that comes later; undefined: as it came. */
  query: string | undefined;
  requestHeaders: HeaderEdits | undefined;
  /** Of whatever the client gets, also of an answer that is made here: a refusal that a browser may not read tells nobody why. */
  responseHeaders: HeaderEdits | undefined;
  /** The id of the upstream that it goes to: set by the rule's handler before it forwards. */
  upstream: string | undefined;
  /** Ids of upstreams that get a copy. */
  mirrors: string[] | undefined;
  /** The most that this request's body may have; undefined: what the listener allows. */
  bodyBytesMax: number | undefined;
  /** What filters have found out about who asks; each adds what it has proved. */
  caller: Caller | undefined;
  /** For the access log: what filters that refuse nothing yet would have refused. */
  notes?: string[] | undefined;
  /** What chose the rule, as {@link RouteTable.find} found it; undefined where no route was asked. */
  readonly match: HttpMatch | undefined;
  /** The groups of its regular expression, [0] the whole: for rewrites. */
  readonly captures: readonly string[] | undefined;
  /**
   * The whole of the request's body, when it is here; later or at once, and never when the client breaks off. One that is longer than
   * `bytesMax` is answered with 413, and when the worker holds too much already, with 503. Valid until the request ends.
   */
  readBody(bytesMax: number, then: (body: Uint8Array) => void): void;
  /** What goes on instead of the client's body; after {@link readBody}. */
  replaceBody(body: Uint8Array): void;
  /** Bytes that are held for this exchange until it ends; false: all requests together hold too many already. */
  hold(bytes: number): boolean;
  /** Takes part in the answer: who asks first is nearest to the client. Not of 1xx and upgrades. */
  takeAnswer(filter: AnswerFilter): void;
  /** Called once, when the answer's head is known: its status and a way to look at and edit its headers. */
  onResponse(look: (response: ResponseView) => void): void;
  /** Called once, at the very end, whatever came of it: for what was taken and must be given back. */
  onEnd(release: () => void): void;
}

export interface ResponseView {
  readonly status: number;
  /** It was made here, and no upstream was asked or believed. */
  readonly isLocal?: boolean;
  /** Of one that was made here: {@link LocalAnswer}'s. */
  readonly flag?: string;
  readonly reason?: string;
  header(name: string): string | undefined;
}

/** Answers, or lets the request go on to its backend; either may happen later, and exactly one of them once. */
export interface Outcome {
  /** `exchange.upstream` says where to. */
  forward(exchange: Exchange): void;
  answer(exchange: Exchange, answer: LocalAnswer): void;
}

export type Handler = (exchange: Exchange, outcome: Outcome) => void;

/**
 * The one shape of a filter: its configuration is read once, when the rule is compiled, and what is left for each request
 * is a function. A rule without filters has no function to call.
 */
export type Filter<Config> = (config: Config, tools: FilterTools) => (next: Handler) => Handler;

export interface FilterTools {
  random: Random;
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** Milliseconds since the epoch; the machine's clock unless given. */
  dateMs?(): number;
  /** For delays; never keeps the process alive. */
  setTimer(delayMs: number, callback: () => void): { cancel(): void };
  /** {@link TrafficSnapshot.sessionKey}, for sessions that hold on to one of several weighted backends. */
  sessionKey?: string;
  /**
   * What a filter has counted outlives a change of its route: the same `key` within one filter gives what was made before, as
   * long as its configuration stays as it is. Absent: nothing is kept.
   */
  keep?<T>(key: string, make: () => T): T;
  /**
   * What filters of several rules and routes count together: the same `key` gives what is there as long as one of them is. `make`
   * gets the {@link limiter} whose names are everybody's. Absent: each counts for itself.
   */
  shared?<T>(key: string, make: (limiter: FilterTools["limiter"]) => T): T;
  /** Asks an upstream by itself. Absent: there is nobody to ask, as in `wherry route explain`. */
  call?(request: SideRequest, then: (answer: SideAnswer | undefined, reason: string) => void): { cancel(): void };
  /** Where caches put themselves, to be emptied by name. Absent: nobody will. */
  shelves?: Shelves;
  /** Where rules count what they refuse. Absent: nowhere. */
  tally?: Tally;
  /**
   * Counts requests against a rate that several workers share; `id` is the same in all of them. Absent: this worker counts for
   * itself. See rate-leases.ts.
   */
  limiter?(id: string, rate: Rate): Limiter;
  /**
   * Counts against a limit of a calendar window, one by one, exactly over all workers and over restarts. `id` is everybody's, whatever
   * the route: who makes one begins it with a name of its own ("plan/…"), and what has the same id and unit counts together, also
   * after the limit was changed. Absent: this process counts for itself, and forgets when it ends.
   */
  quota?(id: string, limit: QuotaLimit): Quota;
  /** Id of the route that is compiled. */
  route?: string;
}

/** Windows begin at unit boundaries in UTC: weeks on Monday, months on the first. */
export type QuotaUnit = "second" | "minute" | "hour" | "day" | "week" | "month" | "year";

export interface QuotaLimit {
  limit: number;
  unit: QuotaUnit;
  /** Keys are secrets: what is kept of them, and shown, is a hash. */
  hidesKeys?: true;
}

export interface Quota {
  /** Calls `then` once, mostly later: `cost` is counted when all of it has room, and else nothing is. 0 asks whether there is room for 1. */
  take(key: string, cost: number, then: (result: QuotaResult) => void): void;
  /** Counts what has been spent already, whether there is room or not: those that come next feel it. */
  charge(key: string, cost: number): void;
}

export interface QuotaResult {
  allowed: boolean;
  /** After this one. */
  remaining: number;
  /** Until the next window. */
  resetMs: number;
  /** Whoever counts did not answer: not allowed, since nobody knows. */
  isUnknown?: true;
}

export interface Rate {
  requests: number;
  periodMs: number;
  /** So many more at once than the one that is due. */
  burst: number;
}

/** A request of our own: to whoever has keys, or says who may. */
export interface SideRequest {
  /** Id of an upstream. */
  upstream: string;
  method: string;
  /** Path and query. */
  target: string;
  host: string;
  headers: readonly (readonly [name: string, value: string])[];
  body?: Uint8Array;
  /** For all of it. */
  timeoutMs: number;
  /** Of the answer's body; a longer one is no answer, unless `cuts`: then it ends there. */
  bytesMax: number;
  cuts?: boolean;
  /** Of tries that nobody has begun with, the first included; three unless said. */
  triesMax?: number;
}

export interface SideAnswer {
  status: number;
  headers: [name: string, value: string][];
  body: Buffer;
}

export interface Limiter {
  /** Calls `then` once, mostly at once: with 0 the request may go; else it may not, and one may in so many milliseconds. */
  take(key: string, then: (waitMs: number) => void): void;
}
