import type { ApiCache, ApiStage, ApiThrottle } from "../../api/product/kinds.ts";
import type { HttpFilter, HttpMatch } from "../../api/traffic.ts";
import { checkRule } from "../../policy/route-table.ts";
import type { BackendReference } from "../gateway/kinds.ts";
import type { OpenApi } from "./document.ts";
import { forgetting } from "./forgetting.ts";
import { type Integrated, readIntegration } from "./integration.ts";
import { anyMethod, DocumentError, isObject, type Json, methods, operationIdOf, resolve, textIn, verbOf } from "./json.ts";
import { gatewayResponsesField, gatewayResponsesOf } from "./gateway-responses.ts";
import { NotHonoured } from "./not-honoured.ts";
import { policyField, resourcePolicyOf } from "./resource-policy.ts";
import type { Guarded } from "./guards.ts";
import { rulesOf } from "./rules.ts";
import { securityOf } from "./security.ts";
import { saidOf } from "./place.ts";
import { documentRules } from "./portal.ts";
import { serverPath } from "./server-path.ts";
import { defaultPath, type PathTemplate, readTemplate, substitution } from "./template.ts";
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
  /** What it asks of its stage, and behind how many of its filters that stands. */
  guarded?: Guarded;
  guardAt?: number;
  /** Not of the document: what a path answers to its other methods. */
  isOther?: true;
  /** Why it is answered with 500 instead. */
  refusal?: string;
}

export interface Place {
  api: string;
  /** "NAMESPACE/API.STAGE": what counts together and is cached together. */
  id: string;
  stage: ApiStage;
  /** Of what was kept for another deployment nothing is given. */
  epoch: string;
}

/** Extensions that say nothing of how a request is served. */
export const descriptive: ReadonlySet<string> = new Set(["x-amazon-apigateway-documentation", "x-amazon-apigateway-importexport-version", "x-amazon-apigateway-tag-value", "x-amazon-apigateway-integrations", "x-amazon-apigateway-endpoint-configuration", "x-amazon-apigateway-api-key-source", "x-amazon-apigateway-request-validators", "x-amazon-apigateway-binary-media-types", "x-amazon-apigateway-security-policy", "x-amazon-apigateway-endpoint-access-mode"]);
const prefix = "x-amazon-apigateway-";

/**
 * A stage of a document → rules. Paths without parameters go first, then by their elements from the left; a path's other methods are
 * answered with 405. What cannot be done as it is written is refused by name, and answered with 500.
 * @throws DocumentError nothing can be served
 */
export function compileOperations(document: OpenApi, place: Place): Operation[] {
  const { stage } = place;
  refuseExtensions(document.root, [corsField, policyField, gatewayResponsesField, compressionField, "x-amazon-apigateway-request-validator"], "");
  const cors = corsOf(document.root[corsField]);
  const server = serverPath(document, stage);
  const base = `${stage.path ?? ""}${server}`;
  const shapes = new Map<string, string>();
  // Of two rules that fit alike the first is taken: the default is the last.
  const given = Object.entries(document.paths).sort(([a], [b]) => Number(a === defaultPath) - Number(b === defaultPath));
  const paths = given.map(([path, item]) => {
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
  const ids = new Map<string, string>();
  const rules = rulesOf(stage, `api/${place.id}`);
  const hasDefault = Object.hasOwn(document.paths, defaultPath);
  const compressed = compressionOf(document.root[compressionField]);
  const first = (template: PathTemplate, method: string, path: string, isOther: boolean): HttpFilter[] => [
    ...compressed,
    ...gatewayResponsesOf(document.root[gatewayResponsesField], { template, variables: stage.variables ?? {}, stage: { name: stage.name, apiId: place.api, resourcePath: path, variables: stage.variables ?? {} } }, isOther),
    ...resourcePolicyOf(document.root[policyField], { stage: stage.name, method, path }),
  ];
  const operations = paths.flatMap(({ path, item, template }) => {
    const priority = priorityOf(template);
    const matches = (method: string | undefined): HttpMatch[] => template.match.map((match) => ({ ...match, ...(method !== undefined && { method }), ...(priority > 0 && { priority }) }));
    const own = [...methods, anyMethod].flatMap((method) => {
      const given = item[method];
      if (given === undefined) return [];
      const verb = verbOf(method);
      const id = operationIdOf(given, method, path);
      const name = unique(nameOf(id), taken);
      const common = { name, id, matches: matches(method === anyMethod ? undefined : verb) };
      try {
        const twin = ids.get(id);
        ids.set(id, twin ?? `${verb} ${path}`);
        // Policies, plans and throttles that name it would be for one of them.
        if (twin !== undefined) throw new NotHonoured("operationId", `${id} is that of ${twin}, too`);
        return [servable({ ...common, ...operationOf(document, item, given, { verb, id, path, server, template, before: [...first(template, verb, path, false), ...cors, ...rules] }, place) }, `${verb} ${path}`)];
      } catch (error) {
        if (!(error instanceof NotHonoured || error instanceof DocumentError)) throw error;
        return [refused({ ...common, filters: othersOf(() => first(template, verb, path, false)) }, `${verb} ${path}: ${error.message}`)];
      }
    });
    // Where there is a default, it is for other methods, too.
    if (own.length === 0 || item[anyMethod] !== undefined || hasDefault) return own;
    const allow = methods.filter((method) => item[method] !== undefined).map((method) => method.toUpperCase()).join(", ");
    const others: Operation = { name: unique(nameOf(`other methods ${path}`), taken), id: `other methods of ${path}`, isOther: true, matches: matches(undefined), filters: [...othersOf(() => first(template, "ANY", path, true)), ...cors, ...rules, { type: "respond", status: 405, headers: [{ name: "allow", value: allow }] }] };
    return [...own, servable(others, `other methods of ${path}`)];
  });
  return [...operations, ...documentRules(document, operations, stage, { before: [...compressed, ...cors, ...rules], priority: ranks.length > 0 ? ranks.length + 2 : 0 })];
}

function operationOf(document: OpenApi, item: Record<string, Json>, given: Json, { verb, id, path, server, template, before }: { verb: string; id: string; path: string; server: string; template: PathTemplate; before: HttpFilter[] }, { stage, id: share, api, epoch }: Place): Omit<Operation, "name" | "id" | "matches"> {
  if (!isObject(given)) throw new DocumentError("must be an object");
  refuseExtensions(item, [anyMethod], "");
  refuseExtensions(given, ["x-amazon-apigateway-integration", "x-amazon-apigateway-request-validator", authField], "");
  authOf(given[authField]);
  if (given["servers"] !== undefined || item["servers"] !== undefined) throw new NotHonoured("servers", "of an operation is not honoured; the document's is");
  const { variables = {}, backendRef, throttle, cache, operations = [] } = stage;
  const own = operations.find(({ operation }) => operation === id);
  const integration = resolve(document.root, given["x-amazon-apigateway-integration"], "x-amazon-apigateway-integration");
  const integrated = integration !== undefined ? readIntegration(integration, { method: verb, template, variables, backends: stage.backends, passed: (to) => passed(to as ApiStage["backendRef"], `${server}${path}`, stage, template), stage: { name: stage.name, apiId: api, resourcePath: path, ...(typeof given["operationId"] === "string" && { operationName: id }), variables } }) : passed(backendRef, `${server}${path}`, stage, template);
  const caching = own?.cache ?? cache;
  const isCached = caching !== undefined && caching.enabled !== false && (verb === "GET" || verb === "HEAD" || verb === "ANY");
  const security = securityOf(document, given, { stage, api, namespace: share.slice(0, share.indexOf("/")), path, ...(typeof given["operationId"] === "string" && { operationName: id }), base: `${stage.path ?? ""}${server}`, template });
  return {
    filters: [
      ...before,
      ...(throttle ? [limit(throttle, share)] : []),
      ...(own?.throttle ? [limit(own.throttle)] : []),
      ...(isCached ? [...integrated.filters.filter(isOfAllAnswers), cached({ ...caching, ...integrated.cacheKey }, { share, epoch, bytesMax: cache?.maxBytes, fetchesWithClients: stage.credentials !== undefined || integrated.filters.some(({ type }) => type !== "rewrite" && type !== "responseHeaders") })] : []),
      ...forgetting(item, verb, path, stage, { share, epoch }),
      ...validationOf(document, item, given, template, stage),
      ...(isCached ? integrated.filters.filter((filter) => !isOfAllAnswers(filter)) : integrated.filters),
    ],
    ...(integrated.backendRef && { backendRef: integrated.backendRef }),
    ...(integrated.timeoutMs !== undefined && { timeoutMs: integrated.timeoutMs }),
    guardAt: before.length,
    guarded: { id, place: share, stage, ...(security && { security }), ...(integrated.backendRef && { backendRef: integrated.backendRef }) },
  };
}

/** Of an operation that is refused: what its 500 looks like. */
export const isOfRefused = ({ type }: HttpFilter): boolean => type === "gatewayResponses";

function refused(made: Operation, refusal: string): Operation {
  const shown = { ...made, filters: made.filters.filter(isOfRefused) };
  return { ...shown, ...(checkRule({ ...shown, backends: [] }) && { filters: [] }), refusal };
}

/** What its filters do not take, they say. */
function servable(made: Operation, what: string): Operation {
  const wrong = checkRule({ name: made.name, matches: made.matches, filters: made.filters, backends: [] });
  return wrong ? refused(made, `${what}: ${saidOf(wrong, made.filters)}`) : made;
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
const compressionField = `${prefix}minimum-compression-size`;
const authField = `${prefix}auth`;

/** Of a path's other methods there is nothing to refuse: what a policy says of them alone is not asked. */
function othersOf(make: () => HttpFilter[]): HttpFilter[] {
  try {
    return make();
  } catch (error) {
    if (error instanceof NotHonoured) return [{ type: "sourceRanges", deny: ["0.0.0.0/0", "::/0"] }];
    throw error;
  }
}

/** Answers of so many bytes are compressed for clients that take it. */
function compressionOf(given: Json | undefined): HttpFilter[] {
  if (given === undefined || given === null) return [];
  if (typeof given !== "number" || !Number.isInteger(given) || given < 0 || given > 10_485_760) throw new NotHonoured(compressionField, `${JSON.stringify(given)} is not a number of bytes between 0 and 10485760`);
  return [{ type: "compress", encodings: [{ name: "gzip", minBytes: given }] }];
}

function authOf(given: Json | undefined): void {
  if (given === undefined) return;
  const type = isObject(given) ? given["type"] : given;
  if (textIn(type).toUpperCase() !== "NONE") throw new NotHonoured(`${authField}.type`, `${textIn(type)} is known to AWS alone; the document's security says who must be known`);
}

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

function refuseExtensions(given: Record<string, Json>, known: readonly string[], at: string): void {
  for (const field of Object.keys(given)) if (field.startsWith(prefix) && !known.includes(field) && !descriptive.has(field)) throw new NotHonoured(`${at}${field}`, "is not honoured");
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
