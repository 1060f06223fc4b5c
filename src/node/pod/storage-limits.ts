import { podResources, type PodResourcesSpec } from "../../api/pod-resources.ts";
import { canonicalQuantity, formatQuantity, quantityValue } from "../../api/quantity.ts";
import type { Container, Pod } from "../../api/types.ts";

const resource = "ephemeral-storage";

/** Bytes by name. */
export interface StorageUsage {
  /** Of volumes that are emptyDirs. */
  volumes: ReadonlyMap<string, number>;
  /** Writable layer and logs of containers. */
  containers: ReadonlyMap<string, number>;
}

const limitOf = (container: Container): string | undefined => {
  const limit = container.resources?.limits?.[resource];
  return limit === undefined ? undefined : canonicalQuantity(String(limit));
};
const isOnDisk = ({ emptyDir }: NonNullable<NonNullable<Pod["spec"]>["volumes"]>[number]): boolean => emptyDir !== undefined && emptyDir.medium !== "Memory";
const all = (pod: Pod): Container[] => [...(pod.spec!.initContainers ?? []), ...pod.spec!.containers];

/** Whether anything bounds what a pod writes: then, and only then, is it measured. */
export const hasStorageLimits = (pod: Pod): boolean => (pod.spec!.volumes ?? []).some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined) || all(pod).some((container) => limitOf(container) !== undefined);

/**
 * Why a pod is evicted for what it wrote, in kubelet's words; undefined while it keeps its limits. Pure.
 * Source: k8s.io/kubernetes/pkg/kubelet/eviction/eviction_manager.go.
 */
export function overStorageLimit(pod: Pod, usage: StorageUsage): string | undefined {
  for (const { name, emptyDir } of pod.spec!.volumes ?? []) {
    if (emptyDir?.sizeLimit === undefined) continue;
    const limit = canonicalQuantity(String(emptyDir.sizeLimit));
    // Zero is no limit, as for kubelet.
    if (quantityValue(limit) > 0 && (usage.volumes.get(name) ?? 0) > quantityValue(limit)) return `Usage of EmptyDir volume ${JSON.stringify(name)} exceeds the limit ${JSON.stringify(limit)}. `;
  }
  const total = podResources(pod.spec as PodResourcesSpec, "limits")[resource];
  if (total) {
    let used = 0;
    for (const bytes of usage.containers.values()) used += bytes;
    for (const volume of pod.spec!.volumes ?? []) if (isOnDisk(volume)) used += usage.volumes.get(volume.name) ?? 0;
    if (used > quantityValue(total)) return `Pod ephemeral local storage usage exceeds the total limit of containers ${formatQuantity(total)}. `;
  }
  for (const container of all(pod)) {
    const limit = limitOf(container);
    if (limit !== undefined && quantityValue(limit) > 0 && (usage.containers.get(container.name) ?? 0) > quantityValue(limit)) return `Container ${container.name} exceeded its local ephemeral storage limit ${JSON.stringify(limit)}. `;
  }
  return undefined;
}
