import type { KubeObject } from "../../api/meta.ts";
import type { TrafficSnapshot } from "../../api/traffic.ts";
import type { Service } from "../../api/types.ts";
import { serviceListenerId } from "../mesh/listener-id.ts";
import { declaredBy, protocolOfName } from "../mesh/protocol.ts";
import { ServiceRoutes } from "../mesh/service-routes.ts";
import { servicePortKey } from "../service-table.ts";
import { type AskedRequest, type EndpointsOf, type Explained, explainHttp, readRequest, row } from "./explain.ts";

/** The Service that a URL's host means to a pod of a namespace: by its name, as the pod network's DNS has it, or its address. */
export function serviceOf(objects: readonly KubeObject[], { url, from = "default" }: AskedRequest): (Service & KubeObject) | undefined {
  const host = /^[a-z]+:\/\/(?:[^/?#@]*@)?([^/?#:]*)/i.exec(url)?.[1]?.toLowerCase() ?? "";
  const services = objects.filter(({ kind }) => kind === "Service") as (Service & KubeObject)[];
  const [name, namespace = from] = host.replace(/\.$/, "").replace(/\.svc(\.cluster\.local)?$/, "").split(".");
  const isName = /^[^.]+(\.[^.]+)?(\.svc(\.cluster\.local)?)?\.?$/.test(host);
  return services.find(({ metadata, spec }) => (isName && metadata.namespace === namespace && metadata.name === name) || (host !== "" && spec?.clusterIP === host));
}

/** What becomes of a request that a pod sends to a Service. */
export function explainService(service: Service & KubeObject, traffic: TrafficSnapshot, asked: AskedRequest, endpointsOf: EndpointsOf): Explained {
  const { from = "default" } = asked;
  const { request } = readRequest(asked);
  const { name } = service.metadata;
  const namespace = service.metadata.namespace!;
  const lines = [`${request.method} ${request.scheme}://${request.host}:${request.port}${request.path}${request.query === "" ? "" : `?${request.query}`}, from a pod in ${from}`, ""];
  const told = (served: boolean, ...more: string[]): Explained => ({ served, text: `${[...lines, ...more].join("\n")}\n` });
  const { spec } = service;
  if (spec?.type === "ExternalName") return told(false, row("Service", `${namespace}/${name} is a name for ${spec.externalName}: nothing of ours is asked`));
  const ports = (spec?.ports ?? []).filter(({ protocol = "TCP" }) => protocol === "TCP");
  const port = ports.find((candidate) => candidate.port === request.port);
  if (spec?.clusterIP === "None") return told(endpointsOf(namespace, name, request.port).length > 0, row("Service", `${namespace}/${name} is headless: its name leads to its pods, and no route comes between`));
  if (!port) return told(false, row("Service", `${namespace}/${name} has no TCP port ${request.port}: the connection is refused; it has ${ports.map((other) => other.port).join(", ") || "none"}`));
  const appProtocol = port.appProtocol ?? protocolOfName(port.name ?? "");
  const declared = declaredBy(appProtocol);
  const key = servicePortKey(namespace, name, "TCP", port.port);
  const attached = new ServiceRoutes();
  for (const route of traffic.routes) if (route.type === "http") attached.put(route);
  const endpoints = endpointsOf(namespace, name, port.port);
  const ready = row("endpoints", endpoints.length === 0 ? "none is ready" : endpoints.join(", "));
  lines.push(row("Service", `${namespace}/${name} port ${port.port} (${appProtocol ?? "no protocol is said"})`));
  if (request.scheme === "https") return told(endpoints.length > 0, row("route", "TLS is passed on unread: no route comes between"), ready);
  const own = serviceListenerId(namespace, name, port.port);
  const listener = attached.listenerFor(key, own, from);
  if (listener === undefined) {
    const why = attached.has(key) ? `those attached are not for clients in ${from}` : "none is attached";
    return told(endpoints.length > 0, row("route", `${why}: ${declared === "http" || attached.has(key) ? "each request goes to the next endpoint" : "each connection goes to the next endpoint, unread"}`), ready);
  }
  const notes = declared === "http" || attached.isNamed(key) ? [] : [row("", "the port says no protocol: a client that is silent for 100 ms at first is passed on unread; appProtocol: http settles it")];
  const whose = listener === own ? "for all clients" : `for clients in ${from} alone, in place of the Service's own`;
  const { lines: more, served } = explainHttp({ id: listener }, traffic.routes, request, traffic.upstreams, endpointsOf);
  return told(served, row("routes", whose), ...notes, ...more);
}
