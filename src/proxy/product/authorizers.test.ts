import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { after, test } from "node:test";
import type { KubeObject } from "../../api/meta.ts";
import type { ApiObject } from "../../api/product/kinds.ts";
import { parseYaml } from "../../api/yaml.ts";
import { FakeClock } from "../../base/clock.ts";
import { keySet, signedBy, signingKey } from "../../policy/testing/tokens.ts";
import { until } from "../http/testing/gateway.ts";
import { ask, type DocumentWorld, Programs, serveDocument } from "./testing/document-world.ts";

/**
 * Who may ask, and how much, by real requests: stages as keeper, translator and engine have them, in front of programs that are really
 * asked. What filters do with each answer stands in policy/filters/authorizer.test.ts, what documents come to in cases/authorizers.in.yaml.
 */
const programs = new Programs();
after(() => programs[Symbol.asyncDispose]());

/** A program that says who may: by `x-token`'s first word. */
class Authorizer implements AsyncDisposable {
  readonly asked: Record<string, unknown>[] = [];
  /** Of an answer that does not end. */
  sent = 0;
  keys = "";
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  port = 0;

  async start(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as { port: number }).port;
    return this;
  }
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === "/realm/.well-known/openid-configuration") return void response.end(JSON.stringify({ issuer: "http://login.shop.svc/realm", jwks_uri: "http://login.shop.svc/realm/keys" }));
    if (request.url === "/realm/keys") return void response.end(this.keys);
    const event = JSON.parse(await text(request)) as Record<string, unknown> & { authorizationToken: string; methodArn: string };
    this.asked.push(event);
    const [word, name] = event.authorizationToken.split(" ");
    const policy = (Effect: string, Resource: string) => ({ principalId: name, policyDocument: { Version: "2012-10-17", Statement: [{ Action: "execute-api:Invoke", Effect, Resource }] }, context: { user: name, tier: "gold" }, usageIdentifierKey: `key-of-${name}` });
    switch (word) {
      case "allow":
        return void response.end(JSON.stringify(policy("Allow", event.methodArn.replace(/\/[A-Z]+\/.*$/, "/*"))));
      case "reader":
        return void response.end(JSON.stringify(policy("Allow", event.methodArn.replace(/\/[A-Z]+\/.*$/, "/GET/*"))));
      case "nameless":
        return void response.end(JSON.stringify({ ...policy("Allow", "*"), context: {} }));
      case "deny":
        return void response.end(JSON.stringify(policy("Deny", "*")));
      case "broken":
        return void response.writeHead(500).end();
      case "nobody":
        return void response.writeHead(401).end();
      case "gone":
        return void response.destroy();
      case "endless": {
        const piece = Buffer.alloc(64 * 1024, " ");
        const more = (): void => {
          while (!response.destroyed) {
            this.sent += piece.length;
            if (this.sent > 100 * 1024 * 1024) return void response.end();
            if (!response.write(piece)) return void response.once("drain", more);
          }
        };
        return more();
      }
    }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const common = `
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: wherry}, spec: {controllerName: wherry.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge}, spec: {gatewayClassName: wherry, listeners: [{name: web, port: 8080, protocol: HTTP}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Secret, metadata: {name: gold}, data: {alice: ${Buffer.from("key-of-alice").toString("base64")}, ann: ${Buffer.from("key-of-ann").toString("base64")}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: free}, data: {bob: ${Buffer.from("key-of-bob").toString("base64")}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: backend}, data: {token: ${Buffer.from("very secret\n").toString("base64")}}}
${["pets", "auth", "login"].map((name) => `---\n{apiVersion: v1, kind: Service, metadata: {name: ${name}}, spec: {ports: [{port: 80}]}}\n`).join("")}`;

async function serve(document: string, stage: string, clock: FakeClock, authorizer: Authorizer | undefined): Promise<DocumentWorld> {
  const [spec] = parseYaml(document) as [Record<string, unknown>];
  const [settings] = parseYaml(stage) as [Record<string, unknown>];
  const placed = (object: KubeObject): KubeObject => ({ ...object, metadata: { generation: 1, ...(object.kind !== "GatewayClass" && object.kind !== "Namespace" && { namespace: "shop" }), ...object.metadata, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1", uid: `${object.kind}-${object.metadata.name}` } });
  const api = placed({ apiVersion: "api.wherry.dev/v1alpha1", kind: "API", metadata: { name: "pets" }, spec: { document: spec, stages: [{ name: "live", parentRefs: [{ name: "edge" }], backendRef: { name: "pets", port: 80 }, ...settings }] } } as unknown as KubeObject);
  const portOf = (service: string): Promise<number> => (service === "pets" ? programs.portOf(service) : Promise.resolve(authorizer!.port));
  programs.seen.length = 0;
  return await serveDocument(api as ApiObject, (parseYaml(common) as KubeObject[]).map(placed), { portOf }, { nowMs: () => clock.monotonicMs(), dateMs: () => clock.now() });
}
const statusOf = async (world: DocumentWorld, method: string, target: string, headers: Record<string, string> = {}): Promise<number> => (await ask(world.port, { method, target, headers: Object.entries(headers), body: undefined })).status;
const statusesOf = async (world: DocumentWorld, count: number, target: string, headers: Record<string, string> = {}): Promise<string> => {
  const all: number[] = [];
  for (let i = 0; i < count; i++) all.push(await statusOf(world, "GET", target, headers));
  return [...new Set(all)].map((status) => `${all.filter((one) => one === status).length}x${status}`).join(" ");
};

const asked = `
openapi: 3.0.1
info: { title: Asked, version: "1" }
x-amazon-apigateway-api-key-source: AUTHORIZER
x-amazon-apigateway-cors: { allowOrigins: ["https://shop.example"], allowMethods: [GET], allowHeaders: [x-token] }
components:
  securitySchemes:
    lambda: { type: apiKey, in: header, name: X-Token, x-amazon-apigateway-authtype: custom, x-amazon-apigateway-authorizer: { type: token, authorizerUri: "arn:…", authorizerResultTtlInSeconds: 60 } }
    key: { type: apiKey, in: header, name: x-api-key }
paths:
  /pets/{id}:
    get: { security: [{ lambda: [] }], x-amazon-apigateway-integration: { type: http_proxy, httpMethod: GET, uri: "http://pets/{id}", requestParameters: { integration.request.path.id: method.request.path.id, integration.request.header.x-user: context.authorizer.user, integration.request.header.x-who: context.authorizer.principalId } } }
    post: { security: [{ lambda: [] }], x-amazon-apigateway-integration: { type: http, httpMethod: POST, uri: "http://pets/x", requestTemplates: { application/json: '{"tier": "$context.authorizer.tier", "who": "$context.authorizer.principalId"}' }, responses: { default: { statusCode: "200" } } } }
  /counted: { get: { operationId: counted, security: [{ lambda: [], key: [] }] } }
`;
const askedStage = `
authorizers: [{ scheme: lambda, backendRef: { name: auth, port: 80 } }]
plans: [{ name: gold, secretRef: { name: gold }, quota: { requests: 3, unit: Day } }]
`;

test("an authorizer is asked once for whom it knows; what it says reaches backends, and what a client says in its place does not", async () => {
  const clock = new FakeClock();
  await using authorizer = await new Authorizer().start();
  await using world = await serve(asked, askedStage, clock, authorizer);
  assert.deepEqual(world.refused, []);
  assert.equal(await statusOf(world, "GET", "/pets/7", { "x-token": "allow ann", "x-user": "root", "x-who": "root" }), 200);
  assert.deepEqual([programs.seen[0]!.target, programs.seen[0]!.headers["x-user"], programs.seen[0]!.headers["x-who"]], ["/7", "ann", "ann"]);
  assert.deepEqual(authorizer.asked, [{ type: "TOKEN", methodArn: "arn:aws:execute-api:local:shop:pets/live/GET/pets/7", authorizationToken: "allow ann" }]);
  const { status } = await ask(world.port, { method: "POST", target: "/pets/8", headers: [["x-token", "allow ann"], ["content-type", "application/json"]], body: "{}" });
  assert.deepEqual([status, programs.seen[1]!.body], [200, '{"tier": "gold", "who": "ann"}']);
  assert.equal(authorizer.asked.length, 1, "it is known");
  clock.advance(60_000);
  assert.equal(await statusOf(world, "GET", "/pets/7", { "x-token": "allow ann" }), 200);
  assert.equal(authorizer.asked.length, 2, "it was known for a minute");
  assert.equal(await statusOf(world, "GET", "/pets/7", { "x-token": "nameless ann", "x-user": "root" }), 200);
  assert.equal(programs.seen.at(-1)!.headers["x-user"], undefined, "what an authorizer does not say nobody says");
  assert.equal(await statusOf(world, "GET", "/pets/7", { "x-token": "reader eve" }), 200);
  assert.equal(await statusOf(world, "POST", "/pets/7", { "x-token": "reader eve" }), 403);
});

test("what is no answer of an authorizer's, or one without end, lets nobody in; a preflight is answered without it", async () => {
  await using authorizer = await new Authorizer().start();
  await using world = await serve(asked, askedStage, new FakeClock(), authorizer);
  const table: [token: string | undefined, status: number][] = [[undefined, 401], ["deny ann", 403], ["nobody x", 401], ["broken x", 500], ["gone x", 500], ["endless x", 500]];
  for (const [token, status] of table) assert.equal(await statusOf(world, "GET", "/pets/7", token === undefined ? {} : { "x-token": token }), status, `${token}`);
  assert.ok(authorizer.sent < 50 * 1024 * 1024, `the gateway stopped to read after ${authorizer.sent} bytes`);
  assert.deepEqual(programs.seen, []);
  const before = authorizer.asked.length;
  const { status, headers } = await ask(world.port, { method: "OPTIONS", target: "/pets/7", headers: [["origin", "https://shop.example"], ["access-control-request-method", "GET"]], body: undefined });
  assert.deepEqual([status < 300, headers["access-control-allow-origin"], authorizer.asked.length], [true, "https://shop.example", before]);
  const refused = await ask(world.port, { method: "GET", target: "/pets/7", headers: [["origin", "https://shop.example"]], body: undefined });
  assert.deepEqual([refused.status, refused.headers["access-control-allow-origin"]], [401, "https://shop.example"], "a refusal that a page may read");
});

test("the key that an authorizer names is what a plan counts", async () => {
  await using authorizer = await new Authorizer().start();
  await using world = await serve(asked, askedStage, new FakeClock(), authorizer);
  assert.equal(await statusesOf(world, 5, "/counted", { "x-token": "allow ann" }), "3x200 2x429");
  assert.equal(await statusesOf(world, 1, "/counted", { "x-token": "allow alice", "x-api-key": "key-of-ann" }), "1x200");
  assert.equal(await statusesOf(world, 1, "/counted", { "x-token": "allow nobody", "x-api-key": "key-of-ann" }), "1x401", "not what the client shows");
});

const keyed = `
openapi: 3.0.1
info: { title: Keyed, version: "1" }
components: { securitySchemes: { key: { type: apiKey, in: header, name: x-api-key } } }
paths:
  /pets: { get: { operationId: listPets, security: [{ key: [] }] } }
  /orders: { get: { operationId: listOrders, security: [{ key: [] }] } }
  /open: { get: { operationId: open } }
  /slow: { get: { operationId: slow } }
`;
const [alice, ann, bob] = ["alice", "ann", "bob"].map((name): Record<string, string> => ({ "x-api-key": `key-of-${name}` })) as [Record<string, string>, Record<string, string>, Record<string, string>];

test("plans: each key has its burst, its rate and its quota, in all operations together and in one; what a rate refuses is not taken from a quota", async () => {
  const clock = new FakeClock(Date.parse("2026-01-01T12:00:00Z"));
  await using world = await serve(
    keyed,
    `plans:
  - { name: gold, secretRef: { name: gold }, throttle: { requestsPerSecond: 2, burst: 5 }, quota: { requests: 12, unit: Day }, operations: [{ operation: listOrders, throttle: { requestsPerSecond: 1, burst: 2 } }] }
  - { name: free, secretRef: { name: free }, operations: [{ operation: listPets, quota: { requests: 1, unit: Hour } }] }`,
    clock,
    undefined,
  );
  assert.deepEqual(world.refused, []);
  assert.equal(await statusesOf(world, 1, "/pets"), "1x401");
  assert.equal(await statusesOf(world, 1, "/pets", { "x-api-key": "key-of-nobody" }), "1x401");
  assert.equal(await statusesOf(world, 9, "/pets", alice), "5x200 4x429");
  assert.equal(await statusesOf(world, 9, "/pets", ann), "5x200 4x429", "another key has its own");
  clock.advance(1_000);
  assert.equal(await statusesOf(world, 4, "/pets", alice), "2x200 2x429");
  clock.advance(10_000);
  assert.equal(await statusesOf(world, 4, "/orders", alice), "2x200 2x429");
  // Of twelve nine are used: what was refused above was not counted; of the plan's burst of five two are left, or one.
  clock.advance(10_000);
  assert.equal(await statusesOf(world, 5, "/pets", alice), "3x200 2x429");
  const { status, headers } = await ask(world.port, { method: "GET", target: "/pets", headers: Object.entries(alice), body: undefined });
  assert.deepEqual([status, headers["retry-after"]], [429, "1"]);
  clock.advance(10_000);
  const late = await ask(world.port, { method: "GET", target: "/pets", headers: Object.entries(alice), body: undefined });
  assert.deepEqual([late.status, late.headers["retry-after"]], [429, String(12 * 3600 - 31)], "until midnight");
  assert.equal(await statusesOf(world, 3, "/pets", bob), "1x200 2x429");
  assert.equal(await statusesOf(world, 3, "/orders", bob), "3x200");
  clock.advance(12 * 3_600_000);
  assert.equal(await statusesOf(world, 1, "/pets", alice), "1x200");
});

test("a stage's throttle counts all of its operations to the request, an operation's its own beside it", async () => {
  const clock = new FakeClock();
  await using world = await serve(keyed, "{ security: Backend, throttle: { requestsPerSecond: 2, burst: 10 }, operations: [{ operation: slow, throttle: { requestsPerSecond: 1, burst: 3 } }] }", clock, undefined);
  assert.equal(await statusesOf(world, 4, "/open"), "4x200");
  assert.equal(await statusesOf(world, 4, "/slow"), "3x200 1x429");
  assert.equal(await statusesOf(world, 4, "/pets"), "2x200 2x429", "what an operation refused was the stage's tenth all the same");
  clock.advance(1_000);
  assert.equal(await statusesOf(world, 4, "/slow"), "1x200 3x429");
  clock.advance(1_000);
  assert.equal(await statusesOf(world, 4, "/open"), "2x200 2x429");
  const all = await Promise.all(Array.from({ length: 10 }, () => statusOf(world, "GET", "/open")));
  assert.deepEqual(new Set(all), new Set([429]));
  clock.advance(60_000);
  const together = await Promise.all(Array.from({ length: 40 }, () => statusOf(world, "GET", "/open")));
  assert.equal(together.filter((status) => status === 200).length, 10, "a burst at once is the burst");
});

const tokens = `
openapi: 3.0.1
info: { title: Tokens, version: "1" }
components: { securitySchemes: { login: { type: oauth2, x-amazon-apigateway-authorizer: { type: jwt, jwtConfiguration: { issuer: "http://login.shop.svc/realm", audience: [pets] }, identitySource: $request.header.Authorization } } } }
paths:
  /pets: { get: { security: [{ login: [] }] } }
  /scoped: { get: { security: [{ login: [pets:read, pets:admin] }] } }
`;

test("tokens are judged by the keys that their issuer's own document names; keys may be others tomorrow", async () => {
  const clock = new FakeClock();
  const seconds = (): number => Math.floor(clock.now() / 1000);
  const [first, second] = [signingKey("k1"), signingKey("k2")];
  await using authorizer = await new Authorizer().start();
  authorizer.keys = keySet(first);
  await using world = await serve(tokens, "{}", clock, authorizer);
  assert.deepEqual(world.refused, []);
  const claims = { iss: "http://login.shop.svc/realm", sub: "ann", aud: "pets", exp: seconds() + 3_600 };
  const { aud: _, ...program } = { ...claims, client_id: "pets" };
  const table: [what: string, target: string, token: string | undefined, status: number][] = [
    ["none", "/pets", undefined, 401],
    ["a good one", "/pets", `Bearer ${signedBy(first, claims)}`, 200],
    ["without its scheme, as user pools' clients have it", "/pets", signedBy(first, claims), 200],
    ["a program's, with a client id where others have an audience", "/pets", `Bearer ${signedBy(first, program)}`, 200],
    ["for another audience, of the right client", "/pets", `Bearer ${signedBy(first, { ...claims, aud: "other", client_id: "pets" })}`, 403],
    ["another issuer's", "/pets", `Bearer ${signedBy(first, { ...claims, iss: "http://login.shop.svc/other" })}`, 401],
    ["without the scope", "/scoped", `Bearer ${signedBy(first, { ...claims, scope: "pets:write" })}`, 403],
    ["with one of the scopes", "/scoped", `Bearer ${signedBy(first, { ...claims, scope: "a pets:admin" })}`, 200],
    ["with scopes as a list", "/scoped", `Bearer ${signedBy(first, { ...claims, scp: ["pets:read"] })}`, 200],
  ];
  for (const [what, target, token, status] of table) assert.equal(await statusOf(world, "GET", target, token === undefined ? {} : { authorization: token }), status, what);
  authorizer.keys = keySet(second);
  clock.advance(60_000);
  assert.equal(await statusOf(world, "GET", "/pets", { authorization: `Bearer ${signedBy(second, claims)}` }), 200, "a key that was not known is asked for");
  assert.equal(await statusOf(world, "GET", "/pets", { authorization: `Bearer ${signedBy(first, { ...claims, sub: "eve" })}` }), 401, "and the other is good no longer");
});

test("an issuer's document sends nobody elsewhere", async () => {
  await using authorizer = await new Authorizer().start();
  authorizer.keys = keySet(signingKey("k1"));
  const clock = new FakeClock();
  await using world = await serve(tokens.replace('issuer: "http://login.shop.svc/realm"', 'issuer: "http://auth.shop.svc/realm"'), "{}", clock, authorizer);
  const token = signedBy(signingKey("k1"), { iss: "http://auth.shop.svc/realm", aud: "pets", exp: Math.floor(clock.now() / 1000) + 60 });
  assert.equal(await statusOf(world, "GET", "/pets", { authorization: `Bearer ${token}` }), 401);
  await until(() => world.lines.length > 0);
  assert.match(JSON.stringify(world.lines), /its document is another issuer's/);
});

test("a backend is shown what it wants to be shown, and nobody else is", async () => {
  await using world = await serve(keyed, "{ security: Backend, credentials: [{ backendRef: { name: pets }, secretRef: { name: backend } }] }", new FakeClock(), undefined);
  const { status, headers, body } = await ask(world.port, { method: "GET", target: "/open", headers: [["authorization", "Bearer mine"]], body: undefined });
  assert.deepEqual([status, programs.seen[0]!.headers.authorization], [200, "Bearer very secret"]);
  await until(() => world.lines.length > 0);
  assert.doesNotMatch(JSON.stringify([headers, String(body), world.lines, world.refused]), /very secret/);
});
