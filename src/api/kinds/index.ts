import type { Strategy } from "../kind.ts";
import { mutatingAdmissionPolicy, mutatingAdmissionPolicyBinding } from "./admissionregistration/mutating-policies.ts";
import { validatingAdmissionPolicy, validatingAdmissionPolicyBinding } from "./admissionregistration/policies.ts";
import { mutatingWebhookConfiguration, validatingWebhookConfiguration } from "./admissionregistration/webhooks.ts";
import { customResourceDefinition } from "./apiextensions/custom-resource-definition.ts";
import { apiService } from "./apiregistration/api-service.ts";
import { controllerRevision } from "./apps/controller-revision.ts";
import { daemonSet } from "./apps/daemon-set.ts";
import { deployment } from "./apps/deployment.ts";
import { replicaSet } from "./apps/replica-set.ts";
import { statefulSet } from "./apps/stateful-set.ts";
import { hpaFromStored, hpaToStored } from "./autoscaling/conversion.ts";
import { horizontalPodAutoscaler, horizontalPodAutoscalerV1 } from "./autoscaling/horizontal-pod-autoscaler.ts";
import { cronJob } from "./batch/cron-job.ts";
import { job } from "./batch/job.ts";
import { certificateSigningRequest } from "./certificates/certificate-signing-request.ts";
import { clusterTrustBundle } from "./certificates/cluster-trust-bundle.ts";
import { podCertificateRequest } from "./certificates/pod-certificate-request.ts";
import type { KindCode } from "./code.ts";
import { lease } from "./coordination/lease.ts";
import { componentStatus } from "./core/component-status.ts";
import { configMap } from "./core/config-map.ts";
import { endpoints } from "./core/endpoints.ts";
import { event, eventFromStored, eventToStored, strictEvent } from "./core/event.ts";
import { limitRange, resourceQuota } from "./core/limits.ts";
import { namespace } from "./core/namespace.ts";
import { node } from "./core/node.ts";
import { persistentVolume } from "./core/persistent-volume.ts";
import { persistentVolumeClaim } from "./core/persistent-volume-claim.ts";
import { pod } from "./core/pod.ts";
import { podTemplate } from "./core/pod-template.ts";
import { replicationController } from "./core/replication-controller.ts";
import { secret } from "./core/secret.ts";
import { service } from "./core/service.ts";
import { serviceAccount } from "./core/service-account.ts";
import { endpointSlice } from "./discovery/endpoint-slice.ts";
import { flowSchema, priorityLevelConfiguration } from "./flowcontrol/flowcontrol.ts";
import { ingress, ingressClass } from "./networking/ingress.ts";
import { ipAddress, networkPolicy, serviceCIDR } from "./networking/network-policy.ts";
import { runtimeClass } from "./node/runtime-class.ts";
import { podDisruptionBudget } from "./policy/pod-disruption-budget.ts";
import { clusterRole, clusterRoleBinding, role, roleBinding } from "./rbac/rbac.ts";
import { resourceClaim, resourceSlice } from "./resource/resource.ts";
import { priorityClass } from "./scheduling/priority-class.ts";
import { csiDriver, csiNode, csiStorageCapacity, volumeAttachment, volumeAttributesClass } from "./storage/csi.ts";
import { storageClass } from "./storage/storage-class.ts";

const of = (group: string, resource: string, strategy: Strategy, rest: Partial<KindCode> = {}): KindCode => ({ group, resource, strategy, ...rest });

/** What code adds to the built-in kinds: one line a kind. Kinds without a line work from their table alone. */
export const strategies: readonly KindCode[] = [
  of("", "componentstatuses", componentStatus),
  of("", "configmaps", configMap),
  of("", "endpoints", endpoints),
  of("", "events", event),
  of("", "limitranges", limitRange),
  of("", "namespaces", namespace),
  of("", "nodes", node),
  of("", "persistentvolumeclaims", persistentVolumeClaim),
  of("", "persistentvolumes", persistentVolume),
  of("", "pods", pod),
  of("", "podtemplates", podTemplate),
  of("", "replicationcontrollers", replicationController),
  of("", "resourcequotas", resourceQuota),
  of("", "secrets", secret),
  of("", "serviceaccounts", serviceAccount),
  of("", "services", service),
  of("admissionregistration.k8s.io", "mutatingadmissionpolicies", mutatingAdmissionPolicy),
  of("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", mutatingAdmissionPolicyBinding),
  of("admissionregistration.k8s.io", "mutatingwebhookconfigurations", mutatingWebhookConfiguration),
  of("admissionregistration.k8s.io", "validatingadmissionpolicies", validatingAdmissionPolicy),
  of("admissionregistration.k8s.io", "validatingadmissionpolicybindings", validatingAdmissionPolicyBinding),
  of("admissionregistration.k8s.io", "validatingwebhookconfigurations", validatingWebhookConfiguration),
  of("apiextensions.k8s.io", "customresourcedefinitions", customResourceDefinition),
  of("apiregistration.k8s.io", "apiservices", apiService),
  of("apps", "controllerrevisions", controllerRevision),
  of("apps", "daemonsets", daemonSet),
  of("apps", "deployments", deployment),
  of("apps", "replicasets", replicaSet),
  of("apps", "statefulsets", statefulSet),
  of("autoscaling", "horizontalpodautoscalers", horizontalPodAutoscaler, { version: "v2" }),
  of("autoscaling", "horizontalpodautoscalers", horizontalPodAutoscalerV1, { version: "v1", storedAs: { group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers", toStored: hpaToStored, fromStored: hpaFromStored } }),
  of("batch", "cronjobs", cronJob),
  of("batch", "jobs", job),
  of("certificates.k8s.io", "certificatesigningrequests", certificateSigningRequest),
  of("certificates.k8s.io", "clustertrustbundles", clusterTrustBundle),
  of("certificates.k8s.io", "podcertificaterequests", podCertificateRequest),
  of("coordination.k8s.io", "leases", lease),
  of("discovery.k8s.io", "endpointslices", endpointSlice),
  of("events.k8s.io", "events", strictEvent, { storedAs: { group: "", version: "v1", resource: "events", toStored: eventToStored, fromStored: eventFromStored } }),
  of("flowcontrol.apiserver.k8s.io", "flowschemas", flowSchema),
  of("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", priorityLevelConfiguration),
  of("networking.k8s.io", "ingressclasses", ingressClass),
  of("networking.k8s.io", "ingresses", ingress),
  of("networking.k8s.io", "ipaddresses", ipAddress),
  of("networking.k8s.io", "networkpolicies", networkPolicy),
  of("networking.k8s.io", "servicecidrs", serviceCIDR),
  of("node.k8s.io", "runtimeclasses", runtimeClass),
  of("policy", "poddisruptionbudgets", podDisruptionBudget),
  of("rbac.authorization.k8s.io", "clusterrolebindings", clusterRoleBinding),
  of("rbac.authorization.k8s.io", "clusterroles", clusterRole),
  of("rbac.authorization.k8s.io", "rolebindings", roleBinding),
  of("rbac.authorization.k8s.io", "roles", role),
  of("resource.k8s.io", "resourceclaims", resourceClaim),
  of("resource.k8s.io", "resourceslices", resourceSlice),
  of("scheduling.k8s.io", "priorityclasses", priorityClass),
  of("storage.k8s.io", "csidrivers", csiDriver),
  of("storage.k8s.io", "csinodes", csiNode),
  of("storage.k8s.io", "csistoragecapacities", csiStorageCapacity),
  of("storage.k8s.io", "storageclasses", storageClass),
  of("storage.k8s.io", "volumeattachments", volumeAttachment),
  of("storage.k8s.io", "volumeattributesclasses", volumeAttributesClass),
];
