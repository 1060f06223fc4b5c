import type { KubeObject } from "../../api/meta.ts";
import type { Pod, Volume } from "../../api/types.ts";
import { type LabelSelector, selectorMatches } from "../../api/validation/selector.ts";
import { pem, pemBlocks } from "../../base/der.ts";

export interface ClusterTrustBundle extends KubeObject {
  spec: { signerName?: string; trustBundle: string };
}
export type TrustBundleProjection = NonNullable<NonNullable<NonNullable<Volume["projected"]>["sources"]>[number]["clusterTrustBundle"]>;

/** Each root once, in the order of their bytes. Throws in kubelet's words. Source: k8s.io/kubernetes/pkg/kubelet/clustertrustbundle. */
export function trustAnchors({ name, signerName, labelSelector, optional = false }: TrustBundleProjection, bundles: readonly ClusterTrustBundle[]): string {
  if (name === undefined && signerName === undefined) throw new Error("ClusterTrustBundle projection requires either name or signerName to be set");
  // No selector selects nothing, an empty one everything.
  const chosen = bundles.filter(({ metadata, spec }) => (name === undefined ? spec.signerName === signerName && labelSelector !== undefined && selectorMatches(labelSelector as LabelSelector, metadata.labels) : metadata.name === name));
  if (chosen.length === 0 && !optional) throw new Error(name === undefined ? "combination of signerName and labelSelector matched zero ClusterTrustBundles" : `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io ${JSON.stringify(name)} not found`);
  const roots = new Set(chosen.flatMap(({ spec }) => pemBlocks(spec.trustBundle).map(({ bytes }) => pem("CERTIFICATE", bytes))));
  return [...roots].sort().join("");
}

/** Whether a change of any bundle may concern the pod. */
export const projectsTrustBundles = (pod: Pod): boolean => pod.spec?.volumes?.some(({ projected }) => projected?.sources?.some(({ clusterTrustBundle }) => clusterTrustBundle)) ?? false;
