import { hostname } from "node:os";
import { fastify, type FastifyInstance, type FastifyPluginCallback } from "fastify";
import { Metrics } from "./metrics.ts";

export interface ServiceOptions {
  name: string;
  /** What the service answers; mounted at `/` and, where given, at `/<collection>` too. */
  routes: FastifyPluginCallback;
  collection?: string;
  /** Must all pass for the service to be healthy, and ready: name → check. */
  checks?: Record<string, () => Promise<void>>;
  /** What must happen once before the service is ready (migrations). It retries by itself until it is done or aborted. */
  prepare?: (signal: AbortSignal, log: FastifyInstance["log"]) => Promise<void>;
  /** Frees what the service holds, after its last answer. */
  close?: () => Promise<void>;
}

/** Shorter than the grace that is left after the preStop hook. */
const shutdownMs = 10_000;

/**
 * A service with what every one needs: /health, /ready, /metrics, an instance id on each answer, structured logs,
 * and a graceful end on SIGTERM. It listens at once and becomes ready when it is prepared.
 */
export async function runService(options: ServiceOptions): Promise<void> {
  const { name, checks = {} } = options;
  const metrics = new Metrics(name);
  const stop = new AbortController();
  let prepared = options.prepare === undefined;

  const app = fastify({
    logger: { level: process.env["LOG_LEVEL"] ?? "info", base: { service: name, instance_id: instanceId(name) } },
    // While it drains, what still arrives is answered like before.
    return503OnClosing: false,
    trustProxy: true,
  });
  const check = async (): Promise<void> => {
    for (const [check, run] of Object.entries(checks)) {
      await run().catch((error: Error) => {
        throw new Error(`health check '${check}' failed: ${error.message}`);
      });
    }
  };

  app.addHook("onRequest", async (request, reply) => {
    reply.header("X-Instance-Id", instanceId(name));
    metrics.begin();
    // "close" also comes for a client that went away before it was answered.
    const began = performance.now();
    request.raw.socket.setNoDelay(true);
    reply.raw.once("close", () => metrics.end(reply.raw.statusCode, (performance.now() - began) / 1000));
  });
  app.setErrorHandler((error: Error & { statusCode?: number; code?: string }, request, reply) => {
    const status = error.statusCode ?? (unavailable(error) ? 503 : 500);
    if (status >= 500) request.log.error({ err: error }, "request failed");
    void reply.code(status).send({ error: status === 500 ? "internal error" : error.message });
  });
  app.setNotFoundHandler((request, reply) => reply.code(404).send({ error: `nothing is at ${request.method} ${request.url}` }));

  // Probes come every few seconds: their log lines would bury the others.
  app.get("/health", { logLevel: "error" }, async (_request, reply) => {
    try {
      await check();
    } catch (error) {
      return reply.code(503).send({ status: "unhealthy", error: (error as Error).message });
    }
    return { status: "healthy", service: name, instance_id: instanceId(name), timestamp: new Date().toISOString() };
  });
  app.get("/ready", { logLevel: "error" }, async (_request, reply) => {
    const ready = prepared && !stop.signal.aborted && (await check().then(() => true, () => false));
    return ready ? { status: "ready" } : reply.code(503).send({ status: "not ready" });
  });
  app.get("/metrics", { logLevel: "error" }, async (_request, reply) => reply.type("text/plain; version=0.0.4; charset=utf-8").send(metrics.render()));
  await app.register(options.routes);
  if (options.collection) await app.register(options.routes, { prefix: `/${options.collection}` });

  let stopping: Promise<void> | undefined;
  const shutdown = async (): Promise<void> => {
    app.log.info("Shutting down gracefully...");
    setTimeout(() => process.exit(1), shutdownMs).unref();
    stop.abort();
    // Connections that were busy when closing began become idle later, and would be kept.
    setInterval(() => app.server.closeIdleConnections(), 100).unref();
    await app.close();
    await options.close?.();
    app.log.info("Graceful shutdown completed");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void (stopping ??= shutdown()));

  await app.listen({ host: process.env["HOST"] ?? "0.0.0.0", port: Number(process.env["PORT"] ?? 8080) });
  await options.prepare?.(stop.signal, app.log);
  prepared = true;
  app.log.info("ready");
}

/** The pod's name; outside a pod, something that tells two instances on one machine apart. */
export function instanceId(service: string): string {
  const name = process.env["HOSTNAME"] ?? hostname();
  return name.startsWith(`${service}-`) ? name : `${service}-${process.pid}`;
}

/** An error with the status that the client shall get. */
export function httpError(statusCode: number, message: string): Error {
  return Object.assign(new Error(message), { statusCode });
}

/** Whether the other side (the database, another service) cannot be reached at the moment. */
function unavailable(error: { code?: string; message: string }): boolean {
  return /^(ECONN|EHOSTUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|08|57P)/.test(error.code ?? "") || /timeout|Connection terminated/.test(error.message);
}
