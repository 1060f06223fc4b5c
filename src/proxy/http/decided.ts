import type { HttpMatch, HttpRule } from "../../api/traffic.ts";
import type { AnswerFilter, HeaderEdits, LocalAnswer, RequestView, ResponseView } from "../../policy/exchange.ts";
import type { Caller } from "../../policy/caller.ts";
import type { Client } from "./client.ts";
import type { Head } from "./head.ts";
import type { Manners, Met } from "./manners.ts";
import { requestIdOf } from "./request-lines.ts";
import type { Judged, Routed } from "./routing.ts";

/** Counts what all exchanges hold. */
interface Holder {
  hold(bytes: number): boolean;
  letGo(bytes: number): void;
}

/** What the policy decides about one request, and what it wants to be told of. */
export abstract class Decided {
  host: string | undefined;
  method: string | undefined;
  target: string | undefined;
  query: string | undefined;
  requestHeaders: HeaderEdits | undefined;
  responseHeaders: HeaderEdits | undefined;
  upstream: string | undefined;
  judged: Judged | undefined;
  mirrors: string[] | undefined;
  bodyBytesMax: number | undefined;
  caller: Caller | undefined;
  notes: string[] | undefined;
  /** What its listener has found of it before any route; undefined: there was nothing to find. */
  met: Met | undefined;
  protected routed: Routed | undefined;
  protected looks: ((response: ResponseView) => void)[] | undefined;
  protected filters: AnswerFilter[] | undefined;
  abstract readonly client: Client;
  abstract readonly head: Head;
  abstract readonly request: RequestView;
  #requestId: string | undefined;
  #releases: (() => void)[] | undefined;
  readonly #holder: Holder;
  #held = 0;

  constructor(holder: Holder) {
    this.#holder = holder;
  }

  /** Chosen when somebody is told: between pods that is the log alone, where there is one. */
  get requestId(): string {
    return (this.#requestId ??= this.met?.by.requestId(this.head) ?? requestIdOf(this.head, this.client.listener));
  }
  /** As which the upstream gets it. */
  get methodSent(): string {
    return this.method ?? this.request.method;
  }
  get match(): HttpMatch | undefined {
    return this.routed?.match;
  }
  get captures(): readonly string[] | undefined {
    return this.routed?.captures;
  }
  get rule(): string {
    return this.routed?.name ?? "";
  }
  get isAsItCame(): boolean | undefined {
    return this.routed?.isAsItCame && !this.judged;
  }
  /** Undefined: no rule has said. */
  get secrets(): readonly string[] | undefined {
    return this.routed && (this.routed.secrets ?? []);
  }
  onResponse(look: (response: ResponseView) => void): void {
    (this.looks ??= []).push(look);
  }
  takeAnswer(filter: AnswerFilter): void {
    (this.filters ??= []).push(filter);
  }
  onEnd(release: () => void): void {
    (this.#releases ??= []).push(release);
  }
  hold(bytes: number): boolean {
    if (!this.#holder.hold(bytes)) return false;
    this.#held += bytes;
    return true;
  }
  protected tell(response: ResponseView): void {
    if (this.looks) for (const look of this.looks) look(response);
    if (this.met) this.responseHeaders = this.met.by.late(this.responseHeaders, response);
  }
  /** What its listener does before any route is asked. */
  protected meet(manners: Manners): RequestView {
    const { listener, address } = this.client;
    this.met = manners.meet(this.head, listener, address);
    this.requestHeaders = this.met.edits;
    this.host = this.met.host;
    return this.met.request;
  }
  protected release(): void {
    if (this.#held > 0) this.#holder.letGo(this.#held);
    if (this.#releases) for (const release of this.#releases) release();
  }
}

/** An answer of ours as those see it who want to be told. */
export const localView = ({ status, headers, flag, reason }: LocalAnswer): ResponseView => ({ status, isLocal: true, flag, reason, header: (name) => headers.find(([known]) => known.toLowerCase() === name)?.[1] });

/** Timeouts as they are where the listener bounds exchanges, 0 for not. */
export const withinMs = (ms: number, timeouts: HttpRule["timeouts"]): HttpRule["timeouts"] => (ms > 0 ? { ...timeouts, requestMs: Math.min(ms, timeouts?.requestMs || Infinity) } : timeouts);
export const clearing = (timer: NodeJS.Timeout) => (): void => clearTimeout(timer);
