import type { HttpFilter, QuotaRule } from "../../api/traffic.ts";
import { AddressRanges } from "../addresses.ts";
import { type Condition, compileConditions } from "../conditions.ts";
import type { Exchange, Filter, FilterTools, QuotaResult, RequestView } from "../exchange.ts";
import { mergeEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { readings } from "../path-readings.ts";
import { compilePattern } from "../pattern.ts";
import { at, PolicyError } from "../policy-error.ts";
import { ownQuota, QuotaCounters } from "../quotas/counters.ts";
import { nominalSeconds, quotaUnits } from "../quotas/windows.ts";
import { asLeft } from "../request-edits.ts";
import { localLimiter } from "../token-bucket.ts";
import { queryValue } from "../values.ts";
import { shortened } from "./rate-limit.ts";

const keysMax = 65_536;
const numberMax = 2 ** 32 - 1;
/** Whose values let their owner in. */
const secretName = /^(?:proxy-)?authorization$|^cookie$|key|token|secret|password|session/i;

/**
 * Limits by calendar window or as a steady rate, of what selectors mean, for all together or for each value of something. All that mean
 * a request count it; the one with the least left is told in X-RateLimit headers (draft 03, as Envoy writes them), and any without
 * room refuses with 429 and `retry-after`. Where nobody can say what has been counted, the answer is 503.
 */
export const quota: Filter<Extract<HttpFilter, { type: "quota" }>> = ({ rules }, tools) => {
  if (rules.length === 0) throw new PolicyError("rules", rules, "must have at least one entry");
  const compiled = rules.map((rule, i) => at(`rules[${i}]`, () => compileQuotaRule(rule, i, tools)));
  return (next) => (exchange, outcome) => {
    // Who it is counts as a filter has found it out, and not as a client says.
    const request = asLeft(exchange);
    const meant: { rule: CompiledQuota; key: string }[] = [];
    for (const rule of compiled) {
      const key = rule.keyOf(request);
      if (key !== undefined) meant.push({ rule, key });
    }
    if (meant.length === 0) return next(exchange, outcome);
    let [missing, isDecided, isGone] = [meant.length, false, false];
    const answers: Answered[] = [];
    const decide = () => {
      isDecided = true;
      if (isGone) return;
      tell(exchange, answers);
      const without = answers.filter(({ result }) => !result.allowed);
      for (const { rule } of without) if (rule.isShadow) (exchange.notes ??= []).push(`RL would refuse: ${rule.text}`);
      const refused = without.filter(({ rule }) => !rule.isShadow);
      if (refused.length === 0) {
        for (const { rule, key } of meant) if (rule.charge) exchange.onEnd(() => rule.charge!(key));
        return next(exchange, outcome);
      }
      const known = refused.filter(({ result }) => !result.isUnknown);
      if (known.length === 0) return outcome.answer(exchange, localAnswer(request, "OM", "what has been counted of its quota is not known", { status: 503, headers: [["retry-after", "1"]] }));
      const waitMs = Math.max(...known.map(({ result }) => result.resetMs));
      const [first] = known as [Answered];
      outcome.answer(exchange, localAnswer(request, "RL", first.rule.text, { headers: [["retry-after", String(Math.max(1, Math.ceil(waitMs / 1000)))]] }));
    };
    for (const { rule, key } of meant) {
      rule.take(key, (result) => {
        answers.push({ rule, result });
        if (--missing === 0) decide();
      });
    }
    if (!isDecided) exchange.onEnd(() => void (isGone = true));
  };
};

interface Answered {
  rule: CompiledQuota;
  result: QuotaResult;
}

interface CompiledQuota {
  /** "rate limit reached: 400 an hour". */
  text: string;
  isShadow: boolean;
  /** Of X-RateLimit-Limit: "400;w=3600". Undefined: nothing is told. */
  policy: string | undefined;
  limit: number;
  /** Undefined: the request is not meant. */
  keyOf(request: RequestView): string | undefined;
  take(key: string, then: (result: QuotaResult) => void): void;
  /** What the answer costs. */
  charge: ((key: string) => void) | undefined;
}

function compileQuotaRule(rule: QuotaRule, index: number, tools: FilterTools): CompiledQuota {
  const { limit, unit, cost = {}, isShadow = false, isLocal = false, hasHeaders = false } = rule;
  for (const [field, value] of [["limit", limit], ["cost.request", cost.request ?? 1], ["cost.response", cost.response ?? 0]] as const) {
    if (!Number.isInteger(value) || value < 0 || value > numberMax) throw new PolicyError(field, value, `must be a whole number between 0 and ${numberMax}`);
  }
  if (!quotaUnits.includes(unit)) throw new PolicyError("unit", unit, `supported values: ${quotaUnits.join(", ")}`);
  if (rule.id === "") throw new PolicyError("id", rule.id, "must not be empty");
  if (isLocal && (cost.response || hasHeaders)) throw new PolicyError(cost.response ? "cost.response" : "hasHeaders", true, "is not known of a local rule");
  const id = rule.perRoute ? `${rule.id} ${(tools.route ?? "").replace(/~\d+$/, "")}` : rule.id;
  const take = isLocal ? takeLocally(rule, id, index, tools) : undefined;
  const counted = isLocal ? undefined : quotaOf(rule, id, tools);
  return {
    text: `rate limit reached: ${limit} ${unit === "hour" ? "an" : "a"} ${unit}`,
    isShadow,
    limit,
    policy: hasHeaders ? `${limit};w=${nominalSeconds(unit)}` : undefined,
    keyOf: keyFunction(rule),
    take: take ?? ((key, then) => counted!.take(key, cost.request ?? 1, then)),
    charge: cost.response && counted ? (key) => counted.charge(key, cost.response!) : undefined,
  };
}

function quotaOf({ limit, unit, by = [] }: QuotaRule, id: string, { quota: make, shared, nowMs, dateMs = Date.now }: FilterTools) {
  const isSecret = by.some((part) => typeof part === "object" && secretName.test("header" in part ? part.header : part.query));
  if (make) return make(id, { limit, unit, ...(isSecret && { hidesKeys: true }) });
  const counters = () => new QuotaCounters({ now: dateMs, monotonicMs: nowMs });
  return ownQuota(shared ? shared("quota", counters) : counters(), id, { limit, unit });
}

/** A bucket whose requests cost more than one each has room for so many fewer. */
function takeLocally({ limit, unit, cost }: QuotaRule, id: string, index: number, { limiter, shared, keep, nowMs }: FilterTools): CompiledQuota["take"] {
  const each = cost?.request ?? 1;
  const none: QuotaResult = { allowed: false, remaining: 0, resetMs: nominalSeconds(unit) * 1000 };
  if (limit < Math.max(1, each)) return (_key, then) => then(none);
  if (each === 0) return (_key, then) => then({ allowed: true, remaining: limit, resetMs: 0 });
  const rate = { requests: limit / each, periodMs: nominalSeconds(unit) * 1000, burst: Math.floor(limit / each) - 1 };
  const make = (from: typeof limiter) => (from ? from(`quota/${id}`, rate) : localLimiter(rate, keysMax, nowMs));
  const name = `quota/${id}/${JSON.stringify(rate)}`;
  const counter = shared ? shared(name, make) : keep ? keep(`${index}/${name}`, () => make(limiter)) : make(limiter);
  return (key, then) => counter.take(shortened(key), (waitMs) => then({ allowed: waitMs === 0, remaining: 0, resetMs: waitMs }));
}

function keyFunction({ when = {}, by = [] }: QuotaRule): CompiledQuota["keyOf"] {
  const tests = compileWhen(when);
  const parts = by.map((part): ((request: RequestView) => string | undefined) => {
    if (part === "client") return (request) => request.client;
    if ("query" in part) return (request) => queryValue(request.query, part.query);
    const name = part.header.toLowerCase();
    return (request) => request.header(name);
  });
  return (request) => {
    for (const test of tests) if (!test(request)) return undefined;
    if (parts.length === 0) return "";
    const values: string[] = [];
    for (const part of parts) {
      const value = part(request);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values.length === 1 ? values[0] : JSON.stringify(values);
  };
}

function compileWhen({ methods, path, headers = [], query = [], clients = [] }: NonNullable<QuotaRule["when"]>): Condition["test"][] {
  const tests: Condition["test"][] = [];
  if (methods) tests.push(({ method }) => methods.some((wanted) => (wanted.method === method) !== (wanted.not ?? false)));
  if (path) {
    const { value } = path;
    const pattern = path.type === "regex" ? compilePattern(value, { whole: true }, "when.path.value") : undefined;
    const prefix = value.endsWith("/") ? value.slice(0, -1) : value;
    const fits = (given: string): boolean => (pattern ? pattern.test(given) : path.type === "exact" ? given === value : given === prefix || given.startsWith(`${prefix}/`));
    // Nobody is counted for nothing because he writes a path in another way.
    tests.push((request) => readings(request.path).some((reading) => fits(reading) !== (path.not ?? false)));
  }
  for (const [i, { ranges, not = false }] of clients.entries()) {
    const known = new AddressRanges(ranges, `when.clients[${i}].ranges`);
    tests.push((request) => known.includes(request.client) !== not);
  }
  // One by one: several that name the same header must all be true.
  for (const [i, header] of headers.entries()) tests.push(...at(`when.headers[${i}]`, () => testsOf({ headers: [header] })));
  for (const [i, parameter] of query.entries()) tests.push(...at(`when.query[${i}]`, () => testsOf({ query: [parameter] })));
  return tests;
}

function testsOf(match: Pick<Parameters<typeof compileConditions>[0], "headers" | "query">): Condition["test"][] {
  return (compileConditions({ path: { type: "prefix", value: "/" }, ...match }) ?? []).map(({ test }) => test);
}

/** Of several the one with the least left, and the limits of all, as Envoy says it. */
function tell(exchange: Exchange, answers: readonly Answered[]): void {
  const told = answers.filter(({ rule, result }) => rule.policy !== undefined && !result.isUnknown);
  if (told.length === 0) return;
  const least = told.reduce((a, b) => (b.result.remaining < a.result.remaining ? b : a));
  const set: [string, string][] = [
    ["x-ratelimit-limit", [least.rule.limit, ...told.map(({ rule }) => rule.policy)].join(", ")],
    ["x-ratelimit-remaining", String(least.result.remaining)],
    ["x-ratelimit-reset", String(Math.ceil(least.result.resetMs / 1000))],
  ];
  exchange.responseHeaders = mergeEdits(exchange.responseHeaders, { remove: [], set, add: [] });
}
