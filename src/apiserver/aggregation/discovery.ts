import type { Kind } from "../../api/kind.ts";
import { byPriority } from "../discovery.ts";
import type { Foreign } from "./aggregator.ts";
import { priorityOf } from "./priorities.ts";

/** What discovery needs to know of other servers. `generation` moves whenever `list` would say something else. */
export interface ForeignGroups {
  readonly generation: number;
  list(): Foreign[];
}
export interface Group {
  group: string;
  versions: { version: string; kinds: Kind[]; foreign?: Foreign }[];
}

/** Our groups in their order, and each foreign one before the first that matters less. */
export function withForeign(own: Group[], foreign: readonly Foreign[]): Group[] {
  const groups = own.map(({ group, versions }) => ({ group, versions: [...versions] }));
  const weights = new Map(own.map(({ group, versions }) => [group, Math.max(...versions.map(({ version, kinds }) => priorityOf(group, version, kinds.some(({ custom }) => custom !== undefined)).groupPriorityMinimum))]));
  for (const one of foreign) {
    weights.set(one.group, Math.max(weights.get(one.group) ?? 0, one.groupPriorityMinimum));
    const version = { version: one.version, kinds: [], foreign: one };
    const found = groups.find(({ group }) => group === one.group);
    // A version that is served by others is theirs, even if it could be ours.
    if (found) found.versions = [...found.versions.filter((entry) => entry.version !== one.version), version];
    else groups.push({ group: one.group, versions: [version] });
  }
  const versionWeight = (group: string, { version, kinds, foreign: other }: Group["versions"][number]): number => other?.versionPriority ?? priorityOf(group, version, kinds.some(({ custom }) => custom !== undefined)).versionPriority;
  for (const { group, versions } of groups) if (versions.some((entry) => entry.foreign)) versions.sort((a, b) => versionWeight(group, b) - versionWeight(group, a) || byPriority(a.version, b.version));
  const isForeign = ({ versions }: Group) => versions.every((entry) => entry.foreign);
  const ordered = groups.filter((group) => !isForeign(group));
  for (const group of groups.filter(isForeign).sort((a, b) => weights.get(b.group)! - weights.get(a.group)! || (a.group < b.group ? -1 : 1))) {
    const at = ordered.findIndex((other) => weights.get(other.group)! < weights.get(group.group)!);
    ordered.splice(at < 0 ? ordered.length : at, 0, group);
  }
  return ordered;
}

/** A foreign server's list of resources as aggregated discovery says it. Stale: what was last seen of one that does not answer. */
export function foreignVersion({ group, version, available, resources }: Foreign): object {
  return {
    version,
    resources: resources
      .filter(({ name }) => !name.includes("/"))
      .map((resource) => {
        const kindOf = (of: typeof resource) => ({ group: of.group || group, version: of.version || version, kind: of.kind });
        const subresources = resources.filter(({ name }) => name.startsWith(`${resource.name}/`)).map((sub) => ({ subresource: sub.name.slice(resource.name.length + 1), responseKind: kindOf(sub), verbs: sub.verbs }));
        return {
          resource: resource.name,
          responseKind: kindOf(resource),
          scope: resource.namespaced ? "Namespaced" : "Cluster",
          singularResource: resource.singularName,
          verbs: resource.verbs,
          ...(resource.shortNames && { shortNames: resource.shortNames }),
          ...(resource.categories && { categories: resource.categories }),
          ...(subresources.length > 0 && { subresources }),
        };
      }),
    freshness: available ? "Current" : "Stale",
  };
}
