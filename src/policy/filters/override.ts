import type { OverrideFilter } from "../../api/traffic-answers.ts";
import type { AnswerHead, AnswerSink, Exchange, Filter, HeaderEdits, ResponseView } from "../exchange.ts";
import { compileEdits } from "../header-edits.ts";
import { at, PolicyError } from "../policy-error.ts";
import { Replacing } from "../replacing.ts";
import { compileTextMatch } from "../text-match.ts";
import { compileLocation } from "./redirect.ts";

/** Of the body that is taken away. */
const ofBody = new Set(["content-type", "content-encoding", "content-language", "content-location", "content-range", "content-digest", "content-md5", "accept-ranges", "etag", "last-modified"]);

/** Other answers in place of some: whoever gave them, a client gets the page, the status or the way elsewhere that is meant for it. */
export const override: Filter<OverrideFilter> = ({ rules }) => {
  const compiled = rules.map((rule, i) => at(`rules[${i}]`, () => compileRule(rule)));
  return (next) => (exchange, outcome) => {
    exchange.takeAnswer((response, sink) => {
      const rule = compiled.find(({ fits }) => fits(response));
      if (!rule) return undefined;
      // The log has what the client got: here stands what it got that instead of.
      (exchange.notes ??= []).push(`override: it was ${response.status}`);
      return rule.sink(exchange, sink);
    });
    next(exchange, outcome);
  };
};

interface CompiledRule {
  fits(response: ResponseView): boolean;
  sink(exchange: Exchange, next: AnswerSink): AnswerSink;
}

function compileRule({ statuses, headers = [], source, status, body, contentType, change, redirect }: OverrideFilter["rules"][number]): CompiledRule {
  for (const [field, value] of [["status", status], ["redirect.status", redirect?.status]] as const) if (value !== undefined && (!Number.isInteger(value) || value < 200 || value > 599)) throw new PolicyError(field, value, "must be between 200 and 599");
  const values = headers.map(({ name, value }, i) => ({ name: name.toLowerCase(), fits: compileTextMatch(value, `headers[${i}].value`) }));
  const edits = compileEdits(change ?? {});
  const locationOf = redirect && at("redirect", () => compileLocation(redirect));
  const content = redirect ? Buffer.alloc(0) : body === undefined ? undefined : Buffer.from(body);
  return {
    fits: (response) => {
      if (source !== undefined && (source === "local") !== (response.isLocal === true)) return false;
      if (!statuses.some(({ from, to }) => response.status >= from && response.status <= to)) return false;
      return values.every(({ name, fits }) => {
        const value = response.header(name);
        return value !== undefined && fits(value);
      });
    },
    sink: (exchange, next) => new Replacing(next, (head) => {
      if (content === undefined) return { ...head, status: status ?? head.status, headers: edited([...head.headers.filter(([name]) => contentType === undefined || name !== "content-type"), ...typed(contentType)], edits) };
      const kept = head.headers.filter(([name]) => !ofBody.has(name));
      const more: AnswerHead["headers"] = locationOf ? [["location", locationOf(exchange)]] : typed(contentType ?? "text/plain");
      return { status: redirect?.status ?? status ?? head.status, headers: edited([...kept, ...more], edits), length: content.length };
    }, content),
  };
}

const typed = (contentType: string | undefined): AnswerHead["headers"] => (contentType === undefined ? [] : [["content-type", contentType]]);

function edited(headers: AnswerHead["headers"], { remove, set, add }: HeaderEdits): AnswerHead["headers"] {
  const gone = new Set([...remove, ...set.map(([name]) => name)]);
  return [...headers.filter(([name]) => !gone.has(name)), ...[...set, ...add].map(([name, value]): [string, string] => [name, value])];
}
