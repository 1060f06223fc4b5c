import type { HttpRoute, HttpRule, TrafficPatch, TrafficSnapshot, Upstream } from "../../api/traffic.ts";
import type { Pod, Service } from "../../api/types.ts";
import type { KubeObject } from "../../api/meta.ts";
import { keyOf } from "../../api/informer.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import { checkRule } from "../../policy/route-table.ts";
import { serviceListenerId } from "../mesh/listener-id.ts";
import { declaredBy, protocolOfName } from "../mesh/protocol.ts";
import { Published } from "../published.ts";
import { Catalogue, type DestinationRules, isForMesh } from "./catalogue.ts";
import { fullName, serviceHost, serviceOfHost } from "./hosts.ts";
import type { Destination, VirtualService } from "./kinds.ts";
import { isMatchAll } from "./matches.ts";
import { mergePolicies, type PolicyAt, settingsOf } from "./policy.ts";
import { Report } from "./report.ts";
import { compileHttpRoute, type RuleContext, unserved } from "./rules.ts";
import type { World } from "./world.ts";

/** What is to be said to one of Istio's objects. */
export interface Told {
  object: KubeObject;
  report: Report;
}

interface Port {
  port: number;
  name: string;
  appProtocol: string | undefined;
}

/** As Kubernetes and Istio name them. */
const protocols: Record<string, Upstream["protocol"]> = { "kubernetes.io/h2c": "h2c", h2c: "h2c", grpc: "h2c", http2: "h2c" };

/**
 * Istio's objects → routes that are attached to Services, and what there is to say to each object. Pure but for its memory:
 * after any sequence of changes it holds what a fresh one would make of the same world.
 */
export class Translator {
  readonly #world: World;
  readonly #routes = new Published<HttpRoute>();
  readonly #upstreams = new Published<Upstream>();
  /** Namespaces of which pods' labels were asked for; "" is all. */
  #podsRead = new Set<string>();
  #isDirty = true;
  #revision = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Something is there, is otherwise, or is gone: the world already shows it. Returns whether it matters. */
  changed(kind: string, key: string): boolean {
    if (kind === "Pod" && !this.#podsRead.has("") && !this.#podsRead.has(key.slice(0, key.indexOf("/")))) return false;
    this.#isDirty = true;
    return true;
  }

  snapshot(): TrafficSnapshot {
    return { revision: this.#revision, listeners: [], routes: this.#routes.values(), upstreams: this.#upstreams.values() };
  }

  /** Works off what changed. Without `patch` nothing changed for the engine. */
  flush(): { patch: TrafficPatch | undefined; told: Told[] } {
    if (!this.#isDirty) return { patch: undefined, told: [] };
    this.#isDirty = false;
    this.#podsRead = new Set();
    const compiled = new Compilation(this.#world, this.#podsRead);
    this.#publish(this.#routes, compiled.routes);
    this.#publish(this.#upstreams, compiled.upstreams);
    const [routes, upstreams] = [this.#routes.take(), this.#upstreams.take()];
    const patch = routes || upstreams ? { revision: ++this.#revision, put: { ...(upstreams && { upstreams: upstreams.put }), ...(routes && { routes: routes.put }) }, remove: { ...(routes && { routes: routes.remove }), ...(upstreams && { upstreams: upstreams.remove }) } } : undefined;
    return { patch, told: [...compiled.reports].map(([object, report]) => ({ object, report })) };
  }

  #publish<T extends { id: string }>(published: Published<T>, now: ReadonlyMap<string, T>): void {
    for (const { id } of published.values()) if (!now.has(id)) published.remove(id);
    for (const [id, value] of now) published.put(id, value);
  }
}

/** One look at everything. */
class Compilation {
  readonly routes = new Map<string, HttpRoute>();
  readonly upstreams = new Map<string, Upstream>();
  readonly reports = new Map<KubeObject, Report>();
  readonly #world: World;
  readonly #catalogue: Catalogue;
  readonly #podsRead: Set<string>;

  constructor(world: World, podsRead: Set<string>) {
    this.#world = world;
    this.#podsRead = podsRead;
    this.#catalogue = new Catalogue(world);
    for (const object of [...world.virtualServices(), ...world.destinationRules()]) this.reports.set(object, new Report());
    for (const service of world.services().toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))) this.#service(service);
    for (const object of world.virtualServices()) this.#tellVirtualService(object);
    for (const object of world.destinationRules()) {
      const report = this.reports.get(object)!;
      if (object.spec.workloadSelector) report.field("spec.workloadSelector", "the rule is not in force: it is for some pods of its namespace alone");
      else if (report.places.size === 0 && this.#servicesNamed(object.spec.host, object.metadata.namespace!).length === 0) report.analysis("IST0101", `Referenced host not found: ${JSON.stringify(object.spec.host)}`);
    }
  }

  #service(service: Service): void {
    const { spec } = service;
    if (spec?.type === "ExternalName" || spec?.clusterIP === "None") return;
    const host = serviceHost(service.metadata.namespace!, service.metadata.name);
    const clients = this.#clientsOf(host);
    for (const port of portsOf(service)) {
      const usual = this.#routeFor(service, host, port, undefined);
      this.#put(usual, service, port, undefined);
      for (const client of clients) {
        const own = this.#routeFor(service, host, port, client);
        // Only where it differs: whoever has routes of their own gets no others.
        if (JSON.stringify(own?.route.rules) !== JSON.stringify(usual?.route.rules)) this.#put(own, service, port, client);
      }
    }
  }

  #put(compiled: { route: HttpRoute; of: KubeObject } | undefined, { metadata: { namespace, name } }: Service, { port }: Port, client: string | undefined): void {
    if (!compiled) return;
    this.routes.set(compiled.route.id, compiled.route);
    this.reports.get(compiled.of)!.place(`port ${port} of Service ${namespace}/${name}${client === undefined ? "" : ` for clients in ${client}`}`);
  }

  /** Namespaces from which calls to this host, or on to where its routes lead, may be treated otherwise. */
  #clientsOf(host: string): string[] {
    const clients = this.#catalogue.clientsOf(host);
    for (const client of [undefined, ...clients]) {
      const found = this.#catalogue.virtualServiceFor(host, client)?.winner;
      for (const { destination } of found ? destinationsOf(found) : []) for (const other of this.#catalogue.clientsOf(fullName(destination.host, found!.metadata.namespace!))) clients.add(other);
    }
    return [...clients].sort();
  }

  #routeFor(service: Service, host: string, port: Port, client: string | undefined): { route: HttpRoute; of: KubeObject } | undefined {
    const { namespace, name } = service.metadata;
    if (declaredBy(port.appProtocol) === "opaque") return undefined;
    const found = this.#catalogue.virtualServiceFor(host, client);
    for (const loser of found?.losers ?? []) {
      const names = [found!.winner, ...found!.losers].map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).sort();
      this.reports.get(loser)!.analysis("IST0109", `The VirtualServices ${names.join(",")} associated with mesh gateway define the same host ${host} which can lead to undefined behavior. This can be fixed by merging the conflicting VirtualServices into a single resource. The oldest is in force.`);
    }
    const rules = found && this.#rulesOf(found.winner, port.port, client);
    const place = `${namespace}/${name}/${port.port}${client === undefined ? "" : `/${client}`}`;
    const attachments = [{ listener: serviceListenerId(namespace!, name, port.port, client), hostnames: [""] }];
    if (rules?.length) {
      const { winner } = found!;
      return { route: { id: `istio:VirtualService/${winner.metadata.namespace}/${winner.metadata.name}/${place}`, type: "http", createdAt: ageOf(winner), attachments, rules }, of: winner };
    }
    // A policy alone: everything goes where it would go without it.
    const destinationRules = this.#catalogue.destinationRulesFor(service, client);
    if (!destinationRules) return undefined;
    const upstream = this.#upstream(service, port, undefined, destinationRules);
    const rule: HttpRule = { name: "default", matches: [{ path: { type: "prefix", value: "/" }, priority: -1 }], filters: [], backends: [{ upstream, weight: 1 }], retry: { attempts: 2, backoffMs: 25, statuses: [], on: ["connect"] } };
    const [of] = destinationRules.objects;
    return { route: { id: `istio:DestinationRule/${destinationRules.id}/${place}`, type: "http", createdAt: ageOf(of!), attachments, rules: [rule] }, of: of! };
  }

  /** The first that fits goes: so the first has the highest priority. */
  #rulesOf(virtualService: VirtualService, port: number, client: string | undefined): HttpRule[] {
    const report = this.reports.get(virtualService)!;
    const namespace = virtualService.metadata.namespace!;
    const context: RuleContext = {
      port,
      report,
      clients: (labels, of) => this.#addressesOf(labels, of),
      resolve: (destination, at) => this.#resolve(destination, namespace, port, client, report, at),
    };
    const http = virtualService.spec.http ?? [];
    const rules: HttpRule[] = [];
    let covering: string | undefined;
    for (const [index, route] of http.entries()) {
      if (covering !== undefined) {
        report.analysis("IST0130", `VirtualService rule ${route.name ?? `#${index}`} not used (${covering}).`);
        continue;
      }
      try {
        for (const rule of compileHttpRoute(route, index, context)) {
          const made = { ...rule, matches: rule.matches.map((match) => ({ ...match, priority: http.length - index })) };
          const wrong = checkRule(made);
          if (wrong) report.field(`http[${index}]`, `the route is not served: ${wrong.message}`);
          const served = wrong ? { ...made, filters: [], backends: [unserved(wrong.message)] } : made;
          if (served === made || !checkRule(served)) rules.push(served);
          if (rule.matches.some(isMatchAll)) covering = `route ${route.name ?? `#${index}`} matches everything`;
        }
      } catch (error) {
        if (!(error instanceof PolicyError)) throw error;
        report.field(`http[${index}]`, `the route is not served: ${error.message}`);
      }
    }
    return rules;
  }

  #resolve(destination: Destination, from: string, dialled: number, client: string | undefined, report: Report, at: string): { upstream: string } | { error: { status: number; reason: string } } {
    const no = (code: "IST0101" | "IST0112", message: string) => {
      report.analysis(code, `${at}: ${message}`);
      return { error: { status: 503, reason: message } };
    };
    const host = fullName(destination.host, from);
    const key = serviceOfHost(host);
    const service = key === undefined ? undefined : this.#world.service(key);
    if (!service || service.spec?.type === "ExternalName") {
      const [name, namespace, ...rest] = destination.host.split(".");
      const hint = !service && rest.length === 0 && namespace !== undefined && this.#world.service(`${namespace}/${name}`) ? `; a name with a dot is a whole one: ${serviceHost(namespace, name!)}` : "";
      return no("IST0101", `Referenced host not found: ${JSON.stringify(destination.host)}${hint}`);
    }
    const ports = portsOf(service);
    const wanted = destination.port?.number ?? (ports.length === 1 ? ports[0]!.port : dialled);
    const port = ports.find((candidate) => candidate.port === wanted);
    if (!port) {
      if (destination.port?.number !== undefined) return no("IST0101", `Referenced host:port not found: "${destination.host}:${wanted}"`);
      return no("IST0112", `This VirtualService routes to a service ${JSON.stringify(destination.host)} that exposes multiple ports ${ports.map((other) => other.port).join(",")}. Specifying a port in the destination is required to disambiguate.`);
    }
    const rules = this.#catalogue.destinationRulesFor(service, client);
    if (destination.subset && !rules?.subsets.some(({ subset }) => subset.name === destination.subset)) return no("IST0101", `Referenced host+subset in destinationrule not found: "${destination.host}+${destination.subset}"`);
    return { upstream: this.#upstream(service, port, destination.subset || undefined, rules) };
  }

  /** Makes it, and returns its id. */
  #upstream(service: Service, port: Port, subsetName: string | undefined, rules: DestinationRules | undefined): string {
    const { namespace, name } = service.metadata;
    const id = `istio:${namespace}/${name}/${port.port}/${subsetName ?? ""}@${rules?.id ?? ""}`;
    if (this.upstreams.has(id)) return id;
    const base: Upstream = { id, namespace: namespace!, service: name, port: port.port, protocol: protocols[port.appProtocol ?? ""] ?? "http1" };
    if (!rules) {
      this.upstreams.set(id, base);
      return id;
    }
    const chosen = rules.subsets.find(({ subset }) => subset.name === subsetName);
    const policies: PolicyAt[] = [...(rules.policy ? [{ policy: rules.policy, at: "trafficPolicy" }] : []), ...(chosen?.subset.trafficPolicy ? [{ policy: chosen.subset.trafficPolicy, at: `subsets[${chosen.index}].trafficPolicy` }] : [])];
    const of = chosen?.of ?? rules.objects[0]!;
    const report = this.reports.get(of)!;
    for (const object of rules.objects) this.reports.get(object)!.place(`port ${port.port} of Service ${namespace}/${name}`);
    for (const { policy, at } of policies) for (const field of ["tunnel", "proxyProtocol"] as const) if (policy[field]) report.field(`${at}.${field}`, "endpoints are spoken to directly");
    const labels = chosen?.subset.labels ?? {};
    const upstream: Upstream = {
      ...base,
      ...(Object.keys(labels).length > 0 && { addresses: this.#addressesOf(labels, namespace) }),
      ...settingsOf(mergePolicies(policies, port.port), { protocol: base.protocol, host: serviceHost(namespace!, name), secret: (secret) => this.#secret(`${of.metadata.namespace}/${secret}`), report }),
    };
    this.upstreams.set(id, upstream);
    return id;
  }

  #secret(key: string): { certificate: string | undefined; key: string | undefined; authorities: string | undefined } | undefined {
    const secret = this.#world.secret(key);
    const file = (name: string): string | undefined => (secret?.data?.[name] === undefined ? undefined : Buffer.from(secret.data[name], "base64").toString("utf8"));
    return secret && { certificate: file("tls.crt") ?? file("cert"), key: file("tls.key") ?? file("key"), authorities: file("ca.crt") ?? file("cacert") };
  }

  #addressesOf(labels: Record<string, string>, namespace: string | undefined): string[] {
    this.#podsRead.add(namespace ?? "");
    const wanted = Object.entries(labels);
    const fitting = ({ metadata, spec, status }: Pod): boolean => !spec?.hostNetwork && status?.podIP !== undefined && status.phase !== "Succeeded" && status.phase !== "Failed" && wanted.every(([label, value]) => metadata.labels?.[label] === value);
    return [...new Set(this.#world.pods(namespace).filter(fitting).map(({ status }) => status!.podIP!))].sort();
  }

  #servicesNamed(host: string, namespace: string): Service[] {
    const name = fullName(host, namespace);
    if (name.startsWith("*")) return this.#world.services().filter(({ metadata }) => name === "*" || serviceHost(metadata.namespace!, metadata.name).endsWith(name.slice(1)));
    const service = this.#world.service(serviceOfHost(name) ?? "");
    return service ? [service] : [];
  }

  /** What is wrong with it wherever it is in force, and nowhere. */
  #tellVirtualService(object: VirtualService): void {
    const report = this.reports.get(object)!;
    const { spec, metadata } = object;
    const gateways = (spec.gateways ?? []).filter((name) => name !== "mesh");
    if (gateways.length > 0) report.field("gateways", `${gateways.join(", ")}: Gateways of networking.istio.io are not served; write an HTTPRoute for a Gateway of gateway.networking.k8s.io`);
    if (spec.tls?.length) report.field("tls", "connections that are encrypted go to the Service's own endpoints");
    if (spec.tcp?.length) report.field("tcp", "connections that are not HTTP go to the Service's own endpoints");
    if (!isForMesh(object)) return;
    for (const host of spec.hosts ?? []) {
      const services = this.#servicesNamed(host, metadata.namespace!);
      if (services.length === 0) report.field("hosts", `${host}: no Service has this name`);
      for (const service of services) {
        const key = keyOf(service);
        if (service.spec?.clusterIP === "None") report.field("hosts", `${host}: Service ${key} is headless: its pods are called directly`);
        else if (service.spec?.type === "ExternalName") report.field("hosts", `${host}: Service ${key} is of type ExternalName: nothing of ours is called by its name`);
        else if (spec.http?.length && portsOf(service).every(({ appProtocol }) => declaredBy(appProtocol) === "opaque")) report.field("hosts", `${host}: no port of Service ${key} is HTTP`);
      }
    }
  }
}

function* destinationsOf({ spec }: VirtualService): Generator<{ destination: Destination }> {
  for (const { route = [], mirror, mirrors = [] } of spec.http ?? []) {
    for (const { destination } of [...route, ...mirrors]) if (destination) yield { destination };
    if (mirror) yield { destination: mirror };
  }
}

const ageOf = ({ metadata }: KubeObject): number => Math.floor(Date.parse(metadata.creationTimestamp) / 1000);

/** `appProtocol`, or what the port's name says, as Service listeners read it. */
function portsOf({ spec }: Service): Port[] {
  return (spec?.ports ?? []).filter(({ protocol = "TCP" }) => protocol === "TCP").map(({ port, name = "", appProtocol }) => ({ port, name, appProtocol: appProtocol ?? protocolOfName(name) }));
}
