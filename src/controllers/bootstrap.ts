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

interface First {
  resource: GroupVersionResource;
  object: object;
  fieldManager?: string;
}
const namespaces = ["default", "kube-system", "kube-public", "kube-node-lease", systemNamespace];

/** What every cluster has from its first moment. Created when missing; never changed back, for they are the user's to change. */
const objects: First[] = [
  // As their controller makes them for every namespace: a pod may be created with the first request that is answered.
  ...namespaces.map((name) => ({ resource: resources.serviceAccounts, object: { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: name } }, fieldManager: "kube-controller-manager" })),
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
  {
    resource: resources.ingressClasses,
    object: {
      apiVersion: "networking.k8s.io/v1",
      kind: "IngressClass",
      metadata: { name: "nginx", annotations: { "ingressclass.kubernetes.io/is-default-class": "true" } },
      spec: { controller: "k8s.io/ingress-nginx" },
    },
  },
  ...vpaDefinitions,
  ...snapshotDefinitions,
];

/** Resolves when all of it is durable; again: when it has been looked for. */
export async function bootstrap(client: Client): Promise<void> {
  const create = async ({ resource, object, fieldManager = "kube-apiserver" }: First): Promise<void> => {
    const { name, namespace } = (object as KubeObject).metadata;
    const isThere = await client.get(resource, namespace, name).then(() => true, (error: unknown) => !(error instanceof StatusError && error.reason === "NotFound"));
    if (isThere) return;
    await client.create<KubeObject>(resource, namespace, object, { fieldManager }).catch((error: unknown) => {
      if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
    });
  };
  // At once, so that they share a commit; what lives in a namespace after it.
  await Promise.all(namespaces.map(namespace).map(create));
  await Promise.all(objects.map(create));
}
