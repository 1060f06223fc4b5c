import type { HttpFilter } from "../../api/traffic.ts";
import { isUnchanged } from "../cache/rules.ts";
import type { Filter } from "../exchange.ts";
import { compileEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";

/** Answers in place of an upstream; with 304 where it has an ETag that the client knows. */
export const respond: Filter<Extract<HttpFilter, { type: "respond" }>> = ({ status, headers, body }) => {
  if (!Number.isInteger(status) || status < 200 || status > 599) throw new PolicyError("status", status, "must be between 200 and 599");
  const added = compileEdits({ add: headers ?? [] }).add.map(([name, value]): [string, string] => [name, value]);
  const etag = added.find(([name]) => name === "etag")?.[1];
  if (status === 200 && etag !== undefined) {
    const kept = { get: (name: string) => (name === "etag" ? etag : undefined) };
    return () => (exchange, outcome) => {
      const { request } = exchange;
      const isKnown = (request.method === "GET" || request.method === "HEAD") && isUnchanged({ get: (name) => request.header(name) }, kept, 0);
      outcome.answer(exchange, localAnswer(request, "DR", "fixed answer", { status: isKnown ? 304 : 200, headers: isKnown ? added.filter(([name]) => name !== "content-type") : added, body: isKnown ? "" : (body ?? "") }));
    };
  }
  return () => (exchange, outcome) => outcome.answer(exchange, localAnswer(exchange.request, "DR", "fixed answer", { status, headers: added, body: body ?? "" }));
};
