import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpFilter, HttpRoute, KeySet } from "../api/traffic.ts";
import { withKeySets, withoutKeySets } from "./key-sets.ts";

const keys = (count: number): KeySet => Array.from({ length: count }, (_, i) => ({ client: `c${i}`, sha256: "0".repeat(64) }));
const filter = (of: KeySet): HttpFilter => ({ type: "apiKey", keys: of, from: [{ in: "header", name: "x-api-key" }] });
const route = (...filters: HttpFilter[][]): HttpRoute => ({ id: "HTTPRoute/a/b", createdAt: 0, type: "http", attachments: [], rules: filters.map((own, i) => ({ name: String(i), matches: [{ path: { type: "prefix", value: "/" } }], filters: own, backends: [{ upstream: "u", weight: 1 }] })) });

test("what several rules have in common is said once, wherever it stands, and is the same again on the other side", () => {
  const [gold, silver] = [keys(1_000), keys(20)];
  const whole = route([filter(gold)], [{ type: "anyOf", of: [[filter(silver)], [filter(gold)]] }], [], [filter(silver)]);
  const shared = withKeySets(whole);
  assert.deepEqual(shared.keySets, { 0: gold, 1: silver });
  assert.ok(JSON.stringify(shared).length < JSON.stringify(whole).length * 0.6);
  const back = withoutKeySets(JSON.parse(JSON.stringify(shared)) as HttpRoute);
  assert.deepEqual(back, whole);
  const [first, second] = back.rules.map(({ filters: [own] }) => own) as [Extract<HttpFilter, { type: "apiKey" }>, Extract<HttpFilter, { type: "anyOf" }>];
  assert.equal((second.of[1]![0] as typeof first).keys, first.keys, "one array for all");
});

test("routes without anything in common, and short lists, stay as they are", () => {
  for (const own of [route([], [filter(keys(100))]), route([filter(keys(3))], [filter(keys(3))])]) {
    assert.equal(withKeySets(own), own);
    assert.equal(withoutKeySets(own), own);
  }
});

test("a set that nobody sent lets nobody in", () => {
  const { rules, ...rest } = withKeySets(((of) => route([filter(of)], [filter(of)]))(keys(10)));
  const back = withoutKeySets({ ...rest, rules, keySets: {} });
  assert.deepEqual(back.rules.map(({ filters: [own] }) => (own as Extract<HttpFilter, { type: "apiKey" }>).keys), [[], []]);
});
