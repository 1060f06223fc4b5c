import type { EdgeListener, ListenerLimits } from "../../api/traffic.ts";
import type { LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { asksGrpcWeb, grpcWeb } from "../../policy/grpc-web.ts";
import { HostIndex } from "../../policy/host-index.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import type { Found, RouteTable } from "../../policy/route-table.ts";
import type { CompiledRule } from "../../policy/rule.ts";
import { defaultBounds } from "../http/engine.ts";
import type { Manners } from "../http/manners.ts";
import type { Bounds, Gauge, Listener, Routed } from "../http/routing.ts";

/**
 * One address and port that is spoken HTTP at. The listeners that share it differ by host name: the most specific one that
 * fits answers, and no other is asked.
 */
export class HttpPort implements Listener {
  readonly scheme = "http";
  readonly trusted = false;
  id = "";
  port = 0;
  address = "";
  bounds: Bounds = defaultBounds;
  manners: Manners | undefined;
  proxied: EdgeListener["proxyProtocol"];
  openingMs: number | undefined;
  readonly #routes: RouteTable;
  readonly #toolsOf: ListenerTools;
  #byHost = new HostIndex<EdgeListener>();

  constructor(listeners: readonly EdgeListener[], routes: RouteTable, tools: ListenerTools) {
    this.#routes = routes;
    this.#toolsOf = tools;
    this.listeners = listeners;
  }

  set listeners(listeners: readonly EdgeListener[]) {
    const byHost = new HostIndex<EdgeListener>();
    for (const listener of listeners) byHost.set(listener.hostname ?? "", listener);
    this.#byHost = byHost;
    const [first] = listeners;
    this.id = listeners.map(({ id }) => id).join(",");
    this.port = first!.port;
    this.address = first!.address;
    // Those of one port without TLS that are served all have the same: their compiler sees to that.
    const served = listeners.filter(({ refusal }) => refusal === undefined);
    this.bounds = boundsOf(served.length > 0 ? served : listeners, this.#toolsOf);
    this.manners = this.#toolsOf.mannersOf(served[0] ?? first!);
    this.openingMs = served.find(({ openingMs }) => openingMs !== undefined)?.openingMs;
    this.proxied = served.find(({ proxyProtocol }) => proxyProtocol)?.proxyProtocol;
  }

  route(request: RequestView): Routed | LocalAnswer {
    const listener = this.#byHost.find(request.host);
    if (!listener) return localAnswer(request, "NR", "no listener has this host name", { status: 404 });
    if (listener.refusal !== undefined) return refused(listener.refusal, request);
    return routeOn(this.#routes, listener.id, request, this.manners?.hasGrpcWeb);
  }
}

/** What listeners are made with. */
export interface ListenerTools {
  /** The same again for the same listener, whatever else of it has changed. */
  gaugeOf(id: string, max: number): Gauge;
  mannersOf(listener: EdgeListener): Manners | undefined;
}

/** Never served otherwise than its policy says. */
export const refused = (reason: string, request: RequestView): LocalAnswer => localAnswer(request, "NC", reason, { status: 500 });

/** Where a request goes that this listener answers. */
export function routeOn(routes: RouteTable, listener: string, request: RequestView, hasGrpcWeb = false): Routed | LocalAnswer {
  const found = routes.find(listener, request);
  if (!found.rule) return localAnswer(request, "NR", found.why === "host" ? "no route has this host name" : "no route matches", { status: 404 });
  const routed = routedOf(found);
  return hasGrpcWeb && asksGrpcWeb(request) ? { ...routed, handler: grpcWeb(routed.handler) } : routed;
}

/** What differs between listeners of one socket is not known before the head is read: the widest bound holds. */
export function boundsOf(listeners: readonly EdgeListener[], { gaugeOf }: ListenerTools): Bounds {
  const most = (name: keyof ListenerLimits, usual: number): number => Math.max(...listeners.map(({ limits }) => limits?.[name] ?? usual));
  const { receiveMs, exchangeMs, silenceMs, requestsMax, connectionMs, endsAtOnce, connectionsMax, closeDelayMs = 0, streamsMax, streamWindow, connectionWindow } = listeners[0]!.limits ?? {};
  return {
    ...defaultBounds,
    headBytesMax: most("headerBytesMax", defaultBounds.headBytesMax),
    bodyBytesMax: most("bodyBytesMax", defaultBounds.bodyBytesMax),
    headersMs: mostMs(most("headersMs", defaultBounds.headersMs)),
    idleMs: mostMs(most("idleMs", defaultBounds.idleMs)),
    ...(silenceMs !== undefined && { answerMs: silenceMs, tunnelIdleMs: silenceMs, bodyIdleMs: mostMs(silenceMs) }),
    receiveMs,
    exchangeMs,
    requestsMax,
    connectionMs,
    endsAtOnce: endsAtOnce === 1,
    streamsMax,
    streamWindow,
    connectionWindow,
    gauge: connectionsMax === undefined ? undefined : Object.assign(gaugeOf(listeners[0]!.id, connectionsMax), { closeDelayMs }),
  };
}

/** Where a bound has no word for none. */
const mostMs = (ms: number): number => (ms === 0 ? 2 ** 31 - 1 : ms);

const plainRules = new WeakMap<CompiledRule, Routed>();

/** What does not depend on the request is made once a rule. */
function routedOf({ rule, match, captures }: Found): Routed {
  const isOne = captures === undefined && rule.rule.matches.length === 1;
  const known = isOne ? plainRules.get(rule) : undefined;
  if (known) return known;
  const { timeouts, retry, persistence, name } = rule.rule;
  const routed: Routed = { name: `${rule.route.id}/${name}`, handler: rule.serve, timeouts, retry, persistence, match, captures, secrets: rule.secrets };
  if (isOne) plainRules.set(rule, routed);
  return routed;
}
