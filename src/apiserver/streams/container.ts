import type { KubeObject } from "../../api/meta.ts";
import { badRequestError } from "../../api/status.ts";
import type { PodSpec } from "../../api/types.ts";

/**
 * The container that is meant: the named one, else the only one, else an ask for a choice (kubectl itself looks at
 * the default-container annotation before). Source: k8s.io/kubernetes/pkg/registry/core/pod/strategy.go.
 */
export function containerOf(pod: KubeObject, name: string): string {
  const spec = pod["spec"] as PodSpec;
  const names = (containers: readonly { name: string }[] | undefined) => (containers ?? []).map((container) => container.name);
  const [plain, init, ephemeral] = [names(spec.containers), names(spec.initContainers), names(spec.ephemeralContainers)];
  if (name !== "") {
    if (![...plain, ...init, ...ephemeral].includes(name)) throw badRequestError(`container ${name} is not valid for pod ${pod.metadata.name}`);
    return name;
  }
  if (plain.length === 1) return plain[0]!;
  const others = init.length > 0 ? ` or one of the init containers: [${init.join(" ")}]` : "";
  throw badRequestError(`a container name must be specified for pod ${pod.metadata.name}, choose one of: [${plain.join(" ")}]${others}`);
}
