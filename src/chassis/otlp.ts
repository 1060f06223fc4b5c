import { Agent, request } from "node:http";
import type { Attributes, FinishedSpan, SpanExporter } from "./tracer.ts";

/**
 * Spans to an OpenTelemetry collector, or to anything else that speaks OTLP/HTTP with JSON.
 * Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
 */
export interface OtlpOptions {
  /** The whole address, such as http://collector:4318/v1/traces. */
  url: string;
  headers?: Record<string, string>;
  /** Who tells: `service.name` at least. */
  resource: Attributes;
  timeoutMs?: number;
}

export class OtlpError extends Error {
  readonly status: number | undefined;
  constructor(message: string, status?: number) {
    super(message);
    this.name = "OtlpError";
    this.status = status;
  }
}

export function createOtlpExporter({ url, headers = {}, resource, timeoutMs = 10_000 }: OtlpOptions): SpanExporter & { close(): void } {
  const target = new URL(url);
  const before = `{"resourceSpans":[{"resource":{"attributes":${attributesText(resource)}},"scopeSpans":[{"scope":{"name":"wherry/chassis"},"spans":[`;
  let transport: Promise<{ agent: Agent; send: typeof request }> | undefined;
  const open = async () => {
    if (target.protocol === "http:") return { agent: new Agent({ keepAlive: true, maxSockets: 1 }), send: request };
    const https = await import("node:https");
    return { agent: new https.Agent({ keepAlive: true, maxSockets: 1 }), send: https.request as typeof request };
  };
  return {
    async export(spans) {
      const body = Buffer.from(`${before}${spans.map(spanText).join(",")}]}]}]}`);
      const { agent, send } = await (transport ??= open());
      await new Promise<void>((resolve, reject) => {
        const call = send(target, { method: "POST", agent, timeout: timeoutMs, headers: { "content-type": "application/json", "content-length": body.length, ...headers } }, (response) => {
          response.resume().on("error", reject).on("end", () => (response.statusCode! < 300 ? resolve() : reject(new OtlpError(`${url} answers ${response.statusCode}`, response.statusCode))));
        });
        call.on("timeout", () => call.destroy(new OtlpError(`${url}: no answer within ${timeoutMs} ms`)));
        call.on("error", reject);
        call.end(body);
      });
    },
    close: () => void transport?.then(({ agent }) => agent.destroy()),
  };
}

/** SPAN_KIND_…. */
const kinds = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

function spanText({ trace, parentSpanId, name, kind, startMs, endMs, attributes, error }: FinishedSpan): string {
  let text = `{"traceId":"${trace.traceId}","spanId":"${trace.spanId}"`;
  if (parentSpanId !== undefined) text += `,"parentSpanId":"${parentSpanId}"`;
  if (trace.tracestate !== undefined) text += `,"traceState":${JSON.stringify(trace.tracestate)}`;
  text += `,"name":${JSON.stringify(name)},"kind":${kinds[kind]},"startTimeUnixNano":"${nanos(startMs)}","endTimeUnixNano":"${nanos(endMs)}","attributes":${attributesText(attributes)}`;
  if (error !== undefined) text += `,"status":{"code":2${error === "" ? "" : `,"message":${JSON.stringify(error)}`}}`;
  return `${text}}`;
}

/** Through microseconds, which a double holds exactly. */
const nanos = (ms: number): string => `${Math.round(ms * 1000)}000`;

function attributesText(attributes: Attributes): string {
  let text = "";
  for (const key in attributes) {
    const value = attributes[key];
    if (value === undefined) continue;
    const typed = typeof value === "string" ? `"stringValue":${JSON.stringify(value)}` : typeof value === "boolean" ? `"boolValue":${value}` : Number.isInteger(value) ? `"intValue":"${value}"` : `"doubleValue":${Number.isFinite(value) ? value : `"${value}"`}`;
    text += `${text === "" ? "" : ","}{"key":"${key}","value":{${typed}}}`;
  }
  return `[${text}]`;
}

/** As OpenTelemetry's SDKs read the environment; undefined where it names no collector, or says that it is off. */
export function otlpFromEnvironment(name: string, env: NodeJS.ProcessEnv = process.env, resource: Attributes = {}): OtlpOptions | undefined {
  const base = env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  const url = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] || (base ? `${base.replace(/\/$/, "")}/v1/traces` : undefined);
  if (!url || env["OTEL_SDK_DISABLED"] === "true" || env["OTEL_TRACES_EXPORTER"] === "none") return undefined;
  const given = pairs(env["OTEL_RESOURCE_ATTRIBUTES"]);
  const timeout = Number(env["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] ?? env["OTEL_EXPORTER_OTLP_TIMEOUT"]);
  return {
    url,
    headers: pairs(env["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] ?? env["OTEL_EXPORTER_OTLP_HEADERS"]),
    resource: { ...resource, ...given, "service.name": env["OTEL_SERVICE_NAME"] || given["service.name"] || name, "telemetry.sdk.name": "wherry-chassis", "telemetry.sdk.language": "nodejs" },
    ...(timeout > 0 && { timeoutMs: timeout }),
  };
}

/** `a=1,b=x%20y`. */
function pairs(text: string | undefined): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of (text ?? "").split(",")) {
    const at = pair.indexOf("=");
    if (at > 0) found[pair.slice(0, at).trim()] = decodeURIComponent(pair.slice(at + 1).trim());
  }
  return found;
}
