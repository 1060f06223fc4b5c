import type { Client } from "../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import type { Store } from "../store/store.ts";

/**
 * The Service `kubernetes` in `default`, by which pods reach the API, with the endpoint where it listens in the
 * pod network. It has no selector: nobody but the API server says where the API is.
 * Source: pkg/controlplane/controller/kubernetesservice.
 */
export async function publishOwnAddress(client: Client, { gatewayIP, port, serviceNetwork }: { gatewayIP: string; port: number; serviceNetwork: string }): Promise<void> {
  const labels = { component: "apiserver", provider: "kubernetes" };
  await ensure(client, resources.services, "default", {
    metadata: { name: "kubernetes", labels },
    spec: { type: "ClusterIP", clusterIP: `${serviceNetwork}0.1`, ports: [{ name: "https", protocol: "TCP", port: 443, targetPort: port }] },
  });
  await ensure(client, resources.endpoints, "default", { metadata: { name: "kubernetes", labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } }, subsets: [{ addresses: [{ ip: gatewayIP }], ports: [{ name: "https", port, protocol: "TCP" }] }] });
  await ensure(client, resources.endpointSlices, "default", {
    metadata: { name: "kubernetes", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: [gatewayIP], conditions: { ready: true } }],
    ports: [{ name: "https", port, protocol: "TCP" }],
  });
  // Tools look for the cluster's DNS under this name.
  await ensure(client, resources.services, "kube-system", {
    metadata: { name: "kube-dns", labels: { "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS" } },
    spec: { type: "ClusterIP", clusterIP: `${serviceNetwork}0.10`, ports: [{ name: "dns", protocol: "UDP", port: 53 }, { name: "dns-tcp", protocol: "TCP", port: 53 }] },
  });
}

async function ensure(client: Client, resource: GroupVersionResource, namespace: string, object: { metadata: { name: string; labels?: Record<string, string> } } & Record<string, unknown>): Promise<void> {
  const there = await client.get(resource, namespace, object.metadata.name).catch((error: unknown) => {
    if (error instanceof StatusError && error.code === 404) return undefined;
    throw error;
  });
  if (there) await client.update(resource, namespace, object.metadata.name, object, { fieldManager: "kube-apiserver" });
  else await client.create(resource, namespace, object, { fieldManager: "kube-apiserver" });
}

/**
 * A data directory that was last used in the other mode, or in plain mode beside another stack: its Services keep their place in the network, at the
 * addresses that can be reached now. Written past admission, which would refuse a changed ClusterIP.
 */
export async function moveServices(store: Store, serviceNetwork: string): Promise<void> {
  const moved = (address: string) => address.replace(/^(10\.96|127\.\d+)\./, serviceNetwork);
  for (const entry of store.range("/core/services/")) {
    const service = entry.object as unknown as KubeObject & { spec?: { clusterIP?: string; clusterIPs?: string[] } };
    const { clusterIP, clusterIPs } = service.spec ?? {};
    if (!clusterIP || moved(clusterIP) === clusterIP) continue;
    const object = { ...service, spec: { ...service.spec, clusterIP: moved(clusterIP), clusterIPs: (clusterIPs ?? []).map(moved) } };
    await store.put(entry.key, entry.revision, (revision) => {
      const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
      return { bytes: Buffer.from(JSON.stringify(stored)), object: stored };
    });
  }
}
