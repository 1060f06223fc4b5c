import type { HttpFilter } from "../../api/traffic.ts";
import type { Filter } from "../exchange.ts";
import { compileEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";

/** Answers in place of an upstream. */
export const respond: Filter<Extract<HttpFilter, { type: "respond" }>> = ({ status, headers, body }) => {
  if (!Number.isInteger(status) || status < 200 || status > 599) throw new PolicyError("status", status, "must be between 200 and 599");
  const added = compileEdits({ add: headers ?? [] }).add.map(([name, value]): [string, string] => [name, value]);
  return () => (exchange, outcome) => outcome.answer(exchange, localAnswer(exchange.request, "DR", "fixed answer", { status, headers: added, body: body ?? "" }));
};
