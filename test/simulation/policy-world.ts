import { test } from "node:test";
import type { Upstream } from "../../src/api/traffic.ts";
import { FakeClock } from "../../src/base/clock.ts";
import { type Random, randomInt, seededRandom } from "../../src/base/random.ts";
import { SessionNames } from "../../src/policy/session-token.ts";
import type { CheckedUpstream, Endpoint, TryResult } from "../../src/policy/upstream.ts";
import { createUpstreamPolicy } from "../../src/policy/upstream-policy.ts";

/** Of which each is a world of its own: SEED runs one again. */
export const seeds = process.env["SEED"] ? [Number(process.env["SEED"])] : Array.from({ length: process.env["WHERRY_CONFORMANCE"] ? 500 : 25 }, (_, i) => i + 1);
/** Runs `check` with each seed; a failure names it. */
export const always = (name: string, check: (random: Random, seed: number) => void) =>
  test(name, () => {
    for (const seed of seeds) {
      try {
        check(seededRandom(seed), seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
  });

export const between = (random: Random, least: number, most: number): number => least + randomInt(random, most - least + 1);
export const oneOf = <T>(random: Random, list: readonly T[]): T => list[randomInt(random, list.length)]!;
export const endpoint = (n: number): Endpoint => ({ ip: `10.0.${n >> 8}.${n & 255}`, port: 80, key: `10.0.${n >> 8}.${n & 255}:80` });
export const base: Upstream = { id: "shop/cart/80", namespace: "shop", service: "cart", port: 80, protocol: "http1" };

export class World {
  readonly clock = new FakeClock();
  readonly policy: CheckedUpstream;
  constructor(random: Random, config: Partial<Upstream>, endpoints: readonly Endpoint[]) {
    this.policy = createUpstreamPolicy({ ...base, ...config }, { random, nowMs: () => this.clock.monotonicMs(), sessions: new SessionNames("0123456789abcdef0123456789abcdef") });
    this.policy.update(endpoints);
  }
}

export const resultOf = (random: Random): TryResult => ({
  type: oneOf(random, ["answered", "answered", "answered", "local", "timeout", "cancelled"] as const),
  status: oneOf(random, [200, 404, 500, 503, 503]),
  latencyMs: random.next() * 100,
});
