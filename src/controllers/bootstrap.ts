import type { Client } from "../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import { resources, systemNamespace } from "../api/resources.ts";
import { snapshotDefinitions } from "../api/snapshot/definition.ts";
import { vpaDefinitions } from "../api/vpa/definition.ts";
import { StatusError } from "../api/status.ts";
import { driverName } from "./volume/names.ts";

const namespace = (name: string) => ({ resource: resources.namespaces, object: { apiVersion: "v1", kind: "Namespace", metadata: { name } } });
const priorityClass = (name: string, value: number, description: string) => ({
  resource: resources.priorityClasses,
  object: { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name }, value, globalDefault: false, description },
});

/** What every cluster has from its first moment. Created when missing; never changed back, for they are the user's to change. */
const objects: { resource: GroupVersionResource; object: object }[] = [
  ...["default", "kube-system", "kube-public", "kube-node-lease", systemNamespace].map(namespace),
  priorityClass("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
  priorityClass("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
  {
    resource: resources.storageClasses,
    object: {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name: "standard", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
      provisioner: driverName,
      reclaimPolicy: "Delete",
      volumeBindingMode: "WaitForFirstConsumer",
      allowVolumeExpansion: true,
    },
  },
  ...vpaDefinitions,
  ...snapshotDefinitions,
];

export async function bootstrap(client: Client): Promise<void> {
  // At once, so that they share a commit.
  await Promise.all(
    objects.map(({ resource, object }) =>
      client.create<KubeObject>(resource, undefined, object, { fieldManager: "kube-apiserver" }).catch((error: unknown) => {
        if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
      }),
    ),
  );
}
