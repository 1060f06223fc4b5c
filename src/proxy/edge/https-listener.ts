import type { EdgeListener } from "../../api/traffic.ts";
import type { LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import type { RouteTable } from "../../policy/route-table.ts";
import type { Bounds, Listener, Routed } from "../http/routing.ts";
import { boundsOf, routeOn } from "./http-port.ts";
import type { TlsPort } from "./tls-port.ts";

/**
 * What is behind the certificate of one HTTPS listener. A connection belongs to the listener that its server name chose: a
 * request for another listener's host name is answered with 421, so that the client dials anew (RFC 9110 §15.5.20).
 */
export class HttpsListener implements Listener {
  readonly scheme = "https";
  readonly trusted = false;
  readonly id: string;
  readonly port: number;
  readonly bounds: Bounds;
  readonly #own: EdgeListener;
  readonly #at: TlsPort;
  readonly #routes: RouteTable;

  constructor(own: EdgeListener, at: TlsPort, routes: RouteTable) {
    this.id = own.id;
    this.port = own.port;
    this.bounds = boundsOf([own]);
    this.#own = own;
    this.#at = at;
    this.#routes = routes;
  }

  route(request: RequestView): Routed | LocalAnswer {
    const { host } = request;
    const right = this.#at.find(host);
    if (right && right.id !== this.#own.id) return localAnswer(request, "MD", `${host} is another listener's`);
    if (!right) return localAnswer(request, "NR", "no listener has this host name", { status: 404 });
    return routeOn(this.#routes, this.#own.id, request);
  }
}
