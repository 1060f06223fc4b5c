import type { GroupVersionResource } from "./meta.ts";

const core = (resource: string): GroupVersionResource => ({ group: "", version: "v1", resource });
const of = (group: string, resource: string, version = "v1"): GroupVersionResource => ({ group, version, resource });

/** The resources that Wherry's own parts read and write, by the name code uses. */
export const resources = {
  namespaces: core("namespaces"),
  nodes: core("nodes"),
  pods: core("pods"),
  services: core("services"),
  endpoints: core("endpoints"),
  configMaps: core("configmaps"),
  secrets: core("secrets"),
  serviceAccounts: core("serviceaccounts"),
  events: core("events"),
  persistentVolumes: core("persistentvolumes"),
  persistentVolumeClaims: core("persistentvolumeclaims"),
  replicationControllers: core("replicationcontrollers"),
  resourceQuotas: core("resourcequotas"),
  podTemplates: core("podtemplates"),
  deployments: of("apps", "deployments"),
  replicaSets: of("apps", "replicasets"),
  statefulSets: of("apps", "statefulsets"),
  daemonSets: of("apps", "daemonsets"),
  controllerRevisions: of("apps", "controllerrevisions"),
  customResourceDefinitions: of("apiextensions.k8s.io", "customresourcedefinitions"),
  jobs: of("batch", "jobs"),
  cronJobs: of("batch", "cronjobs"),
  endpointSlices: of("discovery.k8s.io", "endpointslices"),
  ingresses: of("networking.k8s.io", "ingresses"),
  ingressClasses: of("networking.k8s.io", "ingressclasses"),
  leases: of("coordination.k8s.io", "leases"),
  storageClasses: of("storage.k8s.io", "storageclasses"),
  podDisruptionBudgets: of("policy", "poddisruptionbudgets"),
  priorityClasses: of("scheduling.k8s.io", "priorityclasses"),
  roles: of("rbac.authorization.k8s.io", "roles"),
  roleBindings: of("rbac.authorization.k8s.io", "rolebindings"),
  certificateSigningRequests: of("certificates.k8s.io", "certificatesigningrequests"),
  clusterTrustBundles: of("certificates.k8s.io", "clustertrustbundles", "v1beta1"),
  podCertificateRequests: of("certificates.k8s.io", "podcertificaterequests", "v1beta1"),
  clusterRoles: of("rbac.authorization.k8s.io", "clusterroles"),
  clusterRoleBindings: of("rbac.authorization.k8s.io", "clusterrolebindings"),
} as const satisfies Record<string, GroupVersionResource>;

/** The namespace of Wherry's own objects; also the last DNS search domain of every pod. */
export const systemNamespace = "wherry-system";
/** The one node. */
export const nodeName = "wherry";
/** What `/version` and the node's kubelet say; the newest whose API data we have. */
export const kubernetesVersion = "v1.35.0";
