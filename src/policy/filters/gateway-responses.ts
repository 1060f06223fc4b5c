import type { HttpFilter } from "../../api/traffic.ts";
import type { AnswerHead, AnswerSink, Exchange, Filter, ResponseView } from "../exchange.ts";
import { flags } from "../flags.ts";
import { compileHeaderFields, type Mapping, mappedHeaders } from "../mapped-value.ts";
import { compilePathNames } from "../path-names.ts";
import { at, PolicyError } from "../policy-error.ts";
import { asLeft } from "../request-edits.ts";
import { globalsOf } from "../template/globals.ts";
import { compileTemplates, dateOf, reasonOf } from "./request-template.ts";
import { templateFor } from "./response-template.ts";

type Config = Extract<HttpFilter, { type: "gatewayResponses" }>;
const charactersMax = 64 * 1024;

/** Answers that are made here, in the form that an API's clients are used to: status, headers and body by what has gone wrong. */
export const gatewayResponses: Filter<Config> = (config, tools) => {
  const { stage } = config;
  const pathOf = compilePathNames(config.path);
  const rules = config.rules.map((rule, i) => at(`rules[${i}]`, () => compileRule(rule)));
  return (next) => (exchange, outcome) => {
    const request = asLeft(exchange);
    exchange.takeAnswer((response, sink) => {
      if (!response.isLocal) return undefined;
      const rule = rules.find(({ fits }) => fits(response));
      if (!rule) return undefined;
      const { reason = "" } = response;
      // What the client is told anyway, and not what only the log is.
      const message = response.status >= 500 ? "Internal server error" : reason;
      const error = { message, messageString: JSON.stringify(message), responseType: rule.name, validationErrorString: response.flag === "RV" ? reason : "" };
      const mapping: Mapping = { exchange, request, path: pathOf(exchange), body: "", stage, nowMs: dateOf(tools), error };
      const shown = templateFor(exchange.request.header("accept"), rule.templates);
      let text: string | undefined;
      try {
        text = shown?.[1]({ names: globalsOf(exchange, request, "", mapping.path, stage, mapping.nowMs, error).names, charactersMax });
      } catch (problem) {
        (exchange.notes ??= []).push(reasonOf(problem));
      }
      return replaced(exchange, sink, text === undefined ? undefined : Buffer.from(text), (head) => ({
        ...head,
        status: rule.status ?? head.status,
        headers: mappedHeaders(text === undefined ? head.headers : [...head.headers.filter(([name]) => name !== "content-type"), ["content-type", shown![0]]], rule.fields, mapping),
      }));
    });
    next(exchange, outcome);
  };
};

function compileRule({ name, flags: given, statuses, reason: begin, status, headers, templates }: Config["rules"][number]) {
  if (status !== undefined && !(Number.isInteger(status) && status >= 400 && status <= 599)) throw new PolicyError("status", status, "must be between 400 and 599");
  for (const [i, flag] of (given ?? []).entries()) if (!Object.hasOwn(flags, flag)) throw new PolicyError(`flags[${i}]`, flag, "is not a flag of an answer");
  const fields = compileHeaderFields(headers, "headers");
  return {
    name,
    status,
    fields,
    templates: compileTemplates(templates ?? {}, "templates"),
    fits: ({ flag = "", status: own, reason = "" }: ResponseView): boolean => {
      if (given ? !given.includes(flag) : flag === "DR" || flag === "CH") return false;
      if (statuses && (own < statuses.from || own > statuses.to)) return false;
      return begin === undefined || reason.startsWith(begin);
    },
  };
}

function replaced(exchange: Exchange, next: AnswerSink, body: Buffer | undefined, headOf: (head: AnswerHead) => AnswerHead): AnswerSink {
  return {
    get isBlocked() {
      return next.isBlocked;
    },
    begin: (head) => {
      next.begin({ ...headOf(head), ...(body && { length: exchange.request.method === "HEAD" ? undefined : body.length }) });
      if (body && exchange.request.method !== "HEAD") next.content(body);
    },
    content: (bytes) => body === undefined && next.content(bytes),
    end: (trailers) => next.end(trailers),
    fail: next.fail.bind(next),
  };
}
