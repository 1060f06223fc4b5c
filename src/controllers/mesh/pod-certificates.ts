import { createPublicKey } from "node:crypto";
import type { Client } from "../../api/client.ts";
import { type PodCertificateRequest, type PodCertificateRequestStatus, provesPossession } from "../../api/kinds/certificates/pod-certificate-request.ts";
import { type GroupVersionResource, type KubeObject, timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import { type Pod } from "../../api/types.ts";
import { backdatedSeconds, identitySecondsMost, type MeshAuthority, spiffeId } from "../../api/x509/mesh-authority.ts";
import { type Controller, controller } from "../runner.ts";
import { meshSigner } from "./names.ts";

type Decision = { type: "Issued"; reason: string; message: string; status: PodCertificateRequestStatus } | { type: "Denied" | "Failed"; reason: string; message: string };

/** Who a request says it is for, as the API has it now. Undefined: there is none. */
export interface Claimed {
  pod: Pod | undefined;
  account: KubeObject | undefined;
  node: KubeObject | undefined;
}

const leastSeconds = 3600;

/** Issued, denied for good, or failed for good; throws what may pass. Everything is looked at anew: whoever wrote the request may have lied. */
export function decide({ metadata, spec }: PodCertificateRequest, { pod, account, node }: Claimed, authority: MeshAuthority): Decision {
  const deny = (reason: string, message: string): Decision => ({ type: "Denied", reason, message });
  const named = `${metadata.namespace}/${spec.podName}`;
  if (!pod || pod.metadata.uid !== spec.podUID) return deny("PodNotFound", `there is no pod ${named} with uid ${spec.podUID}`);
  if (pod.spec?.nodeName !== spec.nodeName || node?.metadata.uid !== spec.nodeUID) return deny("NodeMismatch", `pod ${named} does not run on a node ${spec.nodeName} with uid ${spec.nodeUID}`);
  if (pod.spec.serviceAccountName !== spec.serviceAccountName || account?.metadata.uid !== spec.serviceAccountUID) return deny("ServiceAccountMismatch", `pod ${named} does not run as a service account ${spec.serviceAccountName} with uid ${spec.serviceAccountUID}`);
  const keys = Object.keys(spec.unverifiedUserAnnotations ?? {});
  if (keys.length > 0) return deny("InvalidUnverifiedUserAnnotations", `${meshSigner} knows no user annotations: ${keys.sort().join(", ")}`);
  const publicKey = createPublicKey({ key: Buffer.from(spec.pkixPublicKey, "base64"), format: "der", type: "spki" });
  if (!provesPossession(publicKey, spec.podUID, Buffer.from(spec.proofOfPossession, "base64"))) return deny("NoProofOfPossession", "the proof of possession is no signature of the pod's uid by the key");

  const id = spiffeId(metadata.namespace!, spec.serviceAccountName);
  const { chainPem, notBefore, notAfter } = authority.issue({ spiffeId: id, publicKey, lifetimeSeconds: Math.min(spec.maxExpirationSeconds, identitySecondsMost) - backdatedSeconds });
  const lifeMs = notAfter.getTime() - notBefore.getTime();
  if (lifeMs < leastSeconds * 1000) return { type: "Failed", reason: "AuthorityEnding", message: `the mesh's certificate authority ends at ${timestamp(notAfter.getTime())}: too soon for a certificate` };
  return { type: "Issued", reason: "Issued", message: `issued to ${id}`, status: { certificateChain: chainPem, notBefore: timestamp(notBefore.getTime()), notAfter: timestamp(notAfter.getTime()), beginRefreshAt: timestamp(notBefore.getTime() + lifeMs / 2) } };
}

const isDecided = ({ status }: PodCertificateRequest): boolean => (status?.conditions ?? []).length > 0;

/** Decides the requests for the mesh's signer, once each; those for others are left to who watches for them. */
export function podCertificateSigner(authority: () => MeshAuthority, client: Client): Controller {
  const find = <T>(resource: GroupVersionResource, namespace: string | undefined, name: string): Promise<T | undefined> =>
    client.get<T>(resource, namespace, name).catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
  return controller<PodCertificateRequest>({
    name: "mesh-pod-certificate-signer",
    for: resources.podCertificateRequests,
    plan({ object, nowMs }) {
      const { metadata, spec } = object;
      if (spec.signerName !== meshSigner || metadata.deletionTimestamp || isDecided(object)) return { actions: [] };
      const run = async (): Promise<void> => {
        // From the API, not from caches: none of them knows how far the others are.
        const { namespace } = metadata;
        const [pod, account, node] = await Promise.all([find<Pod>(resources.pods, namespace, spec.podName), find<KubeObject>(resources.serviceAccounts, namespace, spec.serviceAccountName), find<KubeObject>(resources.nodes, undefined, spec.nodeName)]);
        const { type, reason, message, ...decision } = decide(object, { pod, account, node }, authority());
        const condition = { type, status: "True", reason, message, lastTransitionTime: timestamp(nowMs) };
        await client.update(resources.podCertificateRequests, namespace, metadata.name, { ...object, status: { ...("status" in decision && decision.status), conditions: [condition] } }, { subresource: "status", fieldManager: "kube-controller-manager" });
      };
      return { actions: [{ do: "call", run }] };
    },
  });
}

const keptMs = 15 * 60_000;

/** Requests go a quarter of an hour after they were made, decided or not: who asked has heard by then, or asks again. Source: k8s.io/kubernetes/pkg/controller/certificates/cleaner/pcrcleaner.go. */
export const podCertificateCleaner: Controller = controller<PodCertificateRequest & { metadata: { uid: string; resourceVersion: string; creationTimestamp: string } }>({
  name: "podcertificaterequestcleaner",
  for: resources.podCertificateRequests,
  plan({ object, nowMs }) {
    if (object.metadata.deletionTimestamp) return { actions: [] };
    const leftMs = Date.parse(object.metadata.creationTimestamp) + keptMs - nowMs;
    return leftMs > 0 ? { actions: [], requeueAfterMs: leftMs } : { actions: [{ do: "delete", resource: resources.podCertificateRequests, object }] };
  },
});
