import type { Client } from "../../api/client.ts";
import type { KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import { type PolicyRule, uncovered } from "./rbac.ts";

/**
 * The roles that every cluster has from the start, compared with the real server's by a test. Those of its controllers
 * (system:controller:…) are not here: ours work in this process and are nobody's service accounts.
 * Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go.
 */
const read = ["get", "list", "watch"];
const write = ["create", "delete", "deletecollection", "patch", "update"];
const all = [...write, ...read];
/** Each list in order, as upstream's builder of rules leaves them. */
const rule = (groups: string | string[], names: string, verbs: string[]): PolicyRule => ({ apiGroups: [groups].flat().sort(), resources: names.split(" ").sort(), verbs: verbs.toSorted() });
const urls = (paths: string[]): PolicyRule => ({ nonResourceURLs: paths.toSorted(), verbs: ["get"] });

const rbac = "rbac.authorization.k8s.io";
const events = ["", "events.k8s.io"];
const certificates = "certificates.k8s.io";
const discovery = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"];
const publicInfo = ["/healthz", "/livez", "/readyz", "/version", "/version/"];

const viewRules: PolicyRule[] = [
  rule("", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status", read),
  rule("", "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status", read),
  rule("", "namespaces", read),
  rule(events, "events", read),
  rule("discovery.k8s.io", "endpointslices", read),
  rule("apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status", read),
  rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", read),
  rule("batch", "cronjobs cronjobs/status jobs jobs/status", read),
  rule("extensions", "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale", read),
  rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", read),
  rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", read),
  rule("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", read),
];
const editRules: PolicyRule[] = [
  rule("", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", read),
  rule("", "serviceaccounts", ["impersonate"]),
  rule("", "pods pods/attach pods/exec pods/portforward pods/proxy", write),
  rule("", "pods/eviction", ["create"]),
  rule("", "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy", write),
  rule("", "serviceaccounts/token", ["create"]),
  rule(events, "events", write),
  rule("apps", "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale", write),
  rule("autoscaling", "horizontalpodautoscalers", write),
  rule("batch", "cronjobs jobs", write),
  rule("extensions", "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale", write),
  rule("policy", "poddisruptionbudgets", write),
  rule("networking.k8s.io", "ingresses networkpolicies", write),
  rule("coordination.k8s.io", "leases", all),
  rule("resource.k8s.io", "resourceclaims resourceclaimtemplates", write),
];
const adminRules: PolicyRule[] = [rule("authorization.k8s.io", "localsubjectaccessreviews", ["create"]), rule(rbac, "rolebindings roles", all)];

interface BootstrapRole {
  name: string;
  rules: PolicyRule[];
  labels?: Record<string, string>;
  aggregates?: string;
}
const aggregate = (to: string) => `rbac.authorization.k8s.io/aggregate-to-${to}`;

export const bootstrapRoles: BootstrapRole[] = [
  { name: "cluster-admin", rules: [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }, { nonResourceURLs: ["*"], verbs: ["*"] }] },
  { name: "admin", rules: [...editRules, ...viewRules, ...adminRules], aggregates: aggregate("admin") },
  { name: "edit", rules: [...editRules, ...viewRules], aggregates: aggregate("edit"), labels: { [aggregate("admin")]: "true" } },
  { name: "view", rules: viewRules, aggregates: aggregate("view"), labels: { [aggregate("edit")]: "true" } },
  { name: "system:aggregate-to-admin", rules: adminRules, labels: { [aggregate("admin")]: "true" } },
  { name: "system:aggregate-to-edit", rules: editRules, labels: { [aggregate("edit")]: "true" } },
  { name: "system:aggregate-to-view", rules: viewRules, labels: { [aggregate("view")]: "true" } },
  { name: "system:discovery", rules: [urls(discovery)] },
  { name: "system:public-info-viewer", rules: [urls(publicInfo)] },
  { name: "system:monitoring", rules: [urls(["/metrics", "/metrics/slis", "/livez", "/readyz", "/healthz", "/livez/*", "/readyz/*", "/healthz/*"]), rule("", "nodes/metrics", ["get"])] },
  { name: "system:basic-user", rules: [rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ["create"]), rule("authentication.k8s.io", "selfsubjectreviews", ["create"])] },
  { name: "system:auth-delegator", rules: [rule("authentication.k8s.io", "tokenreviews", ["create"]), rule("authorization.k8s.io", "subjectaccessreviews", ["create"])] },
  { name: "system:service-account-issuer-discovery", rules: [urls(["/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"])] },
  { name: "system:heapster", rules: [rule("", "events pods nodes namespaces", read), rule("extensions", "deployments", read)] },
  { name: "system:node-problem-detector", rules: [rule("", "nodes", ["get"]), rule("", "nodes/status", ["patch"]), rule(["", "events.k8s.io"], "events", ["create", "patch", "update"])] },
  { name: "system:persistent-volume-provisioner", rules: [rule("", "persistentvolumes", ["create", "delete", ...read]), rule("", "persistentvolumeclaims", [...read, "update"]), rule("storage.k8s.io", "storageclasses", read), rule("", "events", ["watch"]), rule(events, "events", ["create", "patch", "update"])] },
  { name: "system:kube-dns", rules: [rule("", "endpoints services", ["list", "watch"])] },
  {
    name: "system:node",
    rules: [
      rule("authentication.k8s.io", "tokenreviews", ["create"]),
      rule("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", ["create"]),
      rule("", "services", read),
      rule("", "nodes", ["create", ...read]),
      rule("", "nodes/status", ["patch", "update"]),
      rule("", "nodes", ["patch", "update"]),
      rule(["", "events.k8s.io"], "events", ["create", "patch", "update"]),
      rule("", "pods", read),
      rule("", "pods", ["create", "delete"]),
      rule("", "pods/status", ["patch", "update"]),
      rule("", "pods/eviction", ["create"]),
      rule("", "configmaps secrets", read),
      rule("", "persistentvolumeclaims persistentvolumes", ["get"]),
      rule("", "endpoints", ["get"]),
      rule("certificates.k8s.io", "certificatesigningrequests", ["create", ...read]),
      rule("coordination.k8s.io", "leases", ["create", "delete", "get", "patch", "update"]),
      rule("storage.k8s.io", "volumeattachments", ["get"]),
      rule("", "serviceaccounts/token", ["create"]),
      rule("", "persistentvolumeclaims/status", ["get", "patch", "update"]),
      rule("storage.k8s.io", "csidrivers", read),
      rule("storage.k8s.io", "csinodes", ["create", "delete", "get", "patch", "update"]),
      rule("node.k8s.io", "runtimeclasses", read),
      rule("resource.k8s.io", "resourceclaims", ["get"]),
      rule("resource.k8s.io", "resourceslices", ["deletecollection"]),
      rule(certificates, "clustertrustbundles", read),
      rule("", "serviceaccounts", ["get"]),
      rule(certificates, "podcertificaterequests", ["create", ...read]),
    ],
  },
  { name: "system:kubelet-api-admin", rules: [rule("", "nodes", read), rule("", "nodes", ["proxy"]), rule("", "nodes/log nodes/metrics nodes/proxy nodes/stats", ["*"]), rule("", "nodes/configz nodes/healthz nodes/pods", ["*"])] },
  { name: "system:node-bootstrapper", rules: [rule(certificates, "certificatesigningrequests", ["create", ...read])] },
  { name: "system:certificates.k8s.io:certificatesigningrequests:nodeclient", rules: [rule(certificates, "certificatesigningrequests/nodeclient", ["create"])] },
  { name: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", rules: [rule(certificates, "certificatesigningrequests/selfnodeclient", ["create"])] },
  ...["kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown"].map((signer) => ({
    name: `system:certificates.k8s.io:${signer}-approver`,
    rules: [{ apiGroups: [certificates], resources: ["signers"], resourceNames: [`kubernetes.io/${signer}`], verbs: ["approve"] }],
  })),
  { name: "system:volume-scheduler", rules: [rule("", "persistentvolumes", [...read, "patch", "update"]), rule("storage.k8s.io", "storageclasses", read), rule("", "persistentvolumeclaims", [...read, "patch", "update"])] },
  { name: "system:node-proxier", rules: [rule("", "endpoints services", ["list", "watch"]), rule("", "nodes", read), rule(["", "events.k8s.io"], "events", ["create", "patch", "update"]), rule("networking.k8s.io", "servicecidrs", ["list", "watch"]), rule("discovery.k8s.io", "endpointslices", ["list", "watch"])] },
  { name: "system:kube-aggregator", rules: [rule("", "endpoints services", read)] },
  {
    name: "system:kube-controller-manager",
    rules: [
      rule(events, "events", ["create", "patch", "update"]),
      rule("coordination.k8s.io", "leases", ["create"]),
      { ...rule("coordination.k8s.io", "leases", ["get", "update"]), resourceNames: ["kube-controller-manager"] },
      rule("", "secrets serviceaccounts", ["create"]),
      rule("", "secrets", ["delete"]),
      rule("", "configmaps namespaces secrets serviceaccounts", ["get"]),
      rule("", "secrets serviceaccounts", ["update"]),
      rule("authentication.k8s.io", "tokenreviews", ["create"]),
      rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
      rule("*", "*", ["list", "watch"]),
      rule("", "serviceaccounts/token", ["create"]),
    ],
  },
  {
    name: "system:kube-scheduler",
    rules: [
      rule(events, "events", ["create", "patch", "update"]),
      rule("coordination.k8s.io", "leases", ["create"]),
      { ...rule("coordination.k8s.io", "leases", ["update", ...read]), resourceNames: ["kube-scheduler"] },
      rule("coordination.k8s.io", "leasecandidates", all),
      rule("", "nodes", read),
      rule("", "pods", ["delete", ...read]),
      rule("", "bindings pods/binding", ["create"]),
      rule("", "pods/status", ["patch", "update"]),
      rule("", "replicationcontrollers services", read),
      rule(["apps", "extensions"], "replicasets", read),
      rule("apps", "statefulsets", read),
      rule("policy", "poddisruptionbudgets", read),
      rule("", "persistentvolumeclaims persistentvolumes", read),
      rule("authentication.k8s.io", "tokenreviews", ["create"]),
      rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
      rule("storage.k8s.io", "csinodes", read),
      rule("storage.k8s.io", "volumeattachments", read),
      rule("", "namespaces", read),
      rule("storage.k8s.io", "csidrivers", read),
      rule("storage.k8s.io", "csistoragecapacities", read),
      rule("resource.k8s.io", "deviceclasses", read),
      rule("resource.k8s.io", "resourceclaims", ["patch", "update", ...read]),
      rule("resource.k8s.io", "resourceclaims/status", ["patch", "update", ...read]),
      rule("", "pods/finalizers", ["update"]),
      rule("resource.k8s.io", "resourceslices", read),
    ],
  },
  { name: "system:cluster-trust-bundle-discovery", rules: [rule(certificates, "clustertrustbundles", read)] },
];

interface Subject {
  kind: string;
  name: string;
  apiGroup?: string;
  namespace?: string;
}
const groupSubject = (name: string): Subject => ({ kind: "Group", apiGroup: rbac, name });
const userSubject = (name: string): Subject => ({ kind: "User", apiGroup: rbac, name });
export const bootstrapBindings: { name: string; role: string; subjects: Subject[] }[] = [
  { name: "cluster-admin", role: "cluster-admin", subjects: [groupSubject("system:masters")] },
  { name: "system:discovery", role: "system:discovery", subjects: [groupSubject("system:authenticated")] },
  { name: "system:basic-user", role: "system:basic-user", subjects: [groupSubject("system:authenticated")] },
  { name: "system:public-info-viewer", role: "system:public-info-viewer", subjects: [groupSubject("system:authenticated"), groupSubject("system:unauthenticated")] },
  { name: "system:monitoring", role: "system:monitoring", subjects: [groupSubject("system:monitoring")] },
  { name: "system:service-account-issuer-discovery", role: "system:service-account-issuer-discovery", subjects: [groupSubject("system:serviceaccounts")] },
  { name: "system:node-proxier", role: "system:node-proxier", subjects: [userSubject("system:kube-proxy")] },
  { name: "system:volume-scheduler", role: "system:volume-scheduler", subjects: [userSubject("system:kube-scheduler")] },
  { name: "system:kube-controller-manager", role: "system:kube-controller-manager", subjects: [userSubject("system:kube-controller-manager")] },
  { name: "system:kube-scheduler", role: "system:kube-scheduler", subjects: [userSubject("system:kube-scheduler")] },
  { name: "system:node", role: "system:node", subjects: [] },
  { name: "system:cluster-trust-bundle-discovery", role: "system:cluster-trust-bundle-discovery", subjects: [groupSubject("system:serviceaccounts")] },
  { name: "system:kube-dns", role: "system:kube-dns", subjects: [{ kind: "ServiceAccount", name: "kube-dns", namespace: "kube-system" }] },
];

const metadataOf = (name: string, labels: Record<string, string> = {}) => ({ name, labels: { "kubernetes.io/bootstrapping": "rbac-defaults", ...labels }, annotations: { "rbac.authorization.kubernetes.io/autoupdate": "true" } });
const autoupdate = (object: KubeObject) => object.metadata.annotations?.["rbac.authorization.kubernetes.io/autoupdate"] !== "false";

/**
 * Creates what is missing and brings back what somebody took away, except where autoupdate is "false"; what was added
 * stays. Source: k8s.io/kubernetes/pkg/registry/rbac/rest/storage_rbac.go.
 */
export async function bootstrapRbac(client: Client): Promise<void> {
  const roles = bootstrapRoles.map(({ name, rules, labels, aggregates }) => ({
    apiVersion: `${rbac}/v1`,
    kind: "ClusterRole",
    metadata: metadataOf(name, labels),
    ...(aggregates !== undefined && { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { [aggregates]: "true" } }] } }),
    rules,
  }));
  const bindings = bootstrapBindings.map(({ name, role, subjects }) => ({ apiVersion: `${rbac}/v1`, kind: "ClusterRoleBinding", metadata: metadataOf(name), roleRef: { apiGroup: rbac, kind: "ClusterRole", name: role }, ...(subjects.length > 0 && { subjects }) }));
  const [haveRoles, haveBindings] = await Promise.all([client.list(resources.clusterRoles), client.list(resources.clusterRoleBindings)]);
  const rolesByName = new Map(haveRoles.items.map((role) => [role.metadata.name, role]));
  const bindingsByName = new Map(haveBindings.items.map((binding) => [binding.metadata.name, binding]));
  const ignoreRace = (error: unknown) => {
    if (!(error instanceof StatusError) || error.code !== 409) throw error;
  };
  await Promise.all([
    ...roles.map(async (role) => {
      const found = rolesByName.get(role.metadata.name);
      if (!found) return void (await client.create(resources.clusterRoles, undefined, role).catch(ignoreRace));
      if (!autoupdate(found)) return;
      const have = (found["rules"] as PolicyRule[] | undefined) ?? [];
      const lacking = role.aggregationRule ? [] : uncovered(have, role.rules);
      const metadata = lackingMetadata(found, role);
      const aggregation = role.aggregationRule && !found["aggregationRule"] ? { aggregationRule: role.aggregationRule } : {};
      if (lacking.length === 0 && !metadata && !("aggregationRule" in aggregation)) return;
      await client.patch(resources.clusterRoles, undefined, role.metadata.name, { ...(metadata && { metadata }), ...aggregation, ...(lacking.length > 0 && { rules: [...have, ...lacking] }) });
    }),
    ...bindings.map(async (binding) => {
      let found = bindingsByName.get(binding.metadata.name);
      if (found && !autoupdate(found)) return;
      if (found && (found["roleRef"] as { name: string }).name !== binding.roleRef.name) {
        // A binding's role cannot be changed: it is made anew.
        await client.delete(resources.clusterRoleBindings, undefined, binding.metadata.name, { preconditions: { uid: found.metadata.uid } });
        found = undefined;
      }
      if (!found) return void (await client.create(resources.clusterRoleBindings, undefined, binding).catch(ignoreRace));
      const have = (found["subjects"] as Subject[] | undefined) ?? [];
      const lacking = (binding.subjects ?? []).filter((wanted) => !have.some((subject) => subject.kind === wanted.kind && subject.name === wanted.name && subject.namespace === wanted.namespace));
      const metadata = lackingMetadata(found, binding);
      if (lacking.length > 0 || metadata) await client.patch(resources.clusterRoleBindings, undefined, binding.metadata.name, { ...(metadata && { metadata }), ...(lacking.length > 0 && { subjects: [...have, ...lacking] }) });
    }),
  ]);
}

/** Labels and annotations that somebody took away. */
function lackingMetadata(found: KubeObject, wanted: { metadata: { labels: Record<string, string>; annotations: Record<string, string> } }): object | undefined {
  const differ = (have: Record<string, string> | undefined, want: Record<string, string>) => Object.entries(want).some(([key, value]) => have?.[key] !== value);
  const { labels, annotations } = wanted.metadata;
  return differ(found.metadata.labels, labels) || differ(found.metadata.annotations, annotations) ? { labels, annotations } : undefined;
}
