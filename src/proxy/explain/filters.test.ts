import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuthorizerFilter } from "../../api/traffic-access.ts";
import { describeFilter } from "./filters.ts";

test("who is asked, and ways to be known, in words; no key is among them", () => {
  const authorizer: AuthorizerFilter = { type: "authorizer", name: "lambda", upstream: "shop/auth/80", host: "auth", target: "/ask", event: "token", identity: [{ in: "header", name: "X-Token" }], validation: "x-.+", ttlSeconds: 60, timeoutMs: 10_000, arn: "a:b:c:d:e:f", stage: {}, share: "api/shop/pets.prod" };
  const said = "authorizer: lambda asks shop/auth/80 at /ask, about a token, known by header X-Token, else 401, that fits x-.+, what it says is kept for 60 s in each worker, no answer in 10000 ms: 500";
  assert.deepEqual(describeFilter(authorizer), [said]);
  assert.deepEqual(describeFilter({ ...authorizer, event: "request2", simple: true, identity: [] }), ["authorizer: lambda asks shop/auth/80 at /ask, about a request, payload format 2.0, for yes or no, that fits x-.+, each time, no answer in 10000 ms: 500"]);
  const ways = describeFilter({ type: "anyOf", of: [[authorizer], [{ type: "apiKey", keys: [{ client: "ann", sha256: "0123456789abcdef", plan: "gold" }], from: [{ in: "header", name: "x-api-key" }] }]] });
  assert.deepEqual(ways, ["anyOf: one of these is enough", "  1.", `    ${said}`, "  2.", "    apiKey: 1 key of ann, in header x-api-key"]);
  assert.deepEqual(describeFilter({ type: "gatewayResponses", rules: [{ name: "THROTTLED", flags: ["RL"], status: 420 }, { name: "DEFAULT_5XX", templates: { "application/json": "{}" } }, { name: "DEFAULT_5XX" }], stage: {} }), ["gatewayResponses: how refusals look: THROTTLED as 420, DEFAULT_5XX"]);
});
