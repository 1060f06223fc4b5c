import type { ServiceSnapshot } from "../../api/network.ts";
import type { ServiceTable } from "../service-table.ts";
import { rcodes, types, type DnsRecord, type Response } from "./message.ts";

export const clusterDomain = "cluster.local";
/** Short, as CoreDNS in clusters: endpoints change. Also how long a "no" may be remembered. */
const ttl = 5;

/** What the cluster's own names say. Source: github.com/kubernetes/dns/blob/master/docs/specification.md. */
export type Found =
  | Response
  /** Not ours: ask outside. `aliases` are CNAMEs on the way, already decided. */
  | { outside: string; aliases: DnsRecord[] };

/**
 * Answers from the present snapshot, with the agent's readiness on top.
 *
 *   SVC.NS.svc                 A: ClusterIP; headless: ready pods; ExternalName: CNAME; SRV: all ports
 *   _PORT._PROTO.SVC.NS.svc    SRV
 *   HOSTNAME.SVC.NS.svc        A of one pod of a headless Service
 *   A-B-C-D.NS.pod             A, from the name itself
 *   D.C.B.A.in-addr.arpa       PTR
 */
export class Zone {
  readonly #table: ServiceTable;
  /** Namespace → name → Service, rebuilt when the snapshot is another. */
  #index = new Map<string, Map<string, ServiceSnapshot>>();
  #names = new Map<string, string>();
  #indexed: object | undefined;

  constructor(table: ServiceTable) {
    this.#table = table;
  }

  find(name: string, type: number, depth = 0): Found {
    if (name === clusterDomain || name.endsWith(`.${clusterDomain}`)) {
      const path = name === clusterDomain ? [] : name.slice(0, -clusterDomain.length - 1).split(".").toReversed();
      return this.#cluster(name, path, type, depth);
    }
    if (name.endsWith(".in-addr.arpa")) return this.#reverse(name, type);
    if (name.endsWith(".ip6.arpa")) return this.#none(rcodes.nameError);
    // A name without a dot has been through the search list; nobody outside can know it either.
    if (!name.includes(".")) return this.#none(rcodes.nameError);
    return { outside: name, aliases: [] };
  }

  #cluster(name: string, [kind, namespace, service, ...inner]: string[], type: number, depth: number): Found {
    this.#refresh();
    if (kind === undefined) return type === types.SOA ? this.#answer([this.#soa()]) : this.#none(rcodes.ok);
    if (kind === "pod") return this.#pod(name, namespace, service, inner, type);
    if (kind !== "svc") return this.#none(rcodes.nameError);
    if (namespace === undefined) return this.#none(rcodes.ok);
    const inNamespace = this.#index.get(namespace);
    if (service === undefined) return this.#none(inNamespace ? rcodes.ok : rcodes.nameError);
    const found = inNamespace?.get(service);
    if (!found) return this.#none(rcodes.nameError);
    if (inner.length === 0) return this.#service(name, found, type, depth);
    if (inner.length === 2 && inner[0]!.startsWith("_") && inner[1]!.startsWith("_")) return this.#port(name, found, inner[1]!.slice(1), inner[0]!.slice(1), type);
    if (inner.length !== 1) return this.#none(rcodes.nameError);
    const pods = this.#pods(found).filter((pod) => pod.hostname.toLowerCase() === inner[0]);
    if (pods.length === 0) return this.#none(rcodes.nameError);
    return type === types.A || type === types.ANY ? this.#answer(pods.map(({ ip }) => ({ name, ttl, type: "A", ip }))) : this.#none(rcodes.ok);
  }

  #service(name: string, service: ServiceSnapshot, type: number, depth: number): Found {
    if (service.type === "ExternalName") return this.#external(name, service, type, depth);
    const ips = service.headless ? this.#pods(service).map(({ ip }) => ip) : service.clusterIPs;
    // A headless Service whose pods are not ready has no name, so that clients wait instead of dialling nothing.
    if (ips.length === 0) return this.#none(rcodes.nameError);
    if (type === types.A || type === types.ANY) return this.#answer(ips.map((ip) => ({ name, ttl, type: "A", ip })));
    if (type === types.SRV) return this.#srv(name, service, service.ports);
    return this.#none(rcodes.ok);
  }

  #external(name: string, service: ServiceSnapshot, type: number, depth: number): Found {
    const target = (service.externalName ?? "").toLowerCase().replace(/\.$/, "");
    if (target === "") return this.#none(rcodes.nameError);
    const alias: DnsRecord = { name, ttl, type: "CNAME", target };
    if (type === types.CNAME || depth >= 8) return this.#answer([alias]);
    const next = this.find(target, type, depth + 1);
    if ("outside" in next) return { outside: next.outside, aliases: [alias, ...next.aliases] };
    return { ...next, answers: [alias, ...next.answers] };
  }

  #port(name: string, service: ServiceSnapshot, port: string, protocol: string, type: number): Found {
    const ports = service.ports.filter((candidate) => candidate.name.toLowerCase() === port && candidate.protocol.toLowerCase() === protocol);
    if (ports.length === 0 || (service.headless && this.#pods(service).length === 0)) return this.#none(rcodes.nameError);
    return type === types.SRV || type === types.ANY ? this.#srv(name, service, ports) : this.#none(rcodes.ok);
  }

  #srv(name: string, service: ServiceSnapshot, ports: ServiceSnapshot["ports"]): Response {
    const base = `${service.name}.${service.namespace}.svc.${clusterDomain}`;
    const answers: DnsRecord[] = [];
    const additional: DnsRecord[] = [];
    if (!service.headless) {
      for (const { port } of ports) answers.push({ name, ttl, type: "SRV", priority: 0, weight: Math.floor(100 / ports.length), port, target: base });
      for (const ip of service.clusterIPs) additional.push({ name: base, ttl, type: "A", ip });
    } else {
      const pods = this.#pods(service);
      for (const port of ports) {
        for (const { hostname, ip } of pods) {
          const endpoint = port.endpoints.find((candidate) => candidate.ip === ip);
          if (endpoint) answers.push({ name, ttl, type: "SRV", priority: 0, weight: Math.max(1, Math.floor(100 / pods.length)), port: endpoint.port, target: `${hostname}.${base}` });
        }
      }
      for (const { hostname, ip } of pods) additional.push({ name: `${hostname}.${base}`, ttl, type: "A", ip });
    }
    return { ...this.#answer(answers), additional };
  }

  #pod(name: string, namespace: string | undefined, dashed: string | undefined, inner: string[], type: number): Found {
    if (namespace === undefined || dashed === undefined) return this.#none(rcodes.ok);
    const ip = dashed.replaceAll("-", ".");
    if (inner.length > 0 || !isIPv4(ip)) return this.#none(rcodes.nameError);
    return type === types.A || type === types.ANY ? this.#answer([{ name, ttl, type: "A", ip }]) : this.#none(rcodes.ok);
  }

  #reverse(name: string, type: number): Found {
    this.#refresh();
    const ip = name.slice(0, -".in-addr.arpa".length).split(".").toReversed().join(".");
    const target = isIPv4(ip) ? this.#names.get(ip) : undefined;
    if (target === undefined) return this.#none(rcodes.nameError);
    return type === types.PTR || type === types.ANY ? this.#answer([{ name, ttl, type: "PTR", target }]) : this.#none(rcodes.ok);
  }

  #pods(service: ServiceSnapshot): ServiceSnapshot["hostnames"] {
    return service.hostnames.filter((pod) => service.publishNotReadyAddresses || (!pod.terminating && this.#table.isReady(pod.ip, pod.ready)));
  }

  #refresh(): void {
    if (this.#indexed === this.#table.snapshot) return;
    this.#indexed = this.#table.snapshot;
    this.#index = new Map();
    this.#names = new Map();
    for (const service of this.#table.snapshot.services) {
      const base = `${service.name}.${service.namespace}.svc.${clusterDomain}`;
      let names = this.#index.get(service.namespace);
      if (!names) this.#index.set(service.namespace, (names = new Map()));
      names.set(service.name, service);
      for (const ip of service.clusterIPs) this.#names.set(ip, base);
      for (const { hostname, ip } of service.hostnames) if (!this.#names.has(ip)) this.#names.set(ip, `${hostname}.${base}`);
    }
  }

  #soa(): DnsRecord {
    return { name: clusterDomain, ttl, type: "SOA", primary: `ns.dns.${clusterDomain}`, contact: `hostmaster.${clusterDomain}`, serial: this.#table.snapshot.revision, minimumSeconds: ttl };
  }
  #answer(answers: DnsRecord[]): Response {
    return { rcode: rcodes.ok, authoritative: true, answers };
  }
  /** No such name, or no record of that type; the SOA tells how long that may be believed. */
  #none(rcode: number): Response {
    return { rcode, authoritative: true, answers: [], authority: [this.#soa()] };
  }
}

function isIPv4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
}
