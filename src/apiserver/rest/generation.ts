import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import { semanticEqual } from "../../api/validation/checks.ts";

// Kinds whose strategies count generations upstream, beside every custom resource.
const counted = new Set([
  "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "cronjobs.batch", "replicationcontrollers.", "pods.", "podtemplates.", "csidrivers.storage.k8s.io", "deviceclasses.resource.k8s.io",
  "ingresses.networking.k8s.io", "networkpolicies.networking.k8s.io", "poddisruptionbudgets.policy", "endpointslices.discovery.k8s.io", "customresourcedefinitions.apiextensions.k8s.io",
  "mutatingwebhookconfigurations.admissionregistration.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io", "validatingadmissionpolicies.admissionregistration.k8s.io",
  "validatingadmissionpolicybindings.admissionregistration.k8s.io", "mutatingadmissionpolicies.admissionregistration.k8s.io", "mutatingadmissionpolicybindings.admissionregistration.k8s.io", "flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
  "ingressclasses.networking.k8s.io", "resourceclaims.resource.k8s.io", "resourceslices.resource.k8s.io",
]);

export const countsGenerations = (kind: Kind): boolean => kind.custom !== undefined || counted.has(`${kind.resource}.${kind.group}`);
/** What of metadata counts as well: an EndpointSlice's labels say to which Service it belongs, a Deployment's annotations are copied to its sets. */
const countedMetadata: Readonly<Record<string, "labels" | "annotations">> = { "endpointslices.discovery.k8s.io": "labels", "deployments.apps": "annotations" };
export function metadataDiffers(kind: Kind, object: KubeObject, old: KubeObject): boolean {
  const field = countedMetadata[`${kind.resource}.${kind.group}`];
  return field !== undefined && !semanticEqual(object.metadata[field], old.metadata[field]);
}
// These begin with 1 and stay there.
const begun = new Set(["priorityclasses.scheduling.k8s.io"]);
// These are counted from their first change on.
const lateComers = new Set(["csidrivers.storage.k8s.io"]);
export const beginsGeneration = (kind: Kind): boolean => (countsGenerations(kind) && !lateComers.has(`${kind.resource}.${kind.group}`)) || begun.has(`${kind.resource}.${kind.group}`);

/** Whether anything but metadata and status differs: what raises the generation. Of a custom kind without a status of its own, status counts as well. */
export function specDiffers(object: KubeObject, old: KubeObject, statusCounts = false): boolean {
  for (const field of new Set([...Object.keys(object), ...Object.keys(old)])) {
    if (field === "metadata" || (field === "status" && !statusCounts) || field === "apiVersion" || field === "kind") continue;
    if (!semanticEqual(object[field], old[field])) return true;
  }
  return false;
}
