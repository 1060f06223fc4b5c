import { AsyncLocalStorage } from "node:async_hooks";
import type { EventEmitter } from "node:events";
import type http from "node:http";
import { systemRandom } from "../../base/random.ts";
import { onChannel } from "./channels.ts";
import type { UndiciRequest } from "./fetch.ts";

/** What calls take along from the request that they are made for. Source: W3C Trace Context, W3C Baggage. */
export interface Trace {
  id: string;
  flags: string;
  state: string | undefined;
  baggage: string | undefined;
}

const storage = new AsyncLocalStorage<Trace | undefined>();
const known = /^([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?$/;

/** Outside all requests: what belongs to the program. */
export const outsideTraces = <T>(work: () => T): T => storage.exit(work);

/** For which request the program is at work. */
export const currentTrace = (): Trace | undefined => storage.getStore();
export const withinTrace = <T>(trace: Trace | undefined, work: () => T): T => storage.run(trace, work);

/**
 * Remembers the trace of each request that a server of node:http gets. Nothing is remembered, and nothing costs anything, until
 * one brings a trace; `noticed` is told of each that does.
 */
export function rememberTraces(noticed: () => void): void {
  onChannel("http.server.request.start", (message) => {
    const { request, response } = message as { request: http.IncomingMessage; response: http.ServerResponse };
    const trace = traceOf(request.headers);
    // Requests of one connection run in one context: an earlier one's trace must not stay.
    if (trace || storage.getStore()) storage.enterWith(trace);
    if (!trace) return;
    keepTrace(request, trace);
    keepTrace(response, trace);
    noticed();
  });
}

/** What it tells is told within its trace. Its connection is older than the request, and in Node from 24 on its events happen where that began. */
export function keepTrace(emitter: EventEmitter, trace: Trace): void {
  const { emit } = emitter;
  emitter.emit = function (...args: Parameters<typeof emit>) {
    return storage.getStore() === trace ? emit.apply(this, args) : storage.run(trace, () => emit.apply(this, args));
  };
}

export function traceOf({ traceparent, tracestate, baggage }: http.IncomingHttpHeaders): Trace | undefined {
  const [, version, id, flags, more] = known.exec(typeof traceparent === "string" ? traceparent : "") ?? [];
  if (id === undefined || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  return { id, flags: flags!, state: typeof tracestate === "string" ? tracestate : undefined, baggage: typeof baggage === "string" ? baggage : undefined };
}

/** What a call carries, with a span of its own. */
export function traceHeaders({ id, flags, state, baggage }: Trace): [name: string, value: string][] {
  const headers: [string, string][] = [["traceparent", `00-${id}-${spanId()}-${flags}`]];
  if (state !== undefined) headers.push(["tracestate", state]);
  if (baggage !== undefined) headers.push(["baggage", baggage]);
  return headers;
}

/** Sixteen digits, not all of them zero. */
function spanId(): string {
  const half = (): string => Math.ceil(systemRandom.next() * 0xfffffffe + 0.5).toString(16).padStart(8, "0").slice(-8);
  return half() + half();
}

/** A request of node:http that is about to be sent. */
export function traceHttp(request: http.ClientRequest): void {
  const trace = storage.getStore();
  if (!trace || isTracerThere() || request.headersSent || (request as { _header?: string | null })._header || request.hasHeader("traceparent")) return;
  for (const [name, value] of traceHeaders(trace)) if (!request.hasHeader(name)) request.setHeader(name, value);
}

/** A request of undici. */
export function traceUndici(request: UndiciRequest): void {
  const trace = storage.getStore();
  if (!trace || isTracerThere()) return;
  const { headers } = request;
  const has = (name: string): boolean =>
    typeof headers === "string" ? new RegExp(`^${name}:`, "im").test(headers) : (headers ?? []).some((text, index) => index % 2 === 0 && String(text).toLowerCase() === name);
  if (has("traceparent")) return;
  for (const [name, value] of traceHeaders(trace)) if (!has(name)) request.addHeader(name, value);
}

/** Agents that trace by themselves, by how they are loaded and by what they leave behind. */
export function isTracedByAnother(environment: Readonly<Record<string, string | undefined>>, execArgv: readonly string[]): boolean {
  const loaded = `${environment["NODE_OPTIONS"] ?? ""} ${execArgv.join(" ")}`;
  return /dd-trace|@?opentelemetry|newrelic|elastic-apm|@sentry|appdynamics|dynatrace|instana|@splunk|@honeycombio/i.test(loaded);
}
/** The same of one that the program loads itself. */
export const isTracerThere = (): boolean => [Symbol.for("opentelemetry.js.api.1"), Symbol.for("dd-trace"), Symbol.for("elasticApm")].some((name) => {
  const found = (globalThis as Record<symbol, unknown>)[name] as { trace?: unknown } | undefined;
  return found !== undefined && (name.description !== "opentelemetry.js.api.1" || found.trace !== undefined);
});
