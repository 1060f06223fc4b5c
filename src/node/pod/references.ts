import type { Pod } from "../../api/types.ts";

/** Names of the objects of its namespace that a pod's volumes and environment refer to. */
export interface References {
  configmaps: ReadonlySet<string>;
  secrets: ReadonlySet<string>;
  persistentvolumeclaims: ReadonlySet<string>;
}

export function referencesOf(pod: Pod): References {
  const configmaps = new Set<string>();
  const secrets = new Set<string>();
  const claims = new Set<string>();
  const add = (set: Set<string>, name: string | undefined) => void (name && set.add(name));
  for (const volume of pod.spec!.volumes ?? []) {
    add(configmaps, volume.configMap?.name);
    add(secrets, volume.secret?.secretName);
    add(claims, volume.persistentVolumeClaim?.claimName);
    if (volume.ephemeral) claims.add(`${pod.metadata.name}-${volume.name}`);
    for (const source of volume.projected?.sources ?? []) {
      add(configmaps, source.configMap?.name);
      add(secrets, source.secret?.name);
    }
  }
  for (const container of [...(pod.spec!.initContainers ?? []), ...pod.spec!.containers]) {
    for (const { configMapRef, secretRef } of container.envFrom ?? []) {
      add(configmaps, configMapRef?.name);
      add(secrets, secretRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add(configmaps, valueFrom?.configMapKeyRef?.name);
      add(secrets, valueFrom?.secretKeyRef?.name);
    }
  }
  return { configmaps, secrets, persistentvolumeclaims: claims };
}
