import { resources } from "../../api/resources.ts";
import type { ConfigMap, Namespace, ServiceAccount } from "../../api/types.ts";
import type { Action } from "../action.ts";
import { type Controller, controller } from "../runner.ts";

const isActive = (namespace: Namespace): boolean => !namespace.metadata.deletionTimestamp;

/** Every namespace has a ServiceAccount `default`. Source: k8s.io/kubernetes/pkg/controller/serviceaccount. */
export const serviceAccountController = controller<Namespace>({
  name: "service-account-controller",
  for: resources.namespaces,
  watches: [{ resource: resources.serviceAccounts, keys: ({ metadata }: ServiceAccount) => (metadata.name === "default" ? [metadata.namespace!] : []) }],
  plan: ({ key, object, cache }) => {
    if (!isActive(object) || cache.get(resources.serviceAccounts, `${key}/default`)) return { actions: [] };
    return { actions: [{ do: "create", resource: resources.serviceAccounts, object: { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: key } } }] };
  },
});

export const rootCaName = "kube-root-ca.crt";

/** Every namespace has the API's root certificate for its pods. Source: k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher. */
export function rootCaController(rootCa: string): Controller {
  return controller<Namespace>({
    name: "root-ca-certificate-publisher-controller",
    for: resources.namespaces,
    watches: [{ resource: resources.configMaps, keys: ({ metadata }: ConfigMap) => (metadata.name === rootCaName ? [metadata.namespace!] : []) }],
    plan: ({ key, object, cache }) => {
      if (!isActive(object)) return { actions: [] };
      const existing = cache.get<ConfigMap>(resources.configMaps, `${key}/${rootCaName}`);
      const data = { "ca.crt": rootCa };
      if (existing?.data?.["ca.crt"] === rootCa && Object.keys(existing.data).length === 1) return { actions: [] };
      const annotations = { "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters." };
      const action: Action = existing
        ? { do: "update", resource: resources.configMaps, object: { ...existing, data } as ConfigMap }
        : { do: "create", resource: resources.configMaps, object: { apiVersion: "v1", kind: "ConfigMap", metadata: { name: rootCaName, namespace: key, annotations }, data } };
      return { actions: [action] };
    },
  });
}
