import { randomUUID } from "node:crypto";
import { Agent, request as call, type IncomingHttpHeaders } from "node:http";
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from "fastify";
import { serviceUrl } from "../../internal/http-client.ts";
import { instanceId, runService } from "../../internal/service.ts";

const name = "gateway";
/** Path → the service behind it. `/users/x` is asked as `/x` there. */
const upstreams: Record<string, string> = {
  "/users": "user-service",
  "/products": "product-service",
  "/orders": "order-service",
  "/notifications": "notification-service",
};

const agent = new Agent({ keepAlive: true, maxSockets: 128 });
const timeoutMs = 10_000;
/** Belong to one connection, not to the message. Source: RFC 9110 §7.6.1. */
const hopByHop = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

function forwarded(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = String(headers.connection ?? "").split(",").map((header) => header.trim().toLowerCase());
  return Object.fromEntries(Object.entries(headers).filter(([header]) => !hopByHop.includes(header) && !named.includes(header)));
}

function proxy(base: string, prefix: string, request: FastifyRequest, reply: FastifyReply, again = true): void {
  const path = request.url.slice(prefix.length);
  const { headers: received } = request;
  const chunked = received["transfer-encoding"] !== undefined;
  // Without a body the request can be sent a second time.
  const bodiless = !chunked && received["content-length"] === undefined;
  const headers = {
    ...forwarded(received),
    host: new URL(base).host,
    "x-forwarded-for": [received["x-forwarded-for"], request.socket.remoteAddress].filter(Boolean).join(", "),
    "x-forwarded-host": received.host,
    "x-request-id": received["x-request-id"] ?? randomUUID(),
    // Said aloud: for some methods Node would send the body without any frame, and the next reader would take it for a request.
    ...(chunked && { "transfer-encoding": "chunked" }),
  };
  const outgoing = call(`${base}${path.startsWith("/") ? path : `/${path}`}`, { method: request.method, agent: again && agent, timeout: timeoutMs, headers });
  outgoing.on("response", (response) => {
    reply.raw.writeHead(response.statusCode!, { ...forwarded(response.headers), "x-gateway-instance-id": instanceId(name) });
    response.pipe(reply.raw);
    response.on("error", () => reply.raw.destroy());
  });
  outgoing.on("timeout", () => outgoing.destroy(Object.assign(new Error(`no answer within ${timeoutMs} ms`), { code: "ETIMEDOUT" })));
  outgoing.on("error", (error: NodeJS.ErrnoException) => {
    // A kept connection may be closed by the other side just as we use it; the next one that was kept, too.
    if (again && bodiless && outgoing.reusedSocket && error.code === "ECONNRESET") return proxy(base, prefix, request, reply, false);
    if (reply.raw.headersSent || reply.raw.destroyed) return void reply.raw.destroy();
    request.log.warn({ upstream: base, error: error.message }, "the service behind cannot be reached");
    const status = error.code === "ETIMEDOUT" ? 504 : 503;
    reply.raw.writeHead(status, { "content-type": "application/json; charset=utf-8", "x-instance-id": instanceId(name) }).end(JSON.stringify({ error: `${base} cannot be reached: ${error.message}` }));
  });
  reply.raw.on("close", () => outgoing.destroy());
  if (bodiless) outgoing.end();
  else request.raw.pipe(outgoing);
}

const routes: FastifyPluginCallback = (app, _options, done) => {
  // Bodies pass through as they are.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, parsed) => parsed(null));
  app.get("/", async () => ({ instance_id: instanceId(name), service: name, routes: upstreams }));
  for (const [prefix, service] of Object.entries(upstreams)) {
    const base = serviceUrl(service);
    const handler = (request: FastifyRequest, reply: FastifyReply): void => {
      reply.hijack();
      proxy(base, prefix, request, reply);
    };
    app.all(prefix, handler);
    app.all(`${prefix}/*`, handler);
  }
  done();
};

await runService({ name, routes });
