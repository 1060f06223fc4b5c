import type { Client } from "../../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { StatusError } from "../../api/status.ts";

/**
 * The levels and schemas that every cluster has. Created when missing and never changed back: they are the user's.
 * Source: k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap/default.go.
 */
const group = "flowcontrol.apiserver.k8s.io";
export const flowSchemas: GroupVersionResource = { group, version: "v1", resource: "flowschemas" };
export const priorityLevels: GroupVersionResource = { group, version: "v1", resource: "prioritylevelconfigurations" };

const limited = (name: string, nominalConcurrencyShares: number, lendablePercent: number, queuing?: { queues: number; handSize: number; queueLengthLimit: number }) => ({
  metadata: { name },
  spec: { type: "Limited", limited: { nominalConcurrencyShares, lendablePercent, limitResponse: queuing ? { type: "Queue", queuing } : { type: "Reject" } } },
});
const levels = [
  { metadata: { name: "exempt" }, spec: { type: "Exempt", exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } } },
  limited("catch-all", 5, 0),
  limited("system", 30, 33, { queues: 64, handSize: 6, queueLengthLimit: 50 }),
  limited("node-high", 40, 25, { queues: 64, handSize: 6, queueLengthLimit: 50 }),
  limited("leader-election", 10, 0, { queues: 16, handSize: 4, queueLengthLimit: 50 }),
  limited("workload-high", 40, 50, { queues: 128, handSize: 6, queueLengthLimit: 50 }),
  limited("workload-low", 100, 90, { queues: 128, handSize: 6, queueLengthLimit: 50 }),
  limited("global-default", 20, 50, { queues: 128, handSize: 6, queueLengthLimit: 50 }),
];

const user = (name: string) => ({ kind: "User", user: { name } });
const of = (name: string) => ({ kind: "Group", group: { name } });
const account = (namespace: string, name: string) => ({ kind: "ServiceAccount", serviceAccount: { namespace, name } });
const any = { resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"], clusterScope: true, namespaces: ["*"] }], nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }] };
const on = (verbs: string[], apiGroups: string[], resources: string[], namespaces: string[], clusterScope = false) => ({ resourceRules: [{ verbs, apiGroups, resources, ...(namespaces.length > 0 && { namespaces }), ...(clusterScope && { clusterScope }) }] });
const election = ["get", "create", "update"];
const schema = (name: string, level: string, matchingPrecedence: number, distinguisher: string | undefined, subjects: object[], ...rules: object[]) => ({
  metadata: { name },
  spec: { priorityLevelConfiguration: { name: level }, matchingPrecedence, ...(distinguisher && { distinguisherMethod: { type: distinguisher } }), rules: rules.map((rule) => ({ subjects, ...rule })) },
});
const everybody = [of("system:unauthenticated"), of("system:authenticated")];
const schemas = [
  schema("exempt", "exempt", 1, undefined, [of("system:masters")], any),
  schema("probes", "exempt", 2, undefined, everybody, { nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/healthz", "/readyz", "/livez"] }] }),
  schema("system-leader-election", "leader-election", 100, "ByUser", [user("system:kube-controller-manager"), user("system:kube-scheduler"), of("system:serviceaccounts:kube-system")], on(election, ["coordination.k8s.io"], ["leases"], ["kube-system"])),
  schema("endpoint-controller", "workload-high", 150, "ByUser", [user("system:kube-controller-manager"), account("kube-system", "endpoint-controller"), account("kube-system", "endpointslicemirroring-controller")], on(election, [""], ["endpoints"], ["*"])),
  schema("workload-leader-election", "leader-election", 200, "ByUser", [of("system:serviceaccounts")], on(election, ["coordination.k8s.io"], ["leases"], ["*"])),
  schema("system-node-high", "node-high", 400, "ByUser", [of("system:nodes")], on(["*"], [""], ["nodes", "nodes/status"], ["*"], true), on(["*"], ["coordination.k8s.io"], ["leases"], ["*"])),
  schema("system-nodes", "system", 500, "ByUser", [of("system:nodes")], any),
  schema("kube-controller-manager", "workload-high", 800, "ByNamespace", [user("system:kube-controller-manager")], any),
  schema("kube-scheduler", "workload-high", 800, "ByNamespace", [user("system:kube-scheduler")], any),
  schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", [of("system:serviceaccounts:kube-system")], any),
  schema("service-accounts", "workload-low", 9000, "ByUser", [of("system:serviceaccounts")], any),
  schema("global-default", "global-default", 9900, "ByUser", everybody, any),
  schema("catch-all", "catch-all", 10_000, "ByUser", everybody, any),
];

export async function bootstrapFairness(client: Client): Promise<void> {
  const createMissing = async (resource: GroupVersionResource, wanted: readonly { metadata: { name: string } }[]) => {
    const there = new Set((await client.list(resource)).items.map(({ metadata }) => metadata.name));
    await Promise.all(
      wanted
        .filter(({ metadata }) => !there.has(metadata.name))
        .map((object) =>
          client.create<KubeObject>(resource, undefined, object, { fieldManager: "api-priority-and-fairness-config-producer-v1" }).catch((error: unknown) => {
            if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
          }),
        ),
    );
  };
  await Promise.all([createMissing(priorityLevels, levels), createMissing(flowSchemas, schemas)]);
}
