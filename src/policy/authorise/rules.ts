import type { AuthorisationCondition, AuthorisationOperation, AuthorisationPolicy, AuthorisationRule, AuthorisationSource, TextsWanted } from "../../api/authorisation.ts";
import { AddressRanges } from "../addresses.ts";
import type { RequestView } from "../exchange.ts";
import { compilePattern } from "../pattern.ts";
import { at, PolicyError } from "../policy-error.ts";

/** One connection or request, as its listener knows it. Pure. */
export interface Call {
  /** Who opened the connection, where that is proved; undefined: anybody. */
  caller: { trustDomain: string; namespace: string; serviceAccount: string } | undefined;
  sourceIp: string;
  /** The client behind trusted proxies; the same without any. */
  remoteIp: string;
  destinationIp: string;
  /** Of the pod that is called. */
  destinationPort: number;
  /** The server name of TLS; "" without. */
  serverName: string;
  /** Undefined: HTTP is not spoken. */
  request: Pick<RequestView, "method" | "path" | "host" | "header"> | undefined;
  /** Of a token that was found valid. */
  claims: Readonly<Record<string, unknown>> | undefined;
}

export type Test = (call: Call) => boolean;

/** The values of something that a call has: none, one, or several (of a claim that is a list). */
type Read = (call: Call) => string | readonly string[] | undefined;

/**
 * What is asked of HTTP means nothing on a connection that is not: who is let in by it is not, and who is kept out by it is,
 * whatever it asks: the narrower reading, as Istio has it.
 * @throws PolicyError
 */
export function compileRule({ from, to, when }: AuthorisationRule, action: AuthorisationPolicy["action"]): Test {
  const strict = action === "ALLOW";
  const sources = from?.map((source, i) => at(`from[${i}]`, () => compileSource(source, strict)));
  const operations = to?.map((operation, i) => at(`to[${i}]`, () => compileOperation(operation, strict)));
  const conditions = (when ?? []).map((condition, i) => at(`when[${i}]`, () => compileCondition(condition, strict)));
  return (call) => (!sources || sources.some((test) => test(call))) && (!operations || operations.some((test) => test(call))) && conditions.every((test) => test(call));
}

const all = (tests: readonly (Test | undefined)[]): Test => {
  const given = tests.filter((test) => test !== undefined);
  return (call) => given.every((test) => test(call));
};

/** A caller is one object as long as it stays, which is for thousands of calls. */
const principals = new WeakMap<NonNullable<Call["caller"]>, string>();
const principalOf: Read = ({ caller }) => {
  if (!caller) return undefined;
  let name = principals.get(caller);
  if (name === undefined) principals.set(caller, (name = `${caller.trustDomain}/ns/${caller.namespace}/sa/${caller.serviceAccount}`));
  return name;
};
const namespaceOf: Read = ({ caller }) => caller?.namespace;
const requestPrincipalOf: Read = ({ claims }) => (typeof claims?.["iss"] === "string" && typeof claims["sub"] === "string" ? `${claims["iss"]}/${claims["sub"]}` : undefined);

function compileSource(source: AuthorisationSource, strict: boolean): Test {
  const { principals, requestPrincipals, namespaces, serviceAccounts, trustDomains, ipBlocks, remoteIpBlocks } = source;
  return all([
    texts(principals, principalOf, "principals"),
    ofHttp(texts(requestPrincipals, requestPrincipalOf, "requestPrincipals"), strict),
    texts(namespaces, namespaceOf, "namespaces"),
    texts(serviceAccounts, ({ caller }) => caller && `${caller.namespace}/${caller.serviceAccount}`, "serviceAccounts"),
    texts(trustDomains, ({ caller }) => caller?.trustDomain, "trustDomains"),
    addresses(ipBlocks, (call) => call.sourceIp, "ipBlocks"),
    addresses(remoteIpBlocks, (call) => call.remoteIp, "remoteIpBlocks"),
  ]);
}

function compileOperation({ hosts, ports, methods, paths }: AuthorisationOperation, strict: boolean): Test {
  return all([
    ofHttp(wanted(hosts, "hosts", compileHost, (call) => call.request?.header("host")?.toLowerCase() ?? call.request?.host), strict),
    numbers(ports, "ports"),
    ofHttp(texts(methods, (call) => call.request?.method, "methods"), strict),
    ofHttp(wanted(paths, "paths", compilePath, (call) => call.request?.path), strict),
  ]);
}

function compileCondition(condition: AuthorisationCondition, strict: boolean): Test {
  const { key } = condition;
  const [, name, ...inner] = /^([^[]+)((?:\[[^\]]+\])*)$/.exec(key) ?? [];
  const words = [...(inner[0] ?? "").matchAll(/\[([^\]]+)\]/g)].map(([, word]) => word!);
  const http = (test: Test | undefined): Test => all([ofHttp(test, strict)]);
  switch (words.length === 0 ? key : name) {
    case "request.headers": {
      const header = words[0]!.toLowerCase();
      return http(texts(condition, ({ request }) => request?.header(header), "values"));
    }
    case "source.ip":
      return all([addresses(condition, (call) => call.sourceIp, "values")]);
    case "remote.ip":
      return all([addresses(condition, (call) => call.remoteIp, "values")]);
    case "source.namespace":
      return all([texts(condition, namespaceOf, "values")]);
    case "source.principal":
      return all([texts(condition, principalOf, "values")]);
    case "source.serviceAccount":
      return all([texts(condition, ({ caller }) => caller && `${caller.namespace}/${caller.serviceAccount}`, "values")]);
    case "request.auth.principal":
      return http(texts(condition, requestPrincipalOf, "values"));
    case "request.auth.audiences":
      return http(texts(condition, ({ claims }) => valuesOf(claims?.["aud"]), "values"));
    case "request.auth.presenter":
      return http(texts(condition, ({ claims }) => valuesOf(claims?.["azp"]), "values"));
    case "request.auth.claims":
      return http(texts(condition, ({ claims }) => valuesOf(words.reduce<unknown>((value, word) => (value as Record<string, unknown> | undefined)?.[word], claims)), "values"));
    case "destination.ip":
      return all([addresses(condition, (call) => call.destinationIp, "values")]);
    case "destination.port":
      return all([numbers(condition, "values")]);
    case "connection.sni":
      return all([texts(condition, ({ serverName }) => (serverName === "" ? undefined : serverName), "values")]);
    default:
      throw new PolicyError("key", key, "is nothing that is known of a call");
  }
}

/** A claim's: texts, lists of texts; numbers and truth as they are written. */
function valuesOf(claim: unknown): string | readonly string[] | undefined {
  if (typeof claim === "string") return claim;
  if (typeof claim === "number" || typeof claim === "boolean") return String(claim);
  return Array.isArray(claim) ? claim.filter((value) => typeof value === "string") : undefined;
}

const ofHttp = (test: Test | undefined, strict: boolean): Test | undefined => test && ((call) => (call.request ? test(call) : !strict));

function wanted(given: TextsWanted | undefined, field: string, compile: (text: string, field: string) => (value: string) => boolean, read: Read): Test | undefined {
  if (!given || (!given.any?.length && !given.none?.length)) return undefined;
  const any = given.any?.length ? given.any.map((text, i) => compile(text, `${field}[${i}]`)) : undefined;
  const none = given.none?.map((text, i) => compile(text, `not ${field}[${i}]`)) ?? [];
  return (call) => {
    const value = read(call);
    // Nearly all that a call has is one text.
    if (typeof value === "string") return (!any || isAny(any, value)) && !isAny(none, value);
    const values = value ?? [];
    if (any && !values.some((one) => isAny(any, one))) return false;
    return !values.some((one) => isAny(none, one));
  };
}

function isAny(fits: readonly ((value: string) => boolean)[], value: string): boolean {
  for (const fit of fits) if (fit(value)) return true;
  return false;
}

const texts = (given: TextsWanted | undefined, read: Read, field: string): Test | undefined => wanted(given, field, compileText, read);

/** "abc", "abc*", "*abc", "*": what is there, and not empty. */
function compileText(text: string): (value: string) => boolean {
  if (text === "*") return (value) => value !== "";
  const part = text.startsWith("*") ? text.slice(1) : text.slice(0, -1);
  if (text.startsWith("*")) return (value) => value.endsWith(part);
  if (text.endsWith("*")) return (value) => value.startsWith(part);
  return (value) => value === text;
}

function compileHost(text: string): (value: string) => boolean {
  const lower = text.toLowerCase();
  const fits = compileText(lower);
  if (/:(\d+|\*)$/.test(lower)) return fits;
  return (value) => fits(value) || fits(value.replace(/:\d+$/, ""));
}

/** "{*}" is one part of a path, "{**}" any number of them, at most once and last but for fixed parts. */
function compilePath(text: string, field: string): (value: string) => boolean {
  if (!text.includes("{")) return compileText(text);
  const source = text
    .split("/")
    .map((part) => (part === "{*}" ? "[^/]+" : part === "{**}" ? ".*" : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")))
    .join("/");
  const pattern = compilePattern(source, { whole: true }, field);
  return (value) => pattern.test(value);
}

function addresses(given: TextsWanted | undefined, read: (call: Call) => string, field: string): Test | undefined {
  if (!given || (!given.any?.length && !given.none?.length)) return undefined;
  const any = given.any?.length ? new AddressRanges(given.any, field) : undefined;
  const none = given.none?.length ? new AddressRanges(given.none, `not ${field}`) : undefined;
  return (call) => {
    const address = read(call);
    return (!any || any.includes(address)) && !none?.includes(address);
  };
}

function numbers(given: TextsWanted | undefined, field: string): Test | undefined {
  if (!given || (!given.any?.length && !given.none?.length)) return undefined;
  const ports = (list: readonly string[] | undefined): Set<number> | undefined =>
    list?.length
      ? new Set(
          list.map((text, i) => {
            const port = Number(text);
            if (!/^\d+$/.test(text) || port < 1 || port > 65_535) throw new PolicyError(`${field}[${i}]`, text, "must be a port");
            return port;
          }),
        )
      : undefined;
  const [any, none] = [ports(given.any), ports(given.none)];
  return ({ destinationPort }) => (!any || any.has(destinationPort)) && !none?.has(destinationPort);
}
