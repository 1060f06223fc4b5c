import type { EdgeListener } from "../../api/traffic.ts";
import type { LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import type { RouteTable } from "../../policy/route-table.ts";
import type { Manners } from "../http/manners.ts";
import type { Bounds, Listener, Routed } from "../http/routing.ts";
import { boundsOf, type ListenerTools, refused, routeOn } from "./http-port.ts";
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
  readonly address: string;
  readonly bounds: Bounds;
  readonly manners: Manners | undefined;
  readonly #own: EdgeListener;
  readonly #at: TlsPort;
  readonly #routes: RouteTable;

  constructor(own: EdgeListener, at: TlsPort, routes: RouteTable, tools: ListenerTools) {
    this.id = own.id;
    this.port = own.port;
    this.address = own.address;
    this.bounds = boundsOf([own], tools);
    this.manners = tools.mannersOf(own);
    this.#own = own;
    this.#at = at;
    this.#routes = routes;
  }

  route(request: RequestView): Routed | LocalAnswer {
    const { host } = request;
    const right = this.#at.find(host);
    if (right && right.id !== this.#own.id) return localAnswer(request, "MD", `${host} is another listener's`);
    if (!right) return localAnswer(request, "NR", "no listener has this host name", { status: 404 });
    if (this.#own.refusal !== undefined) return refused(this.#own.refusal, request);
    return routeOn(this.#routes, this.#own.id, request, this.manners?.hasGrpcWeb);
  }
}

/** The same for one connection, whose client has shown this certificate. */
export function withCertificate(listener: HttpsListener, certificate: Buffer): Listener {
  const { id, port, address, scheme, trusted, bounds, manners } = listener;
  return { id, port, address, scheme, trusted, bounds, manners, certificate, route: (request) => listener.route(request) };
}
