import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpFilter, HttpRoute, HttpRule } from "../api/traffic.ts";
import { FakeClock } from "../base/clock.ts";
import { PolicyError } from "./policy-error.ts";
import { checkRule, RouteTable } from "./route-table.ts";
import { handle, requestView, toolsAt } from "./testing/request.ts";

const rule = (fields: Partial<HttpRule> & { path?: string } = {}): HttpRule => ({
  name: fields.path ?? "",
  matches: [{ path: { type: "prefix", value: fields.path ?? "/" } }],
  filters: [],
  backends: [{ upstream: "u", weight: 1 }],
  ...fields,
});
const route = (id: string, rules: HttpRule[], fields: Partial<HttpRoute> = {}): HttpRoute => ({ id, type: "http", createdAt: 0, attachments: [{ listener: "l", hostnames: [""] }], rules, ...fields });
const routes = (...all: HttpRoute[]): RouteTable => {
  const table = new RouteTable(toolsAt(new FakeClock()));
  for (const one of all) table.put(one);
  return table;
};

test("why nothing was found: no listener, no host name, no rule", () => {
  const table = routes(route("a", [rule({ path: "/a" })], { attachments: [{ listener: "l", hostnames: ["example.com"] }] }));
  assert.deepEqual(table.find("other", requestView({ path: "/a" })), { why: "host" });
  assert.deepEqual(table.find("l", requestView({ host: "example.org", path: "/a" })), { why: "host" });
  assert.deepEqual(table.find("l", requestView({ path: "/b" })), { why: "match" });
  table.remove("a");
  assert.deepEqual(table.find("l", requestView({ path: "/a" })), { why: "host" });
  assert.equal(table.size, 0);
});

const refused: [what: string, rule: HttpRule, message: RegExp][] = [
  ["a path that is no path", rule({ path: "a" }), /^rules\[0\]\.matches\[0\]\.path\.value: Invalid value: "a": must begin with '\/'$/],
  ["half a character", rule({ path: "/\ud800" }), /path\.value: Invalid value: "\/\\ud800": must be Unicode text$/],
  ["a pattern that is none", rule({ matches: [{ path: { type: "regex", value: "/(" } }] }), /^rules\[0\]\.matches\[0\]\.path\.value: Invalid value: "\/\(": .*missing closing \)/],
  ["a look-ahead", rule({ matches: [{ path: { type: "regex", value: "(?=/a)" } }] }), /matches\[0\]\.path\.value: Invalid value/],
  ["a pattern of a header", rule({ matches: [{ path: { type: "prefix", value: "/" }, headers: [{ name: "a", type: "exact", value: "1" }, { name: "b", type: "regex", value: "[" }] }] }), /^rules\[0\]\.matches\[0\]\.headers\[1\]\.value: Invalid value: "\[": /],
  ["a pattern that would grow without bound", rule({ matches: [{ path: { type: "regex", value: "/(((a{100}){100}){100})" } }] }), /path\.value: Invalid value/],
  ["more than all clients", rule({ matches: [{ path: { type: "prefix", value: "/" }, sample: { perMillion: 1_000_001, seed: "s" } }] }), /matches\[0\]\.sample\.perMillion: Invalid value: 1000001: must be between 0 and 1000000$/],
  ["no match", rule({ matches: [] }), /^rules\[0\]\.matches: Invalid value: \[\]: must have at least one entry$/],
  ["a filter nobody knows", rule({ filters: [{ type: "magic" } as unknown as HttpFilter] }), /^rules\[0\]\.filters\[0\]\.type: Invalid value: "magic": supported values: admission, anyOf, apiKey, /],
  ["a filter of a backend", rule({ backends: [{ upstream: "u", weight: 1, filters: [{ type: "bodyLimit", bytes: -1 }] }] }), /^rules\[0\]\.backends\[0\]\.filters\[0\]\.bytes: Invalid value: -1: /],
  ["a weight", rule({ backends: [{ upstream: "u", weight: -1 }] }), /backends\[0\]\.weight: Invalid value: -1: must be between 0 and 1000000/],
  ["a prefix to replace where there is none", rule({ matches: [{ path: { type: "regex", value: "/a" } }], filters: [{ type: "rewrite", path: { type: "prefix", value: "/b" } }] }), /matches\[0\]\.path\.type: .* a rewrite filter replaces the prefix/],
  ["captures where there are none", rule({ filters: [{ type: "rewrite", path: { type: "regex", substitution: "/$1" } }] }), /matches\[0\]\.path\.type: .* takes the captures/],
  ["a redirect that rewrites", rule({ filters: [{ type: "redirect", status: 302 }, { type: "rewrite" }] }), /^rules\[0\]\.filters: .*cannot be combined/],
  ["framing headers", rule({ filters: [{ type: "requestHeaders", set: [{ name: "Content-Length", value: "0" }] }] }), /set\[0\]\.name: Invalid value: "Content-Length": belongs to the connection/],
  ["a header that splits the answer", rule({ filters: [{ type: "responseHeaders", add: [{ name: "x", value: "a\r\nb: c" }] }] }), /add\[0\]\.value: Invalid value/],
];
for (const [what, bad, message] of refused) {
  test(`refused with field and value: ${what}`, () => {
    const table = routes(route("a", [rule({ path: "/old" })]));
    assert.throws(() => table.put(route("a", [bad])), (error: PolicyError) => error instanceof PolicyError && message.test(error.message) || assert.fail(String(error)));
    assert.equal(table.find("l", requestView({ path: "/old" })).rule?.rule.name, "/old", "the route before it still serves");
    assert.match(`rules[0].${checkRule(bad)!.message}`, message);
    assert.equal(checkRule(rule({})), undefined);
  });
}

test("a route in place of another leaves nothing of it behind, in any index", () => {
  const everything = rule({
    name: "all",
    matches: [
      { path: { type: "exact", value: "/e" } },
      { path: { type: "exact", value: "/E", ignoreCase: true } },
      { path: { type: "prefix", value: "/p/q/" } },
      { path: { type: "prefix", value: "/P/Q", ignoreCase: true }, priority: 3 },
      { path: { type: "regex", value: "/r.*" } },
      { path: { type: "regex", value: "/R.*", ignoreCase: true }, priority: -3 },
    ],
  });
  const table = routes(route("a", [everything], { attachments: [{ listener: "l", hostnames: ["", "*.example.com", "example.com"] }, { listener: "m", hostnames: ["Example.com"] }] }));
  const found = (path: string, host = "example.com", listener = "l") => table.find(listener, requestView({ path, host })).rule?.rule.name;
  for (const path of ["/e", "/E", "/p/q", "/p/q/", "/p/q/x", "/P/q/x", "/r1", "/R1"]) {
    for (const host of ["example.com", "www.example.com", "else"]) assert.equal(found(path, host), "all", `${host}${path}`);
    assert.equal(found(path, "example.com", "m"), "all", path);
  }
  table.put(route("a", [rule({ path: "/new" })]));
  assert.equal(found("/e"), undefined);
  assert.deepEqual(table.find("m", requestView({})), { why: "host" });
  assert.equal(found("/new/x"), "/new");
  table.remove("a");
  table.remove("a");
  assert.deepEqual([...table.explain("l", requestView({}))], []);
});

test("what a filter has counted outlives a change of its route, unless its own configuration changed", () => {
  const limited = (path: string, requests = 1) => route("a", [rule({ path, name: "limited", filters: [{ type: "rateLimit", requests, periodMs: 60_000, burst: 0, by: "route" }] })]);
  const table = routes(limited("/a"));
  const go = (path: string) => {
    const request = requestView({ path });
    return handle(table.find("l", request).rule!.handler!, request).answer?.status ?? 200;
  };
  assert.deepEqual([go("/a"), go("/a")], [200, 429]);
  table.put(limited("/b"));
  assert.equal(go("/b"), 429);
  table.put(limited("/b", 2));
  assert.equal(go("/b"), 200);
});

test("a rule without filters has no handler, and finding it makes nothing new", () => {
  const table = routes(route("a", [rule({ path: "/a" }), rule({ path: "/f", filters: [{ type: "bodyLimit", bytes: 1 }] })]));
  const request = requestView({ path: "/a/b" });
  const found = table.find("l", request);
  assert.equal(found.rule!.handler, null);
  assert.equal(table.find("l", request), found);
  assert.equal(found.rule!.choose(undefined), found.rule!.choose(undefined));
  assert.notEqual(table.find("l", requestView({ path: "/f" })).rule!.handler, null);
});

test("explain: every match that is attached, in order, with the reason", () => {
  const table = routes(
    route("HTTPRoute/a/shop", [
      rule({ name: "post", matches: [{ path: { type: "prefix", value: "/cart" }, method: "POST", headers: [{ name: "X-Beta", type: "exact", value: "1" }] }] }),
      rule({ name: "cart", matches: [{ path: { type: "prefix", value: "/cart" } }] }),
    ], { attachments: [{ listener: "l", hostnames: ["shop.example.com"] }] }),
    route("HTTPRoute/a/all", [rule({ name: "rest" })]),
    route("HTTPRoute/a/other", [rule({ name: "other" })], { attachments: [{ listener: "l", hostnames: ["*.example.org"] }] }),
  );
  const shown = [...table.explain("l", requestView({ host: "shop.example.com", path: "/cart/1", method: "POST" }))].map(({ route, rule, hostname, chosen, reason }) => [route, rule, hostname, chosen, reason]);
  assert.deepEqual(shown, [
    ["HTTPRoute/a/shop", "post", "shop.example.com", false, 'header X-Beta is absent, must be "1"'],
    ["HTTPRoute/a/shop", "cart", "shop.example.com", true, "it fits, and goes first"],
    ["HTTPRoute/a/other", "other", "*.example.org", false, "host is shop.example.com, not *.example.org"],
    ["HTTPRoute/a/all", "rest", "", false, "it fits too, but those above go first"],
  ]);
});

test("5,000 routes on one host: a change is seen at once, and costs as much as one of ten", () => {
  const at = (n: number) => route(`HTTPRoute/a/${n}`, [rule({ path: `/tenant-${n % 70}/service-${n}` })]);
  const cost = (count: number): number => {
    const table = routes(...Array.from({ length: count }, (_, n) => at(n)));
    const times: number[] = [];
    for (let i = 0; i < 300; i++) {
      const n = count + i;
      const begun = performance.now();
      table.put(at(n));
      assert.equal(table.find("l", requestView({ path: `/tenant-${n % 70}/service-${n}/x` })).rule?.route.id, `HTTPRoute/a/${n}`);
      table.remove(`HTTPRoute/a/${n}`);
      times.push(performance.now() - begun);
    }
    return times.sort((a, b) => a - b)[150]!;
  };
  cost(10);
  const [few, many] = [cost(10), cost(5_000)];
  assert.ok(many < 2, `${many} ms for a change at 5,000 routes`);
  assert.ok(many < 10 * few + 0.05, `${many} ms at 5,000 routes, ${few} ms at 10`);
});

test("a share of the clients: always the same ones, more of them with a greater share, by a header where they have it", () => {
  const at = (perMillion: number, header?: string) =>
    routes(route("all", [rule({ name: "all" })]), route("some", [rule({ name: "some", matches: [{ path: { type: "prefix", value: "/" }, priority: 1, sample: { perMillion, seed: "shop/pets.next", ...(header !== undefined && { header }) } }] })]));
  const clients = Array.from({ length: 4_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const chosen = (table: RouteTable, headers: Record<string, string> = {}): Set<string> => new Set(clients.filter((client) => table.find("l", requestView({ client, headers })).rule?.rule.name === "some"));
  assert.equal(chosen(at(0)).size, 0);
  assert.equal(chosen(at(1_000_000)).size, clients.length);
  const [five, ten] = [chosen(at(50_000)), chosen(at(100_000))];
  assert.deepEqual(chosen(at(100_000)), ten);
  assert.ok([...five].every((client) => ten.has(client)), "who was among five per cent is among ten");
  // Hashes are not drawn: these numbers are always the same.
  assert.ok(Math.abs(five.size - 200) < 60 && Math.abs(ten.size - 400) < 80, `${five.size} and ${ten.size} of 4000`);
  const byKey = at(500_000, "X-Api-Key");
  const keys = ["ann", "bob", "cem", "dia", "eve", "fay", "gus", "hal"].map((key) => chosen(byKey, { "x-api-key": key }).size);
  assert.deepEqual([...new Set(keys)].sort(), [0, clients.length], "one key is here or there, wherever it comes from");
  assert.ok(Math.abs(chosen(byKey).size - 2_000) < 200, "who has no key is known by the address");
  assert.notDeepEqual([...chosen(at(100_000))], [...chosen(routes(route("all", [rule({ name: "all" })]), route("some", [rule({ name: "some", matches: [{ path: { type: "prefix", value: "/" }, priority: 1, sample: { perMillion: 100_000, seed: "shop/pets.other" } }] })])))], "another canary has others");
  const why = [...at(0).explain("l", requestView({ client: "10.0.0.1" }))].map(({ rule: name, reason }) => `${name}: ${reason}`);
  assert.deepEqual(why, ["some: the client 10.0.0.1 is not among the 0 % that it is for", "all: it fits, and goes first"]);
});
