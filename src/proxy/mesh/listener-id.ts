import { servicePortKey } from "../service-table.ts";

const prefix = "service:";

/**
 * Where a route is attached to a Service port, as its `attachments` name it: "service:NAMESPACE/NAME/PORT" for all clients,
 * "service:NAMESPACE/NAME/PORT/CLIENTS" for those of another namespace alone.
 */
export function serviceListenerId(namespace: string, name: string, port: number, consumer?: string): string {
  return `${prefix}${namespace}/${name}/${port}${consumer === undefined ? "" : `/${consumer}`}`;
}

/** Undefined when it is a Gateway's or an Ingress's. */
export function readServiceListenerId(id: string): { key: string; consumer: string | undefined } | undefined {
  if (!id.startsWith(prefix)) return undefined;
  const [namespace, name, port, consumer] = id.slice(prefix.length).split("/");
  return { key: servicePortKey(namespace!, name!, "TCP", Number(port)), consumer };
}
