import { quantityMilliValue } from "../../api/quantity.ts";
import { nodeName } from "../../api/resources.ts";
import type { Container, Pod } from "../../api/types.ts";
import { ContainerError } from "../context.ts";

/**
 * The value of a downward API field (`metadata.labels['app']`, `status.podIP`, …).
 * Source: k8s.io/kubernetes/pkg/fieldpath and pkg/kubelet/kubelet_pods.go.
 */
export function fieldValue(pod: Pod, path: string, addresses: { podIP: string; hostIP: string }): string {
  const subscript = /^(metadata\.(?:labels|annotations))\['([^']*)'\]$/.exec(path);
  if (subscript) return (subscript[1] === "metadata.labels" ? pod.metadata.labels : pod.metadata.annotations)?.[subscript[2]!] ?? "";
  switch (path) {
    case "metadata.name":
      return pod.metadata.name;
    case "metadata.namespace":
      return pod.metadata.namespace ?? "";
    case "metadata.uid":
      return pod.metadata.uid;
    case "metadata.labels":
      return formatMap(pod.metadata.labels);
    case "metadata.annotations":
      return formatMap(pod.metadata.annotations);
    case "spec.nodeName":
      return pod.spec?.nodeName ?? nodeName;
    case "spec.serviceAccountName":
      return pod.spec?.serviceAccountName ?? "default";
    case "status.hostIP":
    case "status.hostIPs":
      return addresses.hostIP;
    case "status.podIP":
    case "status.podIPs":
      return addresses.podIP;
    default:
      throw new ContainerError("CreateContainerConfigError", `unsupported fieldPath: ${path}`);
  }
}

/** `key="value"` lines in order of the keys, values quoted as Go's %q does. */
export function formatMap(map: Record<string, string> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

/**
 * A container's request or limit in units of the divisor, rounded up. What is not limited is the machine's.
 */
export function resourceValue(container: Container, resource: string, divisor: string | number | undefined, machine: { cpu: number; memoryBytes: number }): string {
  const [kind, name] = resource.split(".") as ["limits" | "requests", string];
  const own = container.resources?.[kind]?.[name];
  const whole = kind === "limits" ? (name === "cpu" ? machine.cpu : name === "memory" ? machine.memoryBytes : 0) : 0;
  const unit = divisor === undefined || quantityMilliValue(String(divisor)) === 0 ? "1" : String(divisor);
  return String(Math.ceil(quantityMilliValue(String(own ?? whole)) / quantityMilliValue(unit)));
}
