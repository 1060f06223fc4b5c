import assert from "node:assert/strict";
import { test } from "node:test";
import type { Balancer } from "../../api/traffic.ts";
import { seededRandom } from "../../base/random.ts";
import { requestView } from "../testing/request.ts";
import type { BalancerFactory, BalancerPolicy, ClientCookie, Member } from "./balancer.ts";
import { balancers } from "./index.ts";
import { Turn } from "./round-robin.ts";

interface Fake extends Member {
  usable: boolean;
  active: number;
  latencyMs: number;
  latencyAtMs: number;
}

const member = (key: string, weight = 1): Fake => ({ key, weight, usable: true, active: 0, latencyMs: 0, latencyAtMs: 0 });
const members = (count: number): Fake[] => Array.from({ length: count }, (_, i) => member(`10.244.0.${i + 2}:80`));
const none = () => {};
let now = 0;

function make(config: Balancer, all: readonly Fake[], seed = 1): BalancerPolicy<Fake> {
  const balancer = (balancers[config.type] as BalancerFactory<Balancer>)<Fake>(config, { random: seededRandom(seed), nowMs: () => now });
  balancer.update(all, all.filter(({ usable }) => usable));
  return balancer;
}
const counts = (balancer: BalancerPolicy<Fake>, picks: number, client = (i: number) => `192.0.${i >> 8}.${i & 255}`): Record<string, number> => {
  const result: Record<string, number> = {};
  for (let i = 0; i < picks; i++) {
    const { key } = balancer.pick(requestView({ client: client(i) }), undefined, none)!;
    result[key] = (result[key] ?? 0) + 1;
  }
  return result;
};

const configs: Balancer[] = [
  { type: "roundRobin" },
  { type: "leastRequest" },
  { type: "peakEwma" },
  { type: "random" },
  { type: "ringHash", by: "address" },
  { type: "maglev", by: "address" },
];
assert.deepEqual(configs.map(({ type }) => type).sort(), Object.keys(balancers).sort());

for (const config of configs) {
  test(`${config.type}: no endpoint, one endpoint, those that may not be used, those that were tried`, () => {
    assert.equal(make(config, []).pick(undefined, undefined, none), undefined);
    const one = members(1);
    assert.equal(make(config, one).pick(requestView({}), undefined, none), one[0]);
    assert.equal(make(config, one).pick(requestView({}), [one[0]!.key], none), undefined);
    const all = members(5);
    all[1]!.usable = all[3]!.usable = false;
    const balancer = make(config, all);
    assert.deepEqual(Object.keys(counts(balancer, 300)).sort(), [0, 2, 4].map((i) => all[i]!.key));
    for (let i = 0; i < 100; i++) assert.equal(balancer.pick(requestView({ client: `192.0.2.${i}` }), [all[0]!.key, all[4]!.key], none), all[2]);
  });

  test(`${config.type}: nobody is left out, nobody has it all`, () => {
    const shares = Object.values(counts(make(config, members(10)), 10_000));
    assert.equal(shares.length, 10);
    assert.ok(Math.min(...shares) > 700 && Math.max(...shares) < 1300, shares.join(" "));
  });

  test(`${config.type}: weights`, () => {
    const all = [member("a:1", 1), member("b:1", 3), member("c:1", 0)];
    const balancer = make(config, all);
    const result: Record<string, number> = {};
    for (let i = 0; i < 4000; i++) {
      const picked = balancer.pick(requestView({ client: `10.${i >> 8}.${i & 255}.7` }), undefined, none) as Fake;
      picked.active++;
      result[picked.key] = (result[picked.key] ?? 0) + 1;
    }
    assert.equal(result["c:1"], undefined);
    const share = result["b:1"]! / 4000;
    // Two endpoints of which the better is taken each time: the heavier one's load per weight is less until it has its share.
    assert.ok(share > 0.68 && share < 0.82, `${share}`);
  });
}

test("round robin is exact over each cycle, also with weights, and spreads the heavy one", () => {
  assert.deepEqual(Object.values(counts(make({ type: "roundRobin" }, members(3)), 300)), [100, 100, 100]);
  const balancer = make({ type: "roundRobin" }, [member("a", 5), member("b", 1), member("c", 1)]);
  const turns = Array.from({ length: 14 }, () => balancer.pick(undefined, undefined, none)!.key).join("");
  assert.equal(turns.slice(0, 7), turns.slice(7));
  assert.equal(turns.slice(0, 7).replaceAll(/[^a]/g, "").length, 5);
  assert.ok(!turns.slice(0, 7).includes("aaa"), turns);
});

test("round robin: one that comes or goes leaves the others' turns as they are", () => {
  const all = members(4);
  const balancer = make({ type: "roundRobin" }, all);
  const first = all.indexOf(balancer.pick(undefined, undefined, none)!);
  const due = all[(first + 1) % 4]!;
  balancer.update([...all, member("new:1")], [...all, member("new:1")]);
  assert.equal(balancer.pick(undefined, undefined, none), due);
});

test("least request goes where the fewest are under way", () => {
  const all = members(4);
  [3, 1, 2, 1].forEach((active, i) => (all[i]!.active = active));
  const balancer = make({ type: "leastRequest" }, all);
  const seen = new Set(Array.from({ length: 20 }, () => balancer.pick(undefined, undefined, none)!.key));
  assert.deepEqual([...seen].sort(), [all[1]!.key, all[3]!.key]);
});

test("peak EWMA avoids the slow one, tries the unknown one, and comes back to a slow one that has been left alone", () => {
  const all = members(2);
  [all[0]!.latencyMs, all[1]!.latencyMs] = [500, 5];
  const balancer = make({ type: "peakEwma" }, all);
  assert.deepEqual(Object.keys(counts(balancer, 100)), [all[1]!.key]);
  all[1]!.latencyMs = 0;
  assert.equal(balancer.pick(undefined, undefined, none), all[1]);
  all[1]!.active = 1;
  assert.equal(balancer.pick(undefined, undefined, none), all[0], "the unknown one is busy");
  [all[1]!.latencyMs, all[1]!.active] = [5, 0];
  now = 60_000;
  all[1]!.latencyAtMs = now;
  assert.equal(balancer.pick(undefined, undefined, none), all[0]);
  now = 0;
});

for (const type of ["ringHash", "maglev"] as const) {
  const where = (balancer: BalancerPolicy<Fake>) => Array.from({ length: 5000 }, (_, i) => balancer.pick(requestView({ client: `10.${i % 7}.${i >> 8}.${i & 255}` }), undefined, none)!.key);

  test(`${type}: the same client goes to the same endpoint, in every worker, in whatever order they are listed`, () => {
    const all = members(7);
    assert.deepEqual(where(make({ type, by: "address" }, all, 1)), where(make({ type, by: "address" }, all.toReversed(), 99)));
  });

  test(`${type}: an endpoint that goes moves its own clients, one that may not be used for a while has them back`, () => {
    const all = members(20);
    const before = where(make({ type, by: "address" }, all));
    const gone = all[7]!.key;
    const moved = (after: string[]) => after.filter((key, i) => before[i] !== gone && before[i] !== key).length;
    const after = where(make({ type, by: "address" }, all.filter(({ key }) => key !== gone)));
    assert.ok(moved(after) <= (type === "ringHash" ? 0 : 5000 * 0.05), `${moved(after)} of 5000 moved`);
    const balancer = make({ type, by: "address" }, all);
    all[7]!.usable = false;
    assert.equal(moved(where(balancer)), 0);
    all[7]!.usable = true;
    assert.deepEqual(where(balancer), before);
  });

  test(`${type}: by header, by query, by cookie; without it anywhere, or with a cookie that is given`, () => {
    const all = members(9);
    const asked = (by: Extract<Balancer, { type: "ringHash" }>["by"], request: Parameters<typeof requestView>[0], gave: (cookie: ClientCookie) => void = none) => make({ type, by }, all, 5).pick(requestView(request), undefined, gave)!.key;
    const spread = (by: Extract<Balancer, { type: "ringHash" }>["by"], requestOf: (i: number) => Parameters<typeof requestView>[0]) => {
      const balancer = make({ type, by }, all);
      return new Set(Array.from({ length: 100 }, (_, i) => balancer.pick(requestView(requestOf(i)), undefined, none)!.key)).size;
    };
    assert.equal(asked({ header: "X-User" }, { headers: { "x-user": "ann" } }), asked("address", { client: "ann" }));
    assert.equal(asked({ query: "user" }, { query: "x=1&user=ann" }), asked("address", { client: "ann" }));
    assert.equal(asked({ cookie: "u" }, { headers: { cookie: "a=b; u=ann" } }), asked("address", { client: "ann" }));
    assert.equal(spread({ header: "x-user" }, () => ({ headers: { "x-user": "ann" } })), 1);
    assert.equal(spread({ header: "x-user" }, () => ({})), 9);
    const given: ClientCookie[] = [];
    const first = asked({ cookie: "u", maxAgeSeconds: 60 }, {}, (cookie) => given.push(cookie));
    assert.equal(given.length, 1);
    assert.deepEqual([given[0]!.name, given[0]!.maxAgeSeconds], ["u", 60]);
    assert.equal(asked({ cookie: "u", maxAgeSeconds: 60 }, { headers: { cookie: `u=${given[0]!.value}` } }, () => assert.fail("it has one")), first);
    asked({ cookie: "u" }, {}, () => assert.fail("nobody asked for one"));
  });

  test(`${type}: its table is bounded, and made fast enough`, () => {
    const all = Array.from({ length: 2_000 }, (_, i) => member(`10.244.${i >> 8}.${i & 255}:80`, 1 + (i % 3) * 50));
    const begun = performance.now();
    assert.ok(make({ type, by: "address" }, all).pick(requestView({}), undefined, none));
    // It takes some 50 ms; without a bound it would take minutes.
    assert.ok(performance.now() - begun < 5_000, `${performance.now() - begun} ms`);
  });
}

test("a list alone: each in its turn, also when it shrinks", () => {
  const turn = new Turn(seededRandom(1));
  const seen = [0, 0, 0];
  for (let i = 0; i < 300; i++) seen[turn.next(3)]!++;
  assert.deepEqual(seen, [100, 100, 100]);
  for (let i = 0; i < 10; i++) assert.ok(turn.next(2) < 2);
  assert.equal(turn.next(1), 0);
});
