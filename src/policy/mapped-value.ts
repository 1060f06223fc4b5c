import type { MappedField, MappedPart, TemplateStage } from "../api/traffic-content.ts";
import type { Exchange, RequestView, ResponseView } from "./exchange.ts";
import { isConnectionHeader, isHeaderName, isHeaderValue } from "./header-edits.ts";
import { at, PolicyError } from "./policy-error.ts";
import { Budget } from "./template/budget.ts";
import { globalsOf } from "./template/globals.ts";
import { JsonPath } from "./template/json-path.ts";
import { isMembers, jsonOf, member, textOf } from "./template/values.ts";
import { parametersOf } from "./values.ts";

/** What values are made of. */
export interface Mapping {
  exchange: Exchange;
  /** As the filters before have left it. */
  request: RequestView;
  path: ReadonlyMap<string, string>;
  body: string;
  stage: TemplateStage | undefined;
  nowMs: number;
  response?: Pick<ResponseView, "header">;
  /** For `context: "error.…"`. */
  error?: Record<string, string>;
  /** What several values are made of is made once. */
  made?: { json?: { value: unknown }; context?: unknown; budget?: Budget };
}

/** Values of one parameter; none: there is nothing. */
export type Mapped = (from: Mapping) => string[];

/** @throws PolicyError */
export function compileParts(parts: readonly MappedPart[], encode?: (value: string, part: MappedPart) => string): Mapped {
  const compiled = parts.map((part, i) => at(`[${i}]`, () => compilePart(part)));
  const [only] = compiled;
  if (only && compiled.length === 1 && !encode) return only;
  const isFixed = parts.every((part) => "text" in part);
  return (from) => {
    let text = "";
    let hasAny = isFixed;
    for (const [i, value] of compiled.entries()) {
      const found = value(from);
      if (found.length > 0 && !("text" in parts[i]!)) hasAny = true;
      const joined = found.join(",");
      text += encode ? encode(joined, parts[i]!) : joined;
    }
    return hasAny || encode ? [text] : [];
  };
}

/** Whether the body must be there. */
export const readsBody = (parts: readonly MappedPart[]): boolean => parts.some((part) => "body" in part);

function compilePart(part: MappedPart): Mapped {
  if ("text" in part) return () => [part.text];
  if ("header" in part) {
    const name = part.header.toLowerCase();
    return ({ request }) => some(request.header(name));
  }
  if ("responseHeader" in part) {
    const name = part.responseHeader.toLowerCase();
    return ({ response }) => some(response?.header(name));
  }
  if ("query" in part) {
    return ({ request }) => {
      const all = request.query === "" ? [] : parametersOf(request.query).getAll(part.query);
      return part.all ? all : all.slice(-1);
    };
  }
  if ("path" in part) return ({ path }) => some(path.get(part.path));
  if ("body" in part) return compileBody(part.body);
  if ("context" in part) {
    const names = part.context.split(".");
    return (from) => {
      const made = (from.made ??= {});
      let value: unknown = (made.context ??= globalsOf(from.exchange, from.request, "", from.path, from.stage, from.nowMs, from.error).names["context"]);
      for (const name of names) value = isMembers(value) ? member(value, name) : undefined;
      return value === undefined || value === null || value === "" ? [] : [textOf(value, new Budget())];
    };
  }
  throw new PolicyError("from", JSON.stringify(part), "must be text, header, query, path, body, context or responseHeader");
}

function compileBody(source: string): Mapped {
  if (source === "") return ({ body }) => some(body === "" ? undefined : body);
  let path: JsonPath;
  try {
    path = new JsonPath(source);
  } catch (error) {
    throw new PolicyError("body", source, (error as Error).message);
  }
  return (from) => {
    const made = (from.made ??= {});
    const budget = (made.budget ??= new Budget());
    if (!made.json) made.json = { value: parsed(from.body) };
    const found = path.find(made.json.value, budget);
    if (found === undefined || found === null) return [];
    return [typeof found === "object" ? jsonOf(found, budget) : String(found)];
  };
}

/** What is no JSON has nothing in it. */
function parsed(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined;
  }
}

const some = (value: string | undefined): string[] => (value === undefined ? [] : [value]);

export interface CompiledField {
  name: string;
  do: "set" | "add" | "remove";
  value: Mapped;
  /** It tells what was found out here: where there is nothing of it, what a client says in its place is not it. */
  isOurs: boolean;
}

/** Headers, by lower-case names. @throws PolicyError for those that nobody may set */
export function compileHeaderFields(fields: readonly MappedField[] | undefined, field: string): CompiledField[] {
  return compileFields(fields, field).map((one, i) => {
    if (!isHeaderName(one.name)) throw new PolicyError(`${field}[${i}].name`, one.name, "must be the name of a header");
    if (isConnectionHeader(one.name)) throw new PolicyError(`${field}[${i}].name`, one.name, "belongs to the connection, which a route cannot change");
    return { ...one, name: one.name.toLowerCase() };
  });
}
export function compileFields(fields: readonly MappedField[] = [], field: string): CompiledField[] {
  return fields.map(({ name, do: how = "set", from }, i) => ({ name, do: how, value: at(`${field}[${i}].from`, () => compileParts(from)), isOurs: from.some((part) => "context" in part) }));
}

/** A header's value, of characters that may stand in one: others are left out, so that nobody ends a line with them. */
export const headerValue = (values: readonly string[]): string => {
  const text = values.join(", ");
  return isHeaderValue(text) ? text : [...text].filter((char) => isHeaderValue(char)).join("");
};

/** What becomes of an answer's headers. */
export function mappedHeaders(headers: readonly (readonly [name: string, value: string])[], fields: readonly CompiledField[], from: Mapping): [name: string, value: string][] {
  let result = headers.map(([name, value]): [string, string] => [name, value]);
  for (const { name, do: how, value } of fields) {
    const found = how === "remove" ? [] : value(from);
    if (how === "remove" || (how === "set" && found.length > 0)) result = result.filter(([known]) => known !== name);
    if (found.length > 0) result.push([name, headerValue(found)]);
  }
  return result;
}
