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

/** Made once: a table finds a text that it knows faster than one that was just put together. */
const ids = new WeakMap<ServicePort, string>();
function idOf(service: ServicePort): string {
  let id = ids.get(service);
  if (id === undefined) ids.set(service, (id = serviceListenerId(service.service.namespace, service.service.name, service.port.port)));
  return id;
}

/** What routes that are attached to a Service port make of a request; undefined: none is for this client. */
export function routedOnService({ services, routes }: MeshRoutes, service: ServicePort, request: RequestView, clientNamespace: string | undefined): Routed | LocalAnswer | undefined {
  const listener = services.listenerFor(service.key, idOf(service), clientNamespace);
  return listener === undefined ? undefined : routeOn(routes, listener, request);
}
