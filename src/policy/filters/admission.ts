import type { HttpFilter } from "../../api/traffic.ts";
import type { AnswerSink, Filter } from "../exchange.ts";
import { isGrpc, localAnswer } from "../local-answer.ts";
import { Passing } from "../passing.ts";
import { PolicyError } from "../policy-error.ts";

/** The window moves in so many steps. */
const slices = 30;
/** Those that say that the service itself is in trouble; all others are its answer. Source: Envoy, admission control filter. */
const grpcTroubles = new Set([4, 8, 10, 13, 14, 15]);

/** What came of the requests of the last while. */
class Recent {
  readonly #requests = new Float64Array(slices);
  readonly #successes = new Float64Array(slices);
  readonly #sliceMs: number;
  #slice = 0;
  requests = 0;
  successes = 0;

  constructor(windowMs: number) {
    this.#sliceMs = windowMs / slices;
  }
  add(isSuccess: boolean, nowMs: number): void {
    this.forget(nowMs);
    const at = this.#slice % slices;
    this.#requests[at]!++;
    this.requests++;
    if (!isSuccess) return;
    this.#successes[at]!++;
    this.successes++;
  }
  forget(nowMs: number): void {
    const slice = Math.floor(nowMs / this.#sliceMs);
    const steps = Math.min(slices, slice - this.#slice);
    for (let i = 1; i <= steps; i++) {
      const at = (slice - steps + i) % slices;
      this.requests -= this.#requests[at]!;
      this.successes -= this.#successes[at]!;
      this.#requests[at] = this.#successes[at] = 0;
    }
    if (steps > 0) this.#slice = slice;
  }
}

/**
 * Refuses by chance, the more the fewer of the last requests have succeeded: what is overrun gets as much as it can do, and recovers. What
 * was refused counts for nothing, and neither does who has left. Each worker counts for itself.
 * Source: Envoy, "Admission control"; Beyer et al., "Site Reliability Engineering", ch. 21.
 */
export const admission: Filter<Extract<HttpFilter, { type: "admission" }>> = (config, { keep, nowMs, random }) => {
  const { windowMs, successPercent, aggression, minPerSecond, rejectionPercentMax, statuses, grpcStatuses } = config;
  if (!(windowMs >= 1_000)) throw new PolicyError("windowMs", windowMs, "must be at least 1000");
  if (!(successPercent >= 1 && successPercent <= 100)) throw new PolicyError("successPercent", successPercent, "must be between 1 and 100");
  if (!(aggression >= 1)) throw new PolicyError("aggression", aggression, "must be at least 1");
  if (!(rejectionPercentMax >= 0 && rejectionPercentMax <= 100)) throw new PolicyError("rejectionPercentMax", rejectionPercentMax, "must be between 0 and 100");
  const make = (): Recent => new Recent(windowMs);
  const record = keep ? keep("admission", make) : make();
  const refuses = (): boolean => {
    record.forget(nowMs());
    const { requests, successes } = record;
    if ((requests * 1_000) / windowMs < minPerSecond) return false;
    const share = (requests - successes / (successPercent / 100)) / (requests + 1);
    return share > 0 && random.next() < Math.min(share ** (1 / aggression), rejectionPercentMax / 100);
  };
  const isGood = (status: number): boolean => (statuses ? statuses.includes(status) : status < 500);
  const isGoodGrpc = (status: number): boolean => (grpcStatuses ? grpcStatuses.includes(status) : !grpcTroubles.has(status));
  return (next) => (exchange, outcome) => {
    if (refuses()) return outcome.answer(exchange, localAnswer(exchange.request, "AC", `${record.successes} of ${record.requests} requests succeeded in the last ${windowMs / 1_000} s`));
    const count = (isSuccess: boolean): void => record.add(isSuccess, nowMs());
    if (!isGrpc(exchange.request)) exchange.onResponse(({ status }) => count(isGood(status)));
    else {
      exchange.takeAnswer((response, sink) => {
        const early = response.header("grpc-status");
        if (early !== undefined || response.status !== 200) return void count(response.status === 200 && isGoodGrpc(Number(early)));
        return new Trailing(sink, (status) => count(status !== undefined && isGoodGrpc(Number(status))));
      });
    }
    next(exchange, outcome);
  };
};

/** Hears how a call has ended, and leaves it as it is. */
class Trailing extends Passing {
  readonly #ended: (status: string | undefined) => void;

  constructor(next: AnswerSink, ended: (status: string | undefined) => void) {
    super(next);
    this.#ended = ended;
  }
  override end(trailers?: Parameters<AnswerSink["end"]>[0]): void {
    this.#ended(trailers?.find(([name]) => name.toLowerCase() === "grpc-status")?.[1]);
    super.end(trailers);
  }
  override fail(...told: Parameters<AnswerSink["fail"]>): void {
    this.#ended(undefined);
    super.fail(...told);
  }
}
