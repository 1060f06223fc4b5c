import { resources } from "../../api/resources.ts";
import type { ConfigMap, Namespace } from "../../api/types.ts";
import type { Action } from "../action.ts";
import { type Controller, controller } from "../runner.ts";

export const rootCertificateName = "istio-ca-root-cert";
const file = "root-cert.pem";
/** Where Istio puts none. */
const ignoredNamespaces: ReadonlySet<string> = new Set(["kube-system", "kube-public", "kube-node-lease", "local-path-storage"]);

/** Every namespace has the mesh's roots, and has them again when somebody changed them. Source: istio.io/istio/pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go. */
export function rootCertificateController(rootsPem: () => string): Controller {
  return controller<Namespace>({
    name: "mesh-root-certificate-controller",
    for: resources.namespaces,
    watches: [{ resource: resources.configMaps, keys: ({ metadata }: ConfigMap) => (metadata.name === rootCertificateName ? [metadata.namespace!] : []) }],
    plan: ({ key, object, cache }) => {
      if (object.metadata.deletionTimestamp || ignoredNamespaces.has(key)) return { actions: [] };
      const existing = cache.get<ConfigMap>(resources.configMaps, `${key}/${rootCertificateName}`);
      const roots = rootsPem();
      if (existing?.data?.[file] === roots) return { actions: [] };
      const action: Action = existing
        ? { do: "update", resource: resources.configMaps, object: { ...existing, data: { ...existing.data, [file]: roots } } as ConfigMap }
        : { do: "create", resource: resources.configMaps, object: { apiVersion: "v1", kind: "ConfigMap", metadata: { name: rootCertificateName, namespace: key, labels: { "istio.io/config": "true" } }, data: { [file]: roots } } };
      return { actions: [action] };
    },
  });
}
