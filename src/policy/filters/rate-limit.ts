import type { HttpFilter } from "../../api/traffic.ts";
import { AddressRanges } from "../addresses.ts";
import type { Exchange, Filter } from "../exchange.ts";
import { hash } from "../hash.ts";
import { localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";
import { editedHeader } from "../request-edits.ts";
import { localLimiter } from "../token-bucket.ts";

/** Clients, or values of a header, that one filter knows at a time. */
const keysMax = 65_536;
const keyLengthMax = 128;

/**
 * A steady rate with room for a burst, for the whole rule, for each client, or for each value of a header (requests without
 * it share one). `retry-after` tells when the next one may go.
 */
export const rateLimit: Filter<Extract<HttpFilter, { type: "rateLimit" }>> = (config, { nowMs, keep, limiter, shared }) => {
  const { requests, periodMs, burst, by, share, status } = config;
  if (!(requests > 0)) throw new PolicyError("requests", requests, "must be greater than 0");
  if (!(periodMs > 0)) throw new PolicyError("periodMs", periodMs, "must be greater than 0");
  if (!(burst >= 0)) throw new PolicyError("burst", burst, "must not be negative");
  if (status !== undefined && !(status >= 400 && status <= 599)) throw new PolicyError("status", status, "must be between 400 and 599");
  const rate = { requests, periodMs, burst };
  const make = (id: string, from: typeof limiter) => (from ? from(id, rate) : localLimiter(rate, keysMax, nowMs));
  const makeOwn = () => make("rate", limiter);
  const together = `rate/${share}/${JSON.stringify([rate, by])}`;
  const counter = share !== undefined && shared ? shared(together, (from) => make(together, from)) : keep ? keep("rate", makeOwn) : makeOwn();
  const except = config.except?.length ? new AddressRanges(config.except, "except") : undefined;
  const keyOf = keyFunction(by);
  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    if (except?.includes(request.client)) return next(exchange, outcome);
    // Mostly decided at once; where other workers must be asked, the client may have gone before.
    let [isDecided, isGone] = [false, false];
    counter.take(keyOf(exchange), (waitMs) => {
      isDecided = true;
      if (isGone) return;
      if (waitMs === 0) return next(exchange, outcome);
      const seconds = String(Math.max(1, Math.ceil(waitMs / 1000)));
      outcome.answer(exchange, localAnswer(request, "RL", "rate limit reached", { headers: [["retry-after", seconds]], ...(status !== undefined && { status }) }));
    });
    if (!isDecided) exchange.onEnd(() => void (isGone = true));
  };
};

function keyFunction(by: "route" | "client" | { header: string }): (exchange: Exchange) => string {
  if (by === "route") return () => "";
  if (by === "client") return ({ request }) => request.client;
  const name = by.header.toLowerCase();
  // As filters before it have left it: nobody is counted under a name that he gives himself.
  return ({ request, requestHeaders }) => shortened(editedHeader(request, requestHeaders, name) ?? "");
}

/** What is kept of a value: a client must not decide how much memory its bucket takes. */
export function shortened(value: string): string {
  return value.length <= keyLengthMax ? value : `${value.slice(0, keyLengthMax)} ${value.length} ${hash(value)}`;
}
