import type { KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Action } from "../action.ts";
import type { Controller } from "../runner.ts";
import { meshSigner, meshTrustBundle } from "./names.ts";

interface ClusterTrustBundle extends KubeObject {
  metadata: KubeObject["metadata"] & { uid: string; resourceVersion: string };
  spec: { signerName?: string; trustBundle: string };
}

/** The mesh's roots for whoever mounts them or asks for the signer's; written again when somebody changed them. */
export function trustBundleController(rootsPem: () => string): Controller {
  return {
    name: "mesh-trust-bundle-controller",
    watches: [{ resource: resources.clusterTrustBundles, keys: ({ metadata }: KubeObject) => (metadata.name === meshTrustBundle ? [meshTrustBundle] : []) }],
    plan: ({ cache }) => {
      const existing = cache.get<ClusterTrustBundle>(resources.clusterTrustBundles, meshTrustBundle);
      const spec = { signerName: meshSigner, trustBundle: rootsPem() };
      if (existing?.spec.trustBundle === spec.trustBundle || existing?.metadata.deletionTimestamp) return { actions: [] };
      const action: Action = existing
        ? { do: "update", resource: resources.clusterTrustBundles, object: { ...existing, spec } }
        : { do: "create", resource: resources.clusterTrustBundles, object: { apiVersion: "certificates.k8s.io/v1beta1", kind: "ClusterTrustBundle", metadata: { name: meshTrustBundle }, spec } };
      return { actions: [action] };
    },
  };
}
