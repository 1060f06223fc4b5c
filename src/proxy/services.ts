import type { Client } from "../api/client.ts";
import { Informer, keyOf } from "../api/informer.ts";
import type { NetSnapshot, ServicePortSnapshot, ServiceSnapshot } from "../api/network.ts";
import { resources } from "../api/resources.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { protocolOfName } from "./mesh/protocol.ts";

const serviceNameLabel = "kubernetes.io/service-name";
/** Upstream's default of sessionAffinityConfig.clientIP.timeoutSeconds. */
const affinitySecondsDefault = 10_800;

type SliceEndpoint = NonNullable<EndpointSlice["endpoints"]>[number];
type ServicePortSpec = NonNullable<NonNullable<Service["spec"]>["ports"]>[number];

/**
 * Services and their EndpointSlices → what the data plane needs. Pure; order follows namespace and name, so that
 * equal worlds give equal snapshots. `reserved` are addresses where somebody else listens.
 */
export function compileServices(services: readonly Service[], slicesOf: (service: Service) => readonly EndpointSlice[], reserved: ReadonlySet<string> = new Set()): ServiceSnapshot[] {
  return services.map((service) => compileService(service, slicesOf(service), reserved)).sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
}

function compileService(service: Service, allSlices: readonly EndpointSlice[], reserved: ReadonlySet<string>): ServiceSnapshot {
  const spec = service.spec ?? {};
  const type = (spec.type ?? "ClusterIP") as ServiceSnapshot["type"];
  const addresses = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []);
  const headless = type !== "ExternalName" && addresses[0] === "None";
  const clusterIPs = headless || type === "ExternalName" ? [] : addresses.filter(isIPv4);
  const slices = type === "ExternalName" ? [] : allSlices.filter((slice) => slice.addressType === "IPv4").sort((a, b) => compare(a.metadata.name, b.metadata.name));
  return {
    namespace: service.metadata.namespace ?? "",
    name: service.metadata.name,
    type,
    clusterIPs,
    headless,
    ...(type === "ExternalName" && spec.externalName ? { externalName: spec.externalName } : {}),
    publishNotReadyAddresses: spec.publishNotReadyAddresses ?? false,
    affinitySeconds: spec.sessionAffinity === "ClientIP" ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? affinitySecondsDefault) : 0,
    ports: (spec.ports ?? []).flatMap((port) => compilePort(port, slices) ?? []),
    ...(clusterIPs.some((ip) => reserved.has(ip)) ? { reserved: true } : {}),
    hostnames: headless ? hostnamesOf(slices) : [],
  };
}

function compilePort(port: ServicePortSpec, slices: readonly EndpointSlice[]): ServicePortSnapshot | undefined {
  const protocol = port.protocol ?? "TCP";
  if (protocol !== "TCP" && protocol !== "UDP") return undefined;
  const name = port.name ?? "";
  const endpoints = new Map<string, ServicePortSnapshot["endpoints"][number]>();
  for (const slice of slices) {
    const target = slice.ports?.find((candidate) => (candidate.name ?? "") === name && (candidate.protocol ?? "TCP") === protocol);
    // Its range is not checked when it is stored, as upstream does not.
    if (!target?.port || target.port < 1 || target.port > 65_535) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ip = endpoint.addresses[0];
      // While a controller moves an endpoint between slices it may stand in both.
      if (ip !== undefined && isIPv4(ip)) endpoints.set(ip, { ip, port: target.port, ready: isServing(endpoint), terminating: endpoint.conditions?.terminating ?? false });
    }
  }
  const appProtocol = port.appProtocol ?? protocolOfName(name);
  return { name, protocol, port: port.port, ...(port.nodePort ? { nodePort: port.nodePort } : {}), ...(appProtocol ? { appProtocol } : {}), endpoints: [...endpoints.values()] };
}

/** Absent conditions mean ready, as the API's reference says. */
const isServing = ({ conditions }: SliceEndpoint): boolean => conditions?.serving ?? conditions?.ready ?? true;

function hostnamesOf(slices: readonly EndpointSlice[]): ServiceSnapshot["hostnames"] {
  const found = new Map<string, ServiceSnapshot["hostnames"][number]>();
  for (const slice of slices) {
    for (const endpoint of slice.endpoints ?? []) {
      const ip = endpoint.addresses[0];
      if (ip !== undefined && isIPv4(ip)) found.set(ip, { hostname: endpoint.hostname ?? ip.replaceAll(".", "-"), ip, ready: endpoint.conditions?.ready ?? true, ...(endpoint.conditions?.terminating ? { terminating: true } : {}) });
    }
  }
  return [...found.values()];
}

const isIPv4 = (text: string): boolean => /^\d+\.\d+\.\d+\.\d+$/.test(text);
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export interface ServiceCompilerOptions {
  client: Client;
  publish: (snapshot: NetSnapshot) => void;
  clock: Clock;
  random?: Random;
  log: Log;
  /** Cluster addresses where somebody else listens: the API server's. */
  reserved?: readonly string[];
  /** How long changes are gathered after one was published. */
  debounceMs?: number;
}
export interface ServiceCompiler {
  /** Resolves when the first snapshot is published. */
  readonly synced: Promise<void>;
  stop(): Promise<void>;
}

/** Watches Services and EndpointSlices and publishes: the first change at once, what follows it gathered. */
export function startServiceCompiler({ client, publish, clock, random, log, reserved = [], debounceMs = 20 }: ServiceCompilerOptions): ServiceCompiler {
  const common = { client, clock, log, ...(random ? { random } : {}) };
  const services = new Informer<Service>({ ...common, resource: resources.services });
  const slices = new Informer<EndpointSlice>({
    ...common,
    resource: resources.endpointSlices,
    indexes: { service: (slice) => (slice.metadata.labels?.[serviceNameLabel] ? [`${slice.metadata.namespace}/${slice.metadata.labels[serviceNameLabel]}`] : []) },
  });
  const reservedSet = new Set(reserved);
  let last = "";
  let timer: Timer | undefined;
  let again = false;
  let stopped = false;

  const compile = () => {
    const compiled = compileServices(services.list(), (service) => slices.byIndex("service", keyOf(service)), reservedSet);
    const text = JSON.stringify(compiled);
    // Heartbeats and status writes change revisions, not traffic.
    if (text === last) return;
    last = text;
    publish({ revision: Math.max(services.revision, slices.revision), services: compiled });
  };
  const changed = () => {
    if (stopped || !services.hasSynced || !slices.hasSynced) return;
    if (timer) {
      again = true;
      return;
    }
    compile();
    timer = clock.setTimer(debounceMs, () => {
      timer = undefined;
      if (!again) return;
      again = false;
      changed();
    });
  };
  services.onChange(changed);
  slices.onChange(changed);
  services.start();
  slices.start();
  const synced = Promise.all([services.synced, slices.synced]).then(changed);
  synced.catch(() => {});
  return {
    synced,
    async stop() {
      stopped = true;
      timer?.cancel();
      await Promise.all([services.stop(), slices.stop()]);
    },
  };
}
