import type { HttpFilter } from "../../api/traffic.ts";
import type { Exchange, Filter, LocalAnswer } from "../exchange.ts";
import { compileEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { type Mapping, mappedHeaders } from "../mapped-value.ts";
import { chooseByMediaType, mediaTypeOf } from "../media-type.ts";
import { compilePathNames } from "../path-names.ts";
import { at, PolicyError } from "../policy-error.ts";
import { asLeft } from "../request-edits.ts";
import { globalsOf } from "../template/globals.ts";
import { bytesOf, compileTemplates, dateOf, headersIn, reasonOf } from "./request-template.ts";
import { compileResponse, statusIn, templateFor } from "./response-template.ts";

type Config = Extract<HttpFilter, { type: "mock" }>;

/** An answer without an upstream: the request's template says a `statusCode`, and the response that is for it is what the client gets. */
export const mock: Filter<Config> = (config, tools) => {
  const { passthrough, stage } = config;
  const bytesMax = bytesOf(config.bytesMax);
  const templates = compileTemplates(config.templates, "templates");
  const responses = config.responses.map((response, i) => at(`responses[${i}]`, () => compileResponse(response)));
  const pathOf = compilePathNames(config.path);
  const passes = passthrough === "whenNoMatch" || (passthrough === "whenNoTemplates" && templates.length === 0);

  const answerOf = (exchange: Exchange, body: string): LocalAnswer => {
    const request = asLeft(exchange);
    const type = mediaTypeOf(request.header("content-type")) || "application/json";
    const template = chooseByMediaType(templates, type);
    if (!template && !passes) return localAnswer(request, "TF", `there is no template for ${type}`, { status: 415 });
    const path = pathOf(exchange);
    const globals = globalsOf(exchange, request, body, path, stage, dateOf(tools));
    const rendering = { names: globals.names, charactersMax: bytesMax };
    const wanted = statusCodeIn(template ? template(rendering) : body);
    if (wanted === undefined) throw new PolicyError("statusCode", undefined, "is not said by the request's template");
    const chosen = responses.find(({ matches }) => matches(wanted));
    if (!chosen) throw new PolicyError("statusCode", wanted, "has no response");
    const shown = templateFor(request.header("accept"), chosen.templates);
    const text = shown ? shown[1](rendering) : "";
    const status = statusIn(globals.overrides.response, chosen.status ?? wanted);
    const mapping: Mapping = { exchange, request, path, body, stage, nowMs: dateOf(tools) };
    const set = compileEdits({ set: headersIn(globals.overrides.responseHeaders) }).set;
    const headers = mappedHeaders([], chosen.fields, mapping).filter(([name]) => !set.some(([other]) => other === name));
    headers.push(...set.map(([name, value]): [string, string] => [name, value]));
    if (shown && text !== "" && !headers.some(([name]) => name === "content-type")) headers.push(["content-type", shown[0]]);
    return localAnswer(request, "DR", "a mock", { status, headers, body: text });
  };

  return () => (exchange, outcome) => {
    exchange.readBody(bytesMax, (bytes) => {
      let answer: LocalAnswer;
      try {
        answer = answerOf(exchange, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
      } catch (error) {
        answer = localAnswer(exchange.request, "TF", reasonOf(error), { body: "the answer could not be made\n" });
      }
      outcome.answer(exchange, answer);
    });
  };
};

/** As API Gateway reads it, which takes `{statusCode: 200}` and `{'statusCode': 200}` as well. */
export function statusCodeIn(text: string): number | undefined {
  let said: unknown;
  try {
    const json = JSON.parse(text) as unknown;
    said = typeof json === "object" && json !== null && Object.hasOwn(json, "statusCode") ? (json as { statusCode: unknown }).statusCode : undefined;
  } catch {
    said = /(?:^|[\s{,"'])statusCode["']?\s*:\s*["']?(\d{3})(?!\d)/.exec(text.slice(0, 10_000))?.[1];
  }
  const status = Number(said);
  return Number.isInteger(status) && status >= 100 && status <= 599 ? status : undefined;
}
