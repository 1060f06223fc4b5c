import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { HttpRoute, HttpRule, Route, StreamRoute, Upstream } from "../../api/traffic.ts";
import type { Service } from "../../api/types.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import { checkRule } from "../../policy/route-table.ts";
import { serviceListenerId } from "../mesh/listener-id.ts";
import { declaredBy, isOwnTls } from "../mesh/protocol.ts";
import { Catalogue, type DestinationRules, isForMesh, type SidecarScope } from "./catalogue.ts";
import { type WrittenRoute, writtenRoutes } from "./delegates.ts";
import { fullName, serviceHost, serviceOfHost } from "./hosts.ts";
import type { Destination, HttpRoute as HttpRouteEntry, VirtualService } from "../../api/istio/kinds.ts";
import type { Guard } from "../../api/guard.ts";
import { compileGuard } from "./guards.ts";
import { isMatchAll } from "./matches.ts";
import { mergePolicies, type PolicyAt, settingsOf } from "./policy.ts";
import { Report } from "./report.ts";
import { compileHttpRoute, type RuleContext, unserved, usualRetry } from "./rules.ts";
import { compileStreams, holdsForStreams, tellOpaque } from "./streams.ts";
import { compileTelemetry } from "./telemetry.ts";
import { tellServiceEntry, tellSidecar } from "./tell.ts";
import { endpointsOf, entryTarget, PodLabels, type Port, portsOf, serviceTarget, type Target } from "./targets.ts";
import type { World } from "./world.ts";

/** As Kubernetes and Istio name them. */
const protocols: Record<string, Upstream["protocol"]> = { "kubernetes.io/h2c": "h2c", h2c: "h2c", grpc: "h2c", http2: "h2c" };

const protocolOf = ({ appProtocol }: Port): Upstream["protocol"] => protocols[appProtocol ?? ""] ?? "http1";
/** `id`, `namespace`, `service` and `port`: a policy has more. */
const plainParts = 4;

interface Compiled<T extends Route = HttpRoute> {
  route: T;
  of: KubeObject;
}

/** Where a destination leads. */
type Resolved = { upstream: string } | { error: { status: number; reason: string } };

export type Judged = Map<string, { wrong: PolicyError | undefined }>;

/** One look at everything. */
export class Compilation {
  readonly routes = new Map<string, Route>();
  readonly upstreams = new Map<string, Upstream>();
  readonly guards = new Map<string, Guard>();
  readonly reports = new Map<KubeObject, Report>();
  readonly #world: World;
  readonly #catalogue: Catalogue;
  readonly #pods: PodLabels;
  readonly #podsRead: Set<string>;
  /** By the rule's text. */
  readonly judged: Judged = new Map();
  readonly #judged: Judged;

  /** `podsRead` gets the namespaces of which pods' labels were asked for; "" is all. `isEnforced`: addresses prove who calls. `judged`: of the look before. */
  constructor(world: World, podsRead: Set<string>, isEnforced: boolean, judged: Judged) {
    this.#judged = judged;
    this.#world = world;
    this.#podsRead = podsRead;
    this.#catalogue = new Catalogue(world);
    this.#pods = new PodLabels(world);
    for (const objects of [world.virtualServices(), world.destinationRules(), world.serviceEntries(), world.sidecars(), world.telemetries(), world.securityPolicies()]) for (const object of objects) this.reports.set(object, new Report());
    for (const service of world.services().toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))) this.#service(service);
    for (const object of world.virtualServices()) this.#tellVirtualService(object);
    for (const object of world.destinationRules()) {
      const report = this.reports.get(object)!;
      if (object.spec.workloadSelector) report.field("workloadSelector", "the rule is not in force: it is for some pods of its namespace alone");
      else if (report.places.size === 0 && !this.#isKnown(object.spec.host, object.metadata.namespace!)) report.analysis("IST0101", `Referenced host not found: ${JSON.stringify(object.spec.host)}${this.#hint(object.spec.host)}`);
    }
    for (const object of world.serviceEntries()) tellServiceEntry(object, this.reports.get(object)!);
    for (const object of world.sidecars()) tellSidecar(object, this.reports.get(object)!, this.#catalogue.sidecarOf(object.metadata.namespace!)?.object === object);
    const guards = [...world.telemetries().map((object) => compileTelemetry(object, this.reports.get(object)!, isEnforced)), ...world.securityPolicies().map((object) => compileGuard(object, this.reports.get(object)!, isEnforced))];
    for (const guard of guards) if (guard) this.guards.set(guard.id, guard);
  }

  #service(service: Service): void {
    const { spec } = service;
    if (spec?.type === "ExternalName") return;
    const target = serviceTarget(service);
    for (const port of target.ports) this.#policyOf(target, port);
    if (spec?.clusterIP === "None") return;
    const clients = this.#clientsOf(target.host);
    for (const port of target.ports) {
      const declared = declaredBy(port.appProtocol);
      if (declared !== "http") this.#streams(target, port, clients);
      if (declared === "opaque") continue;
      const usual = this.#routeFor(target, port, undefined);
      this.#put(usual, target, port, undefined);
      for (const client of clients) {
        const sidecar = this.#catalogue.sidecarOf(client);
        const isHidden = sidecar !== undefined && !sidecar.sees(target);
        const own = isHidden ? this.#behind(sidecar, target, port, client, usual !== undefined) : this.#routeFor(target, port, client);
        // Only where it differs: whoever has routes of their own gets no others.
        if (JSON.stringify(own?.route.rules) !== JSON.stringify(usual?.route.rules)) this.#put(own, target, port, client);
      }
    }
  }

  /** For Gateways and Ingresses, who have ways of their own to it: as for clients of a namespace that no rule is for. */
  #policyOf(target: Target, port: Port): void {
    const rules = this.#catalogue.destinationRulesFor(target, undefined);
    if (!rules?.policy) return;
    const id = this.#upstream(target, port, undefined, rules);
    const { protocol, ...policy } = this.upstreams.get(id)!;
    // Who calls it by a route has it made again.
    this.upstreams.delete(id);
    if (Object.keys(policy).length === plainParts && protocol === protocolOf(port)) return;
    const own = `istio:policy/${target.namespace}/${target.name}/${port.port}`;
    this.upstreams.set(own, { ...policy, protocol, id: own, isPolicy: true });
  }

  /** The same for connections that nobody reads. */
  #streams(target: Target, port: Port, clients: readonly string[]): void {
    const usual = this.#streamRoutesFor(target, port, undefined);
    for (const compiled of usual) this.#put(compiled, target, port, undefined);
    const said = (compiled: readonly Compiled<StreamRoute>[]) => JSON.stringify(compiled.map(({ route: { type, backends, clients: of, attachments } }) => [type, backends, of, attachments[0]!.hostnames]));
    for (const client of clients) {
      const sidecar = this.#catalogue.sidecarOf(client);
      const isHidden = sidecar !== undefined && !sidecar.sees(target);
      const own = isHidden ? this.#streamBehind(sidecar, target, port, client, usual.length > 0) : this.#streamRoutesFor(target, port, client);
      if (said(own) !== said(usual)) for (const compiled of own) this.#put(compiled, target, port, client);
    }
  }

  #streamRoutesFor(target: Target, port: Port, client: string | undefined): Compiled<StreamRoute>[] {
    const winner = this.#catalogue.virtualServiceFor(target.host, client)?.winner;
    if (winner) {
      const report = this.reports.get(winner)!;
      const routes = compileStreams(winner, port, {
        port: port.port,
        address: this.#world.service(`${target.namespace}/${target.name}`)?.spec?.clusterIP,
        report,
        clients: (labels, of) => this.#podsWith(labels, of),
        resolve: (destination, at) => this.#streamUpstream(this.#resolve(destination, winner.metadata.namespace!, port.port, client, report, at)),
      });
      if (routes.length > 0) {
        return routes.map(({ hostnames, suffix, ...route }) => {
          const { id, attachments } = this.#routeId("VirtualService", keyOf(winner), target, port, client);
          return { route: { id: `${id}#${suffix}`, createdAt: ageOf(winner), attachments: [{ ...attachments[0]!, hostnames }], passesUnmatched: true, ...route }, of: winner };
        });
      }
    }
    const rules = this.#catalogue.destinationRulesFor(target, client);
    const [of] = rules?.objects ?? [];
    if (!of) return [];
    const merged = mergePolicies(policiesOf(rules!, undefined), port.port);
    tellOpaque(merged, target, port, this.reports.get(of)!);
    if (!holdsForStreams(merged)) return [];
    const { id, attachments } = this.#routeId("DestinationRule", rules!.id, target, port, client);
    return [{ route: { id: `${id}#tcp`, createdAt: ageOf(of), attachments, type: "tcp", backends: [{ ...this.#streamUpstream({ upstream: this.#upstream(target, port, undefined, rules) }), weight: 1 }], passesUnmatched: true }, of }];
  }

  /** Whoever asks for TLS, or for what is not there, gets nothing less. */
  #streamUpstream(found: Resolved): Resolved {
    if ("error" in found) return found;
    const { tls, error } = this.upstreams.get(found.upstream)!;
    if (tls || error) return { error: error ?? { status: 503, reason: "TLS is begun for HTTP alone" } };
    return found;
  }

  #streamBehind({ object, isClosed }: SidecarScope, target: Target, port: Port, client: string, isRouted: boolean): Compiled<StreamRoute>[] {
    if (!isClosed && !isRouted) return [];
    const { id, attachments } = this.#routeId("Sidecar", keyOf(object), target, port, client);
    const backends = isClosed ? [] : [{ upstream: this.#upstream(target, port, undefined, undefined), weight: 1 }];
    return [{ route: { id: `${id}#tcp`, createdAt: ageOf(object), attachments, type: "tcp", backends }, of: object }];
  }

  #put(compiled: Compiled<Route> | undefined, { namespace, name }: Target, { port }: Port, client: string | undefined): void {
    if (!compiled) return;
    this.routes.set(compiled.route.id, compiled.route);
    if (compiled.of.kind !== "Sidecar") this.reports.get(compiled.of)!.place(`port ${port} of Service ${namespace}/${name}${client === undefined ? "" : ` for clients in ${client}`}`);
  }

  /** Namespaces from which calls to this host, or on to where its routes lead, may be treated otherwise. */
  #clientsOf(host: string): string[] {
    const clients = this.#catalogue.clientsOf(host);
    for (const client of [undefined, ...clients]) {
      const found = this.#catalogue.virtualServiceFor(host, client)?.winner;
      const destinations = !found ? [] : [...this.#written(found).flatMap(({ route, by }) => [...destinationsOf(route)].map((destination) => ({ destination, by }))), ...[...(found.spec.tcp ?? []), ...(found.spec.tls ?? [])].flatMap(({ route = [] }) => route.flatMap(({ destination }) => (destination ? { destination, by: found } : [])))];
      for (const { destination, by } of destinations) for (const other of this.#catalogue.clientsOf(fullName(destination.host, by.metadata.namespace!))) clients.add(other);
    }
    for (const client of this.#catalogue.sidecarNamespaces()) clients.add(client);
    return [...clients].sort();
  }

  #routeId(kind: string, of: string, { namespace, name }: Target, { port }: Port, client: string | undefined): Pick<HttpRoute, "id" | "attachments"> {
    return { id: `istio:${kind}/${of}/${namespace}/${name}/${port}${client === undefined ? "" : `/${client}`}`, attachments: [{ listener: serviceListenerId(namespace, name, port, client), hostnames: [""] }] };
  }

  #routeFor(target: Target, port: Port, client: string | undefined): Compiled | undefined {
    const { host } = target;
    const found = this.#catalogue.virtualServiceFor(host, client);
    for (const loser of found?.losers ?? []) {
      const names = [found!.winner, ...found!.losers].map(keyOf).sort();
      this.reports.get(loser)!.analysis("IST0109", `The VirtualServices ${names.join(",")} associated with mesh gateway define the same host ${host} which can lead to undefined behavior. This can be fixed by merging the conflicting VirtualServices into a single resource. The oldest is in force.`);
    }
    const rules = found && this.#rulesOf(found.winner, port.port, client);
    if (rules?.length) {
      const { winner } = found!;
      return { route: { ...this.#routeId("VirtualService", keyOf(winner), target, port, client), type: "http", createdAt: ageOf(winner), rules }, of: winner };
    }
    const destinationRules = this.#catalogue.destinationRulesFor(target, client);
    const [of] = destinationRules?.objects ?? [];
    return of && { route: { ...this.#routeId("DestinationRule", destinationRules!.id, target, port, client), type: "http", createdAt: ageOf(of), rules: [this.#direct(target, port, destinationRules)] }, of };
  }

  /** Everything goes where it would go without a route: for what a policy alone says. */
  #direct(target: Target, port: Port, rules: DestinationRules | undefined): HttpRule {
    return { name: "default", matches: [{ path: { type: "prefix", value: "/" }, priority: -1 }], filters: [], backends: [{ upstream: this.#upstream(target, port, undefined, rules), weight: 1 }], retry: usualRetry };
  }

  /** What a Sidecar hides from its namespace is called as if there were no mesh, where there is one for others, or not at all. */
  #behind({ object, isClosed }: SidecarScope, target: Target, port: Port, client: string, isRouted: boolean): Compiled | undefined {
    if (!isClosed && !isRouted) return undefined;
    const base = { ...this.#routeId("Sidecar", keyOf(object), target, port, client), type: "http" as const, createdAt: ageOf(object) };
    if (isClosed) return { route: { ...base, rules: [{ name: "hidden", matches: [{ path: { type: "prefix", value: "/" } }], filters: [{ type: "respond", status: 502 }], backends: [] }] }, of: object };
    return { route: { ...base, rules: [this.#direct(target, port, undefined)] }, of: object };
  }

  /** The first that fits goes: so the first has the highest priority. */
  #rulesOf(virtualService: VirtualService, port: number, client: string | undefined): HttpRule[] {
    const written = this.#written(virtualService);
    const rules: HttpRule[] = [];
    let covering: string | undefined;
    for (const [index, { route, by, at }] of written.entries()) {
      const report = this.reports.get(by)!;
      const namespace = by.metadata.namespace!;
      if (covering !== undefined) {
        report.analysis("IST0130", `VirtualService rule ${route.name ?? `#${index}`} not used (${covering}).`);
        continue;
      }
      if (by !== virtualService) report.place(`routes of VirtualService ${keyOf(virtualService)}`);
      const context: RuleContext = {
        port,
        report,
        clients: (labels, of) => this.#podsWith(labels, of),
        resolve: (destination, place) => this.#resolve(destination, namespace, port, client, report, place),
      };
      try {
        for (const rule of compileHttpRoute(route, route.name ?? String(index), at, context)) {
          const made = { ...rule, matches: rule.matches.map((match) => ({ ...match, priority: written.length - index })) };
          const wrong = this.#check(made);
          if (wrong) report.field(at, `the route is not served: ${wrong.message}`);
          const served = wrong ? { ...made, filters: [], backends: [unserved(wrong.message)] } : made;
          if (served === made || !this.#check(served)) rules.push(served);
          if (rule.matches.some(isMatchAll)) covering = `route ${route.name ?? `#${index}`} matches everything`;
        }
      } catch (error) {
        if (!(error instanceof PolicyError)) throw error;
        report.field(at, `the route is not served: ${error.message}`);
      }
    }
    return rules;
  }

  /** What is wrong with a rule; what was judged the last time is not judged again. */
  #check(rule: HttpRule): PolicyError | undefined {
    const text = JSON.stringify(rule);
    const known = this.#judged.get(text) ?? { wrong: checkRule(rule) };
    this.judged.set(text, known);
    return known.wrong;
  }

  #written(virtualService: VirtualService): WrittenRoute[] {
    return writtenRoutes(virtualService, (key) => this.#catalogue.virtualService(key));
  }

  #resolve(destination: Destination, from: string, dialled: number, client: string | undefined, report: Report, at: string): Resolved {
    const no = (code: "IST0101" | "IST0112", message: string) => {
      report.analysis(code, `${at}: ${message}`);
      return { error: { status: 503, reason: message } };
    };
    const host = fullName(destination.host, from);
    const target = this.#target(host, client);
    if (!target) return no("IST0101", `Referenced host not found: ${JSON.stringify(destination.host)}${this.#hint(destination.host)}`);
    const { ports } = target;
    const wanted = destination.port?.number ?? (ports.length === 1 ? ports[0]!.port : dialled);
    const port = ports.find((candidate) => candidate.port === wanted);
    if (!port) {
      if (destination.port?.number !== undefined) return no("IST0101", `Referenced host:port not found: "${destination.host}:${wanted}"`);
      return no("IST0112", `This VirtualService routes to a service ${JSON.stringify(destination.host)} that exposes multiple ports ${ports.map((other) => other.port).join(",")}. Specifying a port in the destination is required to disambiguate.`);
    }
    const rules = this.#catalogue.destinationRulesFor(target, client);
    if (destination.subset && !rules?.subsets.some(({ subset }) => subset.name === destination.subset)) return no("IST0101", `Referenced host+subset in destinationrule not found: "${destination.host}+${destination.subset}"`);
    return { upstream: this.#upstream(target, port, destination.subset || undefined, rules) };
  }

  /** For those who write "web.shop". */
  #hint(host: string): string {
    const [name, namespace, ...rest] = host.split(".");
    return rest.length === 0 && namespace !== undefined && this.#world.service(`${namespace}/${name}`) ? `; a name with a dot is a whole one: ${serviceHost(namespace, name!)}` : "";
  }

  /** A Service goes before a ServiceEntry of the same host. */
  #target(host: string, client: string | undefined): Target | undefined {
    const key = serviceOfHost(host);
    const service = key === undefined ? undefined : this.#world.service(key);
    if (service && service.spec?.type !== "ExternalName") return serviceTarget(service);
    const entry = this.#catalogue.serviceEntryFor(host, client);
    return entry && entryTarget(entry, host);
  }

  /** Makes it, and returns its id. */
  #upstream(target: Target, port: Port, subsetName: string | undefined, rules: DestinationRules | undefined): string {
    const { namespace, name, host, entry } = target;
    const id = `istio:${entry ? `ServiceEntry/${namespace}/${host}` : `${namespace}/${name}`}/${port.port}/${subsetName ?? ""}@${rules?.id ?? ""}`;
    if (this.upstreams.has(id)) return id;
    const chosen = rules?.subsets.find(({ subset }) => subset.name === subsetName);
    const labels = chosen?.subset.labels ?? {};
    const base: Upstream = { id, namespace, service: name, port: port.port, protocol: protocolOf(port), ...this.#endpoints(target, port, labels) };
    this.upstreams.set(id, base);
    if (!rules) return id;
    const policies = policiesOf(rules, chosen);
    const of = chosen?.of ?? rules.objects[0]!;
    const report = this.reports.get(of)!;
    for (const object of rules.objects) this.reports.get(object)!.place(`port ${port.port} of ${entry ? host : `Service ${namespace}/${name}`}`);
    const merged = mergePolicies(policies, port.port);
    tellOpaque(merged, target, port, report);
    for (const { policy, at } of policies) for (const field of ["tunnel", "proxyProtocol"] as const) if (policy[field]) report.field(`${at}.${field}`, "endpoints are spoken to directly");
    this.upstreams.set(id, { ...base, ...settingsOf(merged, { protocol: base.protocol, host, secret: (secret) => this.#secret(`${of.metadata.namespace}/${secret}`), report }) });
    return id;
  }

  #endpoints({ entry, host, namespace }: Target, port: Port, labels: Record<string, string>): Pick<Upstream, "addresses" | "endpoints"> {
    if (!entry) return Object.keys(labels).length > 0 ? { addresses: this.#podsWith(labels, namespace) } : {};
    if (entry.spec.workloadSelector) this.#podsRead.add(namespace);
    const report = this.reports.get(entry)!;
    const { endpoints, unknown, wrong } = endpointsOf(this.#world, this.#pods, entry, host, port.port, labels);
    if (wrong) report.field("resolution", wrong);
    if (unknown.length > 0) report.field("endpoints", `${unknown.join(", ")}: no address is known`);
    report.place(`routes to port ${port.port} of ${host}`);
    return { endpoints };
  }

  #secret(key: string): { certificate: string | undefined; key: string | undefined; authorities: string | undefined } | undefined {
    const secret = this.#world.secret(key);
    const file = (name: string): string | undefined => (secret?.data?.[name] === undefined ? undefined : Buffer.from(secret.data[name], "base64").toString("utf8"));
    return secret && { certificate: file("tls.crt") ?? file("cert"), key: file("tls.key") ?? file("key"), authorities: file("ca.crt") ?? file("cacert") };
  }

  #podsWith(labels: Record<string, string>, namespace: string | undefined): string[] {
    this.#podsRead.add(namespace ?? "");
    return this.#pods.addresses(labels, namespace);
  }

  #servicesNamed(host: string, namespace: string): Service[] {
    const name = fullName(host, namespace);
    if (name.startsWith("*")) return this.#world.services().filter(({ metadata }) => name === "*" || serviceHost(metadata.namespace!, metadata.name).endsWith(name.slice(1)));
    const service = this.#world.service(serviceOfHost(name) ?? "");
    return service ? [service] : [];
  }
  #isKnown(host: string, namespace: string): boolean {
    return this.#servicesNamed(host, namespace).length > 0 || this.#catalogue.serviceEntryFor(fullName(host, namespace), namespace) !== undefined;
  }

  /** What is wrong with it wherever it is in force, and nowhere. */
  #tellVirtualService(object: VirtualService): void {
    const report = this.reports.get(object)!;
    const { spec, metadata } = object;
    const gateways = (spec.gateways ?? []).filter((name) => name !== "mesh");
    if (gateways.length > 0) report.field("gateways", `${gateways.join(", ")}: Gateways of networking.istio.io are not served; write an HTTPRoute for a Gateway of gateway.networking.k8s.io`);
    if (!isForMesh(object)) return;
    for (const host of spec.hosts ?? []) {
      const services = this.#servicesNamed(host, metadata.namespace!);
      if (services.length === 0) report.field("hosts", this.#isKnown(host, metadata.namespace!) ? `${host}: what pods call beyond the cluster goes there directly; give them a Service whose routes lead to it` : `${host}: no Service has this name${this.#hint(host)}`);
      for (const service of services) {
        const key = keyOf(service);
        if (service.spec?.clusterIP === "None") report.field("hosts", `${host}: Service ${key} is headless: its pods are called directly`);
        else if (service.spec?.type === "ExternalName") report.field("hosts", `${host}: Service ${key} is of type ExternalName: nothing of ours is called by its name`);
        else if (spec.http?.length && portsOf(service).every(({ appProtocol }) => declaredBy(appProtocol) === "opaque")) report.field("hosts", `${host}: no port of Service ${key} is HTTP`);
        else if (spec.tls?.length && !portsOf(service).some(({ appProtocol }) => isOwnTls(appProtocol))) report.field("tls", `${host}: no port of Service ${key} says that it is https or tls`);
        else if (spec.tcp?.length && portsOf(service).every(({ appProtocol }) => declaredBy(appProtocol) === "http" || isOwnTls(appProtocol))) report.field("tcp", `${host}: every port of Service ${key} says that it is HTTP or TLS`);
      }
    }
  }
}

/** Of the whole rule, then of a subset. */
function policiesOf({ policy }: DestinationRules, chosen: DestinationRules["subsets"][number] | undefined): PolicyAt[] {
  return [...(policy ? [{ policy, at: "trafficPolicy" }] : []), ...(chosen?.subset.trafficPolicy ? [{ policy: chosen.subset.trafficPolicy, at: `subsets[${chosen.index}].trafficPolicy` }] : [])];
}

function* destinationsOf({ route = [], mirror, mirrors = [] }: HttpRouteEntry): Generator<Destination> {
  for (const { destination } of [...route, ...mirrors]) if (destination) yield destination;
  if (mirror) yield mirror;
}

const ageOf = ({ metadata }: KubeObject): number => Math.floor(Date.parse(metadata.creationTimestamp) / 1000);
