/**
 * Which group comes first in discovery, and which version in its group. Higher is earlier; what is not listed is a
 * custom resource's. Source: k8s.io/kubernetes/pkg/controlplane/apiserver/aggregator.go, DefaultGenericAPIServicePriorities.
 */
const groups: Record<string, number> = {
  "": 18_000,
  apps: 17_800,
  "events.k8s.io": 17_750,
  "authentication.k8s.io": 17_700,
  "authorization.k8s.io": 17_600,
  autoscaling: 17_500,
  batch: 17_400,
  "certificates.k8s.io": 17_300,
  "networking.k8s.io": 17_200,
  policy: 17_100,
  "rbac.authorization.k8s.io": 17_000,
  "storage.k8s.io": 16_800,
  "apiextensions.k8s.io": 16_700,
  "admissionregistration.k8s.io": 16_700,
  "scheduling.k8s.io": 16_600,
  "coordination.k8s.io": 16_500,
  "node.k8s.io": 16_300,
  "discovery.k8s.io": 16_200,
  "resource.k8s.io": 16_200,
  "flowcontrol.apiserver.k8s.io": 16_100,
};
const stable = 15;

export function priorityOf(group: string, version: string, custom: boolean): { groupPriorityMinimum: number; versionPriority: number } {
  if (custom) return { groupPriorityMinimum: 1000, versionPriority: 100 };
  if (group === "metrics.k8s.io") return { groupPriorityMinimum: 100, versionPriority: 100 };
  return { groupPriorityMinimum: groups[group] ?? 16_000, versionPriority: group === "" ? 1 : group === "autoscaling" && version === "v2" ? 30 : version.includes("alpha") ? 9 : version.includes("beta") ? 12 : stable };
}
