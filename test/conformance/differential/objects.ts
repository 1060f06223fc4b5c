import type { Schema } from "../../../src/api/schema.ts";

/**
 * One request, the same for both servers. In a path or a body `NS` is the namespace of the run; `RV-FIRST`, `RV-LAST` and
 * `RV-LIST` are the resourceVersions that this server gave to its first and its last answered object and its last list,
 * and `CONTINUE` the last token of a list that goes on.
 */
export interface Request {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  contentType?: string;
  body?: unknown;
  /** What form of the answer is asked for. Default: JSON as stored. */
  accept?: string;
  /** A watch: `until` is created (as `body` of a POST to its path) before it begins, and it ends when that is seen. */
  until?: { path: string; name: string; body: unknown };
  /** The real server learns of what it needs for this a moment later: both are asked until they agree, for a while. Changes nothing. */
  eventually?: boolean;
}
/** One valid object of each kind that the driver sends; what it changes in them is up to its seed. */
export interface Template {
  /** "apis/apps/v1" */
  base: string;
  resource: string;
  clusterScoped?: boolean;
  subresources?: readonly ("status" | "scale")[];
  object: Record<string, unknown> & { apiVersion: string; kind: string };
  /** Of a kind that is not built in. */
  schema?: Schema;
}

const labels = { app: "web", tier: "front" };
const podSpec = {
  containers: [
    { name: "main", image: "nginx:1.27", ports: [{ name: "http", containerPort: 80 }], env: [{ name: "A", value: "1" }, { name: "B", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }], resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { memory: "128Mi" } }, readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 5 } },
    { name: "side", image: "busybox", command: ["sleep", "1000"], volumeMounts: [{ name: "data", mountPath: "/data" }] },
  ],
  volumes: [{ name: "data", emptyDir: { sizeLimit: "1Gi" } }, { name: "conf", configMap: { name: "conf", items: [{ key: "a", path: "b" }] } }],
  terminationGracePeriodSeconds: 5,
  tolerations: [{ key: "k", operator: "Exists", effect: "NoSchedule" }],
};
/** A request for a certificate for "CN=ann", as `openssl req -new` writes it. */
const certificateRequest = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISk1IQUNBUUF3RGpFTU1Bb0dBMVVFQXd3RFlXNXVNRmt3RXdZSEtvWkl6ajBDQVFZSUtvWkl6ajBEQVFjRApRZ0FFNFdXWGVaeStqeDJGSkd4ZWZ6WDIvZ25OZSs2SUFWbmhNbjN4b290STVpUXNUc3hKaDdpeGs4dEdHUUg0CjZZNEgzYVd1bW44dmdhZ0xtN3BoOWRwZjZhQUFNQW9HQ0NxR1NNNDlCQU1DQTBrQU1FWUNJUURXNCtDZW5rb1YKMDhYRUNvcjZ2REErTzJWWlI3c2F5RURqUEpydXc1TVZrd0loQVA3elQxQkRUSE1jeGV3ZkVjNEpYMGMwUVF5Zwo1RkpmMllaaGx1SXRtRUphCi0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
const template = { metadata: { labels }, spec: podSpec };
const selector = { matchLabels: labels };

export const templates: readonly Template[] = [
  { base: "api/v1", resource: "configmaps", object: { apiVersion: "v1", kind: "ConfigMap", data: { a: "1", "b.txt": "two" }, binaryData: { c: "AAE=" } } },
  { base: "api/v1", resource: "secrets", object: { apiVersion: "v1", kind: "Secret", type: "Opaque", data: { k: "c2VjcmV0" }, stringData: { s: "plain" } } },
  { base: "api/v1", resource: "services", subresources: ["status"], object: { apiVersion: "v1", kind: "Service", spec: { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "http" }, { name: "metrics", port: 9090, protocol: "TCP" }] } } },
  { base: "api/v1", resource: "serviceaccounts", object: { apiVersion: "v1", kind: "ServiceAccount", automountServiceAccountToken: false, imagePullSecrets: [{ name: "pull" }] } },
  { base: "api/v1", resource: "pods", subresources: ["status"], object: { apiVersion: "v1", kind: "Pod", spec: podSpec } },
  { base: "api/v1", resource: "persistentvolumeclaims", subresources: ["status"], object: { apiVersion: "v1", kind: "PersistentVolumeClaim", spec: { accessModes: ["ReadWriteOnce"], storageClassName: "fast", resources: { requests: { storage: "1Gi" } } } } },
  { base: "api/v1", resource: "persistentvolumes", clusterScoped: true, subresources: ["status"], object: { apiVersion: "v1", kind: "PersistentVolume", spec: { capacity: { storage: "2Gi" }, accessModes: ["ReadWriteOnce"], persistentVolumeReclaimPolicy: "Retain", hostPath: { path: "/data" } } } },
  { base: "api/v1", resource: "limitranges", object: { apiVersion: "v1", kind: "LimitRange", spec: { limits: [{ type: "Container", default: { cpu: "500m" }, defaultRequest: { cpu: "100m" }, max: { cpu: "1" } }] } } },
  { base: "api/v1", resource: "resourcequotas", subresources: ["status"], object: { apiVersion: "v1", kind: "ResourceQuota", spec: { hard: { "count/configmaps": "1000", "requests.storage": "100Gi" } } } },
  { base: "api/v1", resource: "endpoints", object: { apiVersion: "v1", kind: "Endpoints", subsets: [{ addresses: [{ ip: "10.1.2.3" }], ports: [{ name: "http", port: 80 }] }] } },
  { base: "api/v1", resource: "replicationcontrollers", subresources: ["status", "scale"], object: { apiVersion: "v1", kind: "ReplicationController", spec: { replicas: 1, selector: labels, template } } },
  { base: "apis/apps/v1", resource: "deployments", subresources: ["status", "scale"], object: { apiVersion: "apps/v1", kind: "Deployment", spec: { replicas: 3, selector, strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: 0 } }, template } } },
  { base: "apis/apps/v1", resource: "replicasets", subresources: ["status", "scale"], object: { apiVersion: "apps/v1", kind: "ReplicaSet", spec: { replicas: 2, selector, template } } },
  { base: "apis/apps/v1", resource: "statefulsets", subresources: ["status", "scale"], object: { apiVersion: "apps/v1", kind: "StatefulSet", spec: { serviceName: "web", replicas: 2, selector, template, volumeClaimTemplates: [{ metadata: { name: "data" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } }] } } },
  { base: "apis/apps/v1", resource: "daemonsets", subresources: ["status"], object: { apiVersion: "apps/v1", kind: "DaemonSet", spec: { selector, template, updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } } } } },
  { base: "apis/batch/v1", resource: "jobs", subresources: ["status"], object: { apiVersion: "batch/v1", kind: "Job", spec: { completions: 3, parallelism: 2, backoffLimit: 2, completionMode: "Indexed", template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } } } } },
  { base: "apis/batch/v1", resource: "cronjobs", subresources: ["status"], object: { apiVersion: "batch/v1", kind: "CronJob", spec: { schedule: "*/5 * * * *", timeZone: "Etc/UTC", concurrencyPolicy: "Forbid", jobTemplate: { spec: { template: { spec: { restartPolicy: "OnFailure", containers: [{ name: "c", image: "i" }] } } } } } } },
  { base: "apis/autoscaling/v2", resource: "horizontalpodautoscalers", subresources: ["status"], object: { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, minReplicas: 1, maxReplicas: 5, metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 60 } } }] } } },
  { base: "apis/policy/v1", resource: "poddisruptionbudgets", subresources: ["status"], object: { apiVersion: "policy/v1", kind: "PodDisruptionBudget", spec: { minAvailable: "50%", selector } } },
  { base: "apis/networking.k8s.io/v1", resource: "ingresses", subresources: ["status"], object: { apiVersion: "networking.k8s.io/v1", kind: "Ingress", spec: { rules: [{ host: "shop.example.com", http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "web", port: { number: 80 } } } }] } }], tls: [{ hosts: ["shop.example.com"], secretName: "tls" }] } } },
  { base: "apis/networking.k8s.io/v1", resource: "networkpolicies", object: { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", spec: { podSelector: selector, policyTypes: ["Ingress"], ingress: [{ from: [{ podSelector: {} }, { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }], ports: [{ port: 80 }, { port: 100, endPort: 200 }] }] } } },
  { base: "apis/rbac.authorization.k8s.io/v1", resource: "roles", object: { apiVersion: "rbac.authorization.k8s.io/v1", kind: "Role", rules: [{ apiGroups: [""], resources: ["pods", "pods/log"], verbs: ["get", "list"] }] } },
  { base: "apis/rbac.authorization.k8s.io/v1", resource: "rolebindings", object: { apiVersion: "rbac.authorization.k8s.io/v1", kind: "RoleBinding", roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "reader" }, subjects: [{ kind: "ServiceAccount", name: "default", namespace: "default" }, { kind: "User", name: "ann", apiGroup: "rbac.authorization.k8s.io" }] } },
  { base: "apis/rbac.authorization.k8s.io/v1", resource: "clusterroles", clusterScoped: true, object: { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", rules: [{ nonResourceURLs: ["/metrics"], verbs: ["get"] }] } },
  { base: "apis/coordination.k8s.io/v1", resource: "leases", object: { apiVersion: "coordination.k8s.io/v1", kind: "Lease", spec: { holderIdentity: "me", leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.000000Z" } } },
  { base: "apis/discovery.k8s.io/v1", resource: "endpointslices", object: { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4", endpoints: [{ addresses: ["10.1.2.3"], conditions: { ready: true } }], ports: [{ name: "http", port: 80, protocol: "TCP" }] } },
  { base: "apis/scheduling.k8s.io/v1", resource: "priorityclasses", clusterScoped: true, object: { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", value: 1000, description: "more" } },
  { base: "api/v1", resource: "podtemplates", object: { apiVersion: "v1", kind: "PodTemplate", template } },
  { base: "api/v1", resource: "nodes", clusterScoped: true, subresources: ["status"], object: { apiVersion: "v1", kind: "Node", spec: { podCIDR: "10.9.0.0/24", taints: [{ key: "k", value: "v", effect: "NoSchedule" }] } } },
  { base: "api/v1", resource: "namespaces", clusterScoped: true, subresources: ["status"], object: { apiVersion: "v1", kind: "Namespace", spec: {} } },
  { base: "api/v1", resource: "events", object: { apiVersion: "v1", kind: "Event", involvedObject: { apiVersion: "v1", kind: "Pod", name: "web", namespace: "NS" }, reason: "Started", message: "it began", type: "Normal", source: { component: "kubelet" }, count: 1, firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-01T00:00:00Z" } },
  { base: "apis/apps/v1", resource: "controllerrevisions", object: { apiVersion: "apps/v1", kind: "ControllerRevision", revision: 1, data: { spec: { a: 1 } } } },
  { base: "apis/autoscaling/v1", resource: "horizontalpodautoscalers", subresources: ["status"], object: { apiVersion: "autoscaling/v1", kind: "HorizontalPodAutoscaler", spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, minReplicas: 1, maxReplicas: 5, targetCPUUtilizationPercentage: 60 } } },
  { base: "apis/node.k8s.io/v1", resource: "runtimeclasses", clusterScoped: true, object: { apiVersion: "node.k8s.io/v1", kind: "RuntimeClass", handler: "runc", overhead: { podFixed: { cpu: "10m" } }, scheduling: { nodeSelector: { a: "b" } } } },
  { base: "apis/networking.k8s.io/v1", resource: "ingressclasses", clusterScoped: true, object: { apiVersion: "networking.k8s.io/v1", kind: "IngressClass", spec: { controller: "example.com/ingress", parameters: { apiGroup: "example.com", kind: "Parameters", name: "p", scope: "Cluster" } } } },
  { base: "apis/storage.k8s.io/v1", resource: "csidrivers", clusterScoped: true, object: { apiVersion: "storage.k8s.io/v1", kind: "CSIDriver", spec: { attachRequired: false, podInfoOnMount: true, volumeLifecycleModes: ["Persistent"] } } },
  { base: "apis/rbac.authorization.k8s.io/v1", resource: "clusterrolebindings", clusterScoped: true, object: { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRoleBinding", roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "reader" }, subjects: [{ kind: "Group", name: "ops", apiGroup: "rbac.authorization.k8s.io" }] } },
  { base: "apis/admissionregistration.k8s.io/v1", resource: "validatingadmissionpolicies", clusterScoped: true, object: { apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingAdmissionPolicy", spec: { failurePolicy: "Fail", matchConstraints: { resourceRules: [{ apiGroups: ["apps"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["deployments"] }] }, validations: [{ expression: "object.spec.replicas <= 5", message: "too many" }] } } },
  { base: "apis/admissionregistration.k8s.io/v1", resource: "validatingadmissionpolicybindings", clusterScoped: true, object: { apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingAdmissionPolicyBinding", spec: { policyName: "p", validationActions: ["Deny"] } } },
  { base: "apis/admissionregistration.k8s.io/v1", resource: "validatingwebhookconfigurations", clusterScoped: true, object: { apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", webhooks: [{ name: "check.example.com", admissionReviewVersions: ["v1"], sideEffects: "None", failurePolicy: "Ignore", clientConfig: { service: { name: "hook", namespace: "NS", path: "/check" } }, rules: [{ apiGroups: ["none.example.com"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["nothings"] }] }] } },
  { base: "apis/certificates.k8s.io/v1", resource: "certificatesigningrequests", clusterScoped: true, subresources: ["status"], object: { apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", spec: { signerName: "example.com/signer", usages: ["digital signature", "client auth"], request: certificateRequest } } },
  { base: "apis/storage.k8s.io/v1", resource: "storageclasses", clusterScoped: true, object: { apiVersion: "storage.k8s.io/v1", kind: "StorageClass", provisioner: "example.com/disk", reclaimPolicy: "Delete", volumeBindingMode: "WaitForFirstConsumer" } },
];
