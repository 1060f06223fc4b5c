import { hostname } from "node:os";
import type { AddressInfo } from "node:net";
import { fastify, type FastifyInstance, type FastifyServerOptions } from "fastify";
import { type Clock, systemClock } from "../base/clock.ts";
import { type Check, type CheckOptions, Health } from "./health.ts";
import { createServiceLog, type LogOptions, type ServiceLog } from "./log.ts";
import { Loop, type LoopOptions } from "./loop.ts";
import { Metrics, metricsFormat } from "./metrics.ts";
import { createOtlpExporter, otlpFromEnvironment } from "./otlp.ts";
import { problemOf, problemType } from "./problem.ts";
import { addProcessMetrics } from "./process-metrics.ts";
import { Recorder } from "./requests.ts";
import { shutDown, ShutdownError, type ShutdownOptions } from "./shutdown.ts";
import { type SpanExporter, Tracer } from "./tracer.ts";

/**
 * A service that can be operated: `/health`, `/health/live`, `/health/ready`, `/ready` and `/metrics`, JSON logs with trace
 * ids, spans, problem documents, and an end in the right order on SIGTERM.
 *
 *   const service = createService({ name: "greeter" });
 *   service.addCheck("database", () => pool.query("SELECT 1"));
 *   service.app.get("/hello/:name", async (request) => ({ hello: request.params.name }));
 *   service.onClose("database", () => pool.end());
 *   await service.start();
 */
export interface ServiceOptions {
  name: string;
  version?: string;
  /** Where it listens: HOST and PORT of the environment unless said, 0.0.0.0 and 8080 else; port 0 for any that is free. */
  host?: string;
  port?: number;
  /** LOG_LEVEL of the environment unless said. */
  log?: Omit<LogOptions, "fields">;
  /** One line for each request; true unless said. */
  accessLog?: boolean;
  /** `exporter`: instead of the one that OTEL_EXPORTER_OTLP_ENDPOINT names; `ratio`: of traces that begin here. */
  tracing?: { exporter?: SpanExporter; ratio?: number };
  /** Traces beside the histogram's buckets, for scrapers that ask for OpenMetrics; true unless said. */
  exemplars?: boolean;
  /** False: /health and /ready say how it is and no more, no result of any check but the error: where strangers may ask. True unless said. */
  healthDetails?: boolean;
  shutdown?: ShutdownOptions;
  /** SIGTERM and SIGINT end the service and the process; true unless said. */
  signals?: boolean;
  /** Of Fastify: bodyLimit, trustProxy, ajv, … */
  fastify?: Omit<FastifyServerOptions, "logger" | "loggerInstance" | "return503OnClosing">;
  clock?: Clock;
  env?: NodeJS.ProcessEnv;
}

export interface Service extends AsyncDisposable {
  readonly name: string;
  /** The pod's name; outside of one, the name of the service and the process. */
  readonly instanceId: string;
  /** Routes, plugins, hooks: everything of Fastify. */
  readonly app: FastifyInstance;
  readonly log: ServiceLog;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly tracer: Tracer;
  /** Fires when the end begins: for answers that never end by themselves. */
  readonly stopping: AbortSignal;
  /** Prepared, and not stopping. */
  readonly isReady: boolean;
  /** Where it is reached from this machine; only after `start`. */
  readonly url: string;
  addCheck(name: string, check: Check, options?: CheckOptions): void;
  /** Must succeed once before the service is ready, in the order of the calls: migrations, caches. Tried again until it does. */
  prepare(name: string, step: (signal: AbortSignal) => unknown): void;
  /** Begins when the service is ready, and ends with it. */
  loop(name: string, everyMs: number, round: (signal: AbortSignal) => unknown, options?: Omit<LoopOptions, "everyMs" | "clock" | "onError">): void;
  /** What else answers requests: ends together with HTTP, what is under way first; `deadline` fires when it must be over. */
  onDrain(name: string, drain: (deadline: AbortSignal) => unknown): void;
  /** After the last answer, in the reverse order of the calls. */
  onClose(name: string, close: (deadline: AbortSignal) => unknown): void;
  /** Listens; resolves when it is prepared. Rejects when it cannot listen, or was stopped before. */
  start(): Promise<void>;
  /** Ends in order. Rejects with a ShutdownError at the deadline, when everything has been cut off. */
  stop(reason?: string): Promise<void>;
}

export function createService(options: ServiceOptions): Service {
  return new FastifyService(options);
}

const prepareEveryMs = 500;
const prepareMaxMs = 10_000;

class FastifyService implements Service {
  readonly name: string;
  readonly instanceId: string;
  readonly app: FastifyInstance;
  readonly log: ServiceLog;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly tracer: Tracer;
  readonly #options: ServiceOptions;
  readonly #env: NodeJS.ProcessEnv;
  readonly #clock: Clock;
  readonly #recorder: Recorder;
  readonly #stop = new AbortController();
  readonly #steps: { name: string; step: (signal: AbortSignal) => unknown }[] = [];
  readonly #loops: (() => Loop)[] = [];
  #running: Loop[] = [];
  readonly #drains: { name: string; drain: (deadline: AbortSignal) => unknown }[] = [];
  readonly #closers: { name: string; close: (deadline: AbortSignal) => unknown }[] = [];
  readonly #onSignal = (signal: NodeJS.Signals) => this.#signalled(signal);
  #isPrepared = false;
  #isDraining = false;
  #stopped: Promise<void> | undefined;

  constructor(options: ServiceOptions) {
    const { name, version, clock = systemClock, env = process.env, accessLog = true, exemplars = true, tracing = {} } = options;
    this.name = name;
    this.instanceId = instanceIdOf(name, env);
    this.#options = options;
    this.#env = env;
    this.#clock = clock;
    this.log = createServiceLog({ level: env["LOG_LEVEL"] || undefined, ...options.log, fields: { service: name, instance_id: this.instanceId, ...(version !== undefined && { version }) } });
    this.metrics = new Metrics({ service: name });
    const processMetrics = addProcessMetrics(this.metrics);
    this.health = new Health(clock);
    const otlp = tracing.exporter ? undefined : otlpFromEnvironment(name, env, { "service.instance.id": this.instanceId, ...(version !== undefined && { "service.version": version }) });
    const exporter = tracing.exporter ?? (otlp && createOtlpExporter(otlp));
    this.tracer = new Tracer({ ...(exporter && { exporter }), ratio: tracing.ratio ?? ratioOf(env), onError: (error) => this.log.warn({ err: error }, "spans were not sent") });
    const dropped = this.metrics.counter({ name: "trace_spans_dropped_total", help: "Spans that were not sent." }).only;
    this.metrics.onCollect(() => dropped.add(this.tracer.dropped - dropped.value));
    this.#recorder = new Recorder({ log: this.log, metrics: this.metrics, tracer: this.tracer, instanceId: this.instanceId, exemplars, accessLog, isDraining: () => this.#isDraining });
    // While it drains, what still arrives is answered as before.
    this.app = fastify({ forceCloseConnections: "idle", ...options.fastify, return503OnClosing: false });
    (this.app as { log: unknown }).log = this.log;
    this.#recorder.install(this.app);
    this.#serveErrors();
    this.#serveHealth();
    this.onClose("telemetry", async () => {
      processMetrics.stop();
      await this.tracer.flush();
      if (exporter && "close" in exporter) (exporter as { close(): void }).close();
    });
  }

  get stopping(): AbortSignal {
    return this.#stop.signal;
  }
  get isReady(): boolean {
    return this.#isPrepared && !this.#stop.signal.aborted;
  }
  get url(): string {
    const address = this.app.server.address() as AddressInfo | null;
    if (!address) throw new Error(`service ${this.name} does not listen`);
    const host = /^(0\.0\.0\.0|::)$/.test(address.address) ? "127.0.0.1" : address.family === "IPv6" ? `[${address.address}]` : address.address;
    return `http://${host}:${address.port}`;
  }

  addCheck(name: string, check: Check, options?: CheckOptions): void {
    this.health.addCheck(name, check, options);
  }
  prepare(name: string, step: (signal: AbortSignal) => unknown): void {
    this.#steps.push({ name, step });
  }
  loop(name: string, everyMs: number, round: (signal: AbortSignal) => unknown, options: Omit<LoopOptions, "everyMs" | "clock" | "onError"> = {}): void {
    const begin = () => new Loop(name, round, { ...options, everyMs, clock: this.#clock, onError: (error, failures) => this.log.warn({ err: error, loop: name, failures }, "a round of a loop failed") });
    if (this.isReady) this.#running.push(begin());
    else this.#loops.push(begin);
  }
  onDrain(name: string, drain: (deadline: AbortSignal) => unknown): void {
    this.#drains.push({ name, drain });
  }
  onClose(name: string, close: (deadline: AbortSignal) => unknown): void {
    this.#closers.push({ name, close });
  }

  async start(): Promise<void> {
    const { signals = true } = this.#options;
    if (signals) for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, this.#onSignal);
    const port = this.#options.port ?? portOf(this.#env["PORT"]);
    await this.app.listen({ host: this.#options.host ?? (this.#env["HOST"] || "0.0.0.0"), port, listenTextResolver: (address) => `listening at ${address}` });
    try {
      for (const { name, step } of this.#steps) await this.#prepareStep(name, step);
      this.#stop.signal.throwIfAborted();
    } catch (error) {
      // After a signal the process ends in order, and not by this.
      await this.#stopped;
      throw error;
    }
    this.#isPrepared = true;
    this.#running.push(...this.#loops.splice(0).map((begin) => begin()));
    this.log.info("ready");
  }

  stop(reason = "asked to"): Promise<void> {
    return (this.#stopped ??= this.#end(reason));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop("disposed");
  }

  /** A loop that ends with its first success. */
  async #prepareStep(name: string, step: (signal: AbortSignal) => unknown): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const { signal } = this.#stop;
      const abort = () => reject(signal.reason);
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort, { once: true });
      const round = async () => {
        await step(signal);
        signal.removeEventListener("abort", abort);
        void loop.stop();
        resolve();
      };
      const loop = new Loop(name, round, { everyMs: prepareEveryMs, maxMs: prepareMaxMs, clock: this.#clock, onError: (error, failures) => this.log.warn({ err: error, step: name, failures }, "not prepared yet") });
      signal.addEventListener("abort", () => void loop.stop(), { once: true });
    });
  }

  async #end(reason: string): Promise<void> {
    this.log.info({ reason }, "shutting down");
    const { server } = this.app;
    const unready = () => {
      this.#isDraining = true;
      this.#stop.abort(new Error(`service ${this.name} is stopping: ${reason}`));
    };
    const drain = async (deadline: AbortSignal) => {
      deadline.addEventListener("abort", () => server.closeAllConnections(), { once: true });
      const others = this.#drains.map(async ({ name, drain }) => {
        await (async () => await drain(deadline))().catch((error: unknown) => this.log.error({ err: error, step: name }, "a step of the shutdown failed"));
      });
      const ended = Promise.all([this.app.close(), ...others, ...this.#running.map((loop) => loop.stop())]);
      // A connection that was busy when the end began is kept open by its client: it is closed when it becomes idle.
      const idle = setInterval(() => server.closeIdleConnections(), 20).unref();
      await ended.finally(() => clearInterval(idle));
    };
    try {
      await shutDown({ unready, drain, closers: this.#closers, onError: (step, error) => this.log.error({ err: error, step }, "a step of the shutdown failed") }, this.#options.shutdown, this.#clock);
      this.log.info("ended");
    } catch (error) {
      this.log.error({ err: error, in_flight: this.#recorder.inFlight }, "cut off");
      throw error;
    } finally {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.off(signal, this.#onSignal);
      this.log.flush();
    }
  }

  /** The second one is somebody who does not want to wait. */
  #signalled(signal: NodeJS.Signals): void {
    if (this.#stopped && signal === "SIGINT") return process.exit(130);
    this.stop(signal).then(
      () => process.exit(0),
      (error: unknown) => process.exit(error instanceof ShutdownError ? 1 : 70),
    );
  }

  #serveErrors(): void {
    this.app.setErrorHandler((error: Error & { statusCode?: number; retryAfterSeconds?: number }, request, reply) => {
      const { document, retryAfterSeconds = error.retryAfterSeconds } = problemOf(error, request.url.split("?", 1)[0]);
      if (retryAfterSeconds !== undefined) void reply.header("retry-after", String(retryAfterSeconds));
      return reply.code(document.status).type(problemType).send(JSON.stringify(document));
    });
    this.app.setNotFoundHandler((request, reply) => {
      const path = request.url.split("?", 1)[0]!;
      const { document } = problemOf({ statusCode: 404, message: `nothing is at ${request.method} ${path}` }, path);
      return reply.code(404).type(problemType).send(JSON.stringify(document));
    });
  }

  #serveHealth(): void {
    const { app } = this;
    const { healthDetails = true } = this.#options;
    const quiet = { config: { quiet: true } };
    const identity = () => ({ service: this.name, instance_id: this.instanceId, timestamp: new Date(this.#clock.now()).toISOString() });
    app.get("/health", quiet, async (_request, reply) => {
      const { status, error, checks } = await this.health.report();
      if (status === "unhealthy" && !healthDetails) return reply.code(503).send({ status, error });
      return reply.code(status === "unhealthy" ? 503 : 200).send({ status, ...(error !== undefined && { error }), ...identity(), ...(healthDetails && { checks }) });
    });
    app.get("/health/live", quiet, async (_request, reply) => {
      const { status, error, checks } = await this.health.report({ live: true });
      return reply.code(status === "unhealthy" ? 503 : 200).send({ status: status === "unhealthy" ? "not live" : "live", ...(error !== undefined && { error }), ...(healthDetails && { checks }) });
    });
    for (const path of ["/ready", "/health/ready"]) {
      app.get(path, quiet, async (_request, reply) => {
        const reason = this.#stop.signal.aborted ? "shutting down" : this.#isPrepared ? (await this.health.report()).error : "not prepared yet";
        return reason === undefined ? { status: "ready" } : reply.code(503).send({ status: "not ready", ...(healthDetails && { reason }) });
      });
    }
    app.get("/metrics", quiet, async (request, reply) => {
      const { format, contentType } = metricsFormat(request.headers.accept);
      return reply.type(contentType).send(this.metrics.render(format));
    });
  }
}

function instanceIdOf(service: string, env: NodeJS.ProcessEnv): string {
  const name = env["POD_NAME"] || env["HOSTNAME"] || hostname();
  return name.startsWith(`${service}-`) || env["KUBERNETES_SERVICE_HOST"] ? name : `${service}-${process.pid}`;
}

function portOf(text: string | undefined): number {
  const port = Number(text || 8080);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`PORT: Invalid value: "${text}": must be between 0 and 65535`);
  return port;
}

/** OTEL_TRACES_SAMPLER, as far as a ratio says it. */
function ratioOf(env: NodeJS.ProcessEnv): number {
  const sampler = env["OTEL_TRACES_SAMPLER"] || "parentbased_always_on";
  if (sampler === "parentbased_always_on") return 1;
  if (sampler === "parentbased_always_off") return 0;
  const ratio = Number(env["OTEL_TRACES_SAMPLER_ARG"] ?? 1);
  if (sampler !== "parentbased_traceidratio" || !(ratio >= 0 && ratio <= 1)) throw new Error(`OTEL_TRACES_SAMPLER: Unsupported value: "${sampler}" with "${ratio}": supported values: parentbased_always_on, parentbased_always_off, parentbased_traceidratio (OTEL_TRACES_SAMPLER_ARG from 0 to 1)`);
  return ratio;
}
