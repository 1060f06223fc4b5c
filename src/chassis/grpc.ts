import { randomBytes } from "node:crypto";
import type { ChannelCredentials, Client, Interceptor, ClientReadableStream, Deadline, Metadata, ServerCredentials, ServerUnaryCall, ServiceDefinition, ServiceError, UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Breaker } from "../api/traffic.ts";
import { systemRandom } from "../base/random.ts";
import { SessionNames } from "../policy/session-token.ts";
import { createUpstreamPolicy } from "../policy/upstream-policy.ts";
import { CallError } from "./call-error.ts";
import { currentContext, runInContext, type WorkContext } from "./context.ts";
import { ServingStates, type ServingStatus, healthDefinition } from "./grpc-health.ts";
import { type Grpc, loadGrpc } from "./grpc-load.ts";
import type { Service } from "./service.ts";
import { formatTraceparent, newSpanId, newTraceId, parseTraceparent, type TraceContext } from "./trace-context.ts";
import type { Metrics } from "./metrics.ts";
import type { Attributes, Tracer } from "./tracer.ts";

/**
 * gRPC, both sides, on grpc-js: deadlines and traces go with the calls, the server tells its health as `grpc.health.v1` and ends
 * with the service, the client tries again what its proto file calls idempotent, and leaves a server alone that fails everything.
 *
 *   const { Greeter } = await loadProto("greeter.proto", "shop.v1");
 *   const server = await createGrpcServer({ service });
 *   server.add(Greeter, { async SayHello({ name }) { return { message: `Hello ${name}` }; } });
 *   await server.listen(9090);
 *
 *   const greeter = await createGrpcClient(Greeter, { address: "greeter:9090" });
 *   await greeter.call("SayHello", { name: "Anna" });
 */
export async function loadProto(file: string, packageName: string, includeDirs: string[] = []): Promise<Record<string, ServiceDefinition>> {
  const { loader } = await loadGrpc();
  const definition = await loader.load(file, { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, includeDirs });
  const before = packageName === "" ? "" : `${packageName}.`;
  const services: Record<string, ServiceDefinition> = {};
  // A message has a format, a service its methods.
  for (const [name, value] of Object.entries(definition)) if (name.startsWith(before) && !("format" in value)) services[name.slice(before.length)] = value as ServiceDefinition;
  return services;
}

export interface GrpcServerOptions {
  /** Whose health it tells, and with whom it ends. */
  service?: Pick<Service, "log" | "metrics" | "tracer" | "health" | "isReady" | "stopping" | "onDrain">;
  credentials?: ServerCredentials;
}

/** What a method gets besides its request. */
export interface GrpcCall {
  metadata: Metadata;
  /** Fires when the client gave up or its deadline passed. */
  signal: AbortSignal;
}
/** Unary methods return their answer; the others get grpc-js' own call, in the caller's trace. */
// oxlint-disable-next-line typescript/no-explicit-any
export type GrpcMethods = Record<string, (request: any, call: any) => unknown>;

export interface GrpcServer {
  add(definition: ServiceDefinition, methods: GrpcMethods): void;
  /** Resolves with the port. */
  listen(port: number, host?: string): Promise<number>;
  /** Of one service of the server; "" is all of it. */
  setServing(service: string, status: ServingStatus): void;
  /** Says NOT_SERVING, lets calls under way end, and cuts them off at the deadline. */
  stop(deadline?: AbortSignal): Promise<void>;
}

export async function createGrpcServer({ service, credentials }: GrpcServerOptions = {}): Promise<GrpcServer> {
  const { grpc, loader } = await loadGrpc();
  const server = new grpc.Server();
  const told = service && new ServerMetrics(service.metrics);
  const states = new ServingStates(async () => !service || (service.isReady && (await service.health.report()).status !== "unhealthy"));
  service?.stopping.addEventListener("abort", () => states.set("", "NOT_SERVING"), { once: true });
  server.addService(healthDefinition(loader), {
    async Check(call: ServerUnaryCall<{ service: string }, unknown>, callback: (error: Partial<ServiceError> | null, value?: { status: ServingStatus }) => void) {
      const status = await states.of(call.request.service);
      if (status === undefined) callback({ code: grpc.status.NOT_FOUND, details: `unknown service ${call.request.service}` });
      else callback(null, { status });
    },
    Watch(call: { request: { service: string }; write(value: object): void; end(): void; on(event: "cancelled" | "error", listener: () => void): void }) {
      const unwatch = states.watch({ service: call.request.service, send: (status) => call.write({ status }), end: () => call.end() });
      call.on("cancelled", unwatch);
      call.on("error", unwatch);
    },
  } as unknown as UntypedServiceImplementation);

  let stopped: Promise<void> | undefined;
  const end = async (deadline?: AbortSignal): Promise<void> => {
    await states.over();
    const force = () => server.forceShutdown();
    if (deadline?.aborted) force();
    deadline?.addEventListener("abort", force, { once: true });
    await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
    deadline?.removeEventListener("abort", force);
  };
  const made: GrpcServer = {
    add(definition, methods) {
      const implementation: UntypedServiceImplementation = {};
      for (const [name, { path, requestStream, responseStream }] of Object.entries(definition)) {
        const method = methods[name];
        if (!method) throw new Error(`${path}: has no method`);
        const [, serviceName, methodName] = path.split("/") as [string, string, string];
        states.set(serviceName, "SERVING");
        implementation[name] = (call: ServerUnaryCall<unknown, unknown>, callback: (error: Partial<ServiceError> | null, value?: unknown) => void) => {
          const startMs = performance.now();
          const { context, parentSpanId, signal } = contextOf(grpc, call, service?.tracer);
          let isTold = false;
          const ended = (error?: Partial<ServiceError> | null) => {
            if (isTold) return;
            isTold = true;
            const code = error ? (error.code ?? grpc.status.UNKNOWN) : grpc.status.OK;
            told?.ended(serviceName, methodName, grpc.status[code]!, startMs);
            if (service) recordCall(service.tracer, { kind: "server", path, code, trace: context.trace, parentSpanId, startMs, error: ourFailures.has(code) ? (error?.details ?? "") : undefined });
          };
          const answer = (error: Partial<ServiceError> | null, value?: unknown) => {
            ended(error);
            callback(error, value);
          };
          if (requestStream || responseStream) {
            // One that answers a stream has no callback: it is over when its last message is written, or nobody reads on.
            const over = (event: string, listener: (error?: Partial<ServiceError>) => void) => void (call as unknown as NodeJS.EventEmitter).on(event, listener);
            over("finish", () => ended());
            over("error", (error) => ended(error));
            over("cancelled", () => ended({ code: grpc.status.CANCELLED, details: "the client gave up, or its deadline passed" }));
            return runInContext(context, () => method(call, answer));
          }
          runInContext(context, () =>
            (async () => await method(call.request, { metadata: call.metadata, signal } satisfies GrpcCall))().then(
              (value) => answer(null, value ?? {}),
              (error: unknown) => {
                const failure = grpcFailure(grpc, error);
                if (failure.code === grpc.status.INTERNAL) service?.log.error({ err: error, rpc_method: path }, "a method failed");
                answer(failure);
              },
            ),
          );
        };
      }
      server.addService(definition, implementation);
    },
    listen(port, host = "0.0.0.0") {
      return new Promise((resolve, reject) => server.bindAsync(`${host.includes(":") ? `[${host}]` : host}:${port}`, credentials ?? grpc.ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound))));
    },
    setServing: (name, status) => states.set(name, status),
    stop: (deadline) => (stopped ??= end(deadline)),
  };
  service?.onDrain("gRPC", (deadline) => made.stop(deadline));
  return made;
}

function contextOf(grpc: Grpc, call: ServerUnaryCall<unknown, unknown>, tracer: Tracer | undefined): { context: WorkContext; parentSpanId: string | undefined; signal: AbortSignal } {
  const first = (name: string) => call.metadata.get(name)[0]?.toString();
  const parent = parseTraceparent(first("traceparent"), first("tracestate"));
  const trace: TraceContext = tracer ? tracer.next(parent) : parent ? { ...parent, spanId: newSpanId() } : { traceId: newTraceId(), spanId: newSpanId(), sampled: true };
  const abort = new AbortController();
  call.on("cancelled", () => abort.abort(Object.assign(new Error("the client gave up, or its deadline passed"), { code: grpc.status.CANCELLED })));
  const ms = millisecondsTo(call.getDeadline());
  return { context: { trace, deadlineMs: ms === Infinity ? undefined : performance.now() + ms, signal: abort.signal }, parentSpanId: parent?.spanId, signal: abort.signal };
}

/** What says of a server that it failed, and not that it was asked for the wrong thing. Source: OpenTelemetry, Semantic Conventions for gRPC. */
const ourFailures = new Set([2, 4, 12, 13, 14, 15]);

interface Call {
  kind: "server" | "client";
  /** "/shop.v1.Stock/Get". */
  path: string;
  code: number;
  trace: TraceContext;
  parentSpanId: string | undefined;
  /** Monotonic. */
  startMs: number;
  error: string | undefined;
  attributes?: Attributes;
}
function recordCall(tracer: Tracer, { kind, path, code, trace, parentSpanId, startMs, error, attributes }: Call): void {
  if (!tracer.isRecording || !trace.sampled) return;
  const [, rpcService, rpcMethod] = path.split("/");
  tracer.record({ trace, parentSpanId, name: path.slice(1), kind, startMs: performance.timeOrigin + startMs, endMs: performance.timeOrigin + performance.now(), attributes: { "rpc.system": "grpc", "rpc.service": rpcService, "rpc.method": rpcMethod, "rpc.grpc.status_code": code, ...attributes }, error });
}

/** Errors of a chassis go by their HTTP status; those of gRPC as they are. Of others a client learns nothing. */
function grpcFailure({ status }: Grpc, error: unknown): Partial<ServiceError> {
  const { code, details, message, statusCode, metadata } = (error ?? {}) as Partial<ServiceError> & { statusCode?: number };
  if (typeof code === "number" && code > 0 && code <= 16) return { code, details: details ?? message ?? "", ...(metadata && { metadata }) };
  const known: Record<number, number> = { 400: status.INVALID_ARGUMENT, 401: status.UNAUTHENTICATED, 403: status.PERMISSION_DENIED, 404: status.NOT_FOUND, 409: status.ABORTED, 412: status.FAILED_PRECONDITION, 422: status.INVALID_ARGUMENT, 429: status.RESOURCE_EXHAUSTED, 499: status.CANCELLED, 501: status.UNIMPLEMENTED, 503: status.UNAVAILABLE, 504: status.DEADLINE_EXCEEDED };
  const mapped = statusCode === undefined ? undefined : known[statusCode];
  return mapped === undefined ? { code: status.INTERNAL, details: "internal error" } : { code: mapped, details: message ?? "" };
}

export interface GrpcClientOptions {
  /** host:port, or any target of gRPC's: dns:///greeter:9090. */
  address: string;
  /** For a whole call; 10 s unless said, less where the work under way has less left. Streams have only the latter. */
  timeoutMs?: number;
  /** Tries of methods whose `idempotency_level` is NO_SIDE_EFFECTS or IDEMPOTENT; 3 unless said, 1 for none. */
  attempts?: number;
  /** Ten failures in a row open it for 5 s, unless said. */
  circuit?: Breaker["circuit"] | false;
  concurrentMax?: number;
  credentials?: ChannelCredentials;
  service?: Pick<Service, "onClose"> & Partial<Pick<Service, "tracer">>;
}

export interface GrpcClient {
  /** A unary method. Rejects with gRPC's ServiceError (`code`, `details`, and a `statusCode` for the caller's own answer over HTTP), or a CallError when it was not sent. */
  call<T = unknown>(method: string, request: unknown, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<T>;
  /** A method that answers a stream. */
  stream<T = unknown>(method: string, request: unknown): ClientReadableStream<T>;
  /** grpc-js' own, in whose calls deadline and trace go as well. */
  readonly raw: Client;
  close(): void;
}

/** What a handler's own answer has when it lets a failed call through, as with a CallError: CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE; else the server answered with an error. */
const httpStatuses: Record<number, number> = { 1: 499, 4: 504, 8: 503, 14: 503 };
/** Failures that say something about the server, and not about the call. */
const serverFailures = new Set([4, 8, 13, 14]);

export async function createGrpcClient(definition: ServiceDefinition, { address, timeoutMs = 10_000, attempts = 3, circuit = { consecutiveFailures: 10, openMs: 5_000 }, concurrentMax = 1_000, credentials, service }: GrpcClientOptions): Promise<GrpcClient> {
  const { grpc } = await loadGrpc();
  const Constructor = grpc.makeGenericClientConstructor(definition, "client");
  const repeatable = Object.values(definition).filter((method) => /^(NO_SIDE_EFFECTS|IDEMPOTENT)$/.test(String((method as { options?: { idempotency_level?: unknown } }).options?.idempotency_level)));
  const config = {
    // Each call goes to the next of the name's addresses; grpc-js' own way is to stay with one.
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig: repeatable.map(({ path }) => ({ name: [{ service: path.split("/")[1], method: path.split("/")[2] }], ...(attempts > 1 && { retryPolicy: { maxAttempts: Math.min(attempts, 5), initialBackoff: "0.025s", maxBackoff: "1s", backoffMultiplier: 2, retryableStatusCodes: ["UNAVAILABLE"] } }) })),
    retryThrottling: { maxTokens: 10, tokenRatio: 0.2 },
  };
  const raw = new Constructor(address, credentials ?? grpc.credentials.createInsecure(), {
    "grpc.service_config": JSON.stringify(config),
    "grpc.service_config_disable_resolution": 1,
    interceptors: [
      ((options, next) =>
        new grpc.InterceptingCall(next({ ...options, deadline: nearer(options.deadline, currentContext()?.deadlineMs) }), {
          start(metadata, listener, go) {
            const outer = currentContext()?.trace;
            if (!outer) return go(metadata, listener);
            const tracer = service?.tracer;
            const trace = tracer ? tracer.next(outer) : outer;
            metadata.set("traceparent", formatTraceparent(trace));
            if (trace.tracestate !== undefined) metadata.set("tracestate", trace.tracestate);
            if (!tracer) return go(metadata, listener);
            const startMs = performance.now();
            // One span a call, however often grpc-js tries: its tries are below.
            go(metadata, {
              onReceiveStatus(status, next) {
                recordCall(tracer, { kind: "client", path: options.method_definition.path, code: status.code, trace, parentSpanId: outer.spanId, startMs, error: status.code === grpc.status.OK ? undefined : status.details, attributes: { "server.address": address } });
                next(status);
              },
            });
          },
        })) satisfies Interceptor,
    ],
  });
  const policy = createUpstreamPolicy({ id: address, namespace: "", service: address, port: 0, protocol: "h2c", breaker: { requestsMax: concurrentMax, ...(circuit && { circuit }) } }, { random: systemRandom, nowMs: () => performance.now(), sessions: new SessionNames(randomBytes(16).toString("hex")) });
  policy.update([{ ip: address, port: 0, key: address }]);
  const named = (method: string) => {
    const found = definition[method];
    if (!found) throw new TypeError(`${address}: no method ${method}`);
    return found;
  };
  const made: GrpcClient = {
    raw,
    call<T>(method: string, request: unknown, { timeoutMs: ownMs = timeoutMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {}) {
      return new Promise<T>((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = named(method);
        const picked = policy.pick(undefined);
        if (picked.endpoint === undefined) return reject(new CallError(picked.reason.includes("circuit is open") ? "circuit_open" : "overloaded", picked.reason));
        const began = performance.now();
        const call = raw.makeUnaryRequest(path, requestSerialize as (value: unknown) => Buffer, responseDeserialize, request, new grpc.Metadata(), { deadline: Date.now() + ownMs }, (error, value) => {
          stop?.removeEventListener("abort", cancel);
          const isOurs = error && serverFailures.has(error.code);
          picked.done({ type: error?.code === grpc.status.CANCELLED ? "cancelled" : isOurs ? "local" : "answered", status: 200, latencyMs: performance.now() - began });
          if (!error) return resolve(value as T);
          // The signal of a deadline may be heard before grpc-js looks at its own watch.
          if (error.code === grpc.status.CANCELLED && (stop?.reason as Error | undefined)?.name === "TimeoutError") error.code = grpc.status.DEADLINE_EXCEEDED;
          reject(Object.assign(error, { statusCode: httpStatuses[error.code] ?? 502 }));
        });
        const cancel = () => call.cancel();
        const stop = signal ?? currentContext()?.signal;
        if (stop?.aborted) cancel();
        stop?.addEventListener("abort", cancel, { once: true });
      });
    },
    stream<T>(method: string, request: unknown) {
      const { path, requestSerialize, responseDeserialize } = named(method);
      return raw.makeServerStreamRequest(path, requestSerialize as (value: unknown) => Buffer, responseDeserialize, request, new grpc.Metadata(), {}) as ClientReadableStream<T>;
    },
    close: () => raw.close(),
  };
  service?.onClose(`client of ${address}`, () => made.close());
  return made;
}

function millisecondsTo(deadline: Deadline | undefined): number {
  if (deadline === undefined || deadline === Infinity) return Infinity;
  return Math.max(0, (typeof deadline === "number" ? deadline : deadline.getTime()) - Date.now());
}

/** Of a wall clock's time and one of the monotonic clock. */
function nearer(own: Deadline | undefined, outerMs: number | undefined): Deadline {
  const left = Math.min(millisecondsTo(own), outerMs === undefined ? Infinity : Math.max(0, outerMs - performance.now()));
  return left === Infinity ? Infinity : Date.now() + left;
}

/** Under the names of go-grpc-prometheus. */
class ServerMetrics {
  readonly #handled;
  readonly #duration;
  constructor(metrics: Metrics) {
    this.#handled = metrics.counter({ name: "grpc_server_handled_total", help: "Total number of RPCs completed on the server, regardless of success or failure", labels: ["grpc_service", "grpc_method", "grpc_code"] });
    this.#duration = metrics.histogram({ name: "grpc_server_handling_seconds", help: "Response latency in seconds of RPCs handled by the server", labels: ["grpc_service", "grpc_method"] });
  }
  ended(service: string, method: string, code: string, startMs: number): void {
    this.#handled.labels(service, method, code).add();
    this.#duration.labels(service, method).observe((performance.now() - startMs) / 1000);
  }
}
