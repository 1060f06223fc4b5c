import type { LocalAnswer, RequestView } from "../../policy/exchange.ts";
import type { RouteTable } from "../../policy/route-table.ts";
import { routeOn } from "../edge/http-port.ts";
import type { Routed } from "../http/routing.ts";
import type { ServicePort } from "../service-table.ts";
import { serviceListenerId } from "./listener-id.ts";
import type { ServiceRoutes } from "./service-routes.ts";

export interface MeshRoutes {
  services: ServiceRoutes;
  routes: RouteTable;
}

/** What routes that are attached to a Service port make of a request; undefined: none is for this client. */
export function routedOnService({ services, routes }: MeshRoutes, { key, service, port }: ServicePort, request: RequestView, clientNamespace: string | undefined): Routed | LocalAnswer | undefined {
  if (!services.has(key)) return undefined;
  const listener = services.listenerFor(key, serviceListenerId(service.namespace, service.name, port.port), clientNamespace);
  return listener === undefined ? undefined : routeOn(routes, listener, request);
}
