/**
 * A gateway as people build it of a framework's own plugins: `node policies-node.cjs express|fastify CONFIG`.
 * CONFIG: { folder, port, upstream, log, publicKey, issuer, audience, origin, users, schema, paths: [{ path, parts }] }.
 */
const { readFileSync, createWriteStream } = require("node:fs");
const { createRequire } = require("node:module");
const { Agent } = require("node:http");
const [, , framework, file] = process.argv;
const config = JSON.parse(readFileSync(file, "utf8"));
const load = createRequire(`${config.folder}/package.json`);
const { port, upstream, log, publicKey, issuer, audience, origin, users, schema, paths } = config;
const many = 1_000_000;

function express() {
  const { createProxyMiddleware, fixRequestBody } = load("http-proxy-middleware");
  const app = load("express")();
  app.disable("x-powered-by");
  app.use(load("morgan")("combined", { stream: createWriteStream(log) }));
  const Ajv = load("ajv").default;
  const valid = new Ajv().compile(schema);
  const parts = {
    jwt: () => [load("express-jwt").expressjwt({ secret: publicKey, algorithms: ["ES256"], issuer, audience })],
    limit: () => [load("express-rate-limit").rateLimit({ windowMs: 1000, limit: many })],
    cors: () => [load("cors")({ origin, credentials: true, methods: ["GET", "POST"], maxAge: 600 })],
    basic: () => [load("express-basic-auth")({ users })],
    validate: () => [load("express").json(), (request, response, next) => (valid(request.body) ? next() : response.status(400).json(valid.errors))],
  };
  const agent = new Agent({ keepAlive: true, maxSockets: 1024 });
  for (const { path, parts: names } of paths) app.use(path, ...names.flatMap((name) => parts[name]()), createProxyMiddleware({ target: upstream, agent, xfwd: true, on: names.includes("validate") ? { proxyReq: fixRequestBody } : {} }));
  app.listen(port, "127.0.0.1");
}

async function fastify() {
  const app = load("fastify")({ logger: { stream: createWriteStream(log) } });
  await app.register(load("@fastify/reply-from"), { base: upstream, undici: { connections: 1024 } });
  await app.register(load("@fastify/jwt"), { secret: { public: publicKey }, verify: { algorithms: ["ES256"], allowedIss: issuer, allowedAud: audience, cache: true } });
  await app.register(load("@fastify/basic-auth"), { validate: async (name, password) => { if (users[name] !== password) throw new Error("no"); } });
  for (const { path, parts } of paths) {
    await app.register(async (inner) => {
      if (parts.includes("limit")) await inner.register(load("@fastify/rate-limit"), { max: many, timeWindow: 1000 });
      if (parts.includes("cors")) await inner.register(load("@fastify/cors"), { origin, credentials: true, methods: ["GET", "POST"], maxAge: 600 });
      const onRequest = [...(parts.includes("jwt") ? [(request) => request.jwtVerify()] : []), ...(parts.includes("basic") ? [app.basicAuth] : [])];
      inner.route({ url: "/*", onRequest, ...(parts.includes("validate") ? { method: "POST", schema: { body: schema } } : { method: ["GET", "POST"] }), handler: (request, reply) => reply.from(`/${request.params["*"]}`) });
    }, { prefix: path });
  }
  await app.listen({ port, host: "127.0.0.1" });
}

({ express, fastify })[framework]();
