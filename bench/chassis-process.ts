import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

/**
 * One service of `bench/chassis.ts`: `node chassis-process.ts WHICH PEERS CHASSIS COLLECTOR`. All answer `GET /users/:id` with the same
 * JSON; "bare" ones do nothing else. The others write a line for each request, count it by its route, and send a span of it.
 */
const [which, peers, chassis, collector] = process.argv.slice(2) as [string, string, string, string];
const require = createRequire(`${peers}/package.json`);
const host = "127.0.0.1";
const user = (id: string) => ({ id, name: "Anna", email: "anna@shop.example", roles: ["customer", "reader"] });
const listening = (port: number) => void process.send!(port);

/** Prometheus' own client: default metrics, and of requests a counter and a histogram by route. */
function promClient() {
  const client = require("prom-client");
  client.collectDefaultMetrics();
  const labelNames = ["method", "route", "status"];
  const requests = new client.Counter({ name: "http_requests_total", help: "Requests", labelNames });
  const duration = new client.Histogram({ name: "http_request_duration_seconds", help: "Duration", labelNames: ["method", "route"], buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] });
  return { client, requests, duration };
}

/** As OpenTelemetry's pages set it up: SDK, HTTP and pino instrumentation, spans in batches by OTLP over HTTP. */
function openTelemetry(withFastify: boolean) {
  const { NodeSDK } = require("@opentelemetry/sdk-node");
  const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
  const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
  const { PinoInstrumentation } = require("@opentelemetry/instrumentation-pino");
  const instrumentations = [new HttpInstrumentation(), new PinoInstrumentation()];
  if (withFastify) {
    const { FastifyOtelInstrumentation } = require("@fastify/otel");
    instrumentations.push(new FastifyOtelInstrumentation({ registerOnInitialization: true }));
  }
  new NodeSDK({ serviceName: "users", traceExporter: new OTLPTraceExporter({ url: `${collector}/v1/traces` }), instrumentations }).start();
}

async function observedFastify(withFastify: boolean): Promise<void> {
  openTelemetry(withFastify);
  const { client, requests, duration } = promClient();
  const pino = require("pino");
  const { fastify } = require("fastify");
  const app = fastify({ loggerInstance: pino(), disableRequestLogging: true });
  app.addHook("onResponse", (request: any, reply: any, done: () => void) => {
    const { url: route } = request.routeOptions;
    requests.inc({ method: request.method, route, status: reply.statusCode });
    duration.observe({ method: request.method, route }, reply.elapsedTime / 1000);
    request.log.info({ method: request.method, path: request.url, route, status: reply.statusCode, duration_ms: reply.elapsedTime }, "request");
    done();
  });
  app.get("/metrics", async (_: unknown, reply: any) => reply.type(client.register.contentType).send(await client.register.metrics()));
  app.get("/users/:id", async (request: any) => user(request.params.id));
  await app.listen({ host, port: 0 });
  listening(app.server.address().port);
}

const services: Record<string, () => Promise<void>> = {
  async chassis() {
    process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector;
    const { createService } = (await import(pathToFileURL(`${chassis}/chassis/index.js`).href)) as typeof import("../src/chassis/index.ts");
    const service = createService({ name: "users", host, port: 0 });
    service.app.get("/users/:id", async (request) => user((request.params as { id: string }).id));
    await service.start();
    listening(Number(new URL(service.url).port));
  },
  observed: () => observedFastify(false),
  "observed-routes": () => observedFastify(true),
  async fastify() {
    const { fastify } = require("fastify");
    const app = fastify();
    app.get("/users/:id", async (request: any) => user(request.params.id));
    await app.listen({ host, port: 0 });
    listening(app.server.address().port);
  },
  async express() {
    const app = require("express")();
    app.get("/users/:id", (request: any, response: any) => response.json(user(request.params.id)));
    const server = app.listen(0, host, () => listening(server.address().port));
  },
  async node() {
    const server = createServer((request, response) => {
      const body = JSON.stringify(user(request.url!.slice("/users/".length)));
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) }).end(body);
    }).listen(0, host, () => listening((server.address() as { port: number }).port));
  },
};
process.once("disconnect", () => process.exit());
await services[which!]!();
