import type { HttpFilter, KeySet } from "../../api/traffic.ts";
import { lazyModule } from "../../base/lazy.ts";
import type { Exchange, Filter } from "../exchange.ts";
import { compileEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { at, PolicyError } from "../policy-error.ts";
import { dropCookies, dropParams, editHeaders } from "../request-edits.ts";
import { cookieValue, queryValue } from "../values.ts";

const crypto = lazyModule<typeof import("node:crypto")>(import.meta.url, "node:crypto");
const keyBytesMax = 4_096;

type Config = Extract<HttpFilter, { type: "apiKey" }>;

type Clients = ReadonlyMap<string, { client: string; plan?: string }>;
/** Rules that have a set in common look it up in one place. */
const known = new WeakMap<KeySet, Clients>();
function clientsOf(keys: KeySet): Clients {
  const found = known.get(keys);
  if (found) return found;
  const clients = new Map<string, { client: string; plan?: string }>();
  for (const [i, { client, sha256, plan }] of keys.entries()) {
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new PolicyError(`keys[${i}].sha256`, sha256, "must be 64 hexadecimal digits");
    if (!clients.has(sha256)) clients.set(sha256, { client, ...(plan !== undefined && { plan }) });
  }
  known.set(keys, clients);
  return clients;
}

/** A key that is sent as a bearer's token is that key, as with Envoy: no key has a blank. */
const headerValue = (name: string, value: string | undefined): string | undefined => (name === "authorization" ? value?.replace(/^Bearer +/i, "") : value);

/**
 * Who shows a key that is known goes on, under its client's name. Keys are known by their hashes alone: looking one up takes as long
 * whatever it has in common with a right one, and whoever reads the configuration can use none of them.
 */
export const apiKey: Filter<Config> = ({ keys, from, clientHeader, sanitise = false }) => {
  if (from.length === 0) throw new PolicyError("from", [], "must have at least one entry");
  const clients = clientsOf(keys);
  const header = clientHeader === undefined ? undefined : at("clientHeader", () => compileEdits({ remove: [clientHeader] })).remove[0]!;
  const places = from.map(({ in: where, name }, i) => {
    if (name === "") throw new PolicyError(`from[${i}].name`, name, "must not be empty");
    return { where, name: where === "header" ? name.toLowerCase() : name };
  });
  const named = (where: Config["from"][number]["in"]): string[] => places.filter((place) => place.where === where).map(({ name }) => name);
  const [headers, params, cookies] = [named("header"), named("query"), named("cookie")];
  /** Its bytes as they were sent. */
  const keyOf = ({ request, caller }: Exchange): Buffer | undefined => {
    for (const { where, name } of places) {
      if (where === "authorizer") {
        const said = caller?.authorizer?.usageIdentifierKey;
        if (said !== undefined && said !== "") return Buffer.from(said);
        continue;
      }
      const value = where === "header" ? headerValue(name, request.header(name)) : where === "query" ? queryValue(request.query, name) : cookieValue(request.header("cookie"), name);
      if (value !== undefined && value !== "") return Buffer.from(value, where === "query" ? "utf8" : "latin1");
    }
    return undefined;
  };
  return (next) => (exchange, outcome) => {
    const key = keyOf(exchange);
    const found = key === undefined || key.length > keyBytesMax ? undefined : clients.get(crypto().createHash("sha256").update(key).digest("hex"));
    if (!found) return outcome.answer(exchange, localAnswer(exchange.request, "NA", "Client authentication failed."));
    exchange.caller = { ...exchange.caller, apiKey: found };
    editHeaders(exchange, { remove: sanitise ? headers : [], set: header === undefined ? [] : [[header, found.client]] });
    if (sanitise) {
      dropParams(exchange, params);
      dropCookies(exchange, cookies);
    }
    next(exchange, outcome);
  };
};
