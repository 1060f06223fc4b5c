/**
 * The chassis of a service: what one needs to be run and to call others, on plain Node and on any Kubernetes. Every piece is
 * usable alone, under a path of its own (`wherry/chassis/config`, …), and then loads nothing of the others.
 */
export { currentContext, remainingMs, runInContext, type WorkContext } from "./context.ts";
export { type Check, type CheckOptions, type CheckResult, Health, type HealthReport } from "./health.ts";
export { createServiceLog, type LogOptions, type ServiceLog } from "./log.ts";
export { Loop, type LoopOptions } from "./loop.ts";
export { type CounterCell, type GaugeCell, type HistogramCell, Metrics } from "./metrics.ts";
export { type FieldProblem, Problem, type ProblemDocument, type ProblemOptions } from "./problem.ts";
export { createService, type Service, type ServiceOptions } from "./service.ts";
export { ShutdownError, type ShutdownOptions } from "./shutdown.ts";
export type { FinishedSpan, SpanExporter, Tracer } from "./tracer.ts";
export { Config, ConfigError, type ConfigOptions, loadConfig, Secret } from "./config.ts";
export { CallError, type CallErrorCode, createHttpClient, type CallOptions, type EndpointSource, type HttpAnswer, type HttpClient, type HttpClientOptions } from "./http-client.ts";
export { createJsonRpcClient, createJsonRpcServer, type JsonRpcClient, JsonRpcError, jsonRpcErrors, serveJsonRpc } from "./json-rpc.ts";
export { createGrpcClient, createGrpcServer, type GrpcClient, type GrpcClientOptions, type GrpcMethods, type GrpcServer, type GrpcServerOptions, loadProto } from "./grpc.ts";
export { discover, type Discovery, type DiscoveryOptions, NoInstanceError } from "./discovery.ts";
export { type Election, type ElectionOptions, Fence, FencedError, type Holding, startElection, withLock } from "./election.ts";
export { type Cluster, type ClusterOptions, findCluster } from "./kubernetes.ts";
export { type Instance, listInstances, register, type Registration, type RegistrationOptions } from "./registration.ts";
export { createInbox, createOutbox, type Inbox, inTransaction, type Outbox, type OutboxMessage, type Relay, type RelayOptions } from "./outbox.ts";
