import type { Pod } from "../../api/types.ts";
import type { NodeContext } from "../context.ts";
import type { PodSandboxSpec } from "../sandbox/sandbox.ts";

export type PodGroups = NonNullable<PodSandboxSpec["groups"]>;

/**
 * The groups that a pod has besides each container's own (fsGroup, supplementalGroups), and which of the machine's each
 * is: the same one for all pods of a namespace, so that they can share a volume, and nobody's else. Only where Wherry is
 * root and pods have user namespaces: elsewhere a pod has one id, which an Event says ({@link notHonoured}).
 */
export function groupsOf(ctx: Pick<NodeContext, "root" | "sandbox" | "uids">, pod: Pod): PodGroups {
  if (!hasGroups(ctx)) return [];
  const { fsGroup, supplementalGroups = [] } = pod.spec!.securityContext ?? {};
  return [...new Set([...(fsGroup === undefined ? [] : [fsGroup]), ...supplementalGroups])].map((inside) => ({ inside, host: ctx.uids.group(pod, inside) }));
}

export const hasGroups = ({ root, sandbox }: Pick<NodeContext, "root" | "sandbox">): boolean => root && sandbox.mode === "isolated";
