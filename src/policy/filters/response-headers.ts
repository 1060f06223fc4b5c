import type { HeaderChange } from "../../api/traffic.ts";
import type { Filter } from "../exchange.ts";
import { compileEdits, mergeEdits } from "../header-edits.ts";

/** Sets, adds and removes headers of the answer, also of one that a later filter makes. */
export const responseHeaders: Filter<HeaderChange> = (config) => {
  const edits = compileEdits(config);
  return (next) => (exchange, outcome) => {
    // Answers meet the filters in the opposite order: what a filter closer to the upstream says comes first, and the outer has the last word.
    exchange.responseHeaders = exchange.responseHeaders ? mergeEdits(edits, exchange.responseHeaders) : edits;
    next(exchange, outcome);
  };
};
