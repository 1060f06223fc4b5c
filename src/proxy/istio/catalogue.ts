import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { byAge } from "../gateway/gateways.ts";
import { exportedTo, fit, fullName, isVisible } from "./hosts.ts";
import { type DestinationRule, rootNamespace, type ServiceEntry, type Sidecar, type Subset, type TrafficPolicy, type VirtualService } from "../../api/istio/kinds.ts";
import type { Target } from "./targets.ts";
import type { World } from "./world.ts";

interface Placed<T> {
  object: T;
  exported: "all" | ReadonlySet<string>;
  /** Its hosts that are patterns. */
  patterns: string[];
}

/** The rules that hold for a Service and clients of one namespace: one object, or several of one host as one. */
export interface DestinationRules {
  /** Tells it from what holds for other clients. */
  id: string;
  objects: DestinationRule[];
  policy: TrafficPolicy | undefined;
  subsets: { subset: Subset; of: DestinationRule; index: number }[];
}

/** What the pods of one namespace see of the mesh. */
export interface SidecarScope {
  object: Sidecar;
  /** What it does not see is refused; else it is called as if there were no mesh. */
  isClosed: boolean;
  sees(target: Pick<Target, "host" | "namespace">): boolean;
}

/** Objects by the hosts that they are about: a name is asked for without a look at all the others. */
class Hosts<T extends KubeObject> {
  readonly #exact = new Map<string, Placed<T>[]>();
  readonly #patterns: Placed<T>[] = [];

  put(object: T, hosts: readonly string[]): void {
    const placed: Placed<T> = { object, exported: exportedTo(object), patterns: hosts.filter((host) => host.startsWith("*")) };
    if (placed.patterns.length > 0) this.#patterns.push(placed);
    for (const host of new Set(hosts)) {
      if (host.startsWith("*")) continue;
      const known = this.#exact.get(host);
      if (known) known.push(placed);
      else this.#exact.set(host, [placed]);
    }
  }

  /** Those that are about it, the oldest first, each with how well it fits. */
  fitting(host: string): { placed: Placed<T>; rank: number }[] {
    const exact = (this.#exact.get(host) ?? []).map((placed) => ({ placed, rank: fit(host, host) }));
    const patterns = this.#patterns.map((placed) => ({ placed, rank: Math.max(...placed.patterns.map((pattern) => fit(pattern, host))) })).filter(({ placed, rank }) => rank > 0 && !exact.some((other) => other.placed === placed));
    return patterns.length === 0 ? exact : [...exact, ...patterns].toSorted((x, y) => byAge(x.placed.object, y.placed.object));
  }
}

/** Who decides about what: by host, namespace and age. Made anew when an object changes. */
export class Catalogue {
  readonly #virtualServices = new Hosts<VirtualService>();
  readonly #byKey = new Map<string, VirtualService>();
  readonly #destinationRules = new Hosts<DestinationRule>();
  readonly #serviceEntries = new Hosts<ServiceEntry>();
  /** By namespace. */
  readonly #sidecars = new Map<string, SidecarScope>();

  constructor(world: World) {
    for (const object of world.virtualServices().toSorted(byAge)) {
      this.#byKey.set(keyOf(object), object);
      this.#virtualServices.put(object, isForMesh(object) ? (object.spec.hosts ?? []).map((host) => fullName(host, object.metadata.namespace!)) : []);
    }
    for (const object of world.destinationRules().toSorted(byAge)) this.#destinationRules.put(object, object.spec.workloadSelector ? [] : [fullName(object.spec.host, object.metadata.namespace!)]);
    for (const object of world.serviceEntries().toSorted(byAge)) this.#serviceEntries.put(object, object.spec.hosts.map((host) => host.toLowerCase()));
    for (const object of world.sidecars().toSorted(byAge)) {
      const { namespace } = object.metadata;
      if (namespace !== rootNamespace && !object.spec.workloadSelector && !this.#sidecars.has(namespace!)) this.#sidecars.set(namespace!, scopeOf(object));
    }
  }

  virtualService(key: string): VirtualService | undefined {
    return this.#byKey.get(key);
  }
  sidecarNamespaces(): Iterable<string> {
    return this.#sidecars.keys();
  }
  sidecarOf(namespace: string): SidecarScope | undefined {
    return this.#sidecars.get(namespace);
  }

  /** The best of those that the client may see; then the oldest. */
  serviceEntryFor(host: string, client: string | undefined): ServiceEntry | undefined {
    return this.#serviceEntries.fitting(host).filter(({ placed }) => isVisible(placed.exported, client)).toSorted((a, b) => b.rank - a.rank)[0]?.placed.object;
  }

  /** Namespaces whose clients may be treated otherwise than the rest, when they call this host. */
  clientsOf(host: string): Set<string> {
    const named = new Set<string>();
    for (const { placed: { exported, object } } of [...this.#virtualServices.fitting(host), ...this.#destinationRules.fitting(host)]) {
      if (exported !== "all") for (const namespace of exported) named.add(namespace);
      else if (object.kind === "DestinationRule" && object.metadata.namespace !== rootNamespace) named.add(object.metadata.namespace!);
    }
    return named;
  }

  /** The one that holds, and those that are passed over for it. */
  virtualServiceFor(host: string, client: string | undefined): { winner: VirtualService; losers: VirtualService[] } | undefined {
    // What is for some clients alone goes before what is for all; then the older.
    const best = this.#virtualServices.fitting(host).filter(({ placed }) => isVisible(placed.exported, client)).toSorted((a, b) => b.rank - a.rank || Number(a.placed.exported === "all") - Number(b.placed.exported === "all"));
    const [first] = best;
    if (!first) return undefined;
    const isRival = ({ placed, rank }: (typeof best)[number]) => rank === first.rank && (placed.exported === "all") === (first.placed.exported === "all");
    return { winner: first.placed.object, losers: best.slice(1).filter(isRival).map(({ placed }) => placed.object) };
  }

  /** Those of the clients' own namespace go first, then the Service's, then the mesh's. */
  destinationRulesFor({ host, namespace }: Pick<Target, "host" | "namespace">, client: string | undefined): DestinationRules | undefined {
    const fitting = this.#destinationRules.fitting(host);
    for (const place of new Set([client === rootNamespace ? namespace : client, namespace, rootNamespace])) {
      const ranked = fitting.filter(({ placed: { object, exported } }) => object.metadata.namespace === place && (place === client || isVisible(exported, client)));
      const best = Math.max(0, ...ranked.map(({ rank }) => rank));
      const objects = ranked.filter(({ rank }) => rank === best).map(({ placed }) => placed.object);
      if (objects.length === 0) continue;
      // Several of one host are one rule: the first word counts.
      const subsets = new Map<string, DestinationRules["subsets"][number]>();
      for (const object of objects) for (const [index, subset] of (object.spec.subsets ?? []).entries()) if (!subsets.has(subset.name)) subsets.set(subset.name, { subset, of: object, index });
      return { id: `${place}/${objects[0]!.metadata.name}`, objects, policy: objects.find(({ spec }) => spec.trafficPolicy)?.spec.trafficPolicy, subsets: [...subsets.values()] };
    }
    return undefined;
  }
}

export const isForMesh = ({ spec }: VirtualService): boolean => !spec.gateways?.length || spec.gateways.includes("mesh");

/** "NAMESPACE/HOST": "." is its own namespace, "*" any, "~" none; the host is a whole name or a pattern. */
function scopeOf(object: Sidecar): SidecarScope {
  const own = object.metadata.namespace!;
  const { egress, outboundTrafficPolicy } = object.spec;
  const seen = (egress ?? []).flatMap(({ hosts = [] }) => hosts).map((text) => {
    const slash = text.indexOf("/");
    return { namespace: slash < 0 ? "*" : text.slice(0, slash), host: text.slice(slash + 1).toLowerCase() };
  });
  return {
    object,
    isClosed: outboundTrafficPolicy?.mode === "REGISTRY_ONLY",
    sees: ({ host, namespace }) => !egress?.length || seen.some((entry) => (entry.namespace === "*" || namespace === (entry.namespace === "." ? own : entry.namespace)) && fit(entry.host, host) > 0),
  };
}
