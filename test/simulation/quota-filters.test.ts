import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import type { HttpFilter, QuotaRule } from "../../src/api/traffic.ts";
import type { PlanLimit } from "../../src/api/traffic-access.ts";
import { FakeClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Random, randomInt } from "../../src/base/random.ts";
import type { Exchange, Filter, FilterTools, Handler, LocalAnswer } from "../../src/policy/exchange.ts";
import { filters } from "../../src/policy/filters/index.ts";
import { QuotaAsker } from "../../src/proxy/quotas/asker.ts";
import { QuotaOwner } from "../../src/proxy/quotas/owner.ts";
import { always, between, oneOf } from "./policy-world.ts";

/**
 * The filters that count, over workers and an owner that die, beside a model of a few lines: rules with costs of requests and of
 * answers, on trial, of all together and of each; plans with quotas of their own and of operations.
 */
const folder = mkdtempSync(join(tmpdir(), "wherry-quota-filters-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

type Chain = (request: { user: string; plan: string }) => { status: number | undefined; end(): void };

class World {
  readonly clock = new FakeClock(Date.UTC(2026, 5, 1));
  readonly #random: Random;
  readonly #config: readonly HttpFilter[];
  readonly #file = join(folder, `${++files}.counts`);
  #owner: QuotaOwner;
  workers: { chain: Chain; turn: (() => void)[] }[];

  constructor(random: Random, config: readonly HttpFilter[]) {
    this.#random = random;
    this.#config = config;
    this.#owner = this.#start();
    this.workers = Array.from({ length: 2 }, () => this.#worker());
  }
  #start(): QuotaOwner {
    return new QuotaOwner({ file: this.#file, clock: this.clock, log: silentLog });
  }
  #worker(): World["workers"][number] {
    const turn: (() => void)[] = [];
    const asker = new QuotaAsker({ ask: (asks, reply) => reply(this.#owner.takeAll(asks)), nowMs: () => this.clock.monotonicMs(), setTimer: (ms, go) => this.clock.setTimer(ms, go), soon: (go) => void turn.push(go) });
    const tools: FilterTools = { random: this.#random, nowMs: () => this.clock.monotonicMs(), dateMs: () => this.clock.now(), setTimer: (ms, go) => this.clock.setTimer(ms, go), quota: (id, limit) => asker.quota(id, limit) };
    const chain: Chain = ({ user, plan }) => {
      let status: number | undefined;
      const ends: (() => void)[] = [];
      const request = { method: "GET", scheme: "http" as const, host: "shop.test", port: 80, path: "/", query: "", client: "10.0.0.1", header: (name: string) => (name === "x-user" ? user : undefined) };
      const exchange = { request, requestHeaders: undefined, responseHeaders: undefined, caller: { apiKey: { client: user, plan } }, onEnd: (go: () => void) => void ends.push(go), onResponse() {}, takeAnswer() {} } as unknown as Exchange;
      const handler = this.#config.reduceRight<Handler>((next, filter) => (filters[filter.type] as Filter<HttpFilter>)(filter, tools)(next), () => void (status = 200));
      handler(exchange, { forward() {}, answer: (_: Exchange, { status: given }: LocalAnswer) => void (status = given) });
      // Each filter asks in a turn of its own.
      for (let i = 0; i < 20 && turn.length > 0; i++) for (const go of turn.splice(0)) go();
      return {
        status,
        end: () => {
          for (const go of ends) go();
          for (const go of turn.splice(0)) go();
        },
      };
    };
    return { chain, turn };
  }
  killWorker(): void {
    this.workers[randomInt(this.#random, this.workers.length)] = this.#worker();
  }
  killOwner(): void {
    this.#owner = this.#start();
    this.workers = this.workers.map(() => this.#worker());
  }
}

const users = ["ann", "bob"];
/** A count by its name; the model. */
class Counts {
  readonly #counts = new Map<string, number>();
  /** Whether it has room; counted when it has. */
  take(name: string, limit: number, cost: number): boolean {
    const count = this.#counts.get(name) ?? 0;
    const has = cost === 0 ? count < limit : count + cost <= limit;
    if (has) this.#counts.set(name, count + cost);
    return has;
  }
  charge(name: string, cost: number): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + cost);
  }
}

always("quotas: rules with costs, on trial, of all and of each, decide as the model does, whoever dies in between", (random) => {
  const rules = Array.from({ length: between(random, 1, 4) }, (_, i): QuotaRule => ({
    // Of two that are shared, one count.
    id: random.next() < 0.2 ? "shared" : `r${i}`,
    limit: between(random, 0, 40),
    unit: "year",
    ...(random.next() < 0.5 && { cost: { request: between(random, 0, 4), ...(random.next() < 0.5 && { response: between(random, 0, 5) }) } }),
    ...(random.next() < 0.5 && { by: [{ header: "x-user" }] }),
    ...(random.next() < 0.2 && { isShadow: true as const }),
    ...(random.next() < 0.5 && { hasHeaders: true as const }),
  }));
  const world = new World(random, [{ type: "quota", rules }]);
  const model = new Counts();
  const under: (() => void)[] = [];
  for (let i = 0; i < 300; i++) {
    const what = random.next();
    if (what < 0.05) world.killWorker();
    else if (what < 0.08) {
      // Whose answers were under way, ended with the workers: what they cost is not charged.
      under.length = 0;
      world.killOwner();
    } else if (what < 0.3) under.splice(randomInt(random, under.length + 1), 1)[0]?.();
    else if (what < 0.4) world.clock.advance(randomInt(random, 3_000));
    else {
      const user = oneOf(random, users);
      const meant = rules.map((rule) => ({ rule, name: `${rule.id} ${rule.by ? user : ""}` }));
      const allowed = meant.map(({ rule, name }) => model.take(name, rule.limit, rule.cost?.request ?? 1));
      const isLet = meant.every(({ rule }, at) => allowed[at] || rule.isShadow);
      const { status, end } = oneOf(random, world.workers).chain({ user, plan: "" });
      assert.equal(status, isLet ? 200 : 429, `request ${i} of ${user}, ${JSON.stringify(rules)}`);
      if (!isLet) continue;
      under.push(() => {
        for (const { rule, name } of meant) if (rule.cost?.response) model.charge(name, rule.cost.response);
        end();
      });
    }
  }
});

always("plans: what a narrower quota refuses takes nothing from the wider one, exactly, whoever dies in between", (random) => {
  const limits = (plan: string): PlanLimit[] => Array.from({ length: between(random, 1, 3) }, (_, i) => ({ id: `plan/${plan}/${i}`, quota: { requests: between(random, 0, 40), unit: oneOf(random, ["month", "year"] as const) } }));
  const plans = ["gold", "free"].map((name) => ({ name, limits: limits(name) }));
  const world = new World(random, [{ type: "plans", plans }]);
  const model = new Counts();
  for (let i = 0; i < 300; i++) {
    const what = random.next();
    if (what < 0.05) world.killWorker();
    else if (what < 0.08) world.killOwner();
    else if (what < 0.2) world.clock.advance(randomInt(random, 3_000));
    else {
      const [user, plan] = [oneOf(random, users), oneOf(random, plans)];
      const isLet = plan.limits.every(({ id, quota }) => model.take(`${id} ${user}`, quota!.requests, 1));
      assert.equal(oneOf(random, world.workers).chain({ user, plan: plan.name }).status, isLet ? 200 : 429, `request ${i} of ${user}, ${JSON.stringify(plans)}`);
    }
  }
});
