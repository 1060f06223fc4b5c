import { randomBytes } from "node:crypto";
import { Agent, type IncomingHttpHeaders } from "node:http";
import { Agent as SecureAgent, type AgentOptions } from "node:https";
import type { Balancer, Breaker, Outlier, Retry, Upstream } from "../api/traffic.ts";
import { type Clock, delay, systemClock } from "../base/clock.ts";
import { type Random, systemRandom } from "../base/random.ts";
import { decideRetry, isIdempotent } from "../policy/retry.ts";
import { SessionNames } from "../policy/session-token.ts";
import type { Endpoint, UpstreamPolicy } from "../policy/upstream.ts";
import { createUpstreamPolicy } from "../policy/upstream-policy.ts";
import { CallError, type CallErrorCode } from "./call-error.ts";
import { currentContext, timeoutHeader, type WorkContext } from "./context.ts";
import { type Outgoing, sendOnce, type TryOutcome } from "./http-try.ts";
import type { Metrics } from "./metrics.ts";
import type { Tracer } from "./tracer.ts";
import { formatTraceparent } from "./trace-context.ts";

export { CallError, type CallErrorCode } from "./call-error.ts";

/**
 * Calls to another service that stand its bad days: within a deadline that goes with the call, tried again only where that is
 * safe and within a budget, refused at once while the service fails everything, and never more at a time than it can take.
 *
 *   const users = createHttpClient({ url: "http://user-service", service });
 *   const user = await users.json<User>("GET", `/users/${id}`);
 *
 * What is tried again: what never left this process; what was lost on a kept connection, and answers 502, 503, 504, if the method
 * is idempotent (RFC 9110 §9.2.2) or the call has an idempotency key. The policy is that of Wherry's gateway.
 */
export interface HttpClientOptions {
  /** In front of each path: http://user-service, https://api.example/v1. */
  url: string;
  /** In metrics and errors; the URL's host unless said. */
  name?: string;
  /** For a whole call, further tries among it; 10 s unless said. Less where the work under way has less left. */
  timeoutMs?: number;
  /** For one try, to the head of its answer. */
  tryTimeoutMs?: number;
  /** Two further tries unless said; false: only what never left this process. */
  retry?: Partial<Retry> | false;
  /** The share of tries that may be further ones; a fifth, and ten a second in any case, unless said. */
  retryBudget?: Upstream["retryBudget"];
  /** Ten failures in a row open it for 5 s, unless said. */
  circuit?: Breaker["circuit"] | false;
  /** Calls at a time; the next is refused at once. 1,000 unless said. */
  concurrentMax?: number;
  /** An idempotent call without an answer after so long is sent once more, to another endpoint if there is one; the first answer counts. Within the retry budget. */
  hedgeMs?: number;
  /** Instead of the URL's host: addresses, as of a {@link EndpointSource} of `wherry/chassis/discovery`. */
  endpoints?: EndpointSource;
  /** Among several endpoints. */
  balancer?: Balancer;
  /** Endpoints that fail are left out for a while. */
  outlier?: Outlier;
  headers?: Record<string, string>;
  /** More of an answer is an error; 10 MiB unless said. */
  bodyBytesMax?: number;
  /** ca, cert, key, servername, … */
  tls?: AgentOptions;
  /** Where it is counted and traced, and with what it is closed. */
  service?: { metrics: Metrics; tracer: Tracer; onClose(name: string, close: () => unknown): void };
  clock?: Clock;
  random?: Random;
}

/** Addresses that come and go. */
export interface EndpointSource {
  current(): readonly Endpoint[];
  /** Returns what ends it. */
  onChange(listener: (endpoints: readonly Endpoint[]) => void): () => void;
}

export interface CallOptions {
  headers?: Record<string, string>;
  /** JSON of anything that is no text and no bytes. */
  body?: unknown;
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Sent as `Idempotency-Key`: the receiver does it once, however often it comes, so that it may be tried again. True: a new one. */
  idempotencyKey?: string | true;
}

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  text(): string;
  /** @throws CallError it is no JSON */
  json<T = unknown>(): T;
  /** How often it was tried. */
  tries: number;
}

export interface HttpClient {
  readonly name: string;
  /** Any answer, of whatever status. Rejects with a CallError when there is none. */
  request(method: string, path: string, options?: CallOptions): Promise<HttpAnswer>;
  /** The JSON of a 2xx answer. Rejects with a CallError of code "status" at any other. */
  json<T = unknown>(method: string, path: string, options?: CallOptions): Promise<T>;
  /** What is known of each endpoint. */
  endpoints(): ReturnType<UpstreamPolicy["endpoints"]>;
  close(): void;
}

export function createHttpClient(options: HttpClientOptions): HttpClient {
  return new PolicyClient(options);
}

const defaultRetry: Retry = { attempts: 2, backoffMs: 25, backoffMaxMs: 1_000, statuses: [502, 503, 504] };
/** A server that says "later" is believed, up to here. */
const retryAfterMsMax = 30_000;

class PolicyClient implements HttpClient {
  readonly name: string;
  readonly #options: HttpClientOptions;
  readonly #url: URL;
  readonly #base: string;
  readonly #agent: Agent;
  readonly #policy: UpstreamPolicy;
  readonly #retry: Retry | undefined;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #told: ClientMetrics | undefined;
  readonly #unwatch: (() => void) | undefined;

  constructor(options: HttpClientOptions) {
    const { url, clock = systemClock, random = systemRandom, retry = {}, circuit = { consecutiveFailures: 10, openMs: 5_000 }, concurrentMax = 1_000, retryBudget = { percent: 20, minPerSecond: 10 }, endpoints, service } = options;
    this.#url = new URL(url);
    if (this.#url.protocol !== "http:" && this.#url.protocol !== "https:") throw new TypeError(`${url}: must begin with http:// or https://`);
    this.name = options.name ?? this.#url.hostname;
    this.#options = options;
    this.#base = this.#url.pathname.replace(/\/$/, "");
    const isSecure = this.#url.protocol === "https:";
    this.#agent = isSecure ? new SecureAgent({ keepAlive: true, ...options.tls }) : new Agent({ keepAlive: true });
    this.#retry = retry === false ? undefined : { ...defaultRetry, ...retry };
    this.#clock = clock;
    this.#random = random;
    const port = Number(this.#url.port || (isSecure ? 443 : 80));
    this.#policy = createUpstreamPolicy(
      {
        id: this.name,
        namespace: "",
        service: this.name,
        port,
        protocol: "http1",
        retryBudget,
        breaker: { requestsMax: concurrentMax, ...(circuit && { circuit }) },
        ...(options.balancer && { balancer: options.balancer }),
        ...(options.outlier && { outlier: options.outlier }),
      },
      { random, nowMs: () => clock.monotonicMs(), sessions: new SessionNames(randomBytes(16).toString("hex")) },
    );
    const host = this.#url.hostname.replace(/^\[|\]$/g, "");
    this.#policy.update(endpoints ? endpoints.current() : [{ ip: host, port, key: `${host}:${port}` }]);
    this.#unwatch = endpoints?.onChange((current) => this.#policy.update(current));
    this.#told = service && clientMetricsOf(service.metrics);
    service?.onClose(`client of ${this.name}`, () => this.close());
  }

  async json<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const answer = await this.request(method, path, { ...options, headers: { accept: "application/json", ...options.headers } });
    if (answer.status >= 200 && answer.status < 300) return answer.body.length === 0 ? (undefined as T) : answer.json<T>();
    let body: unknown = answer.text();
    try {
      body = answer.json();
    } catch {
      // its text, then
    }
    const detail = (body as { detail?: unknown } | null)?.detail;
    throw new CallError("status", `${this.name}: ${method} ${path} answers ${answer.status}${typeof detail === "string" ? `: ${detail}` : ""}`, { status: answer.status, body, tries: answer.tries });
  }

  async request(method: string, path: string, options: CallOptions = {}): Promise<HttpAnswer> {
    const startMs = performance.now();
    try {
      const answer = await this.#call(method, path, options);
      this.#told?.ended(this.name, method, String(answer.status), startMs, answer.tries);
      return answer;
    } catch (error) {
      if (error instanceof CallError) this.#told?.ended(this.name, method, error.code, startMs, error.tries);
      throw error;
    }
  }

  endpoints(): ReturnType<UpstreamPolicy["endpoints"]> {
    return this.#policy.endpoints();
  }

  close(): void {
    this.#unwatch?.();
    this.#agent.destroy();
  }

  async #call(method: string, path: string, options: CallOptions): Promise<HttpAnswer> {
    const context = currentContext();
    const call = this.#prepare(method, path, options, context);
    const tried: string[] = [];
    let last: TryOutcome | undefined;
    try {
      for (;;) {
        const outcome: TryOutcome = await this.#tryHedged(call, tried, context).catch((error: unknown) => {
          // The circuit opened meanwhile: what there is, then.
          if (!last) throw error;
          if (last.answer) return { answer: last.answer, headMs: last.headMs };
          throw this.#failed(call, last, tried.length);
        });
        last = outcome;
        const { failure } = outcome;
        const tries = tried.length;
        const answer = outcome.answer;
        if (!failure) return answerOf(this.name, answer!, tries);
        // Neither time nor another try would mend it.
        if (call.signal.aborted || outcome.error instanceof CallError) throw this.#failed(call, outcome, tries);
        const decision = decideRetry({ rule: { ...(call.retry && { retry: call.retry }), timeouts: { requestMs: call.timeoutMs } }, method, failure, tries, canRepeat: true, elapsedMs: this.#clock.monotonicMs() - call.startMs, random: this.#random });
        const waitMs = decision.retry ? Math.max(decision.delayMs, answer ? this.#askedToWaitMs(answer.headers) : 0) : 0;
        if (!decision.retry || waitMs >= this.#leftMs(call) || !this.#policy.mayRetry()) {
          if (answer) return answerOf(this.name, answer, tries);
          throw this.#failed(call, outcome, tries);
        }
        // Nobody waits any more: told as that, below.
        if (waitMs > 0) await delay(this.#clock, waitMs, call.signal).catch(() => {});
        if (call.signal.aborted) throw this.#failed(call, outcome, tries);
      }
    } finally {
      call.end();
    }
  }

  #prepare(method: string, path: string, options: CallOptions, context: WorkContext | undefined): Call {
    const startMs = this.#clock.monotonicMs();
    const asked = options.timeoutMs ?? this.#options.timeoutMs ?? 10_000;
    const timeoutMs = Math.min(asked, context?.deadlineMs === undefined ? Infinity : Math.max(0, context.deadlineMs - performance.now()));
    const abort = new AbortController();
    const timer = this.#clock.setTimer(timeoutMs, () => abort.abort(new CallError("timeout", `${this.name}: no answer within ${Math.round(timeoutMs)} ms`)));
    const outer = [options.signal, context?.signal].filter((signal) => signal !== undefined);
    const cancel = () => abort.abort(new CallError("cancelled", `${this.name}: the call was given up`));
    for (const signal of outer) {
      if (signal.aborted) cancel();
      else signal.addEventListener("abort", cancel, { once: true });
    }
    const { body } = options;
    const payload = body === undefined ? undefined : Buffer.isBuffer(body) ? body : body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    const key = options.idempotencyKey === true ? randomBytes(16).toString("hex") : options.idempotencyKey;
    const headers: Record<string, string> = {
      ...this.#options.headers,
      ...(payload && typeof body !== "string" && !(body instanceof Uint8Array) && { "content-type": "application/json" }),
      ...lowerCased(options.headers),
      host: this.#url.host,
      // As a string of structured fields, which the draft of the header asks for.
      ...(key !== undefined && { "idempotency-key": `"${key}"` }),
    };
    const retry = this.#retry && (key === undefined ? this.#retry : { ...this.#retry, unsafe: true });
    return {
      method,
      path: this.#base + path,
      headers,
      payload,
      retry,
      mayHedge: this.#options.hedgeMs !== undefined && (key !== undefined || isIdempotent(method)),
      timeoutMs,
      startMs,
      signal: abort.signal,
      end: () => {
        timer.cancel();
        for (const signal of outer) signal.removeEventListener("abort", cancel);
      },
    };
  }

  /** One try, or two where the first is slow; `tried` gets the endpoints. */
  async #tryHedged(call: Call, tried: string[], context: WorkContext | undefined): Promise<TryOutcome> {
    const first = this.#try(call, tried, context);
    const { hedgeMs } = this.#options;
    if (!call.mayHedge || hedgeMs === undefined) return first.outcome;
    let late = false;
    const timer = new AbortController();
    await Promise.race([first.outcome, delay(this.#clock, hedgeMs, timer.signal).then(() => (late = true), () => {})]);
    timer.abort();
    if (!late || call.signal.aborted || !this.#policy.mayRetry()) return first.outcome;
    let second: Try;
    try {
      second = this.#try(call, tried, context);
    } catch {
      return first.outcome; // refused: then it is the first
    }
    const both = [first, second];
    const winner = await Promise.race(both.map(async (one) => ({ one, outcome: await one.outcome })));
    const other = both.find((one) => one !== winner.one)!;
    // A failure is no answer: the other may still have one.
    if (winner.outcome.failure) return other.outcome;
    other.abandon();
    return winner.outcome;
  }

  /** @throws CallError it may not be sent */
  #try(call: Call, tried: string[], context: WorkContext | undefined): Try {
    const number = tried.length;
    const picked = this.#policy.pick(undefined, tried, number > 0);
    if (picked.endpoint === undefined) {
      const code: CallErrorCode = picked.flag === "UH" ? "unavailable" : picked.reason.includes("circuit is open") ? "circuit_open" : "overloaded";
      throw new CallError(code, picked.reason, { tries: number });
    }
    const { endpoint } = picked;
    tried.push(endpoint.key);
    const leftMs = this.#leftMs(call);
    const tryMs = Math.min(this.#options.tryTimeoutMs ?? Infinity, leftMs);
    const tracer = this.#options.service?.tracer;
    const trace = context && (tracer ? tracer.next(context.trace) : context.trace);
    const outgoing: Outgoing = {
      url: this.#url,
      endpoint,
      agent: this.#agent,
      method: call.method,
      path: call.path,
      headers: {
        ...call.headers,
        [timeoutHeader]: String(Math.max(1, Math.floor(tryMs))),
        ...(trace && { traceparent: formatTraceparent(trace), ...(trace.tracestate !== undefined && { tracestate: trace.tracestate }) }),
      },
      payload: call.payload,
      bodyBytesMax: this.#options.bodyBytesMax ?? 10 << 20,
      timeoutMs: this.#options.tryTimeoutMs !== undefined && tryMs < leftMs ? tryMs : undefined,
      failingStatuses: call.retry?.statuses ?? [],
    };
    const began = performance.now();
    const abandoned = new AbortController();
    const outcome = sendOnce(outgoing, call.signal, abandoned.signal, this.#clock).then((result) => {
      const isGivenUp = abandoned.signal.aborted || (call.signal.reason as CallError | undefined)?.code === "cancelled";
      picked.done({ type: result.answer ? "answered" : isGivenUp ? "cancelled" : result.failure?.type === "timeout" ? "timeout" : "local", ...(result.answer && { status: result.answer.status }), latencyMs: result.headMs });
      if (trace && tracer?.isRecording && trace.sampled) {
        const startMs = performance.timeOrigin + began;
        const status = result.answer?.status;
        const isError = status === undefined || status >= 400;
        tracer.record({
          trace,
          parentSpanId: context!.trace.spanId,
          name: call.method,
          kind: "client",
          startMs,
          endMs: performance.timeOrigin + performance.now(),
          attributes: { "http.request.method": call.method, "server.address": endpoint.ip, "server.port": endpoint.port, "url.full": `${this.#url.origin}${call.path.split("?", 1)[0]}`, "http.response.status_code": status, "http.request.resend_count": number > 0 ? number : undefined, "error.type": isError ? (status === undefined ? (result.failure?.type ?? "_OTHER") : String(status)) : undefined },
          error: isError ? (result.error?.message ?? "") : undefined,
        });
      }
      return result;
    });
    return { outcome, abandon: () => abandoned.abort() };
  }

  #leftMs(call: Call): number {
    return Math.max(0, call.timeoutMs - (this.#clock.monotonicMs() - call.startMs));
  }

  /** Retry-After, in seconds or as a date. */
  #askedToWaitMs(headers: IncomingHttpHeaders): number {
    const text = headers["retry-after"];
    if (text === undefined) return 0;
    const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - this.#clock.now();
    return ms > 0 ? Math.min(ms, retryAfterMsMax) : 0;
  }

  #failed(call: Call, { failure, error }: TryOutcome, tries: number): CallError {
    if (call.signal.aborted) {
      const { code, message } = call.signal.reason as CallError;
      return new CallError(code, message, { tries, cause: error });
    }
    if (error instanceof CallError) return new CallError(error.code, `${this.name}: ${error.message}`, { tries });
    const what = failure?.type === "timeout" ? "timeout" : "unavailable";
    return new CallError(what, `${this.name}: ${error?.message ?? "no answer"}`, { tries, cause: error });
  }
}

interface Call {
  method: string;
  path: string;
  headers: Record<string, string>;
  payload: Buffer | undefined;
  retry: Retry | undefined;
  mayHedge: boolean;
  timeoutMs: number;
  startMs: number;
  /** Its reason is a CallError. */
  signal: AbortSignal;
  end(): void;
}
interface Try {
  outcome: Promise<TryOutcome>;
  abandon(): void;
}

function answerOf(name: string, { status, headers, body }: NonNullable<TryOutcome["answer"]>, tries: number): HttpAnswer {
  return {
    status,
    headers,
    body,
    tries,
    text: () => body.toString(),
    json<T>() {
      try {
        return JSON.parse(body.toString()) as T;
      } catch (error) {
        throw new CallError("invalid", `${name}: the answer is no JSON`, { status, tries, cause: error });
      }
    },
  };
}

function lowerCased(headers: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** All clients of one service are counted in the same metrics. */
class ClientMetrics {
  readonly #requests;
  readonly #duration;
  readonly #retries;
  constructor(metrics: Metrics) {
    this.#requests = metrics.counter({ name: "http_client_requests_total", help: "Calls to other services, by the answer's status or what became of them", labels: ["client", "method", "result"] });
    this.#duration = metrics.histogram({ name: "http_client_request_duration_seconds", help: "Duration of calls to other services in seconds, with all tries", labels: ["client", "method"] });
    this.#retries = metrics.counter({ name: "http_client_retries_total", help: "Further tries of calls to other services", labels: ["client"] });
  }
  ended(client: string, method: string, result: string, startMs: number, tries: number): void {
    this.#requests.labels(client, method, result).add();
    this.#duration.labels(client, method).observe((performance.now() - startMs) / 1000);
    if (tries > 1) this.#retries.labels(client).add(tries - 1);
  }
}
const told = new WeakMap<Metrics, ClientMetrics>();
function clientMetricsOf(metrics: Metrics): ClientMetrics {
  let known = told.get(metrics);
  if (!known) told.set(metrics, (known = new ClientMetrics(metrics)));
  return known;
}

