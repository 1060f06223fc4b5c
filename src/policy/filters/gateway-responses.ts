import type { HttpFilter } from "../../api/traffic.ts";
import type { AnswerHead, AnswerSink, Exchange, Filter, LocalAnswer, ResponseView } from "../exchange.ts";
import { type Flag, flags } from "../flags.ts";
import { compileHeaderFields, type Mapping, mappedHeaders } from "../mapped-value.ts";
import { Passing } from "../passing.ts";
import { compilePathNames } from "../path-names.ts";
import { at, PolicyError } from "../policy-error.ts";
import { Replacing } from "../replacing.ts";
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
      if (!response.isLocal) return new Watched(sink, (flag, reason) => shownFor({ status: flags[flag].status, flag, reason, header: () => undefined }));
      const shown = shownFor(response);
      return shown && replaced(exchange, sink, shown);
    });
    const shownFor = (response: ResponseView): Shown | undefined => {
      const rule = rules.find(({ fits }) => fits(response));
      if (!rule) return undefined;
      const { reason = "" } = response;
      // What the client is told anyway, and not what only the log is.
      const message = response.status >= 500 ? "Internal server error" : reason;
      const error = { message, messageString: JSON.stringify(message), responseType: rule.name, validationErrorString: response.flag === "RV" ? reason : "" };
      const mapping: Mapping = { exchange, request, path: pathOf(exchange), body: "", stage, nowMs: dateOf(tools), error };
      const template = templateFor(exchange.request.header("accept"), rule.templates);
      let text: string | undefined;
      try {
        text = template?.[1]({ names: globalsOf(exchange, request, "", mapping.path, stage, mapping.nowMs, error).names, charactersMax });
      } catch (problem) {
        (exchange.notes ??= []).push(reasonOf(problem));
      }
      const head = (given: AnswerHead): AnswerHead => ({
        ...given,
        status: rule.status ?? given.status,
        headers: mappedHeaders(text === undefined ? given.headers : [...given.headers.filter(([name]) => name !== "content-type"), ["content-type", template![0]]], rule.fields, mapping),
      });
      return { head, body: text === undefined ? undefined : Buffer.from(text) };
    };
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

interface Shown {
  head(given: AnswerHead): AnswerHead;
  /** Undefined: it stays. */
  body: Buffer | undefined;
}

function replaced(exchange: Exchange, next: AnswerSink, { head, body }: Shown): AnswerSink {
  const isHead = exchange.request.method === "HEAD";
  return new Replacing(next, (given) => ({ ...head(given), ...(body && { length: isHead ? undefined : body.length }) }), isHead && body ? nothing : body);
}
const nothing = new Uint8Array();

/** An upstream's answer, which may still become one of ours as long as none of it has gone. */
class Watched extends Passing {
  readonly #shownFor: (flag: Flag, reason: string) => Shown | undefined;
  #hasBegun = false;

  constructor(next: AnswerSink, shownFor: (flag: Flag, reason: string) => Shown | undefined) {
    super(next);
    this.#shownFor = shownFor;
  }
  override begin(head: AnswerHead): void {
    this.#hasBegun = true;
    super.begin(head);
  }
  override fail(flag: Flag, reason: string, answer?: LocalAnswer): void {
    const shown = this.#hasBegun ? undefined : this.#shownFor(flag, reason);
    if (!shown) return super.fail(flag, reason, answer);
    const { status, headers } = shown.head({ status: flags[flag].status, headers: [], length: undefined });
    super.fail(flag, reason, { status, headers: shown.body || headers.some(([name]) => name === "content-type") ? headers : [...headers, ["content-type", "text/plain; charset=utf-8"]], body: shown.body?.toString() ?? `${reason}\n`, flag, reason });
  }
}
