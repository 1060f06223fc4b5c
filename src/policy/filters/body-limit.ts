import type { HttpFilter } from "../../api/traffic.ts";
import type { Filter } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";

/** Bodies that announce more are refused at once, the others when they have become too large. Of several limits the least counts. */
export const bodyLimit: Filter<Extract<HttpFilter, { type: "bodyLimit" }>> = ({ bytes }) => {
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new PolicyError("bytes", bytes, "must not be negative");
  return (next) => (exchange, outcome) => {
    const announced = exchange.request.header("content-length");
    if (announced !== undefined && Number(announced) > bytes) return outcome.answer(exchange, localAnswer(exchange.request, "BL", `the body is larger than ${bytes} bytes`));
    exchange.bodyBytesMax = Math.min(bytes, exchange.bodyBytesMax ?? Infinity);
    next(exchange, outcome);
  };
};
