import type { ApiCache, ApiStage, ApiThrottle } from "../../api/product/kinds.ts";
import type { HttpFilter, HttpMatch } from "../../api/traffic.ts";
import { checkRule } from "../../policy/route-table.ts";
import type { BackendReference } from "../gateway/kinds.ts";
import { anyMethod, DocumentError, isObject, type Json, methods, type OpenApi, resolve } from "./document.ts";
import { type Integrated, readIntegration } from "./integration.ts";
import { NotHonoured } from "./not-honoured.ts";
import { rulesOf } from "./rules.ts";
import { type PathTemplate, readTemplate, substitution } from "./template.ts";
import { validationOf } from "./validation.ts";

/** An operation as a rule of the stage's route. */
export interface Operation {
  /** Of the rule: policies name it (`sectionName`), and so does the access log. */
  name: string;
  /** As the document has it: "listPets", or "GET /pets". */
  id: string;
  matches: HttpMatch[];
  filters: HttpFilter[];
  backendRef?: BackendReference;
  timeoutMs?: number;
  /** Who must have been checked: any of these lists, whole. Absent: nobody. */
  security?: Checked[][];
  /** Not of the document: what a path answers to its other methods. */
  isOther?: true;
  /** Why it is answered with 500 instead. */
  refusal?: string;
}

/** What a scheme of the document's asks for. */
export type Checked = "jwt" | "apiKey" | "basic" | "authorizer";

export interface Place {
  api: string;
  /** "NAMESPACE/API.STAGE": what counts together and is cached together. */
  id: string;
  stage: ApiStage;
  /** Of what was kept for another deployment nothing is given. */
  epoch: string;
}

/** Extensions that say nothing of how a request is served. */
const descriptive = new Set(["x-amazon-apigateway-documentation", "x-amazon-apigateway-importexport-version", "x-amazon-apigateway-tag-value", "x-amazon-apigateway-integrations", "x-amazon-apigateway-endpoint-configuration", "x-amazon-apigateway-api-key-source", "x-amazon-apigateway-request-validators", "x-amazon-apigateway-binary-media-types"]);
const prefix = "x-amazon-apigateway-";

/**
 * A stage of a document → rules. Paths without parameters go first, then by their elements from the left; a path's other methods are
 * answered with 405. What cannot be done as it is written is refused by name, and answered with 500.
 * @throws DocumentError nothing can be served
 */
export function compileOperations(document: OpenApi, place: Place): Operation[] {
  const { stage } = place;
  refuseExtensions(document.root, [corsField, "x-amazon-apigateway-request-validator"], "");
  const cors = corsOf(document.root[corsField]);
  const server = serverPath(document, stage);
  const base = `${stage.path ?? ""}${server}`;
  const shapes = new Map<string, string>();
  const paths = Object.entries(document.paths).map(([path, item]) => {
    let template: PathTemplate;
    try {
      template = readTemplate(base, path);
    } catch (error) {
      throw new DocumentError(`paths.${path}: ${(error as Error).message}`);
    }
    const twin = shapes.get(template.shape);
    if (twin !== undefined) throw new DocumentError(`paths.${path}: is the same path as ${twin}`);
    shapes.set(template.shape, path);
    return { path, item, template };
  });
  // Only where a parameter could take what is another path's: other routes of the host keep their turn.
  const patterns = paths.flatMap(({ template: { rank, match } }) => (match[0]!.path.type === "regex" ? [rank] : [])).sort();
  const isRanked = ({ rank, match: [match] }: PathTemplate): boolean => match!.path.type === "regex" || (match!.path.type === "prefix" && patterns.length > 0 && patterns[0]! < rank);
  const ranks = [...new Set(paths.flatMap(({ template }) => (isRanked(template) ? [template.rank] : [])))].sort();
  const priorityOf = (template: PathTemplate): number => (template.match[0]!.path.type === "exact" && ranks.length > 0 ? ranks.length + 1 : ranks.indexOf(template.rank) + 1);
  const taken = new Set<string>();
  const rules = rulesOf(stage);
  const operations = paths.flatMap(({ path, item, template }) => {
    const priority = priorityOf(template);
    const matches = (method: string | undefined): HttpMatch[] => template.match.map((match) => ({ ...match, ...(method !== undefined && { method }), ...(priority > 0 && { priority }) }));
    const own = [...methods, anyMethod].flatMap((method) => {
      const given = item[method];
      if (given === undefined) return [];
      const verb = method === anyMethod ? "ANY" : method.toUpperCase();
      const id = isObject(given) && typeof given["operationId"] === "string" ? given["operationId"] : `${verb} ${path}`;
      const name = unique(nameOf(id), taken);
      const common = { name, id, matches: matches(method === anyMethod ? undefined : verb) };
      try {
        return [servable({ ...common, ...operationOf(document, item, given, { verb, id, path, server, template, before: [...cors, ...rules] }, place) }, `${verb} ${path}`)];
      } catch (error) {
        if (!(error instanceof NotHonoured || error instanceof DocumentError)) throw error;
        return [{ ...common, filters: [], refusal: `${verb} ${path}: ${error.message}` }];
      }
    });
    if (own.length === 0 || item[anyMethod] !== undefined) return own;
    const allow = methods.filter((method) => item[method] !== undefined).map((method) => method.toUpperCase()).join(", ");
    const others: Operation = { name: unique(nameOf(`other methods ${path}`), taken), id: `other methods of ${path}`, isOther: true, matches: matches(undefined), filters: [...cors, ...rules, { type: "respond", status: 405, headers: [{ name: "allow", value: allow }] }] };
    return [...own, others];
  });
  return operations;
}

function operationOf(document: OpenApi, item: Record<string, Json>, given: Json, { verb, id, path, server, template, before }: { verb: string; id: string; path: string; server: string; template: PathTemplate; before: HttpFilter[] }, { stage, id: share, api, epoch }: Place): Omit<Operation, "name" | "id" | "matches"> {
  if (!isObject(given)) throw new DocumentError("must be an object");
  refuseExtensions(item, [anyMethod], "");
  refuseExtensions(given, ["x-amazon-apigateway-integration", "x-amazon-apigateway-request-validator"], "");
  if (given["servers"] !== undefined || item["servers"] !== undefined) throw new NotHonoured("servers", "of an operation is not honoured; the document's is");
  const { variables = {}, backendRef, throttle, cache, operations = [] } = stage;
  const own = operations.find(({ operation }) => operation === id);
  const integration = resolve(document.root, given["x-amazon-apigateway-integration"], "x-amazon-apigateway-integration");
  const integrated = integration !== undefined ? readIntegration(integration, { method: verb, template, variables, stage: { name: stage.name, apiId: api, resourcePath: path, ...(typeof given["operationId"] === "string" && { operationName: id }), variables } }) : passed(backendRef, `${server}${path}`, stage, template);
  const caching = own?.cache ?? cache;
  const isCached = caching !== undefined && caching.enabled !== false && (verb === "GET" || verb === "HEAD" || verb === "ANY");
  const security = securityOf(document, given, stage);
  return {
    filters: [
      ...before,
      ...(throttle ? [limit(throttle, share)] : []),
      ...(own?.throttle ? [limit(own.throttle)] : []),
      ...(isCached ? [...integrated.filters.filter(isOfAllAnswers), cached(caching, { share, epoch, bytesMax: cache?.maxBytes, fetchesWithClients: integrated.filters.some(({ type }) => type !== "rewrite" && type !== "responseHeaders") })] : []),
      ...validationOf(document, item, given, template, stage),
      ...(isCached ? integrated.filters.filter((filter) => !isOfAllAnswers(filter)) : integrated.filters),
    ],
    ...(integrated.backendRef && { backendRef: integrated.backendRef }),
    ...(integrated.timeoutMs !== undefined && { timeoutMs: integrated.timeoutMs }),
    ...(security && { security }),
  };
}

/** What its filters do not take, they say. */
function servable(made: Operation, what: string): Operation {
  const wrong = checkRule({ name: made.name, matches: made.matches, filters: made.filters, backends: [] });
  return wrong ? { ...made, filters: [], refusal: `${what}: ${wrong.message}` } : made;
}

/** To the stage's own backend, which sees the path as the document has it. */
function passed(backendRef: ApiStage["backendRef"], path: string, stage: ApiStage, template: PathTemplate): Integrated {
  if (!backendRef) throw new NotHonoured("x-amazon-apigateway-integration", `is missing, and stage ${stage.name} has no backendRef`);
  if (stage.path === undefined) return { filters: [], backendRef };
  if (template.names.length === 0) return { filters: [{ type: "rewrite", path: { type: "full", value: path } }], backendRef };
  try {
    const value = substitution(path, (name) => template.names.indexOf(name) + 1);
    return { filters: [{ type: "rewrite", path: { type: "regex", ...(template.pattern !== undefined && { pattern: template.pattern }), substitution: value } }], backendRef };
  } catch (error) {
    throw new NotHonoured("path", (error as Error).message);
  }
}

function limit({ requestsPerSecond, burst = requestsPerSecond }: ApiThrottle, share?: string): HttpFilter {
  return { type: "rateLimit", requests: requestsPerSecond, periodMs: 1000, burst: burst - 1, by: "route", ...(share !== undefined && { share: `api/${share}` }) };
}

/** What is kept does not pass what stands behind the cache: headers of all answers are said before it. */
const isOfAllAnswers = ({ type }: HttpFilter): boolean => type === "responseHeaders";

function cached({ ttlSeconds, staleWhileRevalidateSeconds, staleIfErrorSeconds, maxObjectBytes, keyHeaders, keyQuery }: ApiCache, { share, epoch, bytesMax, fetchesWithClients }: { share: string; epoch: string; bytesMax: number | undefined; fetchesWithClients: boolean }): HttpFilter {
  return {
    type: "cache",
    ...(ttlSeconds !== undefined && { ttlSeconds }),
    ...(staleWhileRevalidateSeconds !== undefined && { staleWhileRevalidateSeconds }),
    ...(staleIfErrorSeconds !== undefined && { staleIfErrorSeconds }),
    ...(bytesMax !== undefined && { bytesMax }),
    ...(maxObjectBytes !== undefined && { entryBytesMax: maxObjectBytes }),
    ...((keyHeaders || keyQuery) && { key: { ...(keyQuery && { query: keyQuery }), ...(keyHeaders && { headers: keyHeaders }) } }),
    ...(fetchesWithClients && { fetchesWithClients }),
    share: `api/${share}`,
    epoch,
  };
}

const corsField = `${prefix}cors`;

/** As HTTP APIs of AWS have it; a SecurityPolicy for the stage's route says the same for any document. */
function corsOf(given: Json | undefined): HttpFilter[] {
  if (given === undefined) return [];
  if (!isObject(given)) throw new NotHonoured(corsField, "must be an object");
  const known = ["allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials"];
  for (const field of Object.keys(given)) if (!known.includes(field)) throw new NotHonoured(`${corsField}.${field}`, "is not honoured");
  const list = (field: string): string[] => {
    const values = given[field] ?? [];
    if (!Array.isArray(values) || !values.every((value) => typeof value === "string")) throw new NotHonoured(`${corsField}.${field}`, "must be a list of texts");
    return values;
  };
  const { maxAge = 0, allowCredentials = false } = given;
  if (typeof maxAge !== "number" || maxAge < 0) throw new NotHonoured(`${corsField}.maxAge`, "must be a number of seconds, 0 or more");
  return [{ type: "cors", origins: list("allowOrigins"), methods: list("allowMethods"), headers: list("allowHeaders"), exposeHeaders: list("exposeHeaders"), maxAgeSeconds: Math.floor(maxAge), credentials: allowCredentials === true }];
}

/** What the document asks for; undefined: nothing, or nothing that the gateway has to see to. */
function securityOf(document: OpenApi, operation: Record<string, Json>, { security: who = "Gateway" }: ApiStage): Checked[][] | undefined {
  const asked = operation["security"] ?? document.security;
  if (asked === undefined || who === "Backend") return undefined;
  if (!Array.isArray(asked)) throw new DocumentError("security: must be a list");
  // An empty alternative means that nobody need be known.
  if (asked.length === 0 || asked.some((alternative) => isObject(alternative) && Object.keys(alternative).length === 0)) return undefined;
  const components = document.root["components"];
  const schemes = isObject(components) ? components["securitySchemes"] : undefined;
  return asked.map((alternative) => {
    if (!isObject(alternative)) throw new DocumentError("security: must be a list of objects");
    return Object.keys(alternative).map((name) => checkedBy(name, isObject(schemes) && Object.hasOwn(schemes, name) ? resolve(document.root, schemes[name], `securitySchemes.${name}`) : undefined));
  });
}

function checkedBy(name: string, scheme: Json | undefined): Checked {
  if (!isObject(scheme)) throw new NotHonoured(`security.${name}`, "is not one of the document's securitySchemes");
  const { type, scheme: http } = scheme;
  if (scheme[`${prefix}authtype`] !== undefined || scheme[`${prefix}authorizer`] !== undefined) {
    const authorizer = scheme[`${prefix}authorizer`];
    return isObject(authorizer) && (authorizer["type"] === "jwt" || authorizer["type"] === "cognito_user_pools") ? "jwt" : "authorizer";
  }
  if (type === "oauth2" || type === "openIdConnect") return "jwt";
  if (type === "apiKey") return "apiKey";
  if (type === "http" && typeof http === "string") {
    if (http.toLowerCase() === "bearer") return "jwt";
    if (http.toLowerCase() === "basic") return "basic";
  }
  throw new NotHonoured(`security.${name}`, `is of type ${String(type)}${typeof http === "string" ? ` ${http}` : ""}, which is not honoured`);
}

function refuseExtensions(given: Record<string, Json>, known: readonly string[], at: string): void {
  for (const field of Object.keys(given)) if (field.startsWith(prefix) && !known.includes(field) && !descriptive.has(field)) throw new NotHonoured(`${at}${field}`, "is not honoured");
}

/** The path of the first server, its variables filled by the stage's or by their defaults. */
function serverPath({ servers }: OpenApi, { variables = {} }: ApiStage): string {
  const [server] = servers;
  if (server === undefined) return "";
  if (!isObject(server) || typeof server["url"] !== "string") throw new DocumentError("servers[0].url: must be given");
  const declared = server["variables"];
  const url = server["url"].replace(/\{([^{}]*)\}/g, (_, name: string) => {
    const variable = isObject(declared) && Object.hasOwn(declared, name) ? declared[name] : undefined;
    const value = Object.hasOwn(variables, name) ? variables[name] : isObject(variable) && typeof variable["default"] === "string" ? variable["default"] : undefined;
    if (value === undefined) throw new DocumentError(`servers[0].url: {${name}} is neither a variable of the stage nor has it a default`);
    return value;
  });
  const path = /^(?:[a-z][a-z0-9+.-]*:)?(?:\/\/[^/?#]*)?(\/[^?#]*)?$/i.exec(url)?.[1] ?? "";
  return path.replace(/\/{2,}/g, "/").replace(/\/$/, "");
}

/** As rules may be called: "listPets" → "list-pets", "GET /pets/{id}" → "get-pets-id". */
function nameOf(id: string): string {
  const name = id.replace(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  return name.slice(0, 200).replace(/-+$/, "") || "operation";
}
function unique(name: string, taken: Set<string>): string {
  let free = name;
  for (let i = 2; taken.has(free); i++) free = `${name}-${i}`;
  taken.add(free);
  return free;
}
