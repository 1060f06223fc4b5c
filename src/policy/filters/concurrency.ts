import type { HttpFilter } from "../../api/traffic.ts";
import { AddressRanges } from "../addresses.ts";
import type { Filter } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";

/** So many requests at once, of the whole rule or of each client; a place is given back when its exchange has ended. Each worker counts for itself. */
export const concurrency: Filter<Extract<HttpFilter, { type: "concurrency" }>> = (config, { keep, shared }) => {
  const { max, by, share, status } = config;
  if (!Number.isInteger(max) || max < 0) throw new PolicyError("max", max, "must not be negative");
  if (status !== undefined && !(status >= 400 && status <= 599)) throw new PolicyError("status", status, "must be between 400 and 599");
  const except = config.except?.length ? new AddressRanges(config.except, "except") : undefined;
  const make = () => new Map<string, number>();
  const running = share !== undefined && shared ? shared(`running/${share}/${by}/${max}`, make) : keep ? keep("running", make) : make();
  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    if (except?.includes(request.client)) return next(exchange, outcome);
    const key = by === "client" ? request.client : "";
    const count = running.get(key) ?? 0;
    if (count >= max) return outcome.answer(exchange, localAnswer(request, "CL", `${max} requests at once are allowed`, status === undefined ? {} : { status }));
    running.set(key, count + 1);
    exchange.onEnd(() => {
      const left = running.get(key)! - 1;
      if (left > 0) running.set(key, left);
      else running.delete(key);
    });
    next(exchange, outcome);
  };
};
