import { randomUUID } from "node:crypto";
import { Agent, type IncomingHttpHeaders, request as call } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import { currentContext, Problem, type Service } from "wherry/chassis";

const agent = new Agent({ keepAlive: true, maxSockets: 128 });
const timeoutMs = 10_000;
/** Belong to one connection, not to the message. Source: RFC 9110 §7.6.1. */
const hopByHop = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

function forwarded(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = String(headers.connection ?? "").split(",").map((header) => header.trim().toLowerCase());
  return Object.fromEntries(Object.entries(headers).filter(([header]) => !hopByHop.includes(header) && !named.includes(header)));
}

/** Passes a request on to `base`, as a stream, and its answer back; `path` is sent as it is, and not read as a URL: dots in it mean nothing. */
export function proxy(service: Service, base: URL, path: string, request: FastifyRequest, reply: FastifyReply, again = true): void {
  // Node sends no other characters, and would say so when it is too late for an answer.
  if (!/^[\x21-\x7e]+$/.test(path)) throw new Problem(400, "the path has characters that must be escaped");
  reply.hijack();
  const { headers: received } = request;
  const chunked = received["transfer-encoding"] !== undefined;
  // Without a body the request can be sent a second time.
  const bodiless = !chunked && received["content-length"] === undefined;
  const trace = currentContext()?.trace;
  const headers = {
    ...forwarded(received),
    host: base.host,
    "x-forwarded-for": [received["x-forwarded-for"], request.socket.remoteAddress].filter(Boolean).join(", "),
    "x-forwarded-host": received.host,
    "x-request-id": received["x-request-id"] ?? randomUUID(),
    ...(trace && { traceparent: `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? "01" : "00"}` }),
    // Said aloud: for some methods Node would send the body without any frame, and the next reader would take it for a request.
    ...(chunked && { "transfer-encoding": "chunked" }),
  };
  const answer = (status: number, detail: string) => {
    const problem = { type: "about:blank", title: status === 504 ? "Gateway Timeout" : "Service Unavailable", status, detail };
    reply.raw.writeHead(status, { "content-type": "application/problem+json", "x-instance-id": service.instanceId, "retry-after": "1" }).end(JSON.stringify(problem));
  };
  const outgoing = call({ host: base.hostname, port: base.port || 80, path, method: request.method, agent: again && agent, timeout: timeoutMs, headers });
  outgoing.on("response", (response) => {
    const closing = service.stopping.aborted ? { connection: "close" } : {};
    reply.raw.writeHead(response.statusCode!, { ...forwarded(response.headers), ...closing, "x-gateway-instance-id": service.instanceId });
    response.pipe(reply.raw);
    response.on("error", () => reply.raw.destroy());
  });
  outgoing.on("timeout", () => outgoing.destroy(Object.assign(new Error(`no answer within ${timeoutMs} ms`), { code: "ETIMEDOUT" })));
  outgoing.on("error", (error: NodeJS.ErrnoException) => {
    // A kept connection may be closed by the other side just as we use it; the next one that was kept, too.
    if (again && bodiless && outgoing.reusedSocket && error.code === "ECONNRESET") return proxy(service, base, path, request, reply, false);
    if (reply.raw.headersSent || reply.raw.destroyed) return void reply.raw.destroy();
    service.log.warn({ upstream: base.host, err: error }, "the service behind cannot be reached");
    answer(error.code === "ETIMEDOUT" ? 504 : 503, `${base.host} cannot be reached: ${error.message}`);
  });
  reply.raw.on("close", () => outgoing.destroy());
  if (bodiless) outgoing.end();
  else request.raw.pipe(outgoing);
}
