import type { EdgeListener, ListenerLimits } from "../../api/traffic.ts";
import type { Handler, LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { HostIndex } from "../../policy/host-index.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import type { Found, RouteTable } from "../../policy/route-table.ts";
import type { CompiledRule } from "../../policy/rule.ts";
import { defaultBounds } from "../http/engine.ts";
import type { Bounds, Listener, Routed } from "../http/routing.ts";

/**
 * One address and port that is spoken HTTP at. The listeners that share it differ by host name: the most specific one that
 * fits answers, and no other is asked.
 */
export class HttpPort implements Listener {
  readonly scheme = "http";
  readonly trusted = false;
  id = "";
  port = 0;
  bounds: Bounds = defaultBounds;
  readonly #routes: RouteTable;
  #byHost = new HostIndex<EdgeListener>();

  constructor(listeners: readonly EdgeListener[], routes: RouteTable) {
    this.#routes = routes;
    this.listeners = listeners;
  }

  set listeners(listeners: readonly EdgeListener[]) {
    const byHost = new HostIndex<EdgeListener>();
    for (const listener of listeners) byHost.set(listener.hostname ?? "", listener);
    this.#byHost = byHost;
    const [first] = listeners;
    this.id = listeners.map(({ id }) => id).join(",");
    this.port = first!.port;
    this.bounds = boundsOf(listeners);
  }

  route(request: RequestView): Routed | LocalAnswer {
    const listener = this.#byHost.find(request.host);
    if (!listener) return localAnswer(request, "NR", "no listener has this host name", { status: 404 });
    return routeOn(this.#routes, listener.id, request);
  }
}

/** Where a request goes that this listener answers. */
export function routeOn(routes: RouteTable, listener: string, request: RequestView): Routed | LocalAnswer {
  const found = routes.find(listener, request);
  if (!found.rule) return localAnswer(request, "NR", found.why === "host" ? "no route has this host name" : "no route matches", { status: 404 });
  return routedOf(found);
}

/** What differs between listeners of one socket is not known before the head is read: the widest bound holds. */
export function boundsOf(listeners: readonly EdgeListener[]): Bounds {
  const most = (name: keyof ListenerLimits, usual: number): number => Math.max(...listeners.map(({ limits }) => limits?.[name] ?? usual));
  return {
    ...defaultBounds,
    headBytesMax: most("headerBytesMax", defaultBounds.headBytesMax),
    bodyBytesMax: most("bodyBytesMax", defaultBounds.bodyBytesMax),
    headersMs: most("headersMs", defaultBounds.headersMs),
    idleMs: most("idleMs", defaultBounds.idleMs),
  };
}

const plainRules = new WeakMap<CompiledRule, Routed>();

/** What does not depend on the request is made once a rule. */
function routedOf({ rule, match, captures }: Found): Routed {
  const { route, rule: spec } = rule;
  if (captures !== undefined || spec.matches.length > 1) {
    return { name: `${route.id}/${spec.name}`, handler: rule.handler ?? chooseAndForward(rule), timeouts: spec.timeouts, retry: spec.retry, persistence: spec.persistence, match, captures };
  }
  let routed = plainRules.get(rule);
  if (!routed) plainRules.set(rule, (routed = { name: `${route.id}/${spec.name}`, handler: rule.handler ?? chooseAndForward(rule), timeouts: spec.timeouts, retry: spec.retry, persistence: spec.persistence, match, captures }));
  return routed;
}

const handlers = new WeakMap<CompiledRule, Handler>();

function chooseAndForward(rule: CompiledRule): Handler {
  let handler = handlers.get(rule);
  if (!handler) {
    handler = (exchange, outcome) => {
      const choice = rule.choose(exchange.request);
      if (choice.error) return outcome.answer(exchange, localAnswer(exchange.request, choice.error.flag, choice.error.reason, { status: choice.error.status }));
      exchange.upstream = choice.upstream;
      outcome.forward(exchange);
    };
    handlers.set(rule, handler);
  }
  return handler;
}
