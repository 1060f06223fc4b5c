import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpFilter } from "../api/traffic.ts";
import { secretParameters } from "./secret-names.ts";

const cases: [filter: unknown, names: string[]][] = [
  [{ type: "apiKey", keys: [], from: [{ in: "query", name: "k" }, { in: "header", name: "x-k" }, { in: "query", name: "K" }] }, ["k", "K"]],
  [{ type: "authorizer", identity: [{ in: "query", name: "ticket" }, { in: "header", name: "authorization" }] }, ["ticket"]],
  [{ type: "jwt", providers: [{ name: "p", params: ["t"] }] }, ["t"]],
  [{ type: "jwt", providers: [{ name: "p" }] }, ["access_token"]],
  [{ type: "anyOf", of: [[{ type: "apiKey", keys: [], from: [{ in: "query", name: "k" }] }], [{ type: "jwt", providers: [{ name: "p", headers: [{ name: "x", prefix: "" }] }] }]] }, ["k"]],
  [{ type: "oidc" }, ["code", "state"]],
  [{ type: "cors" }, []],
];
for (const [filter, names] of cases) {
  test(`${JSON.stringify(filter)} lets in by ${names.join(", ") || "no parameter"}`, () => {
    assert.deepEqual(secretParameters({ filters: [filter as HttpFilter], backends: [] }), names);
    assert.deepEqual(secretParameters({ filters: [], backends: [{ upstream: "u", weight: 1, filters: [filter as HttpFilter] }] }), names);
  });
}
