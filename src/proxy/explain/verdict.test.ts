import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpFilter } from "../../api/traffic.ts";
import { requestView } from "../../policy/testing/request.ts";
import { verdictOf } from "./verdict.ts";

const elsewhere: HttpFilter = { type: "jwt", providers: [{ name: "login", keys: { upstream: "shop/login/80", host: "login", target: "/keys" } }] };
const anybodyElse: HttpFilter = { type: "authorise", rules: [], otherwise: "deny" };
const named = (filters: readonly HttpFilter[], headers: Record<string, string> = {}, target = "/a"): string | undefined => verdictOf(filters, requestView({ headers, target }), { match: undefined, captures: undefined })?.by;

test("what would answer a request is told where it hangs on the request alone, and nothing is told where others would be asked", () => {
  assert.equal(named([]), undefined);
  assert.equal(named([anybodyElse]), "authorise");
  assert.equal(named([elsewhere]), "jwt", "there is no token");
  assert.equal(named([elsewhere, anybodyElse], { authorization: "Bearer x" }), undefined, "whether it is believed is not known, nor who asks");
  assert.equal(named([{ type: "extAuth", upstreams: [], protocol: "http", timeoutMs: 1 }, anybodyElse]), undefined);
  assert.equal(named([{ type: "authorise", rules: [{ name: "here", action: "allow", clients: ["10.0.0.0/8"] }], otherwise: "deny" }]), undefined, "its address is another one");
  const limit: HttpFilter = { type: "quota", rules: [{ id: "x", limit: 0, unit: "hour" }] };
  assert.equal(named([limit, anybodyElse]), "authorise", "what is counted elsewhere is passed over");
  const validate: HttpFilter = { type: "validate", parameters: [{ in: "query", name: "limit", schema: { type: "integer" } }], body: { content: { "application/json": { type: "object" } }, required: true } };
  assert.deepEqual([named([validate], {}, "/a?limit=ten"), named([validate], {}, "/a?limit=10")], ["validate", undefined], "of a body nothing is known");
});
