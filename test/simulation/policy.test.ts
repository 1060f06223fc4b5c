import assert from "node:assert/strict";
import type { HttpMatch, HttpRoute, Persistence, ValueMatch } from "../../src/api/traffic.ts";
import { FakeClock } from "../../src/base/clock.ts";
import { type Random, randomInt } from "../../src/base/random.ts";
import type { RequestView } from "../../src/policy/exchange.ts";
import { leasedLimiter, leaseMs, RateOwner } from "../../src/policy/rate-leases.ts";
import { RouteTable } from "../../src/policy/route-table.ts";
import { requestView, toolsAt } from "../../src/policy/testing/request.ts";
import { TokenBuckets } from "../../src/policy/token-bucket.ts";
import type { Picked } from "../../src/policy/upstream.ts";
import { SmoothWeights } from "../../src/policy/weighted.ts";
import { always, between, endpoint, oneOf, resultOf, World } from "./policy-world.ts";

/**
 * What the traffic policy promises, whatever comes: on a clock and chances that the seed drives.
 *
 *   SEED=7 node --test test/simulation/policy.test.ts      runs one seed again
 */

always("retries: the budget bounds what clients that try again and again can add, also when everything fails", (random) => {
  const [percent, minPerSecond] = [between(random, 1, 50), between(random, 0, 5)];
  const world = new World(random, { retryBudget: { percent, minPerSecond } }, [endpoint(1), endpoint(2)]);
  const failureShare = random.next() < 0.5 ? 1 : random.next();
  let [tries, retries] = [0, 0];
  const seconds = 60;
  for (let ms = 0; ms < seconds * 1000; ms += between(random, 1, 40)) {
    world.clock.advance(Math.max(0, ms - (world.clock.monotonicMs() - Date.UTC(2026, 0, 1))));
    for (let attempt = 0; attempt <= 5; attempt++) {
      const picked = world.policy.pick(undefined, [], attempt > 0);
      if (!picked.endpoint) break;
      tries++;
      if (attempt > 0) retries++;
      const fails = random.next() < failureShare;
      picked.done(fails ? { type: "local", latencyMs: 1 } : { type: "answered", status: 200, latencyMs: 1 });
      if (!fails) break;
    }
  }
  assert.ok(retries <= (percent / 100) * tries + minPerSecond * (seconds + 1), `${retries} of ${tries} tries, at ${percent} % and ${minPerSecond} a second`);
  if (failureShare === 1) assert.ok(retries >= (percent / 100) * tries * 0.9, `${retries} of ${tries}: the budget is used`);
});

always("ejection: never the last one, never more than allowed, and there is always somebody to ask", (random) => {
  let endpoints = Array.from({ length: between(random, 1, 12) }, (_, i) => endpoint(i));
  const maxEjectionPercent = oneOf(random, [0, 10, 34, 50, 100, 100]);
  const panicPercent = between(random, 0, 60);
  let [panics, used] = [0, 0];
  const world = new World(
    random,
    {
      balancer: oneOf(random, [{ type: "roundRobin" }, { type: "leastRequest" }, { type: "peakEwma" }, { type: "random" }, { type: "maglev", by: "address" }, { type: "ringHash", by: "address" }] as const),
      outlier: { consecutive5xx: between(random, 1, 4), consecutiveGatewayErrors: between(random, 0, 3), ...(random.next() < 0.5 && { consecutiveLocalFailures: 2 }), intervalMs: 1_000, baseEjectionMs: between(random, 1, 3_000), maxEjectionPercent },
      ...(panicPercent > 0 && { panicPercent }),
    },
    endpoints,
  );
  const running: Picked[] = [];
  let everEjected = 0;
  for (let step = 0; step < 600; step++) {
    const out = () => world.policy.endpoints().filter(({ ejectedForMs }) => ejectedForMs > 0).length;
    const before = out();
    const what = random.next();
    if (what < 0.5) {
      const picked = world.policy.pick(requestView({ client: `192.0.2.${randomInt(random, 256)}` }));
      assert.ok(picked.endpoint, "nobody is left");
      assert.ok(endpoints.some(({ key }) => key === picked.endpoint.key), "one that has gone");
      // Below the threshold all are used; above it nobody who is out.
      const isPanic = endpoints.length - out() === 0 || endpoints.length - out() < (endpoints.length * panicPercent) / 100;
      const chosen = world.policy.endpoints().find(({ key }) => key === picked.endpoint.key)!;
      if (isPanic) panics++;
      else assert.equal(chosen.ejectedForMs, 0, "one that is out");
      if (chosen.ejectedForMs > 0) used++;
      running.push(picked);
    } else if (what < 0.9 && running.length > 0) {
      running.splice(randomInt(random, running.length), 1)[0]!.done(resultOf(random));
      if (out() > before) {
        everEjected++;
        assert.ok(out() <= Math.floor((endpoints.length * maxEjectionPercent) / 100) && out() < endpoints.length, `${out()} of ${endpoints.length} at ${maxEjectionPercent} %`);
      }
    } else if (what < 0.95) {
      world.clock.advance(randomInt(random, 4_000));
    } else {
      endpoints = endpoints.filter(() => random.next() < 0.8);
      if (endpoints.length === 0 || random.next() < 0.5) endpoints.push(endpoint(100 + step));
      world.policy.update(endpoints);
    }
  }
  for (const picked of running) picked.done(resultOf(random));
  assert.deepEqual(world.policy.endpoints().filter(({ active }) => active !== 0), [], "everything was given back");
  if (maxEjectionPercent === 0) assert.equal(everEjected, 0);
  if (panics > 50) assert.ok(used > 0, `nobody who is out was asked in ${panics} times of panic`);
});

always("weights: each cycle is exact, whatever the weights", (random) => {
  const weights = Array.from({ length: between(random, 1, 8) }, () => (random.next() < 0.2 ? 0 : between(random, 1, 40)));
  const turns = new SmoothWeights(weights);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  for (let cycle = 0; cycle < 3; cycle++) {
    const counts = weights.map(() => 0);
    for (let i = 0; i < total; i++) counts[turns.next()]!++;
    assert.deepEqual(counts, weights);
  }
});

always("weights of endpoints: the same, in turn", (random) => {
  const endpoints = Array.from({ length: between(random, 1, 8) }, (_, i) => ({ ...endpoint(i), weight: between(random, 1, 20) }));
  const world = new World(random, {}, endpoints);
  const isEven = endpoints.every(({ weight }) => weight === endpoints[0]!.weight);
  const cycle = isEven ? endpoints.length : endpoints.reduce((sum, { weight }) => sum + weight, 0);
  const counts = new Map<string, number>();
  for (let i = 0; i < cycle; i++) {
    const picked = world.policy.pick(undefined) as Picked;
    counts.set(picked.endpoint.key, (counts.get(picked.endpoint.key) ?? 0) + 1);
    picked.done({ type: "answered", status: 200, latencyMs: 1 });
  }
  assert.deepEqual(endpoints.map(({ key }) => counts.get(key)), endpoints.map(({ weight }) => (isEven ? 1 : weight)));
});

always("circuit: while it is half open exactly the trials are under way, and nobody while it is open", (random) => {
  const [consecutiveFailures, openMs, trials] = [between(random, 1, 4), between(random, 10, 1_000), between(random, 1, 3)];
  const world = new World(random, { breaker: { circuit: { consecutiveFailures, openMs, trials } } }, [endpoint(1)]);
  const running: { picked: Picked; era: number }[] = [];
  // A model in the words of the promise: an era is one time of closed, open, or half open.
  let [state, era, failures, openUntil, underWay, succeeded] = ["closed", 0, 0, 0, 0, 0];
  let opened = 0;
  const open = () => {
    [state, failures, openUntil] = ["open", 0, world.clock.monotonicMs() + openMs];
    era++;
    opened++;
  };
  for (let step = 0; step < 800; step++) {
    const what = random.next();
    if (what < 0.5) {
      if (state === "open" && world.clock.monotonicMs() >= openUntil) [state, era, underWay, succeeded] = ["halfOpen", era + 1, 0, 0];
      const expected = state === "closed" || (state === "halfOpen" && underWay + succeeded < trials);
      const picked = world.policy.pick(undefined);
      assert.equal(picked.endpoint !== undefined, expected, `${state}, ${underWay} under way, ${succeeded} succeeded`);
      if (picked.endpoint) running.push({ picked, era });
      if (picked.endpoint && state === "halfOpen") underWay++;
    } else if (what < 0.95 && running.length > 0) {
      const [ended] = running.splice(randomInt(random, running.length), 1);
      const result = resultOf(random);
      ended!.picked.done(result);
      if (ended!.era !== era) continue;
      const failed = result.type !== "answered" || result.status! >= 500;
      if (state === "halfOpen") underWay--;
      if (result.type === "cancelled") continue;
      if (state === "halfOpen" && failed) open();
      else if (state === "halfOpen" && ++succeeded === trials) [state, failures, era] = ["closed", 0, era + 1];
      else if (state === "closed") {
        failures = failed ? failures + 1 : 0;
        if (failures === consecutiveFailures) open();
      }
    } else {
      world.clock.advance(randomInt(random, openMs * 2));
    }
  }
  assert.ok(opened > 0);
});

always("sessions: a client stays with its endpoint as long as that lives", (random) => {
  const persistence: Persistence = oneOf(random, [{ type: "cookie", name: "s" }, { type: "header", name: "X-S" }, { type: "address", name: "" }] as const);
  let endpoints = Array.from({ length: between(random, 2, 10) }, (_, i) => endpoint(i));
  const world = new World(random, {}, endpoints);
  const clients = new Map<string, { headers: Record<string, string>; at: string }>();
  for (let step = 0; step < 500; step++) {
    if (random.next() < 0.1) {
      endpoints = endpoints.filter(() => random.next() < 0.8);
      if (endpoints.length === 0 || random.next() < 0.7) endpoints.push(endpoint(100 + step));
      if (random.next() < 0.5) endpoints.reverse();
      world.policy.update(endpoints);
    }
    const client = `192.0.2.${randomInt(random, 30)}`;
    const known = clients.get(client);
    const picked = world.policy.pick(requestView({ client, headers: known?.headers ?? {} }), undefined, false, persistence) as Picked;
    const { endpoint: chosen, setCookie, setHeader } = picked;
    if (known && endpoints.some(({ key }) => key === known.at)) assert.equal(chosen.key, known.at);
    const headers = setCookie ? { cookie: setCookie.split(";")[0]! } : setHeader ? { [setHeader.name]: setHeader.value } : (known?.headers ?? {});
    clients.set(client, { headers, at: chosen.key });
    picked.done(resultOf(random));
  }
});

always("token bucket: never more than the rate and the burst in any time, and whoever waits as told gets through", (random) => {
  const [requests, periodMs, burst] = [between(random, 1, 50), oneOf(random, [1_000, 60_000]), between(random, 0, 20)];
  const buckets = new TokenBuckets({ requests, periodMs, burst }, 100);
  const taken: number[] = [];
  const mean = periodMs / requests / 2;
  for (let now = 0, i = 0; i < 400; i++) {
    now += random.next() < 0.5 ? 0 : random.next() * mean * (random.next() < 0.05 ? 20 : 1);
    const waitMs = buckets.take("k", now);
    if (waitMs === 0) taken.push(now);
    else if (random.next() < 0.1) {
      now += waitMs;
      assert.equal(buckets.take("k", now), 0);
      taken.push(now);
    }
  }
  for (let i = 0; i < taken.length; i++) {
    for (let j = i; j < taken.length; j++) {
      const most = burst + 1 + ((taken[j]! - taken[i]!) * requests) / periodMs;
      assert.ok(j - i + 1 <= most + 1e-6, `${j - i + 1} in ${taken[j]! - taken[i]!} ms`);
    }
  }
});

always("leased rates: several workers together let through what one would, but for what is on its way", (random) => {
  const clock = new FakeClock();
  const rate = { requests: between(random, 1, 400), periodMs: 1_000, burst: between(random, 0, 30) };
  const owner = new RateOwner(() => clock.monotonicMs());
  const delayMax = oneOf(random, [0, 2, 20]);
  let messages = 0;
  const workers = Array.from({ length: between(random, 1, 4) }, () =>
    leasedLimiter("HTTPRoute/a/b/rate", rate, {
      nowMs: () => clock.monotonicMs(),
      setTimer: (ms, go) => clock.setTimer(ms, go),
      ask(request, reply) {
        messages++;
        clock.setTimer(random.next() * delayMax, () => {
          const lease = owner.lease(request);
          clock.setTimer(random.next() * delayMax, () => reply(lease));
        });
      },
    }),
  );
  const taken: number[] = [];
  const [seconds, demand] = [4, rate.requests * oneOf(random, [0.5, 2, 5])];
  let [asked, decided] = [0, 0];
  for (let ms = 0; ms < seconds * 1000; ms++) {
    for (let due = demand / 1000; due > 0 && random.next() < due; due--) {
      asked++;
      oneOf(random, workers).take("client", (waitMs) => {
        decided++;
        assert.ok(waitMs >= 0);
        if (waitMs === 0) taken.push(clock.monotonicMs());
      });
    }
    clock.advance(1);
  }
  clock.advance(1_000);
  assert.equal(decided, asked, "everybody is told");
  for (let i = 0; i < taken.length; i += 7) {
    for (let j = i; j < taken.length; j++) {
      const most = rate.burst + 1 + ((taken[j]! - taken[i]! + leaseMs + delayMax) * rate.requests) / rate.periodMs;
      assert.ok(j - i + 1 <= most + 1e-6, `${j - i + 1} in ${taken[j]! - taken[i]!} ms, ${most} allowed`);
    }
  }
  // Where nothing may gather, what comes due while nobody asks is lost, as in any bucket; so it is while a message is on its way.
  const isQuick = delayMax <= 2 && rate.burst >= 5;
  if (isQuick && demand >= 2 * rate.requests) assert.ok(taken.length >= 0.9 * Math.min(asked, rate.requests * seconds), `${taken.length} of ${asked} at ${rate.requests} a second: what may go goes`);
  assert.ok(messages <= asked, "no more messages than requests");
});

always("leased rates: when the owner is gone, each worker counts for itself", (random) => {
  const clock = new FakeClock();
  const limiter = leasedLimiter("id", { requests: 10, periodMs: 1_000, burst: 4 }, { nowMs: () => clock.monotonicMs(), setTimer: (ms, go) => clock.setTimer(ms, go), ask() {} });
  let [went, refused] = [0, 0];
  const count = between(random, 6, 40);
  for (let i = 0; i < count; i++) limiter.take("k", (waitMs) => (waitMs === 0 ? went++ : refused++));
  assert.equal(went + refused, 0);
  clock.advance(300);
  assert.deepEqual([went, refused], [5, count - 5]);
});

const segments = ["a", "b", "A", "ab", ""];
const hostnames = ["", "*.example.com", "*.com", "a.example.com", "b.a.example.com", "*.a.example.com", "example.com"];
const hosts = ["a.example.com", "b.a.example.com", "c.b.a.example.com", "x.example.com", "example.com", "x.org", ""];
const path = (random: Random): string => `/${Array.from({ length: randomInt(random, 4) }, () => oneOf(random, segments)).join("/")}`;
const patterns = ["/a.*", "/[ab]+", "^/b", "(/a)+", ".*b", "/a(/|$)(.*)", "A"];

function randomMatch(random: Random): HttpMatch {
  const chance = (share: number) => random.next() < share;
  const type = oneOf(random, ["prefix", "prefix", "exact", "regex"] as const);
  const value = (): ValueMatch => ({ name: oneOf(random, ["x", "y"]), type: oneOf(random, ["exact", "exact", "present", "prefix", "regex"] as const), value: oneOf(random, ["1", "2"]), ...(chance(0.2) && { not: true }) });
  return {
    path: { type, value: type === "regex" ? oneOf(random, patterns) : path(random), ...(chance(0.3) && { ignoreCase: true }), ...(type === "regex" && chance(0.5) && { partial: true }) },
    ...(chance(0.2) && { method: oneOf(random, ["GET", "POST"]) }),
    ...(chance(0.3) && { headers: Array.from({ length: between(random, 1, 2) }, value) }),
    ...(chance(0.2) && { query: [value()] }),
    ...(chance(0.1) && { cookies: [value()] }),
    ...(chance(0.1) && { priority: between(random, -1, 1) }),
  };
}

/** Every match there is, one after another: what the table must agree with. Written anew, with JavaScript's own expressions. */
class Linear {
  readonly routes = new Map<string, HttpRoute>();

  find(listener: string, request: RequestView): string | undefined {
    const fitting: { name: string; rank: (number | string)[] }[] = [];
    for (const route of this.routes.values()) {
      for (const { listener: attached, hostnames: names } of route.attachments) {
        if (attached !== listener) continue;
        for (const name of names.filter((one) => one === "" || one === request.host || (one.startsWith("*") && request.host.endsWith(one.slice(1)) && request.host.length >= one.length))) {
          for (const [i, rule] of route.rules.entries()) {
            for (const [j, match] of rule.matches.entries()) {
              if (!this.#fits(match, request)) continue;
              const type = match.path.type;
              const plain = type === "prefix" ? match.path.value.replace(/\/$/, "") : match.path.value;
              fitting.push({
                name: `${route.id} ${i} ${j}`,
                rank: [
                  name === "" ? 2 : name.startsWith("*") ? 1 : 0,
                  -name.length,
                  -(match.priority ?? 0),
                  ["exact", "prefix", "regex"].indexOf(type),
                  type === "exact" ? 0 : -plain.length,
                  match.method === undefined ? 1 : 0,
                  -(match.headers?.length ?? 0) - (match.cookies?.length ?? 0),
                  -(match.query?.length ?? 0),
                  route.createdAt,
                  route.id,
                  i,
                  j,
                ],
              });
            }
          }
        }
      }
    }
    return fitting.sort((a, b) => compare(a.rank, b.rank))[0]?.name;
  }

  #fits({ path: { type, value, ignoreCase, partial }, method, headers = [], query = [], cookies = [] }: HttpMatch, request: RequestView): boolean {
    if (method !== undefined && method !== request.method) return false;
    const fold = (text: string) => (ignoreCase ? text.toLowerCase() : text);
    if (type === "exact" && fold(value) !== fold(request.path)) return false;
    if (type === "prefix") {
      const elements = (text: string) => text.replace(/\/$/, "").split("/");
      const wanted = elements(fold(value));
      const given = fold(request.path).split("/");
      if (wanted.some((element, i) => element !== given[i])) return false;
    }
    if (type === "regex" && !new RegExp(partial ? value : `^(?:${value})$`, ignoreCase ? "i" : "").test(request.path)) return false;
    const first = (list: ValueMatch[]) => list.filter((one, i) => list.findIndex((other) => other.name === one.name && !other.not === !one.not) === i);
    const parameters = new URLSearchParams(request.query);
    const jar = new Map((request.header("cookie") ?? "").split("; ").map((pair) => pair.split("=") as [string, string]));
    return (
      first(headers).every((wanted) => holds(wanted, request.header(wanted.name))) &&
      first(query).every((wanted) => holds(wanted, parameters.get(wanted.name) ?? undefined)) &&
      first(cookies).every((wanted) => holds(wanted, jar.get(wanted.name)))
    );
  }
}

function holds({ type, value, not = false }: ValueMatch, given: string | undefined): boolean {
  const fits = given !== undefined && { exact: given === value, present: true, prefix: given.startsWith(value), regex: new RegExp(`^(?:${value})$`).test(given) }[type];
  return fits !== not;
}

function compare(a: (number | string)[], b: (number | string)[]): number {
  for (const [i, value] of a.entries()) if (value !== b[i]) return value < b[i]! ? -1 : 1;
  return 0;
}

always("routes: the table answers as one that looks at every match, while routes come and go", (random) => {
  const table = new RouteTable(toolsAt(new FakeClock()));
  const linear = new Linear();
  let found = 0;
  for (let step = 0; step < 150; step++) {
    const id = `HTTPRoute/ns/${randomInt(random, 25)}`;
    if (random.next() < 0.3) {
      table.remove(id);
      linear.routes.delete(id);
    } else {
      const route: HttpRoute = {
        id,
        type: "http",
        createdAt: randomInt(random, 5),
        attachments: [{ listener: oneOf(random, ["l", "m"]), hostnames: Array.from({ length: between(random, 1, 3) }, () => oneOf(random, hostnames)) }],
        rules: Array.from({ length: between(random, 1, 3) }, (_, i) => ({ name: String(i), matches: Array.from({ length: between(random, 1, 3) }, () => randomMatch(random)), filters: [], backends: [] })),
      };
      table.put(route);
      linear.routes.set(id, route);
    }
    for (let i = 0; i < 6; i++) {
      const headers = Object.fromEntries(["x", "y"].filter(() => random.next() < 0.5).map((name) => [name, oneOf(random, ["1", "2", "12"])]));
      const request = requestView({
        host: oneOf(random, hosts),
        method: oneOf(random, ["GET", "POST"]),
        path: random.next() < 0.03 ? "*" : path(random),
        query: random.next() < 0.5 ? "" : `${oneOf(random, ["x", "y", "xx"])}=${oneOf(random, ["1", "2", ""])}&x=2`,
        headers: { ...headers, ...(random.next() < 0.3 && { cookie: `y=${oneOf(random, ["1", "2"])}; z=1` }) },
      });
      const listener = oneOf(random, ["l", "m"]);
      const chosen = table.find(listener, request);
      const name = chosen.rule && `${chosen.rule.route.id} ${chosen.rule.index} ${chosen.rule.rule.matches.indexOf(chosen.match)}`;
      assert.equal(name, linear.find(listener, request), `${request.method} ${request.host}${request.path}?${request.query} ${JSON.stringify(headers)}`);
      if (name) found++;
      const explained = [...table.explain(listener, request)].filter((one) => one.chosen);
      assert.deepEqual(explained.map(({ match }) => match), chosen.rule ? [chosen.match] : []);
    }
  }
  assert.ok(found > 100, `${found} of 900 found a rule`);
  for (const id of linear.routes.keys()) table.remove(id);
  assert.deepEqual([table.size, table.find("l", requestView({})), table.find("m", requestView({}))], [0, { why: "host" }, { why: "host" }]);
});
