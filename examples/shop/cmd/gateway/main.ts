import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { FastifyReply, FastifyRequest } from "fastify";
import { Problem } from "wherry/chassis";
import { createBareService, serviceUrl } from "../../internal/service.ts";
import { Tokens } from "../../internal/tokens.ts";
import { proxy } from "./proxy.ts";

/** Path → the service behind it. `/users/x` is asked as `/x` there. */
const upstreams: Record<string, { service: string; methods?: readonly string[]; path?: string }> = {
  "/users": { service: "user-service" },
  "/products": { service: "product-service" },
  "/orders": { service: "order-service" },
  // Who may tell customers something are the services, and they do not come this way.
  "/notifications": { service: "notification-service", methods: ["GET"] },
  "/mail": { service: "notification-service", methods: ["GET"], path: "/mail" },
};
const page = { "/page.js": "text/javascript", "/page.css": "text/css" };

const service = createBareService("gateway");
const { app } = service;
const tokens = Tokens.of(service);
const file = (name: string) => readFile(join(import.meta.dirname, name), "utf8");

// People get the page, programs what there is.
const html = await file("page.html");
app.get("/", async ({ headers }, reply) => {
  if (!headers.accept?.includes("text/html")) return { instance_id: service.instanceId, service: service.name, routes: Object.fromEntries(Object.entries(upstreams).map(([path, { service }]) => [path, service])) };
  return reply.type("text/html; charset=utf-8").header("content-security-policy", "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'").send(html);
});
for (const [path, type] of Object.entries(page)) {
  const text = await file(path.slice(1));
  app.get(path, async (_request, reply) => reply.type(`${type}; charset=utf-8`).header("x-content-type-options", "nosniff").send(text));
}

app.register((scope, _options, done) => {
  // Bodies pass through as they are.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, parsed) => parsed(null));
  // A token that is not good is refused here, before it costs anything behind.
  scope.addHook("onRequest", async (request) => void (await tokens.caller(request)));
  for (const [prefix, { service: name, methods, path: behind = "" }] of Object.entries(upstreams)) {
    const base = new URL(serviceUrl(name));
    const handler = (request: FastifyRequest, reply: FastifyReply): void => {
      if (methods && !methods.includes(request.method)) throw new Problem(405, `${request.method} is not for ${prefix}`);
      const path = behind + request.url.slice(prefix.length);
      proxy(service, base, path.startsWith("/") ? path : `/${path}`, request, reply);
    };
    // Decided by the router that the services have, too: what it takes for this path here it would take for it there.
    scope.all(`${prefix}/internal/*`, () => {
      throw new Problem(404, "nothing is here");
    });
    scope.all(prefix, handler);
    scope.all(`${prefix}/*`, handler);
  }
  done();
});
await service.start();
