import { createHash } from "node:crypto";
import { apiVersionOf } from "../api/meta.ts";
import type { Kind } from "../api/kind.ts";
import type { KindRegistry } from "../api/registry.ts";
import { type ForeignGroups, foreignVersion, type Group, withForeign } from "./aggregation/discovery.ts";

/**
 * What is served, in the three forms that clients ask for: legacy lists per group and version, and the aggregated
 * documents v2 and v2beta1. Made once a registry generation.
 * Source: k8s.io/apiserver/pkg/endpoints/discovery.
 */
export interface DiscoveryDocument {
  body: Buffer;
  contentType: string;
  etag: string;
}

export class Discovery {
  readonly #registry: KindRegistry;
  readonly #foreign: ForeignGroups | undefined;
  readonly #cache = new Map<string, { generation: string; document: DiscoveryDocument }>();

  constructor(registry: KindRegistry, foreign?: ForeignGroups) {
    this.#registry = registry;
    this.#foreign = foreign;
  }

  /** `/api` (group "") and `/apis`, aggregated. */
  aggregated(core: boolean, version: string): DiscoveryDocument {
    return this.#once(`${core ? "/api" : "/apis"} ${version}`, `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`, () => ({
      kind: "APIGroupDiscoveryList",
      apiVersion: `apidiscovery.k8s.io/${version}`,
      metadata: {},
      items: this.#groups()
        .filter(({ group }) => (group === "") === core)
        .map(({ group, versions }) => ({
          metadata: { name: group, creationTimestamp: null },
          versions: versions.map(({ version: name, kinds, foreign }) => (foreign ? foreignVersion(foreign) : { version: name, resources: kinds.map(aggregatedResource), freshness: "Current" })),
        })),
    }));
  }
  /** `GET /api` */
  legacyCore(serverAddress: string): DiscoveryDocument {
    return this.#once(`/api ${serverAddress}`, "application/json", () => ({ kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress }] }));
  }
  /** `GET /apis` */
  legacyGroups(): DiscoveryDocument {
    return this.#once("/apis", "application/json", () => ({ kind: "APIGroupList", apiVersion: "v1", groups: this.#groups().filter(({ group }) => group !== "").map(groupDocument) }));
  }
  /** `GET /apis/GROUP` */
  legacyGroup(name: string): DiscoveryDocument | undefined {
    const found = this.#groups().find(({ group }) => group === name && group !== "");
    return found && this.#once(`/apis/${name}`, "application/json", () => ({ kind: "APIGroup", apiVersion: "v1", ...groupDocument(found) }));
  }
  /** `GET /api/v1`, `GET /apis/GROUP/VERSION` */
  legacyResources(group: string, version: string): DiscoveryDocument | undefined {
    const kinds = this.#groups().find((found) => found.group === group)?.versions.find((found) => found.version === version)?.kinds;
    return kinds && this.#once(`${group}/${version}`, "application/json", () => ({ kind: "APIResourceList", apiVersion: "v1", groupVersion: apiVersionOf(group, version), resources: kinds.flatMap(legacyResource) }));
  }

  #groups(): Group[] {
    const groups = new Map<string, Map<string, Kind[]>>();
    for (const kind of this.#registry.all()) {
      const versions = groups.get(kind.group) ?? new Map<string, Kind[]>();
      groups.set(kind.group, versions.set(kind.version, [...(versions.get(kind.version) ?? []), kind]));
    }
    const own = [...groups].map(([group, versions]) => ({ group, versions: [...versions].map(([version, kinds]) => ({ version, kinds })).sort((a, b) => byPriority(a.version, b.version)) }));
    const foreign = this.#foreign?.list() ?? [];
    return foreign.length === 0 ? own : withForeign(own, foreign);
  }

  #once(name: string, contentType: string, make: () => object): DiscoveryDocument {
    const kept = this.#cache.get(name);
    const generation = `${this.#registry.generation} ${this.#foreign?.generation ?? 0}`;
    if (kept?.generation === generation) return kept.document;
    const body = Buffer.from(JSON.stringify(make()));
    const document = { body, contentType, etag: `"${createHash("sha512").update(body).digest("hex").toUpperCase().slice(0, 64)}"` };
    this.#cache.set(name, { generation, document });
    return document;
  }
}

/** v2 before v1 before v1beta1: stable first, higher first. Source: k8s.io/apimachinery/pkg/version. */
export function byPriority(a: string, b: string): number {
  const parse = (text: string) => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(text);
    return match ? [match[2] === undefined ? 2 : match[2] === "beta" ? 1 : 0, Number(match[1]), Number(match[3] ?? 0)] : [-1, 0, 0];
  };
  const [left, right] = [parse(a), parse(b)];
  for (let index = 0; index < 3; index++) if (left[index] !== right[index]) return right[index]! - left[index]!;
  return a < b ? -1 : 1;
}

function groupDocument({ group, versions }: { group: string; versions: { version: string }[] }): object {
  const entries = versions.map(({ version }) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: entries, preferredVersion: entries[0] };
}

const scopeOf = (kind: Kind) => (kind.scope === "Namespaced" ? "Namespaced" : "Cluster");

function aggregatedResource(kind: Kind): object {
  return {
    resource: kind.resource,
    responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
    scope: scopeOf(kind),
    singularResource: kind.singular,
    verbs: kind.verbs,
    ...(kind.shortNames.length > 0 && { shortNames: kind.shortNames }),
    ...(kind.categories.length > 0 && { categories: kind.categories }),
    ...(kind.subresources.length > 0 && {
      subresources: kind.subresources.map((sub) => ({ subresource: sub.name, responseKind: { group: sub.group ?? kind.group, version: sub.version ?? kind.version, kind: sub.kind }, verbs: sub.verbs })),
    }),
  };
}

/** Same for all that is stored alike: who migrates what is stored compares it. Source: k8s.io/apiserver/pkg/endpoints/discovery/storageversionhash.go. */
function storageVersionHash(kind: Kind): string {
  const { group, version } = kind.storedAs ?? { group: kind.group, version: kind.custom?.storageVersion ?? kind.version };
  return createHash("sha256").update(`${group}/${version}/${kind.kind}`).digest().subarray(0, 8).toString("base64");
}

function legacyResource(kind: Kind): object[] {
  const namespaced = kind.scope === "Namespaced";
  return [
    { name: kind.resource, singularName: kind.singular, namespaced, kind: kind.kind, verbs: kind.verbs, ...(kind.shortNames.length > 0 && { shortNames: kind.shortNames }), ...(kind.categories.length > 0 && { categories: kind.categories }), ...(kind.verbs.includes("watch") && { storageVersionHash: storageVersionHash(kind) }) },
    ...kind.subresources.map((sub) => ({ name: `${kind.resource}/${sub.name}`, singularName: "", namespaced, ...(sub.group !== undefined && { group: sub.group }), ...(sub.version !== undefined && { version: sub.version }), kind: sub.kind, verbs: sub.verbs })),
  ];
}
