import { byAge } from "../gateway/gateways.ts";
import { exportedTo, fit, fullName, isVisible } from "./hosts.ts";
import { type DestinationRule, rootNamespace, type ServiceEntry, type Sidecar, type Subset, type TrafficPolicy, type VirtualService } from "../../api/istio/kinds.ts";
import type { Target } from "./targets.ts";
import type { World } from "./world.ts";

interface Placed<T> {
  object: T;
  /** Whole names and patterns. */
  hosts: string[];
  exported: "all" | ReadonlySet<string>;
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

/** Who decides about what: by host, namespace and age. Made anew when an object changes. */
export class Catalogue {
  readonly #virtualServices: Placed<VirtualService>[];
  readonly #destinationRules: Placed<DestinationRule>[];
  readonly #serviceEntries: Placed<ServiceEntry>[];
  /** By namespace. */
  readonly #sidecars = new Map<string, SidecarScope>();

  constructor(world: World) {
    const sorted = <T extends VirtualService | DestinationRule | ServiceEntry | Sidecar>(objects: T[]) => objects.toSorted(byAge);
    this.#virtualServices = sorted(world.virtualServices()).map((object) => ({ object, hosts: isForMesh(object) ? (object.spec.hosts ?? []).map((host) => fullName(host, object.metadata.namespace!)) : [], exported: exportedTo(object) }));
    this.#destinationRules = sorted(world.destinationRules()).map((object) => ({ object, hosts: object.spec.workloadSelector ? [] : [fullName(object.spec.host, object.metadata.namespace!)], exported: exportedTo(object) }));
    this.#serviceEntries = sorted(world.serviceEntries()).map((object) => ({ object, hosts: object.spec.hosts.map((host) => host.toLowerCase()), exported: exportedTo(object) }));
    for (const object of sorted(world.sidecars())) {
      const { namespace } = object.metadata;
      if (namespace !== rootNamespace && !object.spec.workloadSelector && !this.#sidecars.has(namespace!)) this.#sidecars.set(namespace!, scopeOf(object));
    }
  }

  sidecarNamespaces(): Iterable<string> {
    return this.#sidecars.keys();
  }
  sidecarOf(namespace: string): SidecarScope | undefined {
    return this.#sidecars.get(namespace);
  }

  /** The best of those that the client may see; then the oldest. */
  serviceEntryFor(host: string, client: string | undefined): ServiceEntry | undefined {
    const ranked = this.#serviceEntries.filter(({ exported }) => isVisible(exported, client)).map(({ object, hosts }) => ({ object, rank: Math.max(0, ...hosts.map((pattern) => fit(pattern, host))) }));
    return ranked.filter(({ rank }) => rank > 0).toSorted((a, b) => b.rank - a.rank)[0]?.object;
  }

  /** Namespaces whose clients may be treated otherwise than the rest, when they call this host. */
  clientsOf(host: string): Set<string> {
    const named = new Set<string>();
    for (const { hosts, exported, object } of [...this.#virtualServices, ...this.#destinationRules]) {
      if (!hosts.some((pattern) => fit(pattern, host) > 0)) continue;
      if (exported !== "all") for (const namespace of exported) named.add(namespace);
      else if (object.kind === "DestinationRule" && object.metadata.namespace !== rootNamespace) named.add(object.metadata.namespace!);
    }
    return named;
  }

  /** The one that holds, and those that are passed over for it. */
  virtualServiceFor(host: string, client: string | undefined): { winner: VirtualService; losers: VirtualService[] } | undefined {
    const fitting = this.#virtualServices
      .filter(({ exported }) => isVisible(exported, client))
      .map((placed) => ({ placed, rank: Math.max(0, ...placed.hosts.map((pattern) => fit(pattern, host))) }))
      .filter(({ rank }) => rank > 0);
    if (fitting.length === 0) return undefined;
    // What is for some clients alone goes before what is for all; then the older.
    const best = fitting.toSorted((a, b) => b.rank - a.rank || Number(a.placed.exported === "all") - Number(b.placed.exported === "all"));
    const [first] = best;
    const isRival = ({ placed, rank }: (typeof best)[number]) => rank === first!.rank && (placed.exported === "all") === (first!.placed.exported === "all");
    return { winner: first!.placed.object, losers: best.slice(1).filter(isRival).map(({ placed }) => placed.object) };
  }

  /** Those of the clients' own namespace go first, then the Service's, then the mesh's. */
  destinationRulesFor({ host, namespace }: Pick<Target, "host" | "namespace">, client: string | undefined): DestinationRules | undefined {
    for (const place of new Set([client === rootNamespace ? namespace : client, namespace, rootNamespace])) {
      const here = this.#destinationRules.filter(({ object, exported }) => object.metadata.namespace === place && (place === client || isVisible(exported, client)));
      const ranked = here.map((placed) => ({ placed, rank: Math.max(0, ...placed.hosts.map((pattern) => fit(pattern, host))) })).filter(({ rank }) => rank > 0);
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
