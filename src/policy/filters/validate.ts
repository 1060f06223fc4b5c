import type { HttpFilter } from "../../api/traffic.ts";
import type { RequestParameter } from "../../api/traffic-content.ts";
import type { Exchange, Filter, LocalAnswer, RequestView } from "../exchange.ts";
import { chooseByMediaType, hiddenBy, isForm, isJson, mediaTypeOf } from "../media-type.ts";
import { compilePathNames } from "../path-names.ts";
import { PolicyError } from "../policy-error.ts";
import { problemAnswer, type ProblemError } from "../problem.ts";
import { asLeft } from "../request-edits.ts";
import { readJson } from "../schema/json.ts";
import { compileSchemaAt, type SchemaOptions, stepsFor, type Validator } from "../schema/schema.ts";
import { candidates, compileTypes, type TextTypes } from "../schema/texts.ts";
import { parametersOf } from "../values.ts";

type Config = Extract<HttpFilter, { type: "validate" }>;

const bytesMaxDefault = 1024 * 1024;
const errorsMax = 20;

/**
 * Requests are as their API describes them, or are answered with 400 and every field that is not: where it is, what it is, and
 * what it would have to be.
 */
export const validate: Filter<Config> = (config) => {
  const { body, document, dialect, dryRun, closedQuery } = config;
  const options: SchemaOptions = { ...(document !== undefined && { document }), ...(dialect && { dialect }), ...(config.ignoresUnknownFormats && { formats: "known" }) };
  const bytesMax = body?.bytesMax ?? bytesMaxDefault;
  if (!Number.isSafeInteger(bytesMax) || bytesMax < 1) throw new PolicyError("body.bytesMax", bytesMax, "must be at least 1");
  const contents = Object.entries(body?.content ?? {}).map(([type, schema]) => [type.toLowerCase(), compileContent(type, schema, options)] as const);
  const parameters = (config.parameters ?? []).map((parameter, i) => compileParameter(parameter, `parameters[${i}]`, options));
  const pathOf = compilePathNames(config.path);
  for (const [i, { in: place, name }] of (config.parameters ?? []).entries()) {
    if (place === "path" && !config.path?.names.includes(name)) throw new PolicyError(`parameters[${i}].name`, name, "is not among the names of path");
  }
  const queryNames = new Set(parameters.filter(({ place }) => place === "query").map(({ name }) => name));

  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    const errors: ProblemError[] = [];
    if (parameters.length > 0 || closedQuery) checkParameters(exchange, errors);
    const finish = (refused?: LocalAnswer): void => {
      const answer = refused ?? (errors.length > 0 ? problemAnswer(request, "RV", 400, `the request is not as its API describes it: ${errors.length === 1 ? "1 error" : `${errors.length} errors`}`, errors.slice(0, errorsMax)) : undefined);
      if (!answer) return next(exchange, outcome);
      if (!dryRun) return outcome.answer(exchange, answer);
      (exchange.notes ??= []).push(`RV would refuse with ${answer.status}: ${answer.reason}`);
      next(exchange, outcome);
    };
    if (!body) return finish();
    // What cannot be read cannot be judged: nothing passes because it was packed.
    const coding = hiddenBy(request);
    if (coding !== undefined) return finish(problemAnswer(request, "RV", 415, coding.startsWith("charset ") ? `the body must be UTF-8, and not of ${coding}` : `the body must not be encoded: content-encoding is ${coding}`, []));
    const type = mediaTypeOf(request.header("content-type"));
    const content = chooseByMediaType(contents, type);
    exchange.readBody(bytesMax, (bytes) => {
      if (bytes.length === 0) {
        if (body.required) errors.push({ in: "body", pointer: "#", detail: "is required" });
        return finish();
      }
      if (!content) return finish(problemAnswer(request, "RV", 415, `content-type must be ${contents.map(([name]) => name).join(" or ")}${type === "" ? "" : `, not ${type}`}`, []));
      content(bytes, errors);
      finish();
    });
  };

  function checkParameters(exchange: Exchange, errors: ProblemError[]): void {
    const request = asLeft(exchange);
    const query = request.query === "" ? undefined : parametersOf(request.query);
    const path = config.path ? pathOf(exchange) : undefined;
    for (const { place, name, lower, isRequired, explode, types, validator } of parameters) {
      const values = valuesOf(request, place, lower, query, path);
      if (values.length === 0) {
        if (isRequired) errors.push({ in: place, name, detail: "is required" });
        continue;
      }
      const tried = candidates(values, types, place === "query" && explode);
      const failures = tried.map((value) => validator.failures(value, stepsFor(10_000), errorsMax));
      if (failures.some(({ length }) => length === 0)) continue;
      for (const { pointer, value, why } of failures[0]!) errors.push({ in: place, name, ...(pointer !== "" && { pointer: `#${pointer}` }), value, detail: why });
    }
    if (closedQuery && query) for (const name of new Set(query.keys())) if (!queryNames.has(name)) errors.push({ in: "query", name, detail: queryNames.size > 0 ? `is not known here; known are ${[...queryNames].slice(0, 12).join(", ")}` : "is not known here" });
  }
};

interface Parameter {
  place: RequestParameter["in"];
  name: string;
  /** As it is looked up. */
  lower: string;
  isRequired: boolean;
  explode: boolean;
  types: TextTypes;
  validator: Validator;
}
function compileParameter({ in: place, name, required, schema, explode }: RequestParameter, field: string, options: SchemaOptions): Parameter {
  if (!["query", "path", "header", "cookie"].includes(place)) throw new PolicyError(`${field}.in`, place, "supported values: query, path, header, cookie");
  return { place, name, lower: place === "header" ? name.toLowerCase() : name, isRequired: required === true || place === "path", explode: explode !== false, types: compileTypes(schema, options.document ?? schema), validator: compileSchemaAt(field, schema, options) };
}

function valuesOf(request: RequestView, place: RequestParameter["in"], name: string, query: URLSearchParams | undefined, path: Map<string, string> | undefined): string[] {
  if (place === "query") return query?.getAll(name) ?? [];
  const value = place === "header" ? request.header(name) : place === "path" ? path?.get(name) : cookieOf(request.header("cookie"), name);
  return value === undefined ? [] : [value];
}
function cookieOf(cookies: string | undefined, name: string): string | undefined {
  for (const cookie of cookies?.split(";") ?? []) {
    const equals = cookie.indexOf("=");
    if (equals > 0 && cookie.slice(0, equals).trim() === name) return cookie.slice(equals + 1).trim();
  }
  return undefined;
}

/** Of one media type: adds what is wrong with a body. */
function compileContent(type: string, schema: unknown, options: SchemaOptions): (bytes: Uint8Array, errors: ProblemError[]) => void {
  const lower = type.toLowerCase();
  const field = `body.content["${type}"]`;
  const validator = compileSchemaAt(field, schema, options);
  const judge = (value: unknown, size: number, errors: ProblemError[]): void => {
    for (const { pointer, value: found, why } of validator.failures(value, stepsFor(size), errorsMax)) errors.push({ in: "body", pointer: `#${encodeURI(pointer)}`, value: found, detail: why });
  };
  if (isJson(lower)) {
    return (bytes, errors) => {
      const { value, error } = readJson(bytes);
      if (error !== undefined) errors.push({ in: "body", pointer: "#", detail: error });
      else judge(value, bytes.length, errors);
    };
  }
  if (isForm(lower)) {
    const { members, isList } = compileTypes(schema, options.document ?? schema);
    if (isList) throw new PolicyError(`${field}.type`, "array", "must be an object: a form has members");
    return (bytes, errors) => {
      const form = parametersOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
      const value: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
      for (const name of new Set(form.keys())) {
        const values = form.getAll(name);
        const types = members(name);
        const tried = types ? candidates(values, types, true) : [values.length === 1 ? values[0] : values];
        // Of a text that could be several things the first one that its own type takes.
        value[name] = tried[0];
      }
      judge(value, bytes.length, errors);
    };
  }
  if (lower.startsWith("text/")) return (bytes, errors) => judge(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"), bytes.length, errors);
  throw new PolicyError(field, "…", "only JSON, application/x-www-form-urlencoded and text/… can be validated");
}
