import assert from "node:assert/strict";
import { randomInt } from "../../src/base/random.ts";
import { decideRetry } from "../../src/policy/retry.ts";
import { requestView } from "../../src/policy/testing/request.ts";
import type { Picked } from "../../src/policy/upstream.ts";
import { always, between, endpoint, oneOf, World } from "./policy-world.ts";

/** Who gets which share, and who moves: over many seeds, as in policy.test.ts. */

always("peak EWMA: one that is slow gets little, and its share again when it is well", (random) => {
  const count = between(random, 3, 10);
  const endpoints = Array.from({ length: count }, (_, i) => endpoint(i));
  const world = new World(random, { balancer: { type: "peakEwma" } }, endpoints);
  const slow = oneOf(random, endpoints).key;
  const [usual, stall] = [between(random, 1, 20), between(random, 10, 50)];
  /** So many requests, each on its way for as long as its endpoint takes; a few at a time. Which share the slow one got. */
  const share = (requests: number, slowMs: number): number => {
    const running: { picked: Picked; endsAt: number; ms: number }[] = [];
    let got = 0;
    for (let i = 0; i < requests; i++) {
      while (running.length >= 4) {
        running.sort((a, b) => a.endsAt - b.endsAt);
        const { picked, endsAt, ms } = running.shift()!;
        world.clock.advance(Math.max(0, endsAt - world.clock.monotonicMs()));
        picked.done({ type: "answered", status: 200, latencyMs: ms });
      }
      const picked = world.policy.pick(undefined) as Picked;
      const isSlow = picked.endpoint.key === slow;
      if (isSlow) got++;
      const ms = (isSlow ? slowMs : usual) * (0.8 + random.next() * 0.4);
      running.push({ picked, endsAt: world.clock.monotonicMs() + ms, ms });
    }
    for (const { picked, ms } of running) picked.done({ type: "answered", status: 200, latencyMs: ms });
    return got / requests;
  };
  share(200, usual);
  // As often as chance brings it together with itself, as others do; and it is tried now and then.
  assert.ok(share(600, usual * stall) < 0.5 / count, "it stalls");
  world.clock.advance(120_000);
  share(200, usual);
  const well = share(2_000, usual);
  assert.ok(well > 0.5 / count && well < 2 / count, `${well} of ${count} when it is well`);
});

always("consistent hashing: everybody gets a share that is close to his weight", (random) => {
  const type = oneOf(random, ["ringHash", "maglev"] as const);
  const endpoints = Array.from({ length: between(random, 2, 20) }, (_, i) => ({ ...endpoint(randomInt(random, 200) * 256 + i), weight: between(random, 1, 4) }));
  const world = new World(random, { balancer: { type, by: { header: "x" } } }, endpoints);
  const counts = new Map(endpoints.map(({ key }) => [key, 0]));
  const keys = 20_000;
  for (let i = 0; i < keys; i++) {
    const picked = world.policy.pick(requestView({ headers: { x: `user-${i}` } })) as Picked;
    picked.done({ type: "answered", status: 200, latencyMs: 1 });
    counts.set(picked.endpoint.key, counts.get(picked.endpoint.key)! + 1);
  }
  const total = endpoints.reduce((sum, { weight }) => sum + weight, 0);
  for (const { key, weight } of endpoints) {
    const expected = (keys * weight) / total;
    // A ring of 160 points is off by some 8 % of a share, a table by none; the rest is chance, of the keys that are thrown.
    const most = expected * (type === "ringHash" ? 0.35 : 0.01) + 5 * Math.sqrt(expected);
    assert.ok(Math.abs(counts.get(key)! - expected) <= most, `${key}: ${counts.get(key)} of ${expected.toFixed(0)}, ${type}`);
  }
});

always("slow start: who comes gets more and more, never nothing, and at last what he weighs", (random) => {
  const windowMs = between(random, 1_000, 60_000);
  const minPercent = between(random, 1, 30);
  const old = Array.from({ length: between(random, 1, 6) }, (_, i) => endpoint(i));
  const world = new World(random, { balancer: oneOf(random, [{ type: "roundRobin" }, { type: "random" }] as const), slowStart: { windowMs, minPercent, aggression: oneOf(random, [1, 2]) } }, old);
  const share = (key: string, requests = 3_000): number => {
    let got = 0;
    for (let i = 0; i < requests; i++) {
      const picked = world.policy.pick(undefined) as Picked;
      picked.done({ type: "answered", status: 200, latencyMs: 1 });
      if (picked.endpoint.key === key) got++;
    }
    return got / requests;
  };
  const whole = 1 / (old.length + 1);
  assert.ok(Math.abs(share(old[0]!.key) - 1 / old.length) < 0.05, "all are new: nobody is colder");
  const fresh = endpoint(99);
  world.policy.update([...old, fresh]);
  const shares = [0, 0.3, 0.7, 1].map((part, i, parts) => {
    world.clock.advance((part - (parts[i - 1] ?? 0)) * windowMs + (part === 1 ? 1 : 0));
    return share(fresh.key);
  });
  const first = minPercent / 100 / (old.length + minPercent / 100);
  assert.ok(shares[0]! > 0 && Math.abs(shares[0]! - first) < 0.03, `${shares[0]} at first, of ${first}`);
  assert.ok(Math.abs(shares[3]! - whole) < 0.04, `${shares[3]} at last, of ${whole}`);
  for (let i = 1; i < shares.length; i++) assert.ok(shares[i]! > shares[i - 1]! - 0.03, shares.join(" "));
  assert.ok(shares[1]! < shares[3]!, shares.join(" "));
});

always("retries: an attempt is one, whatever fails: never more than the rule says, and none that may not be", (random) => {
  const method = oneOf(random, ["GET", "PUT", "POST", "PATCH", "DELETE"]);
  const retry = { attempts: between(random, 0, 5), backoffMs: between(random, 0, 50), statuses: [503], ...(random.next() < 0.3 && { unsafe: true }) };
  const requestMs = oneOf(random, [0, 0, 100, 500]);
  let [tries, elapsedMs, sent] = [0, 0, false];
  for (;;) {
    tries++;
    const failure = oneOf(random, [{ type: "connect", sent }, { type: "reset", sent: true }, { type: "timeout", sent: true }, { type: "status", status: 503, sent: true }] as const);
    sent ||= failure.sent;
    const decision = decideRetry({ rule: { retry, timeouts: { requestMs } }, method, failure, tries, canRepeat: true, elapsedMs, random });
    if (!decision.retry) break;
    assert.ok(tries <= Math.max(retry.attempts, 2), `${tries} tries of ${retry.attempts} further ones`);
    if (failure.sent && tries > 0) assert.ok(retry.unsafe || !["POST", "PATCH"].includes(method), `${method} again, and it was sent`);
    assert.ok(decision.delayMs <= retry.backoffMs * 10 * 1.5 + 1e-9);
    elapsedMs += decision.delayMs + random.next() * 20;
    if (requestMs > 0) assert.ok(elapsedMs - 20 < requestMs, "no try begins when the time is over");
  }
  assert.ok(tries <= Math.max(retry.attempts, 2) + 1);
});

always("consistent hashing: only what must move moves", (random) => {
  const type = oneOf(random, ["ringHash", "maglev"] as const);
  const clients = Array.from({ length: 300 }, (_, i) => `10.${randomInt(random, 256)}.${i >> 8}.${i & 255}`);
  let endpoints = Array.from({ length: between(random, 3, 30) }, (_, i) => endpoint(i));
  const world = new World(random, { balancer: { type, by: "address" } }, endpoints);
  const where = () =>
    clients.map((client) => {
      const picked = world.policy.pick(requestView({ client })) as Picked;
      picked.done({ type: "answered", status: 200, latencyMs: 1 });
      return picked.endpoint.key;
    });
  let before = where();
  for (let change = 0; change < 6; change++) {
    const old = new Set(endpoints.map(({ key }) => key));
    const gone = random.next() < 0.5 && endpoints.length > 1 ? oneOf(random, endpoints).key : undefined;
    endpoints = gone ? endpoints.filter(({ key }) => key !== gone) : [...endpoints, endpoint(200 + change)];
    world.policy.update(endpoints);
    const after = where();
    const needless = after.filter((key, i) => key !== before[i] && before[i] !== gone && old.has(key)).length;
    assert.ok(needless <= (type === "ringHash" ? 0 : clients.length * 0.08), `${needless} of ${clients.length} moved needlessly`);
    before = after;
  }
});
