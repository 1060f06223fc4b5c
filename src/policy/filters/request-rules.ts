import type { RequestRule } from "../../api/traffic-content.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { AddressRanges } from "../addresses.ts";
import type { Exchange, Filter, RequestView } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { hiddenBy, isForm, isOfRange, mediaTypeOf } from "../media-type.ts";
import { compilePattern } from "../pattern.ts";
import { decoded } from "../path-names.ts";
import { at, PolicyError } from "../policy-error.ts";

type Config = Extract<HttpFilter, { type: "requestRules" }>;

const bodyBytesMaxDefault = 128 * 1024;
const rulesMax = 500;
const kinds = ["methods", "contentTypes", "max", "deny", "require", "clients"] as const;
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** A receiver that undoes them may find itself elsewhere: what is excepted by its path is not meant. */
const slashed = /%2f|%5c|%00|%25|;|\\/i;

/** What a request breaks of a rule, and what that is answered with. */
interface Breach {
  why: string;
  status: number;
  headers?: [name: string, value: string][];
}
interface Rule {
  rule: RequestRule;
  isExcepted(request: RequestView): boolean;
  /** By the head alone. */
  judge(exchange: Exchange): Breach | undefined;
  /** By the body, where it is looked at: all ways to read it. */
  judgeBody: ((texts: readonly string[]) => Breach | undefined) | undefined;
}

/**
 * Bounds and patterns before anything else looks at a request: what web application firewalls are asked for most. The head is judged by all
 * rules in their order, then the body by those that look into it. A rule on trial (`dryRun`) writes into the access log what it would
 * have refused. Patterns run on RE2: nobody's text makes one slow.
 */
export const requestRules: Filter<Config> = (config, tools) => {
  const { status, bodyBytesMax = bodyBytesMaxDefault } = config;
  checkStatus(status, "status");
  if (!Number.isSafeInteger(bodyBytesMax) || bodyBytesMax < 1) throw new PolicyError("bodyBytesMax", bodyBytesMax, "must be at least 1");
  if (config.rules.length > rulesMax) throw new PolicyError("rules", config.rules.length, `must have at most ${rulesMax} items`);
  const rules = config.rules.map((rule, i) => at(`rules[${i}]`, () => compileRule(rule)));

  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    /** True: it is refused. */
    const refuses = ({ rule }: Rule, breach: Breach | undefined): boolean => {
      if (!breach) return false;
      const reason = `rule ${rule.name}: ${breach.why}`;
      if (config.share !== undefined) tools.tally?.add(config.share, rule.name, rule.dryRun === true);
      if (rule.dryRun) {
        (exchange.notes ??= []).push(`RB would refuse: ${reason}`);
        return false;
      }
      // The client learns which rule, for whoever runs it must find it; what it looks for stands in the log alone.
      outcome.answer(exchange, localAnswer(request, "RB", reason, { status: rule.status ?? status ?? breach.status, headers: breach.headers ?? [], body: `refused by rule ${rule.name}\n` }));
      return true;
    };
    let looking: Rule[] | undefined;
    for (const rule of rules) {
      if (rule.isExcepted(request)) continue;
      if (refuses(rule, rule.judge(exchange))) return;
      if (rule.judgeBody) (looking ??= []).push(rule);
    }
    if (!looking) return next(exchange, outcome);
    // What is packed cannot be looked into, and so does not pass.
    const coding = hiddenBy(request);
    if (coding !== undefined) {
      for (const rule of looking) if (refuses(rule, { why: `the body is encoded (${coding}), and cannot be looked into`, status: 415 })) return;
      return next(exchange, outcome);
    }
    // Rules on trial alone refuse nothing, also not for want of room.
    if ((config.oversize === "pass" || looking.every(({ rule }) => rule.dryRun)) && !(Number(request.header("content-length") ?? NaN) <= bodyBytesMax)) {
      if (mayHaveBody(request)) (exchange.notes ??= []).push(`RB not looked into: a body of more than ${bodyBytesMax} bytes, or of unknown length`);
      return next(exchange, outcome);
    }
    exchange.readBody(bodyBytesMax, (bytes) => {
      if (bytes.length > 0) {
        const type = mediaTypeOf(request.header("content-type"));
        const texts = textsOf(bytes, type);
        if (type.startsWith("multipart/") && hiddenPart.test(texts[0]!)) for (const rule of looking) if (refuses(rule, { why: "a part of the body is encoded, and cannot be looked into", status: 415 })) return;
        for (const rule of looking) if (refuses(rule, rule.judgeBody!(texts))) return;
      }
      next(exchange, outcome);
    });
  };
};

function checkStatus(status: number | undefined, field: string): void {
  if (status !== undefined && !(Number.isInteger(status) && status >= 400 && status <= 599)) throw new PolicyError(field, status, "must be between 400 and 599");
}

function compileRule(rule: RequestRule): Rule {
  const { name, except } = rule;
  if (typeof name !== "string" || !/^[\w .:/-]{1,100}$/.test(name)) throw new PolicyError("name", name, "must be 1 to 100 letters, digits, blanks or _.:/-");
  checkStatus(rule.status, "status");
  const given = kinds.filter((kind) => rule[kind] !== undefined);
  if (given.length !== 1) throw new PolicyError(given[1] ?? "name", given.length === 0 ? name : rule[given[1]!], `exactly one of ${kinds.join(", ")} must be given`);
  const clients = except?.clients && new AddressRanges(except.clients, "except.clients");
  const paths = (except?.paths ?? []).map((path, i) => {
    if (!path.startsWith("/")) throw new PolicyError(`except.paths[${i}]`, path, "must begin with '/'");
    return path.replace(/\/+$/, "");
  });
  const isExcepted = clients || paths.length > 0 ? (request: RequestView) => clients?.includes(request.client) === true || (!slashed.test(request.path) && paths.some((path) => request.path === path || request.path.startsWith(`${path}/`))) : () => false;
  const [kind] = given as [(typeof kinds)[number]];
  return { rule, isExcepted, judgeBody: undefined, ...compilers[kind](rule) };
}

type Compiled = Pick<Rule, "judge"> & Partial<Pick<Rule, "judgeBody">>;
const compilers: Record<(typeof kinds)[number], (rule: RequestRule) => Compiled> = {
  methods({ methods }) {
    for (const [i, method] of methods!.entries()) if (!token.test(method)) throw new PolicyError(`methods[${i}]`, method, "must be a method");
    const allowed = new Set(methods);
    return { judge: ({ request: { method } }) => (allowed.has(method) ? undefined : { why: `the method is ${method.slice(0, 40)}`, status: 405, headers: [["allow", methods!.join(", ")]] }) };
  },
  contentTypes({ contentTypes }) {
    const ranges = contentTypes!.map((range, i) => {
      if (!/^[^\s/;]+\/[^\s/;]+$/.test(range)) throw new PolicyError(`contentTypes[${i}]`, range, "must be a media type, such as application/json or text/*");
      return range.toLowerCase();
    });
    return {
      judge({ request }) {
        const given = request.header("content-type");
        if (given === undefined && !mayHaveBody(request)) return undefined;
        const type = mediaTypeOf(given);
        return ranges.some((range) => isOfRange(type, range)) ? undefined : { why: type === "" ? "there is a body, and no content-type" : `the content-type is ${type.slice(0, 80)}`, status: 415 };
      },
    };
  },
  max({ max, dryRun }) {
    const { headBytes, headers, pathBytes, queryBytes, parameters, bodyBytes } = max!;
    for (const [field, value] of Object.entries(max!)) if (!Number.isSafeInteger(value) || value < 0) throw new PolicyError(`max.${field}`, value, "must be an integer that is not negative");
    const over = (what: string, value: number, most: number | undefined, status: number): Breach | undefined => (most !== undefined && value > most ? { why: `${value} ${what}, of at most ${most}`, status } : undefined);
    return {
      judge(exchange) {
        const { request } = exchange;
        const { path, query } = request;
        let breach = over("bytes of path", path.length, pathBytes, 414) ?? over("bytes of query", query.length, queryBytes, 414);
        if (breach) return breach;
        if (parameters !== undefined && query !== "") breach = over("parameters", query.split("&").length, parameters, 400);
        if (!breach && (headBytes !== undefined || headers !== undefined)) {
          const list = listed(request);
          breach = over("headers", list.length, headers, 431) ?? over("bytes of headers", list.reduce((sum, [name, value]) => sum + name.length + value.length, 0), headBytes, 431);
        }
        if (breach || bodyBytes === undefined) return breach;
        const announced = request.header("content-length");
        breach = announced === undefined ? undefined : over("bytes of body", Number(announced), bodyBytes, 413);
        // One that does not say its length is refused when it has become too large.
        if (!breach && !dryRun) exchange.bodyBytesMax = Math.min(bodyBytes, exchange.bodyBytesMax ?? Infinity);
        return breach;
      },
    };
  },
  deny({ deny }) {
    const { in: places, pattern: source, ignoreCase } = deny!;
    const pattern = compilePattern(source, { whole: false, ignoreCase }, "deny.pattern");
    if (places.length === 0) throw new PolicyError("deny.in", places, "must have at least one place");
    const names = places.map((place, i) => {
      if (typeof place !== "string") return { header: headerName(place.header, `deny.in[${i}].header`) };
      if (!["path", "query", "body", "headers"].includes(place)) throw new PolicyError(`deny.in[${i}]`, place, "supported values: path, query, body, headers, {header: NAME}");
      return place;
    });
    const found = (what: string): Breach => ({ why: `${what} matches ${source}`, status: 403 });
    const isIn = (text: string, isQuery = false): boolean => pattern.test(text) || (text.includes("%") || (isQuery && text.includes("+")) ? pattern.test(readable(text, isQuery)) : false);
    const isBody = names.includes("body");
    return {
      judge({ request }) {
        for (const name of names) {
          if (name === "path") {
            if (isIn(request.path)) return found("the path");
          } else if (name === "query") {
            if (request.query !== "" && isIn(request.query, true)) return found("the query");
          } else if (name === "headers") {
            for (const [header, value] of listed(request)) if (isIn(value) || pattern.test(header)) return found(`header ${header}`);
          } else if (typeof name === "object") {
            const value = request.header(name.header);
            if (value !== undefined && isIn(value)) return found(`header ${name.header}`);
          }
        }
        return undefined;
      },
      judgeBody: isBody ? (texts) => (texts.some((text) => pattern.test(text)) ? found("the body") : undefined) : undefined,
    };
  },
  require({ require }) {
    const header = headerName(require!.header, "require.header");
    const pattern = require!.pattern === undefined ? undefined : compilePattern(require!.pattern, { whole: true }, "require.pattern");
    return {
      judge({ request }) {
        const value = request.header(header);
        if (value === undefined) return { why: `header ${header} is missing`, status: 400 };
        return pattern === undefined || pattern.test(value) ? undefined : { why: `header ${header} does not match ${pattern.source}`, status: 400 };
      },
    };
  },
  clients({ clients }) {
    const deny = new AddressRanges(clients!.deny ?? [], "clients.deny");
    const allow = clients!.allow && new AddressRanges(clients!.allow, "clients.allow");
    return { judge: ({ request: { client } }) => (!deny.includes(client) && (!allow || allow.includes(client)) ? undefined : { why: `the client is ${client}`, status: 403 }) };
  },
};

function headerName(name: string, field: string): string {
  if (typeof name !== "string" || !token.test(name)) throw new PolicyError(field, name, "must be the name of a header");
  return name.toLowerCase();
}

/** Where heads cannot be listed, a rule about all of it has nothing to look at; each request of the gateway's can be. */
const listed = (request: RequestView): [name: string, value: string][] => request.headers?.() ?? [];

function mayHaveBody(request: RequestView): boolean {
  const length = request.header("content-length");
  if (length !== undefined) return length !== "0";
  return request.header("transfer-encoding") !== undefined || ["POST", "PUT", "PATCH"].includes(request.method);
}

/** Of a part of a multipart body: it says that its bytes are another text. */
const hiddenPart = /^content-transfer-encoding:(?![ \t]*(?:7bit|8bit|binary)[ \t]*\r?$)/im;

/** ASCII in more bytes than it takes, which is no UTF-8: some receivers read it all the same. */
const overlong = /%(?:c([01])|e0%8([01]))%([89ab][\da-f])/gi;
/** As whoever is behind will read it. */
function readable(text: string, isQuery: boolean): string {
  const spaced = isQuery ? text.replaceAll("+", " ") : text;
  const whole = decoded(spaced);
  // One escape that is none must not hide the others.
  return whole === spaced && spaced.includes("%") ? spaced.replace(overlong, (_, two: string | undefined, three: string | undefined, last: string) => String.fromCharCode((Number.parseInt(two ?? three!, 16) << 6) | (Number.parseInt(last, 16) & 0x3f))).replace(/%([\dA-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))) : whole;
}

/** A body as text: as it came, and without the escapes of its media type. */
function textsOf(bytes: Uint8Array, type: string): string[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  const texts = [text];
  // Not all receivers ask for a media type: where it says nothing, both are looked at.
  if (isForm(type) || type === "" || type === "text/plain") texts.push(readable(text, true));
  if (!isForm(type) && text.includes("\\")) texts.push(text.replace(/\\(?:u([\dA-Fa-f]{4})|([\s\S]))/g, (_, hex?: string, other?: string) => (hex ? String.fromCharCode(Number.parseInt(hex, 16)) : (escapes[other!] ?? other!))));
  return texts;
}
const escapes: Record<string, string> = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f" };
