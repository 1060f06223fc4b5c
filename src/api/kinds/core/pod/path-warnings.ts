// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

interface Place {
  path: string;
  /** 'ConfigMap "conf"'; empty where the volume has one source. */
  source: string;
}

/** Keys of one volume that are put where another one's file or folder is. Source: k8s.io/kubernetes/pkg/api/pod/warnings.go. */
export function pathWarnings(volumes: readonly Draft[]): string[] {
  return volumes.flatMap(({ name, configMap, secret, downwardAPI, projected }) => {
    const found = (what: string, places: readonly Place[]): string[] => overlaps(places).map((text) => `volume ${JSON.stringify(name)} (${what}): overlapping paths: ${text}`);
    const warnings: string[] = [];
    if (configMap) warnings.push(...found(`ConfigMap ${JSON.stringify(configMap.name ?? "")}`, placesOf(configMap.items)));
    if (secret) warnings.push(...found(`Secret ${JSON.stringify(secret.secretName ?? "")}`, placesOf(secret.items)));
    if (downwardAPI) warnings.push(...found("DownwardAPI", placesOf(downwardAPI.items)));
    if (!projected) return warnings;
    const sources: Draft[] = projected.sources ?? [];
    warnings.push(...sources.filter((source) => Object.keys(source).length === 0).map(() => `volume ${JSON.stringify(name)} (Projected) has no sources provided`));
    return [...warnings, ...found("Projected", sources.flatMap(placesOfSource))];
  });
}

const placesOf = (items: readonly { path?: string }[] | undefined, source = ""): Place[] => (items ?? []).map(({ path = "" }) => ({ path, source }));

function placesOfSource({ configMap, secret, downwardAPI, serviceAccountToken, clusterTrustBundle, podCertificate }: Draft): Place[] {
  if (configMap?.items) return placesOf(configMap.items, `ConfigMap ${JSON.stringify(configMap.name ?? "")}`);
  if (secret?.items) return placesOf(secret.items, `Secret ${JSON.stringify(secret.name ?? "")}`);
  if (downwardAPI?.items) return placesOf(downwardAPI.items, "DownwardAPI");
  if (serviceAccountToken) return [{ path: serviceAccountToken.path ?? "", source: "ServiceAccountToken" }];
  if (clusterTrustBundle) return [{ path: clusterTrustBundle.path ?? "", source: `ClusterTrustBundle ${JSON.stringify(clusterTrustBundle.name ?? clusterTrustBundle.signerName ?? "")}` }];
  const files = { certificateChainPath: "PodCertificate chain", keyPath: "PodCertificate key", credentialBundlePath: "PodCertificate credential bundle" };
  return Object.entries(files).flatMap(([field, source]) => (podCertificate?.[field] ? [{ path: podCertificate[field] as string, source }] : []));
}

function overlaps(places: readonly Place[]): string[] {
  const texts: string[] = [];
  const before: Place[] = [];
  for (const { path, source } of places) {
    const place = { path: path.replace(/\/+$/, ""), source };
    if (place.path !== "") for (const other of before) if (other.path !== "" && (`${other.path}/`.startsWith(`${place.path}/`) || `${place.path}/`.startsWith(`${other.path}/`))) texts.push(`${shown(place)} with ${shown(other)}`);
    before.push(place);
  }
  return texts;
}

const shown = ({ path, source }: Place): string => (source === "" ? JSON.stringify(path) : `${JSON.stringify(path)} (${source})`);
