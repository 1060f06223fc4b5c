import type { EdgeListener, Route, TrafficPatch, TrafficSnapshot, Upstream } from "../../api/traffic.ts";
import { policyKinds } from "../../api/envoy/kinds.ts";
import { withKeySets } from "../../policy/key-sets.ts";
import { PolicyBook } from "../policies/book.ts";
import type { Place } from "../policies/attach.ts";
import { type PolicyStatus, PolicyStatuses } from "../policies/statuses.ts";
import { apiOfName as apiOf, stageOf } from "../product/stage-route.ts";
import { Index, Published } from "../published.ts";
import { attach, type Attachment, gatewayOfParent } from "./attach.ts";
import type { ResolvedBackend } from "./backends.ts";
import { classConditions } from "./gateway-class.ts";
import { type AddressBook, type CompiledGateway, compileGateway } from "./gateways.ts";
import { type AnyRouteObject, type Condition, controllerName, gatewayGroup, type HttpRouteRule, type ParentReference, type RouteKind, routeKinds, type RouteStatus } from "./kinds.ts";
import { filesNamed, servicesNamed } from "./named.ts";
import { isRouteFilter, names } from "./route-filter.ts";
import { listenerStatus } from "./listeners.ts";
import { type CompiledRoute, compileRoute, compileServiceRoute } from "./routes.ts";
import { attachToService, type ServiceAttachment, serviceOfParent } from "./services.ts";
import { compileUpstream, isForMany, policyConditions, policyNotes } from "./upstreams.ts";
import { gatewayOfSet, type World } from "./world.ts";

/** A status that an object should have; conditions without generation and times. `kind` and `key` say whose; `notes` are for Events. */
export type WantedStatus =
  | { kind: "GatewayClass"; key: string; conditions: Condition[] }
  | { kind: "Gateway"; key: string; notes: string[]; conditions: Condition[]; addresses: { type: string; value: string }[]; listeners: ReturnType<typeof listenerStatus>[]; attachedListenerSets: number }
  | { kind: "ListenerSet"; key: string; conditions: Condition[]; listeners: ReturnType<typeof listenerStatus>[] }
  | { kind: RouteKind; key: string; parents: RouteStatus["parents"] }
  | PolicyStatus
  | { kind: "BackendTLSPolicy"; key: string; notes: string[]; ancestors: { ancestorRef: ParentReference; controllerName: string; conditions: Condition[] }[] };

interface TranslatedRoute {
  kind: RouteKind;
  key: string;
  attachments: Attachment[];
  compiled: CompiledRoute;
  /** The same for parents that are Services: another route to the engine, since nothing must be granted there. */
  onServices: { attachments: ServiceAttachment[]; compiled: CompiledRoute } | undefined;
  /** Gateways that its parents mean, and Services that it names, there or not: what makes it be looked at again. */
  gateways: string[];
  services: string[];
}

/**
 * Gateway API objects → what the engine serves and what the objects' statuses say. Pure but for its memory: after any
 * sequence of changes it holds what a fresh one would make of the same world, at the cost of what the changes touch.
 *
 *   changed(kind, key)  …  flush() ─▶ { patch, statuses }
 */
export class Translator {
  readonly #world: World;
  readonly #addresses: AddressBook;
  readonly #gateways = new Map<string, CompiledGateway>();
  readonly #routes = new Map<string, TranslatedRoute>();
  /** Gateways by the Secrets and ConfigMaps that they and their sets name. */
  readonly #gatewaysOfFile = new Index();
  readonly #filesOf = new Map<string, string[]>();
  readonly #routesOfGateway = new Index();
  readonly #routesOfService = new Index();
  /** By the Services that are their parents. */
  readonly #routesOnService = new Index();
  readonly #parentServices = new Map<string, string[]>();
  readonly #listeners = new Published<EdgeListener>();
  readonly #published = new Published<Route>();
  readonly #book: PolicyBook;
  readonly #policyStatuses: PolicyStatuses;
  readonly #upstreams = new Published<Upstream>();
  readonly #dirty = { classes: new Set<string>(), gateways: new Set<string>(), routes: new Set<string>(), upstreams: new Set<string>(), policies: new Set<string>(), all: false };
  /** Routes of stages by what these name, "KIND/NAMESPACE/NAME", there or not. */
  readonly #stagesNaming = new Map<string, Set<string>>();
  /** Gateways whose counts of routes are to be told anew. */
  readonly #recount = new Set<string>();
  #revision = 0;

  constructor(world: World, addresses: AddressBook) {
    this.#world = world;
    this.#addresses = addresses;
    this.#book = new PolicyBook(world);
    this.#policyStatuses = new PolicyStatuses(this.#book);
  }

  /** Something is there, is otherwise, or is gone: the world already shows it. */
  changed(kind: string, key: string): void {
    const dirty = this.#dirty;
    if (isAboutPolicies(kind) || kind === "ReferenceGrant") this.#book.changed(kind);
    else this.#book.namedChanged(kind, key);
    if ((policyKinds as readonly string[]).includes(kind)) return this.#policyStatuses.changed(kind, key);
    if ((routeKinds as readonly string[]).includes(kind)) return void dirty.routes.add(`${kind}/${key}`);
    for (const route of this.#stagesNaming.get(`${kind}/${key}`) ?? []) dirty.routes.add(route);
    switch (kind) {
      case "GatewayClass":
        dirty.classes.add(key);
        for (const gateway of this.#world.gateways()) if (gateway.spec.gatewayClassName === key) dirty.gateways.add(`${gateway.metadata.namespace}/${gateway.metadata.name}`);
        for (const gateway of this.#gateways.keys()) dirty.gateways.add(gateway);
        return;
      case "Gateway":
        return void dirty.gateways.add(key);
      case "ListenerSet": {
        const set = this.#world.listenerSet(key);
        if (set) dirty.gateways.add(gatewayOfSet(set));
        for (const gateway of this.#gateways.values()) if (gateway.sets.some(({ set: old }) => `${old.metadata.namespace}/${old.metadata.name}` === key)) dirty.gateways.add(gateway.key);
        return;
      }
      case "Service":
        for (const route of this.#routesOfService.get(key)) dirty.routes.add(route);
        for (const route of this.#routesOnService.get(key)) dirty.routes.add(route);
        for (const policy of this.#world.policiesOf(key)) dirty.policies.add(`${policy.metadata.namespace}/${policy.metadata.name}`);
        return;
      case "BackendTLSPolicy":
        dirty.policies.add(key);
        for (const { id } of this.#upstreams.values()) dirty.upstreams.add(id);
        for (const other of this.#world.policies()) dirty.policies.add(`${other.metadata.namespace}/${other.metadata.name}`);
        return;
      case "HTTPRouteFilter":
        return this.#routeFilterChanged(key);
      case "Secret":
      case "ConfigMap":
        for (const filter of this.#world.routeFilters()) if (names(filter, kind, key)) this.#routeFilterChanged(`${filter.metadata.namespace}/${filter.metadata.name}`);
        for (const gateway of this.#gatewaysOfFile.get(`${kind}/${key}`)) dirty.gateways.add(gateway);
        for (const policy of this.#world.policies()) {
          if (policy.metadata.namespace !== key.slice(0, key.indexOf("/"))) continue;
          dirty.policies.add(`${policy.metadata.namespace}/${policy.metadata.name}`);
          for (const { id } of this.#upstreams.values()) dirty.upstreams.add(id);
        }
        return;
      case "API":
      case "ControllerRevision":
        for (const route of this.#world.routes("HTTPRoute")) if (stageOf(route)?.api === (kind === "API" ? key : apiOf(key))) dirty.routes.add(`HTTPRoute/${route.metadata.namespace}/${route.metadata.name}`);
        return;
      // Sockets were bound, or could not be.
      case "Binding":
        for (const gateway of this.#gateways.keys()) dirty.gateways.add(gateway);
        return;
      // Labels and grants decide about anything.
      case "Namespace":
      case "ReferenceGrant":
        dirty.all = true;
        return;
    }
  }

  /** Routes that name it are few, as it is: they are found by asking all of its namespace. */
  #routeFilterChanged(key: string): void {
    const [namespace, name] = key.split("/");
    for (const kind of ["HTTPRoute", "GRPCRoute"] as const) {
      for (const route of this.#world.routes(kind)) {
        if (route.metadata.namespace !== namespace) continue;
        const rules = (route.spec.rules ?? []) as HttpRouteRule[];
        const filters = rules.flatMap((rule) => [...(rule.filters ?? []), ...(rule.backendRefs ?? []).flatMap((backend) => backend.filters ?? [])]);
        if (filters.some(({ extensionRef }) => extensionRef && isRouteFilter(extensionRef) && extensionRef.name === name)) this.#dirty.routes.add(`${kind}/${namespace}/${route.metadata.name}`);
      }
    }
  }

  /** What the engine serves now, whole: for a worker that has just started. */
  snapshot(): TrafficSnapshot {
    return { revision: this.#revision, listeners: this.#listeners.values(), routes: this.#published.values(), upstreams: this.#upstreams.values() };
  }

  /** Works off what changed. Without `patch` nothing changed for the engine. */
  flush(): { patch: TrafficPatch | undefined; statuses: WantedStatus[] } {
    const dirty = this.#dirty;
    if (dirty.all) {
      for (const gateway of [...this.#gateways.keys(), ...this.#world.gateways().map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)]) dirty.gateways.add(gateway);
      for (const route of this.#routes.keys()) dirty.routes.add(route);
    }
    const statuses: WantedStatus[] = [];
    for (const name of dirty.classes) statuses.push(...this.#classStatus(name));
    const places = this.#book.refresh();
    for (const place of places) if (place.startsWith("Gateway/")) dirty.gateways.add(place.split("#")[0]!.slice("Gateway/".length));
    const gateways = [...dirty.gateways];
    for (const key of gateways) this.#translateGateway(key);
    for (const place of places) for (const id of this.#routesAt(place)) dirty.routes.add(id);
    const changed = [...dirty.routes];
    for (const id of changed) this.#lookAtParents(id);
    for (const id of dirty.routes) statuses.push(...this.#translateRoute(id));
    for (const id of dirty.upstreams) this.#upstream(id);
    for (const key of new Set([...gateways, ...this.#recount])) statuses.push(...this.#gatewayStatus(key));
    for (const key of dirty.policies) statuses.push(...this.#policyStatus(key));
    if (places.length > 0 || gateways.length > 0) this.#policyStatuses.isDue = true;
    statuses.push(...this.#attachedStatuses());
    dirty.all = false;
    for (const set of [dirty.classes, dirty.gateways, dirty.routes, dirty.upstreams, dirty.policies, this.#recount]) set.clear();
    return { patch: this.#patch(), statuses };
  }

  #translateGateway(key: string): void {
    const gateway = this.#world.gateway(key);
    const compiled = gateway && compileGateway(this.#world, gateway, this.#addresses);
    if (compiled) compiled.listeners = compiled.listeners.map((listener) => this.#book.atListener(listener));
    const before = this.#gateways.get(key);
    if (compiled) this.#gateways.set(key, compiled);
    else this.#gateways.delete(key);
    const files = gateway && compiled ? filesNamed(gateway, compiled) : [];
    this.#gatewaysOfFile.move(key, this.#filesOf.get(key) ?? [], files);
    this.#filesOf.set(key, files);
    const now = new Set<string>();
    for (const { edge } of compiled?.listeners ?? []) {
      if (!edge) continue;
      now.add(edge.id);
      this.#listeners.put(edge.id, edge);
    }
    for (const { id } of before?.listeners ?? []) if (!now.has(id)) this.#listeners.remove(id);
    if (this.#dirty.all || shapeOf(before) !== shapeOf(compiled)) for (const route of this.#routesOfGateway.get(key)) this.#dirty.routes.add(route);
    if (before && before.isDefault !== (compiled?.isDefault ?? false)) {
      for (const kind of routeKinds) for (const { metadata, spec } of this.#world.routes(kind)) if (spec.useDefaultGateways === "All") this.#dirty.routes.add(`${kind}/${metadata.namespace}/${metadata.name}`);
    }
    // Routes that were there before their Gateway are found by asking all: Gateways come rarely.
    if (!before && compiled) {
      for (const kind of routeKinds) {
        for (const route of this.#world.routes(kind)) {
          const id = `${kind}/${route.metadata.namespace}/${route.metadata.name}`;
          if (!this.#routes.has(id) || (compiled.isDefault && route.spec.useDefaultGateways === "All")) this.#dirty.routes.add(id);
        }
      }
    }
  }

  /** Routes of other kinds on a Service decide about each other. */
  #lookAtParents(id: string): void {
    const object = this.#object(id);
    const before = this.#parentServices.get(id) ?? [];
    const next = [...new Set((object?.spec.parentRefs ?? []).flatMap((parent) => serviceOfParent(object!, parent) ?? []))];
    this.#routesOnService.move(id, before, next);
    if (next.length > 0) this.#parentServices.set(id, next);
    else this.#parentServices.delete(id);
    for (const service of [...before, ...next]) for (const other of this.#routesOnService.get(service)) this.#dirty.routes.add(other);
  }
  #object(id: string): AnyRouteObject | undefined {
    const { kind, key } = readRouteId(id);
    return this.#world.route(kind, key);
  }

  #translateRoute(id: string): WantedStatus[] {
    const { kind, key } = readRouteId(id);
    const object = this.#object(id);
    const before = this.#routes.get(id);
    const setOwner = (set: string): string | undefined => {
      const found = this.#world.listenerSet(set);
      return found && gatewayOfSet(found);
    };
    const parents = (object?.spec.parentRefs ?? []).map((parent) => ({ parent, gateway: gatewayOfParent(object!, parent, setOwner) }));
    if (object?.spec.useDefaultGateways === "All") parents.push(...this.#defaultParents(new Set(parents.map(({ gateway }) => gateway))));
    const gateways = [...new Set(parents.flatMap(({ gateway }) => gateway ?? []))];
    this.#routesOfGateway.move(id, before?.gateways ?? [], object ? gateways : []);
    this.#policiesOf(before?.services ?? []);
    if (!object) {
      this.#routesOfService.move(id, before?.services ?? [], []);
      this.#routes.delete(id);
      this.#policyStatuses.isDue = true;
      this.#publish(before, []);
      for (const gateway of before?.gateways ?? []) this.#recount.add(gateway);
      this.#releaseUpstreams(before, undefined);
      return [];
    }
    const attachments = parents.flatMap(({ parent, gateway }) => {
      const compiled = gateway === undefined ? undefined : this.#gateways.get(gateway);
      return compiled ? [attach(kind, object, parent, compiled)] : [];
    });
    const compiled = compileRoute(this.#world, kind, object, attachments, this.#book, (what) => {
      const naming = this.#stagesNaming.get(what) ?? new Set();
      this.#stagesNaming.set(what, naming.add(id));
    });
    const onServices = this.#onServices(kind, object);
    // Those that its policies ask besides: for keys, for whether a request may pass.
    const services = [...new Set([...servicesNamed(object), ...compiled.upstreams.flatMap((upstream) => (upstream.namespace === "" ? [] : `${upstream.namespace}/${upstream.service}`))])];
    this.#routesOfService.move(id, before?.services ?? [], services);
    this.#policiesOf(services);
    const next: TranslatedRoute = { kind, key, attachments, compiled, onServices, gateways, services };
    this.#routes.set(id, next);
    // Counting means looking at every route of a Gateway: only for one that went elsewhere.
    if (parentsOf(before) !== parentsOf(next)) this.#policyStatuses.isDue = true;
    if (placesOf(before) !== placesOf(next)) for (const gateway of [...(before?.gateways ?? []), ...gateways]) this.#recount.add(gateway);
    this.#publish(before, servedOf(next));
    this.#releaseUpstreams(before, next);
    for (const { id: upstream } of upstreamsNamed(next)) this.#dirty.upstreams.add(upstream);
    return [{ kind, key, parents: [...parentStatuses(attachments, compiled), ...(onServices ? parentStatuses(onServices.attachments, onServices.compiled) : [])] }];
  }

  #publish(before: TranslatedRoute | undefined, routes: readonly Route[]): void {
    const kept = new Set(routes.map(({ id }) => id));
    for (const { id } of before ? servedOf(before) : []) if (!kept.has(id)) this.#published.remove(id);
    for (const route of routes) this.#published.put(route.id, route.type === "http" ? withKeySets(route) : route);
  }

  /** Whose requests a place's policies are about. */
  #routesAt(place: Place): string[] {
    const [target, section] = place.split("#") as [string, string | undefined];
    if (!target.startsWith("Gateway/")) return this.#routes.has(target) ? [target] : [];
    const gateway = target.slice("Gateway/".length);
    const routes = [...this.#routesOfGateway.get(gateway)];
    if (section === undefined) return routes;
    return routes.filter((id) => this.#routes.get(id)?.attachments.some((attachment) => attachment.gateway === gateway && attachment.listeners.some(({ listener }) => listener.name === section && listener.owner.kind === "Gateway")) ?? true);
  }
  /** Of Envoy Gateway's policies. */
  #attachedStatuses(): WantedStatus[] {
    return this.#policyStatuses.take({
      attachmentsOf: (route) => this.#routes.get(route)?.attachments.map(({ parentRef, gateway, listeners }) => ({ parentRef, gateway, listeners: listeners.map(({ listener: { name, owner } }) => ({ name, position: owner.kind === "Gateway" ? name : "" })) })) ?? [],
      isOurs: (gateway) => this.#gateways.has(gateway),
      unusable: (policies) => [...this.#unusable.values()].flatMap((one) => (one.policies === policies ? one.why : [])),
    });
  }

  #onServices(kind: RouteKind, object: AnyRouteObject): TranslatedRoute["onServices"] {
    const attachments = (object.spec.parentRefs ?? []).flatMap((parent) => {
      const service = serviceOfParent(object, parent);
      if (service === undefined) return [];
      const rivals = [...this.#routesOnService.get(service)].flatMap((id) => {
        const rival = this.#object(id);
        return rival ? [{ kind: readRouteId(id).kind, object: rival }] : [];
      });
      return [attachToService(this.#world, kind, object, parent, rivals)];
    });
    return attachments.length === 0 ? undefined : { attachments, compiled: compileServiceRoute(this.#world, kind, object, attachments) };
  }

  /** Gateways that take routes that name none; whoever is named as well is told of once. */
  #defaultParents(named: ReadonlySet<string | undefined>): { parent: ParentReference; gateway: string }[] {
    const keys = [...this.#gateways.values()].filter(({ isDefault, key }) => isDefault && !named.has(key)).map(({ key }) => key);
    return keys.sort().map((gateway) => {
      const [namespace, name] = gateway.split("/") as [string, string];
      return { parent: { group: gatewayGroup, kind: "Gateway", namespace, name }, gateway };
    });
  }

  /** Which routes lead to each Service port: the last one gone takes it along. */
  readonly #users = new Map<string, Map<string, NonNullable<ResolvedBackend["upstream"]>>>();

  #releaseUpstreams(before: TranslatedRoute | undefined, next: TranslatedRoute | undefined): void {
    const id = `${(next ?? before)?.kind}/${(next ?? before)?.key}`;
    const used = next ? upstreamsNamed(next, true) : [];
    const kept = new Set(used.map((upstream) => upstream.id));
    for (const upstream of used) {
      let users = this.#users.get(upstream.id);
      if (!users) this.#users.set(upstream.id, (users = new Map()));
      users.set(id, upstream);
    }
    for (const upstream of before ? upstreamsNamed(before) : []) {
      if (kept.has(upstream.id)) continue;
      const users = this.#users.get(upstream.id);
      users?.delete(id);
      if (users?.size === 0) this.#users.delete(upstream.id);
      this.#dirty.upstreams.add(upstream.id);
    }
  }

  /** Policies name the Gateways from which their Services are called, there or not. */
  #policiesOf(services: readonly string[]): void {
    for (const service of services) for (const { metadata } of this.#world.policiesOf(service)) this.#dirty.policies.add(`${metadata.namespace}/${metadata.name}`);
  }

  /** What of Service ports cannot be done as their policies say, by these: the ports. */
  readonly #unusable = new Map<string, { policies: string; why: string }>();
  #judged(id: string, unusable: { policies: string; why: string } | undefined): void {
    if (this.#unusable.get(id)?.why === unusable?.why) return;
    if (unusable) this.#unusable.set(id, unusable);
    else this.#unusable.delete(id);
    this.#policyStatuses.isDue = true;
  }

  #upstream(id: string): void {
    const users = this.#users.get(id);
    if (!users) {
      this.#judged(id, undefined);
      return this.#upstreams.remove(id);
    }
    const [user] = users.values();
    // Thousands of routes may lead to one Service port, and Gateways with a certificate for it are rare.
    let isGrpc = false;
    for (const route of users.keys()) isGrpc ||= route.startsWith("GRPCRoute/");
    const withCertificate = [...this.#gateways.values()].some(({ backendCertificate }) => backendCertificate) ? users.keys() : [];
    let certificate: CompiledGateway["backendCertificate"];
    for (const route of withCertificate) certificate ??= this.#routes.get(route)!.gateways.map((gateway) => this.#gateways.get(gateway)?.backendCertificate).find(Boolean);
    const compiled = compileUpstream(this.#world, user!, isGrpc, certificate);
    this.#judged(id, isForMany(compiled) && user!.policies !== undefined ? { policies: user!.policies, why: `proxyProtocol is not honoured of Service ${user!.namespace}/${user!.service} port ${user!.port}, which speaks HTTP/2: requests for it are answered with 500` } : undefined);
    this.#upstreams.put(id, compiled);
  }

  #classStatus(name: string): WantedStatus[] {
    const found = this.#world.gatewayClass(name);
    const conditions = found && classConditions(found);
    return conditions ? [{ kind: "GatewayClass", key: name, conditions }] : [];
  }

  #gatewayStatus(key: string): WantedStatus[] {
    const gateway = this.#gateways.get(key);
    if (!gateway) return [];
    const counts = new Map<string, number>();
    for (const id of this.#routesOfGateway.get(key)) {
      const listeners = new Set(this.#routes.get(id)!.attachments.filter((attachment) => attachment.gateway === key).flatMap(({ listeners }) => listeners.map(({ listener }) => listener.id)));
      for (const listener of listeners) counts.set(listener, (counts.get(listener) ?? 0) + 1);
    }
    const told = (listeners: CompiledGateway["listeners"]) => listeners.map((listener) => listenerStatus(listener, counts.get(listener.id) ?? 0));
    return [
      {
        kind: "Gateway",
        key,
        notes: gateway.notes,
        conditions: gateway.conditions,
        addresses: gateway.address === undefined ? [] : [{ type: "IPAddress", value: gateway.address }],
        listeners: told(gateway.listeners.filter(({ owner }) => owner.kind === "Gateway")),
        attachedListenerSets: gateway.attachedListenerSets,
      },
      ...gateway.sets.map(({ set, conditions, listeners }): WantedStatus => ({ kind: "ListenerSet", key: `${set.metadata.namespace}/${set.metadata.name}`, conditions, listeners: told(listeners) })),
    ];
  }

  #policyStatus(key: string): WantedStatus[] {
    const policy = this.#world.policies().find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === key);
    if (!policy) return [];
    const conditions = policyConditions(this.#world, policy);
    const gateways = new Set<string>();
    for (const { group, kind, name } of policy.spec.targetRefs) {
      if (group !== "" || kind !== "Service") continue;
      for (const id of this.#routesOfService.get(`${policy.metadata.namespace}/${name}`)) for (const { gateway } of this.#routes.get(id)!.attachments) gateways.add(gateway);
    }
    const ancestors = [...gateways].sort().map((gateway) => {
      const [namespace, name] = gateway.split("/") as [string, string];
      return { ancestorRef: { group: "gateway.networking.k8s.io", kind: "Gateway", namespace, name }, controllerName, conditions };
    });
    return [{ kind: "BackendTLSPolicy", key, notes: policyNotes(policy), ancestors }];
  }

  #patch(): TrafficPatch | undefined {
    const [listeners, routes, upstreams] = [this.#listeners.take(), this.#published.take(), this.#upstreams.take()];
    if (!listeners && !routes && !upstreams) return undefined;
    return {
      revision: ++this.#revision,
      put: { ...(listeners?.put.length && { listeners: listeners.put }), ...(routes?.put.length && { routes: routes.put }), ...(upstreams?.put.length && { upstreams: upstreams.put }) },
      remove: { ...(listeners?.remove.length && { listeners: listeners.remove }), ...(routes?.remove.length && { routes: routes.remove }), ...(upstreams?.remove.length && { upstreams: upstreams.remove }) },
    };
  }
}

/** `served`: only where the route is. */
function upstreamsNamed({ compiled, onServices }: TranslatedRoute, served = false): NonNullable<ResolvedBackend["upstream"]>[] {
  const all = [compiled, onServices?.compiled].flatMap((one) => (one && (one.routes.length > 0 || !served) ? one.upstreams : []));
  return [...new Map(all.map((upstream) => [upstream.id, upstream])).values()];
}

/** What the engine gets of it. */
const servedOf = ({ compiled, onServices }: TranslatedRoute): Route[] => [...compiled.routes, ...(onServices?.compiled.routes ?? [])];

/** Policies themselves, and what they may be attached to or be selected by. */
const isAboutPolicies = (kind: string): boolean => (policyKinds as readonly string[]).includes(kind) || kind === "Gateway" || kind === "HTTPRoute" || kind === "GRPCRoute" || kind === "Namespace" || kind === "API" || kind === "ControllerRevision";

/** "KIND/NAMESPACE/NAME". */
function readRouteId(id: string): { kind: RouteKind; key: string } {
  const kind = id.slice(0, id.indexOf("/")) as RouteKind;
  return { kind, key: id.slice(kind.length + 1) };
}

/** The listeners that count a route. */
const placesOf = (route: TranslatedRoute | undefined): string => JSON.stringify(route?.attachments.map(({ gateway, listeners }) => [gateway, listeners.map(({ listener }) => listener.id)]));

/** Whom its policies are told to. */
const parentsOf = (route: TranslatedRoute | undefined): string => JSON.stringify(route?.attachments.map(({ parentRef, gateway, listeners }) => [parentRef, gateway, listeners.map(({ listener }) => listener.id)]));

/** One entry for each parent of ours, also those that have nothing to attach to. */
function parentStatuses(attachments: readonly Pick<Attachment, "parentRef" | "accepted">[], { resolvedRefs, refused, partiallyInvalid }: CompiledRoute): RouteStatus["parents"] {
  return attachments.map(({ parentRef, accepted }) => ({
    parentRef,
    controllerName,
    conditions: [accepted.status === "True" ? (refused ?? accepted) : accepted, resolvedRefs, ...(partiallyInvalid && accepted.status === "True" ? [partiallyInvalid] : [])],
  }));
}

/** What of a Gateway decides about its routes: a renewed certificate touches none of them. */
function shapeOf(gateway: CompiledGateway | undefined): string {
  return JSON.stringify([gateway?.backendCertificate, gateway?.listeners.map((listener) => ({ ...listener, conditions: undefined, edge: listener.edge !== undefined }))]);
}
