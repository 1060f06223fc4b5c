import { randomSuffix } from "../../base/random.ts";
import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError } from "../../api/status.ts";
import type { PodSpec } from "../../api/types.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

const mountPath = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Every pod runs as a service account (`default` unless named) and finds its token, the CA and its namespace in a
 * projected volume. Source: plugin/pkg/admission/serviceaccount.
 */
export function serviceAccount({ store, random }: Pick<ApiOptions, "store" | "random">): AdmissionStep {
  return {
    name: "ServiceAccount",
    mutate({ operation, kind, namespace, object, subresource }) {
      if (operation !== "CREATE" || subresource !== undefined || kind.group !== "" || kind.resource !== "pods" || !object?.["spec"]) return;
      const spec = object["spec"] as PodSpec;
      spec.serviceAccountName ||= spec.serviceAccount || "default";
      spec.serviceAccount = spec.serviceAccountName;
      const account = store.get(`/core/serviceaccounts/${namespace}/${spec.serviceAccountName}`)?.object as (KubeObject & { automountServiceAccountToken?: boolean; imagePullSecrets?: { name: string }[] }) | undefined;
      if (!account) throw forbiddenError(kind, object.metadata.name || object.metadata.generateName || "", `error looking up service account ${namespace}/${spec.serviceAccountName}: ${spec.serviceAccountName.includes("/") ? `invalid resource name ${JSON.stringify(spec.serviceAccountName)}: [may not contain '/']` : `serviceaccount ${JSON.stringify(spec.serviceAccountName)} not found`}`);
      if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length) spec.imagePullSecrets = [...account.imagePullSecrets];
      if ((spec.automountServiceAccountToken ?? account.automountServiceAccountToken) === false) return;
      mountToken(spec);
    },
  };

  function mountToken(spec: PodSpec): void {
    const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
    const lacking = containers.filter((container) => !container.volumeMounts?.some((mount) => mount.mountPath === mountPath));
    if (lacking.length === 0) return;
    const name = `kube-api-access-${randomSuffix(random, 5)}`;
    for (const container of lacking) container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath }];
    spec.volumes = [
      ...(spec.volumes ?? []),
      {
        name,
        projected: {
          defaultMode: 420,
          sources: [
            { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
            { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
            { downwardAPI: { items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }] } },
          ],
        },
      },
    ];
  }
}
