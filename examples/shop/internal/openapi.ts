import type { Service } from "wherry/chassis";

/** What an operation says of itself, for people: the rest of its schema is what the service judges requests by. */
export interface Operation {
  summary: string;
  /** Needs `Authorization: Bearer`. */
  signedIn?: boolean;
  params?: object;
  querystring?: object;
  body?: object;
  headers?: object;
  /** By status: what it means, and of which shape it is. */
  answers: Readonly<Record<number, string | { description: string; schema: object }>>;
}

const told = new WeakMap<object, Operation>();

/** Fastify's schema of a route; the document is made of the same. */
export function operation(described: Operation): { params?: unknown; querystring?: unknown; body?: unknown; headers?: unknown } {
  const { params, querystring, body, headers } = described;
  const schema = { ...(params && { params }), ...(querystring && { querystring }), ...(body && { body }), ...(headers && { headers }) };
  told.set(schema, described);
  return schema;
}

interface JsonSchema {
  properties?: Record<string, object>;
  required?: readonly string[];
}

const problem = {
  type: "object",
  description: "RFC 9457",
  required: ["type", "title", "status"],
  properties: { type: { type: "string" }, title: { type: "string" }, status: { type: "integer" }, detail: { type: "string" }, instance: { type: "string" }, errors: { type: "array", items: { type: "object" } } },
} as const;

/**
 * `GET /openapi.json` (also below the collection): an OpenAPI 3.1 document of the routes as they are, so that it cannot differ from
 * them. Before the routes are added: it listens for them.
 * Source: https://spec.openapis.org/oas/v3.1.1.html
 */
export function serveOpenApi(service: Service, title: string, collection: string): void {
  const paths: Record<string, Record<string, unknown>> = {};
  const { app } = service;
  app.addHook("onRoute", ({ method, url, schema, prefix }) => {
    const described = schema && told.get(schema);
    // The second mount is the same again.
    if (!described || prefix !== "") return;
    const path = `/${collection}${url}`.replace(/\/$/, "").replace(/:(\w+)/g, "{$1}");
    for (const one of typeof method === "string" ? [method] : method) if (one !== "HEAD") (paths[path] ??= {})[one.toLowerCase()] = operationOf(described);
  });
  const document = () => ({
    openapi: "3.1.0",
    info: { title, version: "1.0.0" },
    servers: [{ url: "/" }],
    paths,
    components: { schemas: { Problem: problem }, securitySchemes: { token: { type: "http", scheme: "bearer", bearerFormat: "JWT" } } },
  });
  for (const path of ["/openapi.json", `/${collection}/openapi.json`]) app.get(path, { config: { quiet: true } }, async () => document());
}

function operationOf({ summary, signedIn, params, querystring, body, headers, answers }: Operation): object {
  const parameters = ([["path", params], ["query", querystring], ["header", headers]] as const).flatMap(([place, schema]) => {
    const { properties = {}, required = [] } = (schema ?? {}) as JsonSchema;
    return Object.entries(properties).map(([name, one]) => ({ name, in: place, required: place === "path" || required.includes(name), schema: one }));
  });
  return {
    summary,
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    responses: Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, answerOf(Number(status), answer)])),
    ...(signedIn && { security: [{ token: [] }] }),
  };
}

function answerOf(status: number, answer: string | { description: string; schema: object }): object {
  if (typeof answer !== "string") return { description: answer.description, content: { "application/json": { schema: answer.schema } } };
  return { description: answer, ...(status >= 400 && { content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } } }) };
}
