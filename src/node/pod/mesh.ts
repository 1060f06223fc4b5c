import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Condition } from "../../api/meta.ts";
import { directFeedPort } from "../../api/network.ts";
import type { Pod } from "../../api/types.ts";
import type { NodeContext } from "../context.ts";
import type { Mount } from "../sandbox/sandbox.ts";

/** On a pod: "direct" has its Node programs dial the pods behind a Service by themselves, where nothing guards it. */
export const meshLabel = "wherry.dev/mesh";

/** Made by tools/bundle-preload.mjs; shipped in the published package. */
const bundledPreload = fileURLToPath(new URL("../../../.cache/preload.cjs", import.meta.url));
const preloadInPod = "/run/wherry/preload.cjs";

export const isDirect = (pod: Pod): boolean => pod.metadata.labels?.[meshLabel] === "direct";

/** Why the label is not heeded, if it is not; for people. */
export function meshRefusal(pod: Pod, mode: "isolated" | "plain"): string | undefined {
  const said = pod.metadata.labels?.[meshLabel];
  if (said === undefined || said === "listener") return undefined;
  if (said !== "direct") return `label ${meshLabel}=${said}: supported values: "direct", "listener"; calls go by the Service listeners`;
  return mode === "isolated" && !existsSync(bundledPreload) ? `label ${meshLabel}=direct: the preload is not there (node tools/bundle-preload.mjs makes it); calls go by the Service listeners` : undefined;
}

const conditionOf = (status: Condition["status"], reason: string, message: string): Condition => ({ type: "wherry.dev/Meshed", status, reason, message });

/**
 * What a pod is told of the mesh: that it dials by itself, as it has asked, and else whatever keeps it out. A pod without a word is meshed
 * by the listeners of Services, as nearly all are. `node`: the version of the Node program that was the first to say that it dials by
 * itself; undefined: none has.
 */
export function meshCondition(pod: Pod, mode: "isolated" | "plain", node: string | undefined): Condition | undefined {
  const label = pod.metadata.labels?.[meshLabel];
  const refusal = meshRefusal(pod, mode);
  if (refusal !== undefined) return conditionOf("False", "NotHonoured", refusal);
  if (mode === "plain") return conditionOf("False", "PlainMode", `without namespaces an address proves nobody: policies are not in force for this pod, and other pods reach it past its Services; ${node === undefined ? "what it calls by a Service is routed and balanced" : `Node ${node} dials by itself`}`);
  if (hasNoTcp(pod)) return conditionOf("False", "NoTCP", "all ports that its containers name are UDP or SCTP: routes and policies are about TCP");
  if (label !== "direct") return undefined;
  if (node === undefined) return conditionOf("False", "NoHello", "no Node program of the pod has loaded the preload; calls go by the Service listeners. A program that is not Node cannot load it, and one that is started without the pod's NODE_OPTIONS and WHERRY_MESH does not");
  return conditionOf("True", "Hello", `Node ${node} dials by itself`);
}

/** Ports need not be named: a pod that names none may listen at any. */
function hasNoTcp({ spec }: Pod): boolean {
  const ports = spec?.containers.flatMap(({ ports = [] }) => ports) ?? [];
  return ports.length > 0 && ports.every(({ protocol = "TCP" }) => protocol !== "TCP");
}

/** What a container of the pod gets for it: the preload, and where it asks. `options`: the NODE_OPTIONS that it has besides. */
export function meshParts({ sandbox }: Pick<NodeContext, "sandbox">, pod: Pod, podIP: string, options: string | undefined): { env: Record<string, string>; mounts: Mount[] } {
  if (!isDirect(pod) || meshRefusal(pod, sandbox.mode) !== undefined) return { env: {}, mounts: [] };
  const { dnsIP } = sandbox.network;
  const env = { WHERRY_MESH: JSON.stringify({ feed: `${dnsIP}:${directFeedPort}`, services: `${dnsIP.split(".").slice(0, 2).join(".")}.`, ip: podIP }) };
  // Plain mode loads it for every Node program.
  if (sandbox.mode === "plain") return { env, mounts: [] };
  return {
    env: { ...env, NODE_OPTIONS: [`--require ${preloadInPod}`, options].filter(Boolean).join(" ") },
    mounts: [{ kind: "bind", source: bundledPreload, target: preloadInPod, readOnly: true }],
  };
}
