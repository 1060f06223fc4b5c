import type { RequestBufferFilter } from "../../api/traffic-answers.ts";
import type { Filter } from "../exchange.ts";
import { PolicyError } from "../policy-error.ts";

/** The upstream is asked when the whole body is here: a slow client costs it nothing. */
export const requestBuffer: Filter<RequestBufferFilter> = ({ bytes }) => {
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new PolicyError("bytes", bytes, "must not be negative");
  return (next) => (exchange, outcome) => exchange.readBody(bytes, () => next(exchange, outcome));
};
