import { createService, type Service, type ServiceOptions } from "./service.ts";
import type { FinishedSpan } from "./tracer.ts";

export { FakeClock } from "../base/clock.ts";

/**
 * For tests of a service: started on a port of its own, with its log lines and spans at hand, and asked without a socket or
 * with one.
 *
 *   await using test = await testService((service) => registerRoutes(service));
 *   const answer = await test.get("/orders/7");
 *   assert.equal(answer.status, 404);
 */
export interface TestService extends AsyncDisposable {
  readonly service: Service;
  /** Where it listens. */
  readonly url: string;
  /** Parsed; of all levels. */
  readonly lines: Record<string, unknown>[];
  readonly spans: FinishedSpan[];
  /** Through Fastify, without a socket: routes, hooks, errors and context are the real ones. */
  request(method: string, path: string, options?: { headers?: Record<string, string>; body?: unknown }): Promise<TestAnswer>;
  get(path: string, headers?: Record<string, string>): Promise<TestAnswer>;
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<TestAnswer>;
  /** The value of one series, by its name and labels as /metrics tells them: `http_requests_total{service="x",…}`; undefined where there is none. */
  metric(series: string): number | undefined;
  stop(): Promise<void>;
}

export interface TestAnswer {
  status: number;
  headers: Record<string, string | string[] | number | undefined>;
  text: string;
  /** Parsed; undefined where the body is no JSON. */
  json: unknown;
}

/** `build` adds routes, checks and loops. Nothing is read from the environment unless `env` is given; nothing waits at the end. */
export async function testService(build: (service: Service) => unknown, options: Partial<ServiceOptions> = {}): Promise<TestService> {
  const lines: Record<string, unknown>[] = [];
  const spans: FinishedSpan[] = [];
  const service = createService({
    name: "test",
    host: "127.0.0.1",
    port: 0,
    signals: false,
    env: {},
    log: { level: "trace", write: (text) => void lines.push(...text.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)) },
    tracing: { exporter: { export: async (batch) => void spans.push(...batch) } },
    shutdown: { endpointsMs: 0, deadlineMs: 10_000 },
    ...options,
  });
  await build(service);
  await service.start();
  const request: TestService["request"] = async (method, path, { headers = {}, body } = {}) => {
    const payload = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    const answer = await service.app.inject({
      method: method as "GET",
      url: path,
      headers: { ...(payload !== undefined && typeof body !== "string" && { "content-type": "application/json" }), ...headers },
      ...(payload !== undefined && { payload }),
    });
    let json: unknown;
    try {
      json = JSON.parse(answer.payload);
    } catch {
      // its text, then
    }
    return { status: answer.statusCode, headers: answer.headers, text: answer.payload, json };
  };
  const stop = () => service.stop();
  return {
    service,
    url: service.url,
    get lines() {
      service.log.flush();
      return lines;
    },
    spans,
    request,
    get: (path, headers = {}) => request("GET", path, { headers }),
    post: (path, body, headers = {}) => request("POST", path, { headers, body }),
    metric(series) {
      const line = service.metrics.render().split("\n").find((one) => one.startsWith(`${series} `));
      return line === undefined ? undefined : Number(line.slice(series.length + 1));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
