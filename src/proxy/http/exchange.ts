import { performance } from "node:perf_hooks";
import type { HttpRule } from "../../api/traffic.ts";
import type { Exchange, LocalAnswer, Outcome, RequestView } from "../../policy/exchange.ts";
import { type Flag, flags } from "../../policy/flags.ts";
import { withGrpcDeadline } from "../../policy/grpc-timeout.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import { decideRetry, isIdempotent, type Failure, type RetryDecision } from "../../policy/retry.ts";
import type { Picked, TryResult } from "../../policy/upstream.ts";
import { AnswerPath, type PathOwner } from "./answer-path.ts";
import type { Asked, Asker, Trailers } from "./asker.ts";
import type { Client } from "./client.ts";
import { clearing, Decided, localView, withinMs } from "./decided.ts";
import { asBuffer, framing, responseFields, type Framing } from "./compose.ts";
import type { Engine } from "./engine.ts";
import type { Head } from "./head.ts";
import { ownAnswer } from "./own-answer.ts";
import { keptMax, RequestBody } from "./request-body.ts";
import { asksForUpgrade, requestLines } from "./request-lines.ts";
import { HeadView } from "./request-view.ts";
import type { Bulk } from "./stream.ts";
import type { Pool } from "./upstream-pool.ts";

/** Answers of 1xx before the answer: who sends more would send them for ever. */
const interimsMax = 32;

/** One request on its way: policy, tries, answer, and the line in the log. */
export class HttpExchange extends Decided implements Exchange, Outcome, Asker, PathOwner {
  readonly client: Client;
  readonly head: Head;
  readonly request: RequestView;
  readonly isHead: boolean;
  readonly isUpgrade: boolean;
  readonly #engine: Engine;
  #path: AnswerPath | undefined;
  #timeouts: HttpRule["timeouts"];
  // The request's body.
  framing: Framing;
  length: number;
  readonly #body: RequestBody;
  // The try that runs.
  #pool: Pool | undefined;
  #connection: Asked | undefined;
  #giveUp: (() => void) | undefined;
  #picked: Picked | undefined;
  #tried: string[] | undefined;
  tries = 0;
  #triedStale = false;
  #triedLeaving = false;
  #sent = false;
  #tryTimer: NodeJS.Timeout | undefined;
  #requestTimer: NodeJS.Timeout | undefined;
  #triedAt = 0;
  latencyMs = 0;
  // The answer.
  #interims = 0;
  answered = false;
  #starting = false;
  #over = false;
  status = 0;
  flag = "";
  reason = "";
  setCookie: string | undefined;
  sentBytes = 0;
  readonly startedAt = performance.now();

  constructor(engine: Engine, client: Client, head: Head, bodyFraming: Framing) {
    super(engine);
    this.#engine = engine;
    this.client = client;
    this.head = head;
    const { listener } = client;
    this.request = listener.manners ? this.meet(listener.manners) : new HeadView(head, listener.scheme, listener.port, client.address);
    this.isHead = head.methodIs("HEAD");
    this.framing = bodyFraming;
    this.length = head.contentLength;
    const hasNoBody = bodyFraming === framing.none || (bodyFraming === framing.length && head.contentLength === 0);
    this.#body = new RequestBody(hasNoBody);
    this.isUpgrade = asksForUpgrade(head, hasNoBody);
  }

  get endpoint(): string {
    return this.#picked?.endpoint.key ?? this.#tried?.at(-1) ?? "";
  }
  get receivedBytes(): number {
    return this.#body.received;
  }

  start(): void {
    this.#begin();
    // With HTTP/1 only what may be sent once more is worth a copy of its own.
    this.#body.settle(this.#over || (this.#sent && !isIdempotent(this.methodSent) && this.#keptMax(this.#connection!) === 0));
  }
  #begin(): void {
    const own = ownAnswer(this.request, this.head, this.client.listener) ?? this.met?.answer;
    if (own) return this.answer(this, own);
    const routed = this.client.listener.route(this.request);
    if (routed.status !== undefined) return this.answer(this, routed);
    this.routed = routed;
    const { exchangeMs = 0, receiveMs = 0 } = this.client.listener.bounds;
    this.#timeouts = withinMs(exchangeMs, routed.timeouts);
    // Every gRPC client says that it takes trailers, and hardly anybody else does.
    if (this.head.hasTrailers) this.#timeouts = withGrpcDeadline(this.#timeouts, this.request);
    if (this.#timeouts?.requestMs) this.#requestTimer = this.#timer(this.#timeouts.requestMs, () => this.#timedOut());
    if (receiveMs > 0 && !this.#body.isComplete) this.onEnd(clearing(this.#timer(receiveMs, () => this.#body.isComplete || this.answered || this.refuse(408, "SI", `the request was not received within ${receiveMs} ms`))));
    this.#starting = true;
    routed.handler(this, this);
    this.#starting = false;
  }
  /** Out of turn, nobody else sends what was written. */
  #later(): void {
    if (!this.#starting) this.#engine.output.flush();
  }

  // Outcome: what the policy says.
  forward(): void {
    if (this.#over) return;
    this.#forward();
    this.#later();
  }
  #forward(): void {
    const pool = this.upstream === undefined ? undefined : this.#engine.pool(this.upstream);
    if (!pool) return this.#local("NC", "the rule leads to no upstream");
    this.#pool = pool;
    const bytesMax = this.#bytesMax();
    if (this.#body.received > bytesMax || this.length > bytesMax) return this.#tooLarge();
    for (const id of this.mirrors ?? []) {
      const copy = this.#engine.mirror(id, this);
      if (copy) this.#body.copyTo(copy, this.requestHeaders);
    }
    this.#try();
  }
  answer(_exchange: Exchange, answer: LocalAnswer): void {
    if (this.#over || this.answered) return;
    this.flag = answer.flag;
    this.reason = answer.reason;
    this.#give(answer);
    this.#later();
  }

  // The request's body, as the client brings it.
  #bytesMax(): number {
    return this.bodyBytesMax ?? this.client.listener.bounds.bodyBytesMax;
  }
  get bodyComplete(): boolean {
    return this.#body.isComplete;
  }
  readBody(bytesMax: number, then: (body: Uint8Array) => void): void {
    if (this.#body.received > bytesMax || this.length > bytesMax) return this.#tooLarge(bytesMax);
    if (!this.hold(this.#body.received)) return this.#local("OM", "too many bodies are held here");
    this.#body.want(bytesMax, (body) => {
      if (this.#over) return;
      then(body);
      this.#later();
    });
    if (!this.#body.isComplete) this.client.wantBody();
  }
  replaceBody(body: Uint8Array): void {
    this.#body.replace(asBuffer(body));
    this.framing = framing.length;
    this.length = body.length;
  }
  bodyContent(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined): void {
    if (this.#over) return;
    if (this.#body.isWanted) {
      if (this.#body.received + to - from > this.#body.wantedMax) return this.#tooLarge(this.#body.wantedMax);
      if (!this.hold(to - from)) return this.#local("OM", "too many bodies are held here");
    }
    const asked = this.#sent ? this.#connection : undefined;
    if (this.#body.received + to - from > this.#bytesMax() && this.#pool) {
      this.#body.received += to - from;
      return this.#tooLarge();
    }
    if (!this.#body.content(bytes, from, to, bulk, asked, asked && !this.answered ? this.#keptMax(asked) : 0)) this.client.pauseBody();
  }
  /** What may be sent again is worth keeping: refused by its endpoint as not begun, or by the rule's leave. */
  #keptMax(asked: Asked): number {
    const { retry } = this.routed ?? {};
    const isRepeated = retry !== undefined && retry.attempts > 0 && (retry.unsafe === true || isIdempotent(this.methodSent));
    return isRepeated ? (retry.bodyBytesMax ?? keptMax) : asked.mayRefuse ? keptMax : 0;
  }
  bodyEnd(trailers: Trailers = []): void {
    this.#body.end(trailers, this.requestHeaders, this.#sent ? this.#connection : undefined);
  }
  /** To be looked at after each piece was flushed. */
  get upstreamBlocked(): boolean {
    return this.#sent ? (this.#connection?.isBlocked ?? false) : !this.#body.isComplete && !this.#body.isWanted;
  }
  #tooLarge(bytesMax = this.#bytesMax()): void {
    this.#abandon("cancelled");
    this.#local("BL", `the body is larger than ${bytesMax} bytes`);
  }

  // Tries.
  #try(): void {
    const picked = this.#pool!.policy.pick(this.request, this.#tried, this.tries > 0, this.routed?.persistence);
    if (picked.endpoint === undefined) return this.#refused(picked.flag, picked.reason, picked.status);
    this.#picked = picked;
    if (this.#engine.isDenied(this, picked)) return;
    this.tries++;
    const connection = this.#pool!.take(picked.endpoint, this.client);
    this.#triedAt = this.tries === 1 ? this.startedAt : performance.now();
    const tryMs = this.#timeouts?.backendMs ?? 0;
    if (tryMs > 0) this.#tryTimer = this.#timer(tryMs, () => this.#tryFailed("timeout", `${picked.endpoint.key} did not answer within ${tryMs} ms`));
    if (connection) return this.#send(connection);
    this.#connect();
  }
  #connect(): void {
    const { endpoint } = this.#picked!;
    this.#giveUp = this.#pool!.connect(endpoint, (connection, reason, isOverflow) => {
      this.#giveUp = undefined;
      if (connection) return this.#send(connection);
      if (isOverflow) {
        this.#endTry({ type: "cancelled", latencyMs: 0 });
        return this.#local("UO", reason);
      }
      this.#tryFailed("connect", `${endpoint.key}: ${reason}`);
    }, this.client);
  }
  #refused(flag: string, reason: string, status: number): void {
    if (this.flag !== "" && this.reason !== "") return this.#local(this.flag as Flag, this.reason);
    this.#local(flag as Flag, reason, status);
  }

  #send(connection: Asked): void {
    this.#connection = connection;
    connection.ask(this, this.head, requestLines(this, this.isUpgrade));
    // What cannot be asked so may have been said at once.
    if (this.#connection !== connection) return;
    this.#body.sendTo(connection, this.framing !== framing.none, this.requestHeaders);
    this.#engine.output.flush();
    this.#sent = true;
    if (this.client.hasEnded) connection.finish();
    if (!this.#body.isComplete) this.client.wantBody();
  }

  #endTry(result: TryResult): void {
    clearTimeout(this.#tryTimer);
    const picked = this.#picked;
    this.#picked = undefined;
    this.#connection = undefined;
    this.#sent = false;
    if (!picked) return;
    (this.#tried ??= []).push(picked.endpoint.key);
    picked.done(result);
  }
  /** Leaves the try that runs, whatever it was doing. */
  #abandon(type: TryResult["type"]): void {
    this.#giveUp?.();
    this.#giveUp = undefined;
    this.#connection?.close();
    this.#endTry({ type, latencyMs: performance.now() - this.#triedAt });
  }

  /** No answer from this one. Once more, elsewhere, if that is safe and wanted. */
  #tryFailed(why: "connect" | "reset" | "refused" | "timeout" | "protocol", reason: string, status?: number): void {
    const connection = this.#connection;
    const replayable = !this.#body.isStreamed && isIdempotent(this.methodSent);
    // A kept connection that ended as it was used again says nothing about its endpoint; no more does one that says that it ends.
    const isStale = why === "reset" ? connection !== undefined && connection.served > 0 && replayable : why === "refused" && !this.#body.isStreamed;
    if (isStale && !this.#triedStale) {
      this.#triedStale = true;
      this.#connection = undefined;
      this.#sent = false;
      return this.#connect();
    }
    this.#giveUp?.();
    this.#giveUp = undefined;
    connection?.close();
    // A program that was told to end breaks what its listener has not handed to it yet: nobody began with that.
    const hasLeft = why === "reset" && replayable && !this.#triedLeaving && this.#pool!.policy.endpoints().every(({ key }) => key !== this.#picked?.endpoint.key);
    this.#endTry({ type: why === "timeout" ? "timeout" : hasLeft ? "cancelled" : "local", latencyMs: performance.now() - this.#triedAt });
    if (hasLeft) {
      this.#triedLeaving = true;
      return this.#try();
    }
    const flag = why === "connect" || why === "refused" ? "UF" : why === "timeout" ? "UT" : why === "protocol" ? "UPE" : "UC";
    this.flag = flag;
    this.reason = reason;
    const decision = why === "protocol" ? undefined : this.#decide({ type: why === "refused" ? "connect" : why, sent: (why !== "connect" && why !== "refused") || this.#body.isStreamed });
    if (decision?.retry) return this.#tryAgain(decision.delayMs);
    const mayGo = why === "connect" || why === "refused" ? !this.#body.isStreamed : why === "reset" && replayable;
    if (mayGo && this.routed?.rescue?.(this, this, () => this.#goAgain())) return;
    this.#local(flag, reason, status);
  }
  #decide(failure: Failure): RetryDecision {
    const timeouts = this.#timeouts;
    const { retry } = this.routed ?? {};
    return decideRetry({
      rule: { ...(timeouts && { timeouts }), ...(retry && { retry }) },
      method: this.methodSent,
      failure,
      tries: this.tries,
      canRepeat: !this.#body.isStreamed,
      elapsedMs: performance.now() - this.startedAt,
      random: this.#engine.random,
    });
  }
  #goAgain(): void {
    if (this.#over) return;
    this.tries = 0;
    this.#tried = undefined;
    this.flag = this.reason = "";
    this.#try();
    this.#engine.output.flush();
  }
  #tryAgain(delayMs: number): void {
    if (delayMs <= 0) return this.#try();
    this.#tryTimer = this.#timer(delayMs, () => this.#try());
  }
  #timer(ms: number, then: () => void): NodeJS.Timeout {
    return setTimeout(() => {
      then();
      this.#engine.output.flush();
    }, ms).unref();
  }
  #timedOut(): void {
    const ms = this.#timeouts!.requestMs!;
    if (this.answered) {
      this.flag = "UT";
      this.reason = `the answer did not end within ${ms} ms`;
      this.#abandon("timeout");
      return this.#breakOff();
    }
    this.#abandon("timeout");
    this.#local("UT", `no answer within ${ms} ms`);
  }

  // Asker: what comes back.
  interim(head: Head): void {
    if (++this.#interims > interimsMax) {
      const { key } = this.#picked!.endpoint;
      this.#abandon("local");
      return this.#local("UPE", `${key}: more than ${interimsMax} interim answers`);
    }
    if (head.status !== 100) this.client.interim(head);
  }
  #isTriedAgain(head: Head): boolean {
    // Asked for by hardly any rule, and this is every answer's way.
    if (!this.routed?.retry?.statuses.includes(head.status)) return false;
    const decision = this.#decide({ type: "status", status: head.status, sent: true });
    if (!decision.retry || !this.#pool!.policy.mayRetry()) return false;
    this.flag = "URX";
    this.reason = `${this.#picked!.endpoint.key} answered ${head.status}`;
    this.#connection!.close();
    this.#endTry({ type: "answered", status: head.status, latencyMs: performance.now() - this.#triedAt });
    this.#tryAgain(decision.delayMs);
    return true;
  }
  #beginAnswer(head: Head): void {
    this.latencyMs = performance.now() - this.#triedAt;
    clearTimeout(this.#tryTimer);
    this.answered = true;
    this.flag = this.reason = "";
    this.status = head.status;
    this.setCookie = this.#picked!.setCookie;
    const { setHeader } = this.#picked!;
    if (setHeader) {
      const { remove, set, add } = this.responseHeaders ?? { remove: [], set: [], add: [] };
      this.responseHeaders = { remove, set: [...set, [setHeader.name, setHeader.value]], add };
    }
    if (this.looks || this.met) this.tell({ status: head.status, header: (name) => head.find(name) });
  }
  onAnswer(head: Head, bodyFraming: Framing, length: number): void {
    if (this.#isRefused(head)) return;
    if (this.#isTriedAgain(head)) return;
    this.#beginAnswer(head);
    // An upstream that answers before it has heard all will not hear the rest.
    if (!this.#body.isComplete) this.#connection!.forbidReuse();
    const path = this.filters && AnswerPath.of(this, this.#engine.output, this.filters, { status: head.status, header: (name) => head.find(name) });
    if (!path) return this.client.answer(head, bodyFraming, length);
    this.#path = path;
    path.begin({ status: head.status, headers: responseFields(head, undefined), length: length >= 0 && (bodyFraming === framing.length || bodyFraming === framing.none) ? length : undefined });
  }
  content(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined): void {
    if (this.#path) return this.#path.content(bytes, from, to);
    this.sentBytes += to - from;
    this.client.content(bytes, from, to, bulk);
  }
  /** How long the upstream may be silent, where the rule says it. */
  get silenceMs(): number | undefined {
    return this.#timeouts?.silenceMs;
  }
  /** After a turn's output was flushed. */
  flushed(): void {
    if (!(this.#path ?? this.client).isBlocked) return;
    this.#connection?.pause();
    this.client.touch();
  }
  clientDrained(): void {
    if (!(this.#path ?? this.client).isBlocked) this.#connection?.resume();
  }
  clientEnded(): void {
    if (this.#sent) this.#connection?.finish();
  }
  upstreamDrained(): void {
    if (!this.#body.isComplete) this.client.wantBody();
  }
  ended(trailers: Trailers): void {
    this.#endTry({ type: "answered", status: this.status, latencyMs: this.latencyMs });
    if (this.#path) return this.#path.end(trailers);
    this.client.end(trailers);
    this.#conclude();
  }

  // PathOwner: an answer that filters take part in.
  broken(flag: Flag, reason: string, hasBegun: boolean, answer?: LocalAnswer): void {
    this.flag = flag;
    this.reason = reason;
    this.#abandon("cancelled");
    if (hasBegun) this.client.breakOff();
    else this.client.local(answer ?? localAnswer(this.request, flag, reason));
    this.#conclude();
  }
  #isRefused(head: Head): boolean {
    const reason = this.client.refuses?.(head);
    if (reason !== undefined) this.failed(reason, true);
    return reason !== undefined;
  }
  switched(head: Head, bytes: Buffer, from: number, to: number): void {
    if (this.#isRefused(head)) return;
    this.#beginAnswer(head);
    const stream = this.#connection!.leave();
    const picked = this.#picked!;
    this.#picked = undefined;
    (this.#tried ??= []).push(picked.endpoint.key);
    this.#connection = undefined;
    // It counts as long as it is open.
    this.onEnd(this.#engine.tunnelled(this, picked.endpoint, () => picked.done({ type: "answered", status: 101, latencyMs: this.latencyMs })));
    clearTimeout(this.#requestTimer);
    this.client.tunnel(head, stream, bytes, from, to);
  }
  failed(reason: string, protocol: boolean, refused = false): void {
    const key = this.#picked?.endpoint.key ?? "";
    if (!this.answered && this.client.hasEnded) return this.refuse(503, "DC", "the client closed its connection");
    if (!this.answered) return this.#tryFailed(refused ? "refused" : protocol ? "protocol" : "reset", `${key}: ${reason}`);
    this.flag = protocol ? "UPE" : "UC";
    this.reason = `${key}: ${reason}`;
    this.#endTry({ type: "local", latencyMs: this.latencyMs });
    this.#breakOff();
  }

  // Ends.
  /** The client is gone, or has broken the rules; nobody is there to answer. */
  cancel(flag: Flag, reason: string): void {
    if (this.#over) return;
    this.flag = flag;
    this.reason = reason;
    this.#abandon("cancelled");
    this.#conclude();
  }
  /** The request's body is not what it must be. */
  refuse(status: number, flag: Flag, reason: string): void {
    if (this.#over) return;
    this.#abandon("cancelled");
    if (!this.answered) return this.#local(flag, reason, status);
    this.flag = flag;
    this.reason = reason;
    this.#breakOff();
  }
  #breakOff(): void {
    if (this.#path) return this.#path.fail(this.flag as Flag, this.reason);
    this.client.breakOff();
    this.#conclude();
  }
  #local(flag: Flag, reason: string, status: number = flags[flag].status): void {
    this.flag = flag;
    this.reason = reason;
    this.#give(localAnswer(this.request, flag, reason, { status }));
  }
  #give(answer: LocalAnswer): void {
    if (this.#over) return;
    this.answered = true;
    this.status = answer.status;
    const { filters } = this;
    this.filters = undefined;
    const view = this.looks || this.met || filters ? localView(answer) : undefined;
    if (this.looks || this.met) this.tell(view!);
    const path = filters && AnswerPath.of(this, this.#engine.output, filters, view!);
    if (path) return (this.#path = path).give(answer);
    if (answer.bytes && !this.isHead) this.sentBytes += answer.bytes.length;
    this.client.local(answer);
    this.#conclude();
  }
  /** The tunnel has ended. */
  closed(): void {
    this.#conclude();
  }
  #conclude(): void {
    if (this.#over) return;
    this.#over = true;
    this.#body.over();
    clearTimeout(this.#requestTimer);
    clearTimeout(this.#tryTimer);
    this.#path?.close();
    this.release();
    this.#engine.ended(this);
    this.client.finished();
  }
}
