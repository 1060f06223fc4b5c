import { onChannel } from "./channels.ts";
import type { Ways } from "./ways.ts";

type Anything = any;

/** Where undici and Node's own copy of it, which fetch is, leave the dispatcher of everybody. */
const places = [Symbol.for("undici.globalDispatcher.1"), Symbol.for("undici.globalDispatcher.2")];
const seen = new WeakSet<object>();
const sockets = new WeakSet<object>();

/** Whether undici has made it, and keeps it for further requests. */
export const isOfFetch = (socket: object): boolean => sockets.has(socket);

/**
 * fetch, and undici's functions by their global dispatcher: each request goes to the endpoint whose turn it is. The dispatcher stays
 * who it is; it is there from the first request on, which therefore goes as ever.
 */
export function patchFetch(ways: Ways, look: (request: UndiciRequest) => void): void {
  // The socket that is made next, in the same turn, is its own.
  let isNext = false;
  onChannel("undici:client:beforeConnect", () => void (isNext = true));
  onChannel("net.client.socket", (message) => {
    if (isNext) sockets.add((message as { socket: object }).socket);
    isNext = false;
  });
  onChannel("undici:request:create", (message) => {
    for (const place of places) {
      const dispatcher = (globalThis as Anything)[place];
      if (!dispatcher || seen.has(dispatcher)) continue;
      seen.add(dispatcher);
      if (isOrdinary(dispatcher)) wrap(dispatcher, ways);
    }
    look((message as { request: UndiciRequest }).request);
  });
}

export interface UndiciRequest {
  headers: string | readonly string[] | undefined;
  addHeader(name: string, value: string): void;
}

/** Undici's Agent as it is by itself: neither a proxy, a mock, nor with a way to connect of its own. */
function isOrdinary(dispatcher: Anything): boolean {
  if (dispatcher.constructor?.name !== "Agent" || Object.hasOwn(dispatcher, "dispatch") || process.env["NODE_USE_ENV_PROXY"]) return false;
  const options = Object.getOwnPropertySymbols(dispatcher).find((symbol) => symbol.description === "options");
  const { connect, factory, socketPath, interceptors } = (options && dispatcher[options]) ?? {};
  return !factory && !socketPath && !interceptors?.Agent?.length && (!connect || (typeof connect === "object" && Object.keys(connect).length === 0));
}

function wrap(dispatcher: Anything, ways: Ways): void {
  const { dispatch } = dispatcher;
  dispatcher.dispatch = function (options: Anything, handler: Anything) {
    let sent: Anything;
    try {
      sent = direct(options, ways);
    } catch {
      // What we do not understand is none of our business.
    }
    return dispatch.call(this, sent ?? options, handler);
  };
}

function direct(options: Anything, ways: Ways): Anything {
  if (!options || typeof options !== "object" || !options.origin) return undefined;
  const place = placeOf(String(options.origin));
  const way = place && ways.byHost(place.hostname, place.port);
  const headers = way && withHost(options.headers, place.host);
  return headers && { ...options, origin: ways.next(way).origin, headers };
}

/** Origins that were read; null: not ours. */
const known = new Map<string, { host: string; hostname: string; port: number } | null>();
const knownMax = 256;
function placeOf(origin: string): { host: string; hostname: string; port: number } | null {
  let place = known.get(origin);
  if (place !== undefined) return place;
  const { protocol, host, hostname, port } = new URL(origin);
  // The names in certificates are checked against what is dialled.
  place = protocol === "http:" ? { host, hostname, port: Number(port || 80) } : null;
  if (known.size >= knownMax) known.clear();
  known.set(origin, place);
  return place;
}

/** Headers as undici takes them, with the host that was asked for; undefined: in a form that is not ours to copy. */
function withHost(headers: Anything, host: string): Anything {
  if (headers === undefined || headers === null) return { host };
  if (Array.isArray(headers)) {
    if (headers.some((item) => typeof item !== "string")) return undefined;
    for (let i = 0; i < headers.length; i += 2) if (headers[i].toLowerCase() === "host") return headers;
    return [...headers, "host", host];
  }
  if (typeof headers !== "object" || typeof headers[Symbol.iterator] === "function") return undefined;
  for (const name in headers) if (name.length === 4 && name.toLowerCase() === "host") return headers;
  return { ...headers, host };
}
