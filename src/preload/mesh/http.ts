import type http from "node:http";
import { createRequire } from "node:module";
import { isIP } from "node:net";
import type { Endpoint, Ways } from "./ways.ts";

type Anything = any;

const load = createRequire(process.execPath);
/** Loaded when it is needed: a pod that is not meshed pays for neither. */
const agentOf = (module: "http" | "https"): typeof http.Agent => (load(`node:${module}`) as typeof http).Agent;

/** Agents whose idle connections may lead to endpoints. */
const agents = new Set<WeakRef<http.Agent>>();
const known = new WeakMap<http.Agent, boolean>();

/**
 * Each request of node:http and node:https goes to the endpoint whose turn it is. An agent keeps its connections by address, so
 * each endpoint has its own. The Host header is written before, and a name that TLS asks for comes from it.
 */
export function patchHttp(ways: Ways, look: (request: http.ClientRequest) => void): void {
  const prototype = agentOf("http").prototype as Anything;
  const original = prototype.addRequest;
  if (typeof original !== "function") return;
  prototype.addRequest = function addRequest(this: http.Agent, request: http.ClientRequest, options: Anything, port: Anything, localAddress: Anything) {
    let endpoint: Endpoint | undefined;
    try {
      look(request);
      if (options !== null && typeof options === "object" && isOrdinary(this)) endpoint = choose(ways, request, options);
    } catch {
      // What we do not understand is none of our business.
    }
    if (endpoint) {
      // They are this request's own: node:http has made them of what it was given, and reads them no more.
      options.host = endpoint.pin;
      options.port = endpoint.port;
    }
    return original.call(this, request, options, port, localAddress);
  };
}

function choose(ways: Ways, request: http.ClientRequest, options: Anything): Endpoint | undefined {
  const { host, port, socketPath, lookup, localAddress, family, createConnection } = options;
  if (typeof host !== "string" || socketPath || lookup || localAddress || createConnection || family === 6 || host.includes(":")) return undefined;
  const isSecure = (request as Anything).protocol === "https:" || options.protocol === "https:";
  // Whose certificate is that of an address, or whom nobody named, is found by what was dialled.
  if (isSecure && (isIP(host) || !request.hasHeader("host"))) return undefined;
  const way = ways.byHost(host, Number(port ?? (isSecure ? 443 : 80)));
  return way && ways.next(way);
}

/** Node's own agents alone: others may lead through a proxy, or know addresses by other means. */
function isOrdinary(agent: http.Agent): boolean {
  const found = known.get(agent);
  if (found !== undefined) return found;
  const { protocol } = agent as Anything;
  const own = agentOf(protocol === "https:" ? "https" : "http").prototype;
  const options = (agent as Anything).options ?? {};
  const ordinary =
    Object.getPrototypeOf(agent) === own &&
    ["createConnection", "createSocket", "getName", "addRequest"].every((name) => !Object.hasOwn(agent, name)) &&
    ["host", "port", "path", "socketPath", "lookup", "localAddress", "proxyEnv"].every((name) => !options[name]) &&
    !process.env["NODE_USE_ENV_PROXY"] &&
    // Who wants to be served one by one is.
    agent.maxSockets > 1;
  known.set(agent, ordinary);
  if (ordinary) agents.add(new WeakRef(agent));
  return ordinary;
}

/** An endpoint that gets nothing new: idle connections must not meet a request that crosses their end. */
export function closeIdle({ pin, port }: Endpoint): void {
  for (const reference of agents) {
    const agent = reference.deref();
    if (!agent) {
      agents.delete(reference);
      continue;
    }
    for (const [name, sockets] of Object.entries(agent.freeSockets)) {
      if (name.startsWith(`${pin}:${port}:`)) for (const socket of sockets ?? []) socket.destroy();
    }
  }
}
