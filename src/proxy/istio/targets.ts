import type { Upstream } from "../../api/traffic.ts";
import type { Pod, Service } from "../../api/types.ts";
import { protocolOfName } from "../mesh/protocol.ts";
import { serviceHost } from "./hosts.ts";
import type { ServiceEntry } from "../../api/istio/kinds.ts";
import type { World } from "./world.ts";

export interface Port {
  port: number;
  name: string;
  /** In the words of `appProtocol`. */
  appProtocol: string | undefined;
}

/** What a host names: a Service, or a ServiceEntry. */
export interface Target {
  host: string;
  namespace: string;
  name: string;
  ports: Port[];
  /** Undefined: it is a Service, whose endpoints the data plane knows. */
  entry?: ServiceEntry;
}

/** Of a Service its TCP ports, named as Service listeners read them. */
export function portsOf({ spec }: Service): Port[] {
  return (spec?.ports ?? []).filter(({ protocol = "TCP" }) => protocol === "TCP").map(({ port, name = "", appProtocol }) => ({ port, name, appProtocol: appProtocol ?? protocolOfName(name) }));
}

export function serviceTarget(service: Service): Target {
  const { namespace, name } = service.metadata;
  return { host: serviceHost(namespace!, name), namespace: namespace!, name, ports: portsOf(service) };
}

export function entryTarget(entry: ServiceEntry, host: string): Target {
  const { namespace, name } = entry.metadata;
  return { host, namespace: namespace!, name, ports: (entry.spec.ports ?? []).map((port) => ({ port: port.number, name: port.name, appProtocol: port.protocol?.toLowerCase() ?? protocolOfName(port.name) })), entry };
}

/** Pods by their labels, as they are at one moment: asked for again and again, it looks through them once. */
export class PodLabels {
  readonly #world: World;
  /** By namespace, "" for all; then by "LABEL=VALUE". */
  readonly #byLabel = new Map<string, Map<string, Pod[]>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Addresses of the pods with these labels that may be called. */
  addresses(labels: Record<string, string>, namespace: string | undefined): string[] {
    const wanted = Object.entries(labels);
    const of = this.#indexOf(namespace);
    const lists = wanted.map(([label, value]) => of.get(`${label}=${value}`) ?? []);
    const pods = lists.length === 0 ? (of.get("") ?? []) : lists.reduce((least, list) => (list.length < least.length ? list : least));
    return [...new Set(pods.filter(({ metadata }) => wanted.every(([label, value]) => metadata.labels?.[label] === value)).map(({ status }) => status!.podIP!))].sort();
  }

  #indexOf(namespace: string | undefined): Map<string, Pod[]> {
    let index = this.#byLabel.get(namespace ?? "");
    if (index) return index;
    this.#byLabel.set(namespace ?? "", (index = new Map()));
    for (const pod of this.#world.pods(namespace)) {
      if (!isCallable(pod)) continue;
      for (const key of ["", ...Object.entries(pod.metadata.labels ?? {}).map(([label, value]) => `${label}=${value}`)]) {
        const known = index.get(key);
        if (known) known.push(pod);
        else index.set(key, [pod]);
      }
    }
    return index;
  }
}

const isCallable = ({ spec, status }: Pod): boolean => !spec?.hostNetwork && status?.podIP !== undefined && status.phase !== "Succeeded" && status.phase !== "Failed";

type Endpoints = NonNullable<Upstream["endpoints"]>;

/** Where a ServiceEntry's port leads, for the endpoints with these labels; or why nowhere. */
export function endpointsOf(world: World, pods: PodLabels, { spec, metadata }: ServiceEntry, host: string, number: number, labels: Record<string, string>): { endpoints: Endpoints; unknown: string[]; wrong?: string } {
  const port = spec.ports?.find((candidate) => candidate.number === number);
  const usual = port?.targetPort ?? number;
  const { resolution = "NONE" } = spec;
  if (spec.workloadSelector) return { endpoints: pods.addresses({ ...spec.workloadSelector.labels, ...labels }, metadata.namespace).map((ip) => ({ ip, port: usual })), unknown: [] };
  if (resolution === "NONE") return { endpoints: [], unknown: [], wrong: "resolution NONE leads to the address that was dialled, and a route has none" };
  if (resolution === "DYNAMIC_DNS") return { endpoints: [], unknown: [], wrong: "resolution DYNAMIC_DNS is not honoured" };
  const endpoints: Endpoints = [];
  const unknown: string[] = [];
  const places = spec.endpoints?.length ? spec.endpoints : [{ address: host }];
  for (const { address = "", ports, weight, labels: own = {} } of places) {
    if (!Object.entries(labels).every(([label, value]) => own[label] === value)) continue;
    const at = ports?.[port?.name ?? ""] ?? usual;
    const isAddress = /^\d+\.\d+\.\d+\.\d+$/.test(address);
    const addresses = isAddress ? [address] : resolution === "STATIC" ? undefined : world.addressesOf(address);
    if (!addresses) unknown.push(address);
    for (const ip of addresses ?? []) endpoints.push({ ip, port: at, ...(weight ? { weight } : {}) });
  }
  return { endpoints, unknown };
}
