import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuthorizerFilter } from "../../api/traffic-access.ts";
import { FakeClock } from "../../base/clock.ts";
import type { FilterTools, SideAnswer, SideRequest } from "../exchange.ts";
import { Shelves } from "../cache/shelves.ts";
import { handle, type Handled, type RequestFields, requestView, toolsAt } from "../testing/request.ts";
import { authorizer } from "./authorizer.ts";

/** One worker's filters, and a program that answers when the test says so. Sources: AWS API Gateway's developer guide, Lambda authorizers. */
class Worker {
  readonly clock = new FakeClock();
  readonly asked: (SideRequest & { event: Record<string, unknown>; answer(status: number, body: unknown): void; fail(reason: string): void; isCancelled: boolean })[] = [];
  readonly shelves = new Shelves();
  readonly #shared = new Map<string, unknown>();
  readonly #handlers = new Map<string, ReturnType<ReturnType<typeof authorizer>>>();

  serve(request: RequestFields & { target?: string }, more: Partial<AuthorizerFilter> = {}): Handled {
    const id = JSON.stringify(more);
    const tools: FilterTools = {
      ...toolsAt(this.clock),
      shelves: this.shelves,
      shared: (key, make) => {
        if (!this.#shared.has(key)) this.#shared.set(key, make(undefined));
        return this.#shared.get(key) as ReturnType<typeof make>;
      },
      call: (asked, then) => {
        const one = { ...asked, event: JSON.parse(String(asked.body)) as Record<string, unknown>, isCancelled: false, answer: (status: number, body: unknown) => then({ status, headers: [], body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body)) } satisfies SideAnswer, ""), fail: (reason: string) => then(undefined, reason) };
        this.asked.push(one);
        return { cancel: () => void (one.isCancelled = true) };
      },
    };
    const handler = this.#handlers.get(id) ?? authorizer({ ...usual, ...more }, tools)((exchange, outcome) => outcome.forward(exchange));
    this.#handlers.set(id, handler);
    return handle(handler, requestView(request));
  }
}
const arn = "arn:aws:execute-api:local:shop:pets/prod";
const usual: AuthorizerFilter = { type: "authorizer", name: "lambda", upstream: "shop/auth/80", host: "auth", target: "/authorize", event: "token", identity: [{ in: "header", name: "Authorization" }], ttlSeconds: 300, timeoutMs: 1_000, arn, base: "/prod", stage: { name: "prod", apiId: "pets", resourcePath: "/pets/{id}", variables: { colour: "blue" } }, share: "api/shop/pets.prod" };
const with_ = (token: string, target = "/prod/pets/7", method = "GET") => ({ method, target, headers: { authorization: token } });
const statement = (Effect: string, Resource: unknown, more: object = {}) => ({ Action: "execute-api:Invoke", Effect, Resource, ...more });
const policy = (...Statement: object[]) => ({ principalId: "ann", policyDocument: { Version: "2012-10-17", Statement } });
const all = policy(statement("Allow", `${arn}/*`));
const outcomeOf = ({ answer, forwarded }: Handled): string => (answer ? `${answer.status} ${answer.flag} ${answer.reason.replace("authorizer lambda: ", "")}` : forwarded ? "forward" : "held");

test("a token is asked about as a Lambda authorizer is, once; the answer is good for as long as it says, and for no other", () => {
  const worker = new Worker();
  const first = worker.serve(with_("Bearer a"));
  assert.equal(outcomeOf(first), "held");
  const [asked] = worker.asked;
  assert.deepEqual(asked!.event, { type: "TOKEN", methodArn: `${arn}/GET/pets/7`, authorizationToken: "Bearer a" });
  assert.deepEqual([asked!.upstream, asked!.method, asked!.target, asked!.host], ["shop/auth/80", "POST", "/authorize", "auth"]);
  asked!.answer(200, { ...all, context: { tier: "gold", level: 3 }, usageIdentifierKey: "k" });
  assert.equal(outcomeOf(first), "forward");
  assert.deepEqual(first.exchange.caller?.authorizer, { principalId: "ann", context: { tier: "gold", level: 3 }, usageIdentifierKey: "k" });
  assert.equal(outcomeOf(worker.serve(with_("Bearer a", "/prod/pets/8", "POST"))), "forward");
  assert.equal(outcomeOf(worker.serve(with_("Bearer b"))), "held");
  worker.clock.advance(300_000);
  assert.equal(outcomeOf(worker.serve(with_("Bearer a"))), "held", "it is over");
  assert.equal(worker.asked.length, 3);
});

test("who shows nothing, or nothing that looks like a token, is not asked about", () => {
  const worker = new Worker();
  assert.equal(outcomeOf(worker.serve({ target: "/prod/pets/7" })), "401 UAEX the request has no header Authorization");
  assert.equal(outcomeOf(worker.serve(with_(""))), "401 UAEX the request has no header Authorization");
  assert.equal(outcomeOf(worker.serve(with_("Basic x"), { validation: "Bearer [a-z]+" })), "401 UAEX its token does not look like one");
  assert.equal(outcomeOf(worker.serve(with_("xBearer a"), { validation: "Bearer [a-z]+" })), "401 UAEX its token does not look like one");
  assert.equal(outcomeOf(worker.serve(with_("a".repeat(17_000)))), "401 UAEX what it is to be known by is too long");
  assert.equal(worker.asked.length, 0);
  assert.equal(outcomeOf(worker.serve(with_("Bearer a"), { validation: "Bearer [a-z]+" })), "held");
});

test("what is kept of somebody is judged for each request; denied is denied, and what is not allowed is not", () => {
  const worker = new Worker();
  const first = worker.serve(with_("t"));
  worker.asked[0]!.answer(200, policy(statement("Allow", [`${arn}/GET/pets/*`, "arn:aws:execute-api:*:*:pets/*/POST/orders"]), statement("Deny", `${arn}/*/pets/secret*`), { Action: "s3:GetObject", Effect: "Allow", Resource: "arn:aws:s3:::bucket/x:y" }));
  assert.equal(outcomeOf(first), "forward");
  const table: [method: string, target: string, expected: string][] = [
    ["GET", "/prod/pets/a/b", "forward"],
    ["PUT", "/prod/pets/7", "403 UAEX it does not allow PUT /pets/7"],
    ["GET", "/prod/pets/secret/x", "403 UAEX it does not allow GET /pets/secret/x"],
    ["GET", "/prod/pets/7%2F..%2Fsecret", "403 UAEX it does not allow GET /pets/7%2F..%2Fsecret"],
    ["GET", "/prod/pets%2Fsecret", "403 UAEX it does not allow GET /pets%2Fsecret"],
    ["GET", "/prod/pets/;/secret", "403 UAEX it does not allow GET /pets/;/secret"],
    ["GET", "/prod/pets/group%2Fname", "forward"],
    ["POST", "/prod/orders", "forward"],
    ["POST", "/prod/orders/1", "403 UAEX it does not allow POST /orders/1"],
    // A name that a client has written into a path is no other resource.
    ["PUT", "/prod/x/POST/orders", "403 UAEX it does not allow PUT /x/POST/orders"],
    ["DELETE", "/prod/x:y:pets/prod/POST/orders", "403 UAEX it does not allow DELETE /x:y:pets/prod/POST/orders"],
  ];
  for (const [method, target, expected] of table) assert.equal(outcomeOf(worker.serve(with_("t", target, method))), expected, `${method} ${target}`);
  assert.equal(worker.asked.length, 1);
});

test("what is no answer lets nobody in, and is not kept", () => {
  const answers: [status: number, body: unknown, expected: string][] = [
    [500, "", "500 UAEX it answered 500"],
    [403, all, "500 UAEX it answered 403"],
    [204, all, "500 UAEX it answered 204"],
    [401, "", "401 UAEX it says that this is nobody"],
    [200, "yes", "500 UAEX it answered no JSON"],
    [200, [], "500 UAEX it answered no object"],
    [200, { principalId: "a" }, "500 UAEX policyDocument is missing"],
    [200, { policyDocument: all.policyDocument }, "500 UAEX principalId is not a text"],
    [200, { isAuthorized: true }, "500 UAEX principalId is not a text"],
    [200, { ...all, context: { a: { b: 1 } } }, "500 UAEX context.a is neither a text, a number, true nor false"],
    [200, { ...all, usageIdentifierKey: 7 }, "500 UAEX usageIdentifierKey is not a text"],
    [200, policy(statement("allow", "*")), "500 UAEX policyDocument.Statement[0].Effect is neither Allow nor Deny"],
    [200, policy(statement("Allow", "*", { Condition: { IpAddress: { "aws:SourceIp": "192.0.2.1" } } })), "500 UAEX policyDocument.Statement[0].Condition is not honoured"],
    [200, policy(statement("Allow", `${arn}/*`), { Effect: "Deny", Action: "execute-api:Invoke", NotResource: "*" }), "500 UAEX policyDocument.Statement[1].NotResource is not honoured"],
    [200, policy(statement("Deny", "pets/secret")), '500 UAEX policyDocument.Statement[0].Resource "pets/secret" is not of the form arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH'],
    [200, policy({ Effect: "Allow", Resource: "*" }), "500 UAEX policyDocument.Statement[0].Action is neither a text nor a list of texts"],
    [200, policy(...Array.from({ length: 201 }, () => statement("Allow", "*"))), "500 UAEX policyDocument.Statement has more than 200 entries"],
    [200, policy(), "403 UAEX it does not allow GET /pets/7"],
    [200, policy(statement("Allow", "*", { Action: "execute-api:ManageConnections" })), "403 UAEX it does not allow GET /pets/7"],
    [200, policy(statement("Allow", "*", { Action: ["execute-api:*"] })), "forward"],
  ];
  for (const [status, body, expected] of answers) {
    const worker = new Worker();
    const request = worker.serve(with_("t"));
    worker.asked[0]!.answer(status, body);
    assert.equal(outcomeOf(request), expected);
    worker.serve(with_("t"));
    assert.equal(worker.asked.length, /^(500|401)/.test(expected) ? 2 : 1, `${expected}: asked again`);
  }
  const worker = new Worker();
  const request = worker.serve(with_("t"));
  worker.asked[0]!.fail("its answer is longer than 131072 bytes");
  assert.equal(outcomeOf(request), "500 UAEX its answer is longer than 131072 bytes");
});

test("many that show the same are asked about once; one that goes away takes nothing from the others; what is not kept is asked of each", () => {
  const worker = new Worker();
  const requests = Array.from({ length: 50 }, (_, i) => worker.serve(with_("t", `/prod/pets/${i}`)));
  assert.equal(worker.asked.length, 1);
  requests[0]!.end();
  assert.equal(worker.asked[0]!.isCancelled, false);
  worker.asked[0]!.answer(200, policy(statement("Allow", `${arn}/GET/pets/?`)));
  assert.deepEqual(requests.map(outcomeOf), requests.map((_, i) => (i === 0 ? "held" : i < 10 ? "forward" : `403 UAEX it does not allow GET /pets/${i}`)));
  const [two, three] = [worker.serve(with_("u")), worker.serve(with_("u"))];
  two.end();
  assert.equal(worker.asked[1]!.isCancelled, false);
  three.end();
  assert.equal(worker.asked[1]!.isCancelled, true, "nobody waits for it any more");
  worker.serve(with_("u"));
  assert.equal(worker.asked.length, 3, "and it is asked anew");
  const [one] = [worker.serve(with_("t"), { ttlSeconds: 0 }), worker.serve(with_("t"), { ttlSeconds: 0 })];
  assert.equal(worker.asked.length, 5);
  one.end();
  assert.equal(worker.asked[3]!.isCancelled, true);
});

test("answers are kept by all that was shown: no separator makes two the same, and no repeated name hides what was judged", () => {
  const worker = new Worker();
  const more: Partial<AuthorizerFilter> = { event: "request", identity: [{ in: "header", name: "a" }, { in: "query", name: "b" }] };
  const ask = (a: string, query: string) => worker.serve({ target: `/prod/pets/7?${query}`, headers: { a } }, more);
  for (const [a, query] of [["x", "b=y"], ["x,y", "b=y"], ["x", "b=x,y"], ['x"', "b=y"], ["x", 'b="y'], ["x", "b=y&b=z"], ["x", "b=z&b=y"], ["x", "b=y%2Cz"], ["x", "b=y&b="]]) {
    const before = worker.asked.length;
    const request = ask(a!, query!);
    // An empty one says nothing, and is no other.
    if (query === "b=y&b=") {
      assert.equal(outcomeOf(request), "forward");
      continue;
    }
    assert.equal(worker.asked.length, before + 1, `${a} ${query}`);
    worker.asked.at(-1)!.answer(200, all);
    assert.equal(outcomeOf(request), "forward");
  }
});

test("what is kept is of one stage, one program and one way of asking it; it is forgotten when it is purged, also what was on its way", () => {
  const worker = new Worker();
  worker.serve(with_("t"));
  worker.asked[0]!.answer(200, all);
  for (const more of [{ share: "api/shop/pets.dev" }, { upstream: "shop/other/80" }, { target: "/v2" }, { name: "other" }, { validation: "t" }, { ttlSeconds: 60 }, { arn: "arn:aws:execute-api:local:shop:other/prod" }] satisfies Partial<AuthorizerFilter>[]) {
    const before = worker.asked.length;
    assert.equal(outcomeOf(worker.serve(with_("t"), more)), "held");
    assert.equal(worker.asked.length, before + 1, JSON.stringify(more));
  }
  // Operations of a stage have what it said in common.
  assert.equal(outcomeOf(worker.serve(with_("t"), { path: { type: "regex", names: [] } })), "forward");
  const late = worker.serve(with_("late"));
  assert.equal(worker.shelves.purge("api/shop/pets.prod", "/pets"), 0);
  assert.equal(worker.shelves.purge("api/shop/pets.prod", ""), 1);
  worker.asked.at(-1)!.answer(200, all);
  assert.equal(outcomeOf(late), "forward");
  assert.equal(outcomeOf(worker.serve(with_("t"))), "held");
  assert.equal(outcomeOf(worker.serve(with_("late"))), "held");
});

test("so many are kept, and no more", () => {
  const worker = new Worker();
  for (let i = 0; i < 10_001; i++) {
    worker.serve(with_(`t${i}`));
    worker.asked.pop()!.answer(200, all);
  }
  assert.equal(outcomeOf(worker.serve(with_("t0"))), "held", "the one that was asked for least recently is gone");
  assert.equal(outcomeOf(worker.serve(with_("t2"))), "forward");
});

test("a request as payload formats 1.0 and 2.0 have it; yes or no", () => {
  const worker = new Worker();
  const headers = { authorization: "t", cookie: "a=1; b=2", "user-agent": "u" };
  const more: Partial<AuthorizerFilter> = { identity: [{ in: "header", name: "Authorization" }, { in: "query", name: "q" }, { in: "context", name: "routeKey" }, { in: "fixed", name: "colour", value: "blue" }] };
  const one = worker.serve({ target: "/prod/pets/7?q=1&q=2", headers }, { ...more, event: "request", path: { type: "regex", names: ["id"], pattern: "^/prod/pets/([^/]+)$" } });
  const { requestContext, ...event } = worker.asked[0]!.event as { requestContext: object };
  assert.deepEqual(event, { version: "1.0", type: "REQUEST", methodArn: `${arn}/GET/pets/7`, identitySource: "t,1,2,GET /pets/{id},blue", authorizationToken: "t", resource: "/pets/{id}", path: "/pets/7", httpMethod: "GET", headers: { authorization: "t", cookie: "a=1; b=2", "user-agent": "u" }, multiValueHeaders: { authorization: ["t"], cookie: ["a=1; b=2"], "user-agent": ["u"] }, queryStringParameters: { q: "2" }, multiValueQueryStringParameters: { q: ["1", "2"] }, pathParameters: { id: "7" }, stageVariables: { colour: "blue" } });
  assert.deepEqual(requestContext, { accountId: "shop", apiId: "pets", domainName: "example.com", httpMethod: "GET", identity: { sourceIp: "192.0.2.1", userAgent: "u" }, path: "/prod/pets/7", protocol: "HTTP/1.1", requestId: "", requestTimeEpoch: worker.clock.now(), resourcePath: "/pets/{id}", stage: "prod" });
  worker.asked[0]!.answer(200, { ...all, context: { user: "ann" } });
  assert.equal(outcomeOf(one), "forward");

  const two = worker.serve({ target: "/prod/pets/7?q=1&q=2", headers }, { ...more, event: "request2", simple: true });
  assert.deepEqual([worker.asked[1]!.event["routeArn"], worker.asked[1]!.event["identitySource"], worker.asked[1]!.event["cookies"], worker.asked[1]!.event["queryStringParameters"], worker.asked[1]!.event["rawPath"]], [`${arn}/GET/pets/7`, ["t", "1,2", "GET /pets/{id}", "blue"], ["a=1", "b=2"], { q: "1,2" }, "/prod/pets/7"]);
  worker.asked[1]!.answer(200, { isAuthorized: true, context: { user: { name: "ann" } } });
  assert.equal(outcomeOf(two), "forward");
  assert.deepEqual(two.exchange.caller?.authorizer, { context: { user: { name: "ann" } } });
  const no = worker.serve({ target: "/prod/pets/7?q=3", headers }, { ...more, event: "request2", simple: true });
  worker.asked[2]!.answer(200, { isAuthorized: false });
  assert.equal(outcomeOf(no), "403 UAEX it does not allow GET /pets/7");
  const odd = worker.serve({ target: "/prod/pets/7?q=4", headers }, { ...more, event: "request2", simple: true });
  worker.asked[3]!.answer(200, { isAuthorized: "true" });
  assert.equal(outcomeOf(odd), "500 UAEX isAuthorized is neither true nor false");
});
