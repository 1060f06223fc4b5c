import { parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError, notFoundError, StatusError } from "../../api/status.ts";
import { semanticEqual } from "../../api/validation/checks.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../rest/context.ts";
import { Rbac } from "../authz/rbac.ts";

const nodeUser = "system:node:";
type Json = Record<string, any>;

/**
 * What somebody of the group system:nodes may do beyond what roles give him: his own Node, what runs on it, and what
 * belongs to both. Ours speaks over a socket and is no such user; who binds system:node to a certificate is held to it.
 * Source: k8s.io/kubernetes/plugin/pkg/admission/noderestriction.
 */
export function nodeRestriction({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "NodeRestriction",
    mutate(request) {
      const { user, kind, name, subresource, object, old } = request;
      if (!user.groups.includes("system:nodes") || !user.name.startsWith(nodeUser)) return;
      const node = user.name.slice(nodeUser.length);
      const refuse = (why: string): Error => forbiddenError(kind, name || (object?.metadata.name ?? ""), why);
      if (node === "") throw refuse(`could not determine node from user ${JSON.stringify(user.name)}`);
      const find = (resource: string, objectName: string): Json | undefined => store.get(`/core/${resource}/${request.namespace}/${objectName}`)?.object as Json | undefined;
      const podOf = (podName: string): Json => {
        const pod = find("pods", podName);
        if (!pod) throw notFoundError({ group: "", resource: "pod" }, podName);
        return pod;
      };
      const check = rules[`${kind.resource}.${kind.group}`];
      const why = check?.({ ...request, node, shown: JSON.stringify(node), podOf, find, nodeUid: () => (store.get(`/core/nodes/${node}`)?.object as KubeObject | undefined)?.metadata.uid, may: (audience) => new Rbac(store).authorize(user, { verb: "request-serviceaccounts-token-audience", namespace: request.namespace, group: "", resource: audience, name }).allowed, object: object as Json | undefined, old: old as Json | undefined, part: subresource ?? "" });
      if (why) throw refuse(why);
    },
  };
}

interface Question extends Omit<AdmissionRequest, "object" | "old"> {
  node: string;
  /** The node's name in quotes. */
  shown: string;
  part: string;
  object: Json | undefined;
  old: Json | undefined;
  podOf(name: string): Json;
  /** An object of the core group in the request's namespace. */
  find(resource: string, name: string): Json | undefined;
  nodeUid(): string | undefined;
  /** Whether a role lets the node ask for tokens for this audience. */
  may(audience: string): boolean;
}
/** Gives why not. */
type Rule = (question: Question) => string | undefined;

const rules: Readonly<Record<string, Rule>> = {
  "pods.": (asked) => {
    const { operation, part, node, shown, object, old } = asked;
    if (part === "eviction") return asked.podOf(asked.name || object!["metadata"].name)["spec"].nodeName === node ? undefined : `node ${node} can only evict pods with spec.nodeName set to itself`;
    if (part === "status") {
      if (old!["spec"].nodeName !== node) return `node ${shown} can only update pod status for pods with spec.nodeName set to itself`;
      if (!semanticEqual(old!["metadata"].labels ?? {}, object!["metadata"].labels ?? {})) return `node ${shown} cannot update labels through pod status`;
      if (!semanticEqual(old!["status"]?.resourceClaimStatuses ?? [], object!["status"]?.resourceClaimStatuses ?? [])) return `node ${shown} cannot update resource claim statues`;
      return undefined;
    }
    if (part !== "") return `unexpected pod subresource ${JSON.stringify(part)}, only 'status' and 'eviction' are allowed`;
    if (operation === "DELETE") return old!["spec"].nodeName === node ? undefined : `node ${shown} can only delete pods with spec.nodeName set to itself`;
    return operation === "CREATE" ? mirrorErrors(asked) : `unexpected operation "${operation}", node ${shown} can only create and delete mirror pods`;
  },
  "nodes.": ({ operation, node, shown, name, object, old }) => {
    const requested = name || object?.["metadata"].name;
    if (requested !== node) return `node ${shown} is not allowed to modify node ${JSON.stringify(requested)}`;
    if (operation === "CREATE") {
      const labels = forbiddenLabels(object!["metadata"].labels, undefined);
      return labels.length > 0 ? `node ${shown} is not allowed to set the following labels: ${labels.join(", ")}` : undefined;
    }
    if (operation !== "UPDATE") return undefined;
    if (!semanticEqual(object!["spec"]?.taints ?? [], old!["spec"]?.taints ?? [])) return `node ${shown} is not allowed to modify taints`;
    if (!semanticEqual(object!["metadata"].ownerReferences ?? [], old!["metadata"].ownerReferences ?? [])) return `node ${shown} is not allowed to modify ownerReferences`;
    const labels = forbiddenLabels(object!["metadata"].labels, old!["metadata"].labels);
    return labels.length > 0 ? `is not allowed to modify labels: ${labels.join(", ")}` : undefined;
  },
  "persistentvolumeclaims.": ({ part, shown, object, old }) => {
    if (part !== "status") return "may only update PVC status";
    const rest = ({ metadata, status, ...others }: Json): object => {
      const { resourceVersion: _, managedFields: __, ...named } = metadata;
      const { capacity: _1, conditions: _2, allocatedResources: _3, allocatedResourceStatuses: _4, ...state } = status ?? {};
      return { ...others, metadata: named, status: state };
    };
    return semanticEqual(rest(old!), rest(object!)) ? undefined : `node ${shown} is not allowed to update fields other than status.quantity and status.conditions`;
  },
  "serviceaccounts.": ({ operation, part, node, object, podOf, may }) => {
    if (operation !== "CREATE" || part !== "token") return undefined;
    const { boundObjectRef: bound, audiences } = object!["spec"] as { boundObjectRef?: Json; audiences?: string[] | null };
    if (bound?.["apiVersion"] !== "v1" || bound["kind"] !== "Pod" || !bound["name"]) return "node requested token not bound to a pod";
    if (!bound["uid"]) return "node requested token with a pod binding without a uid";
    const pod = podOf(bound["name"] as string);
    if (bound["uid"] !== pod["metadata"].uid) return `the UID in the bound object reference (${bound["uid"]}) does not match the UID in record. The object might have been deleted and then recreated`;
    if (pod["spec"].nodeName !== node) return "node requested token bound to a pod scheduled on a different node";
    const [audience = "", ...more] = audiences ?? [];
    if (more.length > 0) return "node may only request 0 or 1 audiences";
    const named = ((pod["spec"].volumes ?? []) as Json[]).flatMap((volume) => (volume["projected"]?.sources ?? []) as Json[]).some((source) => source["serviceAccountToken"] && (source["serviceAccountToken"].audience ?? "") === audience);
    return named || may(audience) ? undefined : `audience ${JSON.stringify(audience)} not found in pod spec volume, ${nodeUser}${node} is not authorized to request tokens for this audience`;
  },
  "podcertificaterequests.certificates.k8s.io": (asked) => {
    const { operation, part, node, shown, namespace = "", object, nodeUid, find } = asked;
    if (operation !== "CREATE") return `unexpected operation ${operation}`;
    if (part !== "") return `unexpected subresource ${part}`;
    const spec = (object!["spec"] ?? {}) as Record<string, string>;
    const quoted = (name: string | undefined): string => JSON.stringify(name ?? "");
    const pod = quoted(`${namespace}/${spec["podName"]}`);
    // What a watch that lags may explain is no refusal: the node asks again.
    const unsure = (why: string): StatusError => new StatusError(500, "", why);
    if (spec["nodeName"] !== node) return `PodCertificateRequest.Spec.NodeName=${quoted(spec["nodeName"])}, which is not the requesting node ${shown}`;
    const uid = nodeUid();
    if (uid === undefined) throw unsure(`while retrieving node ${shown} named in the PodCertificateRequest: node ${shown} not found`);
    if (uid !== spec["nodeUID"]) throw unsure(`PodCertificateRequest for pod ${pod} names node UID ${quoted(spec["nodeUID"])}, inconsistent with the running node (${quoted(uid)})`);
    const running = find("pods", spec["podName"]!);
    if (!running) throw unsure(`while retrieving pod ${pod} named in the PodCertificateRequest: pod ${quoted(spec["podName"])} not found`);
    if (running["metadata"].uid !== spec["podUID"]) throw unsure(`PodCertificateRequest for pod ${pod} contains pod UID (${quoted(spec["podUID"])}) which differs from running pod ${quoted(running["metadata"].uid as string)}`);
    if (running["spec"].nodeName !== node) return `pod ${pod} is not running on node ${shown} named in the PodCertificateRequest`;
    if (running["metadata"].annotations?.["kubernetes.io/config.mirror"] !== undefined) return `pod ${pod} is a mirror pod`;
    const account = running["spec"].serviceAccountName as string;
    if (spec["serviceAccountName"] !== account) return `PodCertificateRequest for pod ${pod} contains serviceAccountName (${quoted(spec["serviceAccountName"])}) that differs from running pod (${quoted(account)})`;
    const found = find("serviceaccounts", account);
    if (!found) throw unsure(`while retrieving service account ${quoted(`${namespace}/${account}`)} named in the PodCertificateRequest: serviceaccount ${quoted(account)} not found`);
    if (found["metadata"].uid !== spec["serviceAccountUID"]) throw unsure(`PodCertificateRequest for pod ${pod} names service account UID ${quoted(spec["serviceAccountUID"])}, which differs from the running service account (${quoted(found["metadata"].uid as string)})`);
    return undefined;
  },
  "leases.coordination.k8s.io": ({ namespace, node, name, object }) => {
    if (namespace !== "kube-node-lease") return 'can only access leases in the "kube-node-lease" system namespace';
    return (name || object?.["metadata"].name) === node ? undefined : "can only access node lease with the same name as the requesting node";
  },
  "csinodes.storage.k8s.io": ({ node, name, object }) => ((name || object?.["metadata"].name) === node ? undefined : "can only access CSINode with the same name as the requesting node"),
  "resourceslices.resource.k8s.io": ({ operation, node, object, old }) => {
    const of = operation === "CREATE" ? object : operation === "DELETE" ? old : undefined;
    return !of || of["spec"]?.nodeName === node ? undefined : `can only ${operation.toLowerCase()} ResourceSlice with the same NodeName as the requesting node`;
  },
  "certificatesigningrequests.certificates.k8s.io": ({ operation, node, object }) => {
    if (operation !== "CREATE" || !["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"].includes(object!["spec"].signerName as string)) return undefined;
    const { commonName } = parseRequest(Buffer.from(object!["spec"].request as string, "base64").toString("latin1"));
    return commonName === `${nodeUser}${node}` ? undefined : `can only create a node CSR with CN=${nodeUser}${node}`;
  },
};

/** A node makes no pods but those that mirror what it runs of its own. */
function mirrorErrors({ node, shown, object, nodeUid }: Question): string | undefined {
  const { metadata, spec } = object as { metadata: Json; spec: Json };
  if (metadata["annotations"]?.["kubernetes.io/config.mirror"] === undefined) return `pod does not have "kubernetes.io/config.mirror" annotation, node ${shown} can only create mirror pods`;
  if (spec["nodeName"] !== node) return `node ${shown} can only create pods with spec.nodeName set to itself`;
  const owners = (metadata["ownerReferences"] ?? []) as Json[];
  if (owners.length > 1) return `node ${shown} can only create pods with a single owner reference set to itself`;
  const [owner] = owners;
  if (!owner || owner["apiVersion"] !== "v1" || owner["kind"] !== "Node" || owner["name"] !== node) return `node ${shown} can only create pods with an owner reference set to itself`;
  if (owner["controller"] !== true) return `node ${shown} can only create pods with a controller owner reference set to itself`;
  if (owner["blockOwnerDeletion"] === true) return `node ${shown} must not set blockOwnerDeletion on an owner reference`;
  const uid = nodeUid();
  if (uid === undefined) throw notFoundError({ group: "", resource: "node" }, node);
  if (owner["uid"] !== uid) return `node ${node} UID mismatch: expected ${owner["uid"]} got ${uid}`;
  const found = referenceIn(object as unknown as KubeObject);
  return found && `node ${shown} can not create pods that reference ${found}`;
}

/** The first sort of object that the pod needs, if any. Source: k8s.io/kubernetes/pkg/api/pod/util.go (HasAPIObjectReference). */
function referenceIn(pod: KubeObject): string | undefined {
  const spec = pod["spec"] as Json;
  if (spec["serviceAccountName"]) return "serviceaccounts";
  const text = JSON.stringify(spec);
  if (/"(secretRef|secretKeyRef|imagePullSecrets|secretName|nodePublishSecretRef)":/.test(text) || ((spec["volumes"] ?? []) as Json[]).some((volume) => volume["projected"]?.sources?.some((source: Json) => source["secret"]))) return "secrets";
  if (/"(configMapRef|configMapKeyRef|configMap)":/.test(text)) return "configmaps";
  if (/"serviceAccountToken":/.test(text)) return "serviceaccounts";
  if (/"clusterTrustBundle":/.test(text)) return "clustertrustbundles";
  if (/"podCertificate":/.test(text)) return "podcertificates";
  if (/"(persistentVolumeClaim|ephemeral)":/.test(text)) return "persistentvolumeclaims";
  if (((spec["resourceClaims"] ?? []) as Json[]).length > 0) return "resourceclaims";
  return undefined;
}

/** Kubernetes' own labels that a node may set of itself. */
const ownLabels = new Set(["kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch"]);
const isBelow = (namespace: string, domain: string): boolean => namespace === domain || namespace.endsWith(`.${domain}`);

/** Labels that changed and may not, in order. */
function forbiddenLabels(labels: Record<string, string> = {}, before: Record<string, string> = {}): string[] {
  const changed = [...new Set([...Object.keys(labels), ...Object.keys(before)])].filter((key) => labels[key] !== before[key]);
  return changed
    .filter((key) => {
      const namespace = key.includes("/") ? key.slice(0, key.indexOf("/")) : "";
      if (isBelow(namespace, "node-restriction.kubernetes.io")) return true;
      const isForeign = !isBelow(namespace, "kubernetes.io") && !isBelow(namespace, "k8s.io");
      return !isForeign && !ownLabels.has(key) && !isBelow(namespace, "kubelet.kubernetes.io") && !isBelow(namespace, "node.kubernetes.io");
    })
    .sort();
}
