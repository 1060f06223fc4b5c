import type { PlanLimit, PlansFilter } from "../../api/traffic-access.ts";
import type { Filter, FilterTools, Limiter, Quota } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { at, PolicyError } from "../policy-error.ts";
import { ownQuota, QuotaCounters } from "../quotas/counters.ts";
import { localLimiter } from "../token-bucket.ts";

const keysMax = 65_536;
const units: readonly string[] = ["hour", "day", "week", "month", "year"] satisfies NonNullable<PlanLimit["quota"]>["unit"][];

/** One after the other: what one refuses, those behind it do not count. */
type Step = (client: string, then: (refusal: Refusal | undefined) => void) => void;
interface Refusal {
  reason: string;
  waitMs: number;
  isUnknown?: true;
}

/**
 * What the key's usage plan allows: rates with room for a burst, then quotas of calendar windows, for each key by itself. Rates first:
 * what is refused by one is not taken from what was bought.
 */
export const plans: Filter<PlansFilter> = ({ plans: given }, tools) => {
  const byName = new Map(given.map(({ name, limits }, i) => [name, at(`plans[${i}]`, () => stepsOf(name, limits, tools))] as const));
  if (byName.size < given.length) throw new PolicyError("plans", given.map(({ name }) => name), "must have names of their own");
  return (next) => (exchange, outcome) => {
    const { request, caller } = exchange;
    const key = caller?.apiKey;
    const steps = key?.plan === undefined ? undefined : byName.get(key.plan);
    if (!key || !steps) return outcome.answer(exchange, localAnswer(request, "PD", "the key belongs to no usage plan"));
    let isGone = false;
    exchange.onEnd(() => void (isGone = true));
    const from = (i: number): void => {
      if (isGone) return;
      const step = steps[i];
      if (!step) return next(exchange, outcome);
      step(key.client, (refusal) => {
        if (!refusal) return from(i + 1);
        if (isGone) return;
        const headers: [string, string][] = [["retry-after", String(Math.max(1, Math.ceil(refusal.waitMs / 1000)))]];
        outcome.answer(exchange, refusal.isUnknown ? localAnswer(request, "OM", refusal.reason, { status: 503, headers }) : localAnswer(request, "RL", refusal.reason, { headers }));
      });
    };
    from(0);
  };
};

function stepsOf(plan: string, limits: readonly PlanLimit[], tools: FilterTools): Step[] {
  const throttles = limits.flatMap((limit, i) => (limit.throttle ? [at(`limits[${i}].throttle`, () => throttleOf(plan, limit.id, limit.throttle!, tools))] : []));
  const quotas = limits.flatMap((limit, i) => (limit.quota ? [at(`limits[${i}].quota`, () => quotaOf(plan, limit.id, limit.quota!, tools))] : []));
  return [...throttles, ...quotas];
}

function throttleOf(plan: string, id: string, { requestsPerSecond, burst }: NonNullable<PlanLimit["throttle"]>, { limiter, shared, keep, nowMs }: FilterTools): Step {
  if (!(requestsPerSecond > 0)) throw new PolicyError("requestsPerSecond", requestsPerSecond, "must be greater than 0");
  if (!Number.isInteger(burst) || burst < 1) throw new PolicyError("burst", burst, "must be at least 1");
  const rate = { requests: requestsPerSecond, periodMs: 1000, burst: burst - 1 };
  const name = `${id}/${JSON.stringify(rate)}`;
  const make = (from: typeof limiter): Limiter => (from ? from(name, rate) : localLimiter(rate, keysMax, nowMs));
  const counter = shared ? shared(name, make) : keep ? keep(name, () => make(limiter)) : make(limiter);
  return (client, then) => counter.take(client, (waitMs) => then(waitMs === 0 ? undefined : { reason: `rate limit of plan ${plan} reached`, waitMs }));
}

function quotaOf(plan: string, id: string, { requests, unit }: NonNullable<PlanLimit["quota"]>, { quota: make, shared, nowMs, dateMs = Date.now }: FilterTools): Step {
  if (!Number.isInteger(requests) || requests < 0) throw new PolicyError("requests", requests, "must be a whole number");
  if (!units.includes(unit)) throw new PolicyError("unit", unit, `supported values: ${units.join(", ")}`);
  const counters = (): QuotaCounters => new QuotaCounters({ now: dateMs, monotonicMs: nowMs });
  const counted: Quota = make ? make(id, { limit: requests, unit }) : ownQuota(shared ? shared("quota", counters) : counters(), id, { limit: requests, unit });
  return (client, then) =>
    counted.take(client, 1, ({ allowed, resetMs, isUnknown }) => {
      if (allowed) return then(undefined);
      then(isUnknown ? { reason: "what has been counted of its quota is not known", waitMs: 1000, isUnknown } : { reason: `rate limit reached: ${requests} ${unit === "hour" ? "an" : "a"} ${unit} of plan ${plan}`, waitMs: resetMs });
    });
}
