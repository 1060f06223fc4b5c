import type { HttpFilter } from "../../api/traffic.ts";
import { happens, perMillion } from "../chance.ts";
import type { Filter } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";

/** Holds a share of the requests back for a while, and then ends a share of them: to see what callers make of it. */
export const fault: Filter<Extract<HttpFilter, { type: "fault" }>> = ({ delay, abort }, { random, setTimer }) => {
  const delayShare = delay ? perMillion(delay.perMillion, "delay.perMillion") : 0;
  const abortShare = abort ? perMillion(abort.perMillion, "abort.perMillion") : 0;
  if (delay && !(delay.ms >= 0)) throw new PolicyError("delay.ms", delay.ms, "must not be negative");
  if (abort && !(abort.status >= 200 && abort.status <= 599)) throw new PolicyError("abort.status", abort.status, "must be between 200 and 599");
  return (next) => (exchange, outcome) => {
    const go = () => {
      if (!abort || !happens(random, abortShare)) return next(exchange, outcome);
      const { status, grpcStatus } = abort;
      outcome.answer(exchange, localAnswer(exchange.request, "FI", "fault injected", { status, ...(grpcStatus !== undefined && { grpcStatus }) }));
    };
    if (!delay || !happens(random, delayShare)) return go();
    const timer = setTimer(delay.ms, go);
    exchange.onEnd(() => timer.cancel());
  };
};
