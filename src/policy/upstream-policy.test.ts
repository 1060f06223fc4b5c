import assert from "node:assert/strict";
import { test } from "node:test";
import type { Persistence, Upstream } from "../api/traffic.ts";
import { FakeClock } from "../base/clock.ts";
import { seededRandom } from "../base/random.ts";
import { SessionNames } from "./session-token.ts";
import { requestView } from "./testing/request.ts";
import type { Endpoint, Picked, TryResult, UpstreamPolicy } from "./upstream.ts";
import { createUpstreamPolicy } from "./upstream-policy.ts";

const endpoints = (count: number): Endpoint[] => Array.from({ length: count }, (_, i) => ({ ip: `10.0.0.${i + 1}`, port: 80, key: `10.0.0.${i + 1}:80` }));
const ok: TryResult = { type: "answered", status: 200, latencyMs: 1 };
const failed: TryResult = { type: "answered", status: 500, latencyMs: 1 };
const local: TryResult = { type: "local", latencyMs: 1 };
const cancelled: TryResult = { type: "cancelled", latencyMs: 1 };

interface World {
  clock: FakeClock;
  policy: UpstreamPolicy;
  /** An endpoint, which must be there. */
  pick(...args: Partial<Parameters<UpstreamPolicy["pick"]>>): Picked;
  /** The flag of a refusal, or the key of the endpoint, given back at once. */
  outcome(result?: TryResult, ...args: Partial<Parameters<UpstreamPolicy["pick"]>>): string;
}
const base: Upstream = { id: "shop/cart/80", namespace: "shop", service: "cart", port: 80, protocol: "http1" };

function world(config: Partial<Upstream>, count = 3, key = "00112233445566778899aabbccddeeff"): World {
  const clock = new FakeClock();
  const policy = createUpstreamPolicy({ ...base, ...config }, { random: seededRandom(1), nowMs: () => clock.monotonicMs(), sessions: new SessionNames(key) });
  policy.update(endpoints(count));
  const pick: World["pick"] = (...args) => {
    const picked = policy.pick(args[0], args[1], args[2], args[3]);
    if (!picked.endpoint) throw new Error(picked.reason);
    return picked;
  };
  return {
    clock,
    policy,
    pick,
    outcome(result = ok, ...args) {
      const picked = policy.pick(args[0], args[1], args[2], args[3]);
      if (!picked.endpoint) return picked.flag;
      picked.done(result);
      return picked.endpoint.key;
    },
  };
}

test("no endpoint, and an upstream that is wrong", () => {
  assert.deepEqual(world({}, 0).policy.pick(undefined), { status: 503, flag: "UH", reason: "shop/cart/80 has no endpoint" });
  const { policy } = world({ error: { status: 500, reason: "certificate not found" } });
  assert.deepEqual(policy.pick(undefined), { status: 500, flag: "NC", reason: "certificate not found" });
  policy.configure(base);
  assert.ok(policy.pick(undefined).endpoint);
});

test("an ordinary choice makes nothing new, and counts what is under way", () => {
  const { policy, pick } = world({}, 1);
  const first = pick(undefined);
  assert.equal(pick(undefined), first);
  assert.equal(policy.endpoints()[0]!.active, 2);
  first.done(ok);
  first.done(failed);
  assert.equal(policy.endpoints()[0]!.active, 0);
});

test("further tries go elsewhere, as long as there is an elsewhere", () => {
  const { pick } = world({}, 2);
  const first = pick(undefined).endpoint.key;
  const second = pick(undefined, [first], true).endpoint.key;
  assert.notEqual(second, first);
  assert.ok(pick(undefined, [first, second], true).endpoint);
});

test("further tries as a share of the requests under way, and a few in any case", () => {
  const { policy, pick, outcome } = world({ breaker: { retriesMax: 0, retriesShare: { percent: 20, least: 3 } } });
  for (let i = 0; i < 3; i++) pick(undefined, [], true);
  assert.equal(policy.mayRetry(), false);
  for (let i = 0; i < 17; i++) pick(undefined);
  // Twenty are under way: four may be further tries.
  assert.equal(policy.mayRetry(), true);
  const fourth = pick(undefined, [], true);
  assert.equal(policy.mayRetry(), false);
  const refused = policy.pick(undefined, [], true);
  assert.equal(refused.endpoint === undefined && refused.flag, "UO");
  fourth.done(cancelled);
  assert.equal(policy.mayRetry(), true);
  assert.notEqual(outcome(), "UO");
});

test("bounds: requests, further tries, connections, waiting requests", () => {
  const { policy, pick, outcome } = world({ breaker: { requestsMax: 2, retriesMax: 1, connectionsMax: 2, pendingMax: 1 } });
  const [a] = [pick(undefined), pick(undefined)];
  assert.equal(outcome(), "UO");
  a.done(ok);
  const retry = pick(undefined, [], true);
  assert.equal(policy.mayRetry(), false);
  retry.done(cancelled);
  assert.equal(policy.mayRetry(), true);
  assert.notEqual(outcome(), "UO");
  for (const [start, end] of [["connectionOpened", "connectionClosed", 2], ["pendingStarted", "pendingEnded", 1]] as const) {
    while (policy[start]()) assert.ok(true);
    assert.equal(policy[start](), false);
    policy[end]();
    assert.equal(policy[start](), true);
  }
});

test("circuit: opens after failures in a row, lets exactly the trial through, closes or stays open by it", () => {
  const { clock, pick, outcome } = world({ breaker: { circuit: { consecutiveFailures: 3, openMs: 1_000 } } });
  for (const result of [failed, failed, ok, failed, cancelled, local, failed]) assert.notEqual(outcome(result), "UO");
  assert.equal(outcome(), "UO");
  clock.advance(999);
  assert.equal(outcome(), "UO");
  clock.advance(1);
  const trial = pick(undefined);
  assert.deepEqual([outcome(), outcome()], ["UO", "UO"]);
  trial.done(failed);
  clock.advance(999);
  assert.equal(outcome(), "UO", "open as long once more");
  clock.advance(1);
  pick(undefined).done(cancelled);
  pick(undefined).done(ok);
  assert.deepEqual([outcome(failed), outcome(failed), outcome(ok)].includes("UO"), false, "closed, and begins anew");
});

test("circuit: several trials must all succeed, and late results of before teach nothing", () => {
  const { clock, pick, outcome } = world({ breaker: { circuit: { consecutiveFailures: 1, openMs: 100, trials: 2 } } });
  const [late, alsoLate] = [pick(undefined), pick(undefined)];
  outcome(failed);
  late.done(ok);
  assert.equal(outcome(), "UO");
  clock.advance(100);
  const [first, second] = [pick(undefined), pick(undefined)];
  assert.equal(outcome(), "UO");
  alsoLate.done(failed);
  first.done(ok);
  assert.equal(outcome(), "UO");
  second.done(ok);
  assert.notEqual(outcome(), "UO");
});

const outlier = { consecutive5xx: 2, intervalMs: 10_000, baseEjectionMs: 1_000, maxEjectionPercent: 100 };
/** Fails the endpoint until its failures are reached. */
const failFirst = ({ policy, pick }: World, times = 2, result: TryResult = failed, others: TryResult = ok) => {
  for (let left = times, picks = 0; left > 0; picks++) {
    assert.ok(picks < 200, "it is never chosen");
    const picked = pick(undefined);
    const isFirst = picked.endpoint.key === "10.0.0.1:80";
    if (isFirst) left--;
    picked.done(isFirst ? result : others);
  }
  return policy.endpoints().filter(({ ejectedForMs }) => ejectedForMs > 0).map(({ key, ejectedForMs }) => `${key} ${ejectedForMs}`);
};
const seen = ({ outcome }: World) => new Set(Array.from({ length: 12 }, () => outcome(ok))).size;

test("an endpoint that fails in a row is left out, longer each time, and forgiven with time", () => {
  const all = world({ outlier });
  assert.deepEqual(failFirst(all), ["10.0.0.1:80 1000"]);
  assert.equal(seen(all), 2);
  all.clock.advance(1_000);
  assert.equal(seen(all), 3);
  assert.deepEqual(failFirst(all), ["10.0.0.1:80 2000"]);
  all.clock.advance(2_000);
  assert.equal(seen(all), 3);
  all.clock.advance(20_000);
  assert.deepEqual(failFirst(all), ["10.0.0.1:80 1000"]);
});

const counted: [what: string, config: Partial<typeof outlier> & Partial<NonNullable<Upstream["outlier"]>>, result: TryResult, times: number, ejected: boolean][] = [
  ["5xx in a row", {}, failed, 2, true],
  ["not yet", {}, failed, 1, false],
  ["4xx is the client's fault", {}, { ...ok, status: 404 }, 5, false],
  ["no connection counts as one", {}, local, 2, true],
  ["no connection has a count of its own", { consecutiveLocalFailures: 4 }, local, 3, false],
  ["which is reached", { consecutiveLocalFailures: 4 }, { type: "timeout", latencyMs: 1 }, 4, true],
  ["a client that went away says nothing", {}, cancelled, 5, false],
  ["gateway errors: 500 is none", { consecutive5xx: 0, consecutiveGatewayErrors: 2 }, failed, 5, false],
  ["gateway errors: 503 is one", { consecutive5xx: 0, consecutiveGatewayErrors: 2 }, { ...ok, status: 503 }, 2, true],
  ["never the share too many", { maxEjectionPercent: 30 }, failed, 5, false],
  ["the share that is allowed", { maxEjectionPercent: 34 }, failed, 2, true],
];
for (const [what, config, result, times, ejected] of counted) {
  test(`ejection: ${what}`, () => assert.equal(failFirst(world({ outlier: { ...outlier, ...config } }), times, result).length, ejected ? 1 : 0));
}

test("the last endpoint is never ejected, and below the panic threshold all are used", () => {
  const all = world({ outlier: { ...outlier, consecutive5xx: 1 } }, 3);
  for (let i = 0; i < 20; i++) all.outcome(failed);
  assert.equal(all.policy.endpoints().filter(({ ejectedForMs }) => ejectedForMs > 0).length, 2);
  assert.equal(seen(all), 1);
  all.policy.configure({ ...base, outlier: { ...outlier, consecutive5xx: 1 }, panicPercent: 50 });
  for (let i = 0; i < 20; i++) all.outcome(failed);
  assert.equal(seen(all), 3);
});

test("an endpoint that is listed again keeps what is known of it; a removed one is forgotten", () => {
  const all = world({ outlier });
  failFirst(all);
  all.policy.update([...endpoints(3), { ip: "10.0.0.9", port: 80, key: "10.0.0.9:80" }]);
  assert.equal(seen(all), 3);
  all.policy.update(endpoints(3).slice(1));
  all.policy.update(endpoints(3));
  assert.equal(seen(all), 3);
});

test("a change of configuration keeps what it does not touch", () => {
  const all = world({ outlier, breaker: { circuit: { consecutiveFailures: 2, openMs: 1_000 } } });
  all.outcome(failed);
  all.policy.configure({ ...base, idleMs: 5, outlier, breaker: { requestsMax: 9, circuit: { consecutiveFailures: 2, openMs: 1_000 } } });
  all.outcome(failed);
  assert.equal(all.outcome(), "UO");
  all.policy.configure(base);
  assert.notEqual(all.outcome(), "UO");
});

test("retry budget: a share of all tries, and a few in any case", () => {
  const all = world({ retryBudget: { percent: 20, minPerSecond: 0 } });
  const retries = () => Array.from({ length: 100 }, () => all.outcome(ok, undefined, [], true)).filter((outcome) => outcome !== "UO").length;
  assert.equal(retries(), 0);
  for (let i = 0; i < 80; i++) all.outcome(ok);
  assert.equal(all.policy.mayRetry(), true);
  assert.equal(retries(), 20, "20 of 100 tries");
  assert.equal(all.policy.mayRetry(), false);
  all.clock.advance(10_500);
  assert.equal(retries(), 0, "what was long ago allows nothing");
  const few = world({ retryBudget: { percent: 0, minPerSecond: 3 } });
  const outcomes = () => Array.from({ length: 10 }, () => few.outcome(ok, undefined, [], true)).filter((outcome) => outcome !== "UO").length;
  assert.equal(outcomes(), 3);
  few.clock.advance(1_000);
  assert.equal(outcomes(), 3);
});

const sessions: [type: Persistence["type"], take: (picked: Picked, name: string) => Record<string, string>][] = [
  ["cookie", ({ setCookie }, name) => ({ cookie: `other=1; ${name}=${new RegExp(`^${name}=([0-9a-f]{32}); `).exec(setCookie!)![1]}` })],
  ["header", ({ setHeader }) => ({ [setHeader!.name]: setHeader!.value })],
];
for (const [type, take] of sessions) {
  test(`sessions by ${type}: one endpoint while it lives, also after a restart; another when it has gone`, () => {
    const persistence: Persistence = { type, name: "sid" };
    const one = world({}, 5);
    const first = one.pick(requestView({}), undefined, false, persistence);
    const headers = take(first, "sid");
    assert.ok(!JSON.stringify(headers).includes("10.0.0"), "no address leaks");
    const again = world({}, 5);
    again.policy.update(endpoints(7).toReversed());
    for (let i = 0; i < 20; i++) {
      const picked = again.pick(requestView({ headers }), undefined, false, persistence);
      assert.equal(picked.endpoint.key, first.endpoint.key);
      assert.deepEqual([picked.setCookie, picked.setHeader], [undefined, undefined], "it has it already");
    }
    assert.notEqual(again.pick(requestView({ headers }), [first.endpoint.key], true, persistence).endpoint.key, first.endpoint.key);
    again.policy.update(endpoints(7).filter(({ key }) => key !== first.endpoint.key));
    const other = again.pick(requestView({ headers }), undefined, false, persistence);
    assert.ok(other.setCookie ?? other.setHeader, "a new one is given");
    for (const value of ["", "zz", "0".repeat(32)]) {
      const picked = one.pick(requestView({ headers: { cookie: `sid=${value}`, sid: value } }), undefined, false, persistence);
      assert.ok(picked.setCookie ?? picked.setHeader, `${value} is nobody's`);
    }
    const stranger = world({}, 5, "ffffffffffffffffffffffffffffffff");
    assert.ok(stranger.pick(requestView({ headers }), undefined, false, persistence).endpoint.key);
    assert.notDeepEqual(take(stranger.pick(requestView({}), undefined, false, persistence), "sid"), headers);
  });
}

test("sessions by address: remembered while the client comes, and the first choice is every worker's", () => {
  const persistence: Persistence = { type: "address", name: "", maxAgeSeconds: 60 };
  const [one, other] = [world({}, 4), world({}, 4)];
  const first = one.pick(requestView({}), undefined, false, persistence).endpoint.key;
  assert.equal(other.pick(requestView({}), undefined, false, persistence).endpoint.key, first);
  const more = [...endpoints(20)].toReversed();
  one.policy.update(more);
  for (let i = 0; i < 10; i++) {
    one.clock.advance(59_000);
    assert.equal(one.pick(requestView({}), undefined, false, persistence).endpoint.key, first);
  }
});

test("the cookie says how long, where, and over what", () => {
  const cookieOf = (persistence: Persistence) => world({}).pick(requestView({}), undefined, false, persistence).setCookie!.replace(/=[0-9a-f]{32};/, "=…;");
  assert.equal(cookieOf({ type: "cookie", name: "route" }), "route=…; Path=/; HttpOnly");
  assert.equal(cookieOf({ type: "cookie", name: "route", path: "/shop", maxAgeSeconds: 3600, secure: true }), "route=…; Path=/shop; Max-Age=3600; HttpOnly; Secure");
  assert.equal(cookieOf({ type: "cookie", name: "route", domain: "a.io", sameSite: "None", secure: true }), "route=…; Path=/; Domain=a.io; HttpOnly; Secure; SameSite=None");
  const hashed = world({ balancer: { type: "maglev", by: { cookie: "h", maxAgeSeconds: 0 } } });
  assert.match(hashed.pick(requestView({})).setCookie!, /^h=[0-9a-f]{16}; Path=\/; HttpOnly$/);
});
