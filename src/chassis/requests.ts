import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from "fastify";
import { currentContext, parseTimeout, runInContext, timeoutHeader, type WorkContext } from "./context.ts";
import type { ServiceLog } from "./log.ts";
import type { CounterCell, HistogramCell, Metrics } from "./metrics.ts";
import type { Attributes, Tracer } from "./tracer.ts";
import { parseTraceparent, type TraceContext } from "./trace-context.ts";

/**
 * What is told of each request: counted by the template of its route, one log line, one span; and the context in which its
 * handler runs. Everything is told when the answer is through, or the client is gone.
 */
export interface RequestTools {
  log: ServiceLog;
  metrics: Metrics;
  tracer: Tracer;
  /** Answers tell who gave them. */
  instanceId: string;
  /** The last trace of each bucket, for `Accept: application/openmetrics-text`. */
  exemplars: boolean;
  /** "info" unless said; those of routes whose `config.quiet` is true go to debug. */
  accessLog: boolean;
  /** While true, clients are told to connect anew, which leads them elsewhere. */
  isDraining(): boolean;
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** Probes and scrapes: no line in the log, no span. */
    quiet?: boolean;
  }
}

/** The cells of one route and method, by status. */
class RouteMetrics {
  readonly route: string;
  readonly method: string;
  readonly isQuiet: boolean;
  readonly duration: HistogramCell;
  readonly #byStatus = new Map<number, CounterCell>();
  readonly #requests: (status: string) => CounterCell;

  constructor(route: string, method: string, isQuiet: boolean, duration: HistogramCell, requests: (status: string) => CounterCell) {
    this.route = route;
    this.method = method;
    this.isQuiet = isQuiet;
    this.duration = duration;
    this.#requests = requests;
  }
  count(status: number): void {
    let cell = this.#byStatus.get(status);
    if (!cell) this.#byStatus.set(status, (cell = this.#requests(String(status))));
    cell.add();
  }
}

const recordKey = Symbol("chassis.request");
type Recorded = ServerResponse & { [recordKey]?: RequestRecord };

/** One request, from its head to the end of its answer; also the context of its handler. */
class RequestRecord implements WorkContext {
  readonly trace: TraceContext;
  readonly deadlineMs: number | undefined;
  readonly parentSpanId: string | undefined;
  readonly request: IncomingMessage;
  readonly startMs: number;
  readonly recorder: Recorder;
  route: RouteMetrics | undefined;
  /** What was thrown, if it was a failure of ours. */
  error: Error | undefined;
  #abort: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(request: IncomingMessage, recorder: Recorder) {
    const { headers } = request;
    const parent = parseTraceparent(headers["traceparent"] as string | undefined, headers["tracestate"] as string | undefined);
    this.trace = recorder.tools.tracer.next(parent);
    this.parentSpanId = parent?.spanId;
    this.request = request;
    this.recorder = recorder;
    this.startMs = performance.now();
    const timeoutMs = parseTimeout(headers[timeoutHeader]);
    this.deadlineMs = timeoutMs === undefined ? undefined : this.startMs + timeoutMs;
  }

  /** Made for those who ask: most handlers do not. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#isOver) this.#abort.abort(gone());
      else if (this.deadlineMs !== undefined) {
        this.#timer = setTimeout(() => this.#abort!.abort(new DOMException("the deadline of the request has passed", "TimeoutError")), Math.max(0, this.deadlineMs - performance.now()));
        this.#timer.unref();
      }
    }
    return this.#abort.signal;
  }

  /** The answer is through (`isWhole`), or the client is gone. */
  over(isWhole: boolean): void {
    this.#isOver = true;
    if (this.#timer) clearTimeout(this.#timer);
    if (!isWhole) this.#abort?.abort(gone());
  }
}

const gone = (): DOMException => new DOMException("the client went away", "AbortError");

export class Recorder {
  readonly tools: RequestTools;
  readonly #requests;
  readonly #duration;
  readonly #errors: CounterCell;
  readonly #active;
  readonly #unrouted: RouteMetrics;
  #inFlight = 0;
  #onIdle: (() => void)[] = [];

  constructor(tools: RequestTools) {
    this.tools = tools;
    const { metrics } = tools;
    this.#requests = metrics.counter({ name: "http_requests_total", help: "Total number of HTTP requests", labels: ["method", "route", "status"] });
    this.#duration = metrics.histogram({ name: "http_request_duration_seconds", help: "HTTP request duration in seconds", labels: ["method", "route"] });
    this.#errors = metrics.counter({ name: "http_errors_total", help: "Total number of HTTP errors" }).only;
    this.#active = metrics.gauge({ name: "active_connections", help: "Number of active connections" }).only;
    metrics.onCollect(() => this.#active.set(this.#inFlight));
    this.#unrouted = this.#metricsOf("", "", false);
  }

  /** Requests that have not ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Resolves when none is under way. */
  idle(): Promise<void> {
    return this.#inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve));
  }

  install(app: FastifyInstance): void {
    const { tools } = this;
    app.addHook("onRoute", (route) => {
      const methods = typeof route.method === "string" ? [route.method] : route.method;
      const byMethod = new Map(methods.map((method) => [method, this.#metricsOf(route.url, method, route.config?.quiet === true)]));
      const first = byMethod.get(methods[0]!)!;
      const note = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => {
        const record = (reply.raw as Recorded)[recordKey];
        if (record) record.route = byMethod.get(request.method) ?? first;
        done();
      };
      route.onRequest = [note, ...(route.onRequest === undefined ? [] : Array.isArray(route.onRequest) ? route.onRequest : [route.onRequest])];
    });
    app.addHook("onRequest", (request, reply, done) => {
      const record = this.#begin(request.raw, reply.raw);
      request.log = reply.log = tools.log;
      reply.header("x-instance-id", tools.instanceId);
      if (tools.isDraining()) reply.header("connection", "close");
      runInContext(record, done);
    });
    // Bytes of a body arrive in the context of their connection: what comes after them is brought back into the request's.
    app.addHook("preValidation", (_request, reply, done) => {
      const record = (reply.raw as Recorded)[recordKey]!;
      if (currentContext() === record) done();
      else runInContext(record, done);
    });
    app.addHook("onError", (_request, reply, error, done) => {
      const record = (reply.raw as Recorded)[recordKey];
      if (record) record.error = error;
      done();
    });
  }

  #metricsOf(route: string, method: string, isQuiet: boolean): RouteMetrics {
    return new RouteMetrics(route, method, isQuiet, this.#duration.labels(method, route), (status) => this.#requests.labels(method, route, status));
  }

  #begin(request: IncomingMessage, response: ServerResponse): RequestRecord {
    const record = new RequestRecord(request, this);
    (response as Recorded)[recordKey] = record;
    this.#inFlight++;
    response.on("close", onClose);
    return record;
  }

  ended(record: RequestRecord, response: ServerResponse): void {
    const { tools } = this;
    // Fastify's inject() has answers that end without being finished.
    const isWhole = response.writableFinished || ("_lightMyRequest" in response && response.writableEnded);
    const durationMs = performance.now() - record.startMs;
    record.over(isWhole);
    if (--this.#inFlight === 0 && this.#onIdle.length > 0) for (const tell of this.#onIdle.splice(0)) tell();
    // 499, as nginx has it: the client did not wait for the answer.
    const status = isWhole ? response.statusCode : 499;
    const route = record.route ?? this.#unrouted;
    const { trace } = record;
    route.count(status);
    route.duration.observe(durationMs / 1000, tools.exemplars && trace.sampled && tools.tracer.isRecording ? trace.traceId : undefined);
    if (status >= 400) this.#errors.add();
    if (!route.isQuiet && tools.tracer.isRecording && trace.sampled) this.#trace(record, route, status, durationMs);
    if (!tools.accessLog) return;
    const level = status >= 500 ? "error" : route.isQuiet ? "debug" : "info";
    if (!tools.log.isLevelEnabled(level)) return;
    const { method, url } = record.request;
    runInContext(record, () => tools.log[level]({ method, path: pathOf(url!), route: route.route, status, duration_ms: Math.round(durationMs * 1000) / 1000, ...(record.error && status >= 500 && { err: record.error }) }, "request"));
  }

  #trace(record: RequestRecord, route: RouteMetrics, status: number, durationMs: number): void {
    const { method, url, headers, socket, httpVersion } = record.request;
    const path = pathOf(url!);
    const attributes: Attributes = {
      "http.request.method": method,
      "url.path": path,
      "url.scheme": "http",
      "http.response.status_code": status,
      "network.protocol.version": httpVersion,
      "client.address": socket.remoteAddress,
      "server.address": headers.host,
    };
    if (route.route !== "") attributes["http.route"] = route.route;
    if (headers["user-agent"] !== undefined) attributes["user_agent.original"] = headers["user-agent"];
    // The query stays out: it is where secrets are.
    if (status >= 500) attributes["error.type"] = record.error?.name ?? String(status);
    const startMs = performance.timeOrigin + record.startMs;
    this.tools.tracer.record({
      trace: record.trace,
      parentSpanId: record.parentSpanId,
      name: route.route === "" ? method! : `${method} ${route.route}`,
      kind: "server",
      startMs,
      endMs: startMs + durationMs,
      attributes,
      error: status >= 500 ? (record.error?.message ?? "") : undefined,
    });
  }
}

/** One for all answers: `this` is the answer. */
function onClose(this: ServerResponse): void {
  const record = (this as Recorded)[recordKey]!;
  record.recorder.ended(record, this);
}

function pathOf(url: string): string {
  const query = url.indexOf("?");
  return query < 0 ? url : url.slice(0, query);
}
