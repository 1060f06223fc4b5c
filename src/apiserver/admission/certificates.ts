import { parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import type { KubeObject } from "../../api/meta.ts";
import { forbidden } from "../../api/field.ts";
import { timestamp } from "../../api/meta.ts";
import { forbiddenError, invalidError } from "../../api/status.ts";
import { semanticEqual } from "../../api/validation/checks.ts";
import type { ApiOptions } from "../api.ts";
import { Rbac } from "../authz/rbac.ts";
import type { AdmissionStep, Identity } from "../rest/context.ts";

interface Condition {
  type: string;
  status: string;
  lastUpdateTime?: string | null;
  lastTransitionTime?: string | null;
}

/**
 * Of certificate requests: who asks is written by the server, nobody asks for system:masters, and who approves or
 * signs must be allowed to for that signer. Source: k8s.io/kubernetes/plugin/pkg/admission/certificates.
 */
export function certificateRequests({ store, clock }: Pick<ApiOptions, "store" | "clock">): AdmissionStep {
  return {
    name: "CertificateRequests",
    mutate({ operation, kind, object, old, user, subresource }) {
      if (!object || kind.resource !== "certificatesigningrequests" || kind.group !== "certificates.k8s.io") return;
      if (operation === "CREATE") {
        const { username: _, uid: __, groups: ___, extra: ____, ...spec } = (object["spec"] ?? {}) as Record<string, unknown>;
        object["spec"] = { ...spec, username: user.name, ...(user.uid && { uid: user.uid }), groups: [...user.groups], ...(user.extra && { extra: user.extra }) };
      } else if (operation === "UPDATE" && subresource !== undefined) stamp(object, old!, subresource === "status", timestamp(clock.now()));
    },
    validate({ operation, kind, object, old, user, subresource, name }) {
      if (kind.resource !== "certificatesigningrequests" || kind.group !== "certificates.k8s.io" || !object) return;
      const refuse = (why: string) => forbiddenError(kind, name ?? object.metadata.name, why);
      if (operation === "CREATE") {
        const { signerName, request } = object["spec"] as { signerName: string; request: string };
        if (signerName === "kubernetes.io/kube-apiserver-client" && parseRequest(Buffer.from(request, "base64").toString("latin1")).organizations.includes("system:masters")) throw refuse(`use of ${signerName} signer with system:masters group is not allowed`);
        return;
      }
      if (operation !== "UPDATE" || !old) return;
      const { signerName } = old["spec"] as { signerName: string };
      const status = (of: KubeObject) => (of["status"] ?? {}) as { certificate?: string; conditions?: object[] };
      const may = (verb: string) => user.groups.includes("system:masters") || mayUseSigner(new Rbac(store), user, verb, signerName);
      if (subresource === "approval" && !may("approve")) throw refuse(`user not permitted to approve requests with signerName ${JSON.stringify(signerName)}`);
      const isSame = status(object).certificate === status(old).certificate && semanticEqual(status(object).conditions, status(old).conditions);
      if (subresource === "status" && !isSame && !may("sign")) throw refuse(`user not permitted to sign requests with signerName ${JSON.stringify(signerName)}`);
    },
  };
}

/**
 * Of PodCertificateRequests: who decides must be allowed to sign for that signer. Of ClusterTrustBundles: who
 * writes one of a signer must be allowed to attest for it. Source: k8s.io/kubernetes/pkg/registry/certificates/podcertificaterequest
 * and plugin/pkg/admission/certificates/ctbattest.
 */
export function podCertificates({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  const may = (user: Identity, verb: string, signer: string): boolean => user.groups.includes("system:masters") || mayUseSigner(new Rbac(store), user, verb, signer);
  return {
    name: "ClusterTrustBundleAttest",
    validate({ operation, kind, object, old, user, subresource, name }) {
      if (kind.group !== "certificates.k8s.io" || !object || operation === "DELETE") return;
      if (kind.resource === "clustertrustbundles") {
        const signer = (object["spec"] as { signerName?: string } | undefined)?.signerName ?? "";
        if (signer === "" || (old && semanticEqual(withoutOwnership(object), withoutOwnership(old)))) return;
        if (!may(user, "attest", signer)) throw forbiddenError(kind, name ?? object.metadata.name, `user not permitted to attest for signerName ${JSON.stringify(signer)}`);
      } else if (kind.resource === "podcertificaterequests" && subresource === "status" && old) {
        const { signerName } = old["spec"] as { signerName: string };
        if (!semanticEqual(object["status"] ?? {}, old["status"] ?? {}) && !may(user, "sign", signerName)) throw invalidError(kind, object.metadata.name, [forbidden("spec.signerName", `User ${JSON.stringify(user.name)} is not permitted to "sign" for signer ${JSON.stringify(signerName)}`)]);
      }
    },
  };
}

/** What a garbage collector changes, and what every write does, left out. */
const withoutOwnership = (object: KubeObject): object => ({ ...object, metadata: { ...object.metadata, ownerReferences: undefined, finalizers: undefined, managedFields: undefined, resourceVersion: undefined } });

/** By the signer's whole name, or by its domain: "example.com/*". */
function mayUseSigner(rbac: Rbac, user: Identity, verb: string, signer: string): boolean {
  return [signer, `${signer.split("/")[0]}/*`].some((name) => rbac.authorize(user, { verb, group: "certificates.k8s.io", resource: "signers", name }).allowed);
}

/** When a condition came and last changed, unless the writer said so. Who signs leaves what others decided as it was. */
function stamp(object: KubeObject, old: KubeObject, keepsDecisions: boolean, now: string): void {
  const status = object["status"] as { conditions?: Condition[] } | undefined;
  if (!status?.conditions) return;
  const before = (old["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? [];
  const decided = (entry: Condition): Condition | undefined => (keepsDecisions && ["Approved", "Denied"].includes(entry.type) ? before.find(({ type }) => type === entry.type) : undefined);
  status.conditions = status.conditions.map((entry) => decided(entry) ?? ({
    ...entry,
    lastUpdateTime: entry.lastUpdateTime ?? now,
    lastTransitionTime: entry.lastTransitionTime ?? before.find(({ type, status }) => type === entry.type && status === entry.status)?.lastTransitionTime ?? now,
  }));
}
