import type { Pod } from "../api/types.ts";

/** What a pod belongs to, as people name it: its Deployment, not the ReplicaSet in between. */
export function workloadOf(pod: Pod): { key: string; name: string } {
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller);
  if (!owner) return { key: pod.metadata.uid, name: `pod/${pod.metadata.name}` };
  if (owner.kind !== "ReplicaSet" || !pod.metadata.labels?.["pod-template-hash"]) return { key: owner.uid, name: `${owner.kind.toLowerCase()}/${owner.name}` };
  const deployment = owner.name.replace(/-[^-]+$/, "");
  return { key: `${pod.metadata.namespace}/${deployment}`, name: `deployment/${deployment}` };
}
