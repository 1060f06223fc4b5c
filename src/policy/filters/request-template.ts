import type { HttpFilter } from "../../api/traffic.ts";
import type { Exchange, Filter, FilterTools } from "../exchange.ts";
import { compileEdits, mergeEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { chooseByMediaType, hiddenBy, mediaTypeOf } from "../media-type.ts";
import { compilePathNames } from "../path-names.ts";
import { PolicyError } from "../policy-error.ts";
import { asLeft } from "../request-edits.ts";
import { type Globals, globalsOf } from "../template/globals.ts";
import { compileTemplate, type Template, TemplateError } from "../template/render.ts";
import { type Members, textOf } from "../template/values.ts";
import { parametersOf } from "../values.ts";

type Config = Extract<HttpFilter, { type: "requestTemplate" }>;

const bytesMaxDefault = 1024 * 1024;
const notJson = "$input: the body is not JSON";

/** What goes on to the upstream is made of what came by a template: AWS API Gateway's mapping templates. */
export const requestTemplate: Filter<Config> = (config, tools) => {
  const { passthrough, stage } = config;
  const bytesMax = bytesOf(config.bytesMax);
  const templates = compileTemplates(config.templates, "templates");
  if (!["whenNoMatch", "whenNoTemplates", "never"].includes(passthrough)) throw new PolicyError("passthrough", passthrough, "supported values: whenNoMatch, whenNoTemplates, never");
  const passes = passthrough === "whenNoMatch" || (passthrough === "whenNoTemplates" && templates.length === 0);
  const pathOf = compilePathNames(config.path);
  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    // Without a type it is JSON, as there.
    const type = mediaTypeOf(request.header("content-type")) || "application/json";
    const template = chooseByMediaType(templates, type);
    if (!template) {
      if (passes) return next(exchange, outcome);
      return outcome.answer(exchange, localAnswer(request, "TF", `there is no template for ${type}`, { status: 415 }));
    }
    const coding = hiddenBy(request);
    if (coding !== undefined) return outcome.answer(exchange, localAnswer(request, "TF", `the body is encoded (${coding}), and no template can read it`, { status: 415 }));
    exchange.readBody(bytesMax, (bytes) => {
      try {
        const globals = globalsOf(exchange, asLeft(exchange), Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"), pathOf(exchange), stage, dateOf(tools));
        const text = template({ names: globals.names, charactersMax: bytesMax });
        applyRequest(exchange, globals);
        // A request that has no body, and whose method asks for none, gets none.
        if (bytes.length > 0 || !["GET", "HEAD", "DELETE", "OPTIONS"].includes(config.method ?? request.method)) exchange.replaceBody(Buffer.from(text));
      } catch (error) {
        const reason = reasonOf(error);
        // Whose fault it is decides who should look: the client sent it, and nothing of the template is told.
        if (reason.endsWith(notJson)) return outcome.answer(exchange, localAnswer(request, "TF", reason, { status: 400, body: "the body is not JSON\n" }));
        return outcome.answer(exchange, localAnswer(request, "TF", reason, { body: "the request could not be transformed\n" }));
      }
      next(exchange, outcome);
    });
  };
};

export function bytesOf(bytesMax = bytesMaxDefault): number {
  if (!Number.isSafeInteger(bytesMax) || bytesMax < 1) throw new PolicyError("bytesMax", bytesMax, "must be at least 1");
  return bytesMax;
}
export const dateOf = (tools: FilterTools): number => (tools.dateMs ?? Date.now)();

export function compileTemplates(templates: { readonly [mediaType: string]: string }, field: string): (readonly [mediaType: string, template: Template])[] {
  return Object.entries(templates).map(([type, text]) => {
    try {
      return [type.toLowerCase(), compileTemplate(text)] as const;
    } catch (error) {
      if (error instanceof TemplateError) throw new PolicyError(`${field}["${type}"]`, text.split("\n")[error.line - 1]?.slice(0, 200) ?? "", error.message);
      throw error;
    }
  });
}

/** For the log; what it was is not told to the client. */
export function reasonOf(error: unknown): string {
  if (error instanceof TemplateError) return `the template failed: ${error.message}`;
  if (error instanceof PolicyError) return `the template failed: ${error.message}`;
  throw error;
}

const quiet = { step() {}, make() {}, made: (text: string) => text, fail: (message: string): never => { throw new TemplateError(1, message); } };
/** Headers that a template has set, in the form that is applied. @throws PolicyError for those that nobody may set */
export function headersIn(members: Members): { name: string; value: string }[] {
  return Object.entries(members).map(([name, value]) => ({ name, value: textOf(value, quiet) }));
}

/** What a template has set itself, which no mapping of parameters changes any more; headers in lower case. */
export const setByTemplates = new WeakMap<Exchange, { headers: ReadonlySet<string>; query: ReadonlySet<string> }>();

function applyRequest(exchange: Exchange, { overrides }: Globals): void {
  const headers = headersIn(overrides.requestHeaders);
  if (headers.length > 0 || Object.keys(overrides.query).length > 0) setByTemplates.set(exchange, { headers: new Set(headers.map(({ name }) => name.toLowerCase())), query: new Set(Object.keys(overrides.query)) });
  if (headers.length > 0) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, compileEdits({ set: headers }));
  if (Object.keys(overrides.path).length > 0) throw new TemplateError(1, "$context.requestOverride.path is not honoured here");
  const query = Object.entries(overrides.query);
  if (query.length === 0) return;
  const parameters = parametersOf(exchange.query ?? exchange.request.query);
  for (const [name, value] of query) parameters.set(name, textOf(value, quiet));
  exchange.query = parameters.toString();
  // A target that was made already has the query that was.
  if (exchange.target !== undefined) exchange.target = `${exchange.target.split("?")[0]!}?${exchange.query}`;
}
