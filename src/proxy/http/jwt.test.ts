import assert from "node:assert/strict";
import { once } from "node:events";
import { request as requestHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { systemRandom } from "../../base/random.ts";
import type { FilterTools } from "../../policy/exchange.ts";
import { cache } from "../../policy/filters/cache.ts";
import { jwt } from "../../policy/filters/jwt.ts";
import { keySet, signedBy, type SigningKey, signingKey } from "../../policy/testing/tokens.ts";
import { startGateway, startProgram, TurnPolicy, until } from "./testing/gateway.ts";

/** A real key server and a real program behind the engine. The clock of the filter stands until it is told to move. */
async function startIssuer() {
  const state = {
    /** What the key server does. */
    serve: (_response: ServerResponse): void => assert.fail("nobody should ask for keys"),
    asked: 0,
    /** Requests for keys that are being answered. */
    open: [] as ServerResponse[],
    seen: {} as IncomingMessage["headers"],
    now: 1_000_000,
  };
  const keys = await startProgram((request, response) => {
    assert.deepEqual([request.method, request.url, request.headers.host], ["GET", "/jwks?x=1", "issuer.example"]);
    state.asked++;
    state.serve(response);
  });
  const program = await startProgram((request, response) => {
    state.seen = request.headers;
    response.end("served");
  });
  const gateway = startGateway([program.port]);
  const policy = new TurnPolicy();
  policy.update([{ ip: "127.0.0.1", port: keys.port, key: "keys" }]);
  gateway.engine.putUpstream({ id: "auth/keys/80", http2: false, connectMs: 1_000, idleMs: 30_000 }, policy);
  const tools: FilterTools = { random: systemRandom, nowMs: () => state.now, setTimer: () => ({ cancel() {} }), call: (request, then) => gateway.engine.call(request, then) };
  const provider = { name: "p", issuer: "me", isForwarded: true, keys: { upstream: "auth/keys/80", host: "issuer.example", target: "/jwks?x=1" }, claimHeaders: [{ header: "X-User", claim: "sub" }] };
  gateway.routed.handler = jwt({ type: "jwt", providers: [provider] }, tools)((exchange, outcome) => {
    exchange.upstream = "shop/web/80";
    outcome.forward(exchange);
  });
  const start = (token: string, headers: Record<string, string> = {}) => requestHttp({ host: "127.0.0.1", port: gateway.port, agent: false, headers: { host: "shop.example", authorization: `Bearer ${token}`, ...headers } });
  return Object.assign(state, {
    start,
    async ask(token: string, headers: Record<string, string> = {}): Promise<string> {
      const [answer] = (await once(start(token, headers).end(), "response")) as [IncomingMessage];
      return `${answer.statusCode} ${(await text(answer)).trim()}`;
    },
    /** Background requests have come to their end. */
    idle: () => until(() => policy.running === 0),
    gateway,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await program[Symbol.asyncDispose]();
      await keys[Symbol.asyncDispose]();
    },
  });
}
const gives = (...keys: SigningKey[]) => (response: ServerResponse) => void response.end(keySet(...keys));
const [first, second] = [signingKey("first"), signingKey("second")];
const claims = { iss: "me", sub: "ann" };
const failed = "401 Jwks remote fetch is failed";
const unknown = "401 Jwks doesn't have key to match kid or alg from Jwt";

test("one request for keys, however many tokens wait for it; then none for a while, and then one in the background", async () => {
  await using issuer = await startIssuer();
  issuer.serve = (response) => void issuer.open.push(response);
  const answers = Promise.all(Array.from({ length: 10 }, (_, i) => issuer.ask(signedBy(first, { ...claims, i }))));
  await until(() => issuer.open.length > 0);
  gives(first)(issuer.open[0]!);
  assert.deepEqual(new Set(await answers), new Set(["200 served"]));
  assert.equal(issuer.seen["x-user"], "ann");
  issuer.now += 299_000;
  assert.equal(await issuer.ask(signedBy(first, claims)), "200 served");
  assert.equal(issuer.asked, 1);
  issuer.now += 2_000;
  issuer.serve = gives(first, second);
  assert.equal(await issuer.ask(signedBy(first, claims)), "200 served", "it does not wait for newer keys");
  await issuer.idle();
  assert.equal(issuer.asked, 2);
  assert.equal(await issuer.ask(signedBy(second, claims)), "200 served");
  assert.equal(issuer.asked, 2);
});

test("keys that rotate: a token of a new one is waited for, one of an old one is nobody's any more", async () => {
  await using issuer = await startIssuer();
  issuer.serve = gives(first);
  const old = signedBy(first, claims);
  assert.equal(await issuer.ask(old), "200 served");
  issuer.serve = gives(second);
  issuer.now += 1_000;
  assert.equal(await issuer.ask(signedBy(second, claims)), "200 served");
  assert.equal(issuer.asked, 2);
  assert.equal(await issuer.ask(old), unknown, "also one that was believed before");
});

test("made-up key ids ask for keys once in ten seconds, and wrong ones of another issuer never", async () => {
  await using issuer = await startIssuer();
  issuer.serve = gives(first);
  assert.equal(await issuer.ask(signedBy(first, claims)), "200 served");
  issuer.now += 10_000;
  for (let i = 0; i < 20; i++) assert.equal(await issuer.ask(signedBy(second, claims, { kid: `made-up-${i}` })), unknown);
  assert.equal(issuer.asked, 2);
  issuer.now += 10_000;
  for (let i = 0; i < 5; i++) assert.equal(await issuer.ask(signedBy(second, { iss: "you" }, { kid: "x" })), "401 Jwt issuer is not configured");
  assert.equal(issuer.asked, 2);
  assert.equal(await issuer.ask(signedBy(first, claims)), "200 served");
});

const lies: [what: string, serve: (response: ServerResponse) => void][] = [
  ["a page", (response) => void response.end("<html>")],
  ["no list", (response) => void response.end('{"keys":{}}')],
  ["nothing", (response) => void response.end()],
  ["another status", (response) => void response.writeHead(500).end(keySet(first))],
  ["another address", (response) => void response.writeHead(302, { location: "http://169.254.169.254/" }).end()],
  ["far too much", (response) => void response.end(JSON.stringify({ keys: [first.jwk], more: "x".repeat(300_000) }))],
  ["a part", (response) => void response.writeHead(200, { "content-length": "1000" }).write('{"keys":[', () => response.destroy())],
  ["nobody", (response) => void response.destroy()],
];
for (const [what, lie] of lies) {
  test(`a key server that answers with ${what}: nothing is believed before keys are there; those that are there stay for an hour`, async () => {
    await using issuer = await startIssuer();
    issuer.serve = lie;
    const token = signedBy(first, claims);
    assert.equal(await issuer.ask(token), failed);
    const { asked } = issuer;
    assert.equal(await issuer.ask(token), failed);
    assert.equal(issuer.asked, asked, "it is not asked for every token");
    issuer.now += 1_000;
    issuer.serve = gives(first);
    assert.equal(await issuer.ask(token), "200 served");
    issuer.serve = lie;
    issuer.now += 301_000;
    assert.equal(await issuer.ask(token), "200 served");
    await issuer.idle();
    issuer.now += 3_000_000;
    assert.equal(await issuer.ask(token), "200 served");
    await issuer.idle();
    issuer.now += 3_600_000;
    assert.equal(await issuer.ask(token), failed);
    issuer.now += 1_000;
    issuer.serve = gives(first);
    assert.equal(await issuer.ask(token), "200 served");
    await until(() => issuer.gateway.lines.some(({ flag, reason }) => flag === "JWT" && /^Jwks remote fetch is failed: ./.test(String(reason))));
  });
}

test("a key server that hangs: its tokens wait and are refused; a client that goes away meanwhile is no trouble", async () => {
  await using issuer = await startIssuer();
  issuer.serve = (response) => void issuer.open.push(response);
  const token = signedBy(first, claims);
  const answer = issuer.ask(token);
  await until(() => issuer.open.length === 1);
  const gone = issuer.start(token).on("error", () => {});
  gone.end();
  await until(() => gone.socket?.writableLength === 0 && gone.writableFinished);
  gone.destroy();
  for (const response of issuer.open) response.destroy();
  assert.equal(await answer, failed);
  issuer.now += 1_000;
  issuer.serve = gives(first);
  assert.equal(await issuer.ask(token), "200 served");
});

test("who claims to be somebody in headers like the claims' is not heard, whatever they are spelled like", async () => {
  await using issuer = await startIssuer();
  issuer.serve = gives(first);
  assert.equal(await issuer.ask(signedBy(first, claims), { "X-User": "root", x_user: "root", "X_USER": "root" }), "200 served");
  assert.deepEqual(Object.entries(issuer.seen).filter(([name]) => /^x.user$/.test(name)), [["x-user", "ann"]]);
  assert.equal(await issuer.ask(signedBy(first, { iss: "me", sub: "a\r\nx-evil: 1" }), { x_user: "root" }), "200 served");
  assert.deepEqual(Object.entries(issuer.seen).filter(([name]) => /^x.(user|evil)$/.test(name)), []);
});

test("what a cache keeps of one caller's answers is not given to another, wherever his token stood and whatever his headers say", async () => {
  const asked: string[] = [];
  await using program = await startProgram((request, response) => {
    asked.push(`${request.url} ${request.headers["x-user"]}`);
    response.setHeader("cache-control", request.url!.startsWith("/own") ? "max-age=60" : "public, max-age=60");
    response.setHeader("vary", request.url!.startsWith("/varied") ? "X-User" : "Accept");
    response.end(String(request.headers["x-user"]));
  });
  await using gateway = startGateway([program.port]);
  const tools: FilterTools = { random: systemRandom, nowMs: () => 0, setTimer: () => ({ cancel() {} }) };
  const provider = { name: "p", issuer: "me", jwks: keySet(first), cookies: ["t"], params: ["t"], claimHeaders: [{ header: "X-User", claim: "sub" }] };
  gateway.routed.handler = jwt({ type: "jwt", providers: [provider] }, tools)(
    cache({ type: "cache" }, tools)((exchange, outcome) => {
      exchange.upstream = "shop/web/80";
      outcome.forward(exchange);
    }),
  );
  const ask = async (path: string, sub: string, headers: Record<string, string> = {}) => {
    const token = signedBy(first, { iss: "me", sub });
    const inQuery = path.endsWith("?");
    const [answer] = (await once(requestHttp({ host: "127.0.0.1", port: gateway.port, path: inQuery ? `${path}t=${token}` : path, agent: false, headers: { ...(!inQuery && { cookie: `t=${token}` }), ...headers } }).end(), "response")) as [IncomingMessage];
    return text(answer);
  };
  for (const [path, shared] of [["/own", false], ["/varied", false], ["/everybodys", true], ["/everybodys?", true]] as const) {
    assert.equal(await ask(path, "ann"), "ann", path);
    assert.equal(await ask(path, "bob", { "x-user": "ann" }), shared ? "ann" : "bob", path);
    assert.equal(await ask(path, "ann"), "ann", path);
  }
  assert.deepEqual(asked, ["/own ann", "/own bob", "/own ann", "/varied ann", "/varied bob", "/everybodys ann"], "a token that ends here makes no other address of one");
});
