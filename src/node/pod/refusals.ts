import type { Condition } from "../../api/meta.ts";
import type { Pod } from "../../api/types.ts";
import type { NodeContext } from "../context.ts";
import { conditionType } from "../node-object.ts";
import type { Finding } from "../sandbox/sandbox.ts";
import { hasGroups } from "./groups.ts";
import { meshRefusal } from "./mesh.ts";

/*
 * Refuse, never skip: what a pod asks for and cannot have here ends up in one of these three.
 */

/** Why a pod cannot run here whatever its containers are; undefined if it can. */
export function refusalOf(pod: Pod): string | undefined {
  const spec = pod.spec!;
  for (const field of ["hostNetwork", "hostPID", "hostIPC"] as const) {
    if (spec[field]) return `${field} is refused: a pod never shares the machine's own namespaces with Wherry and its user`;
  }
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    const { privileged, capabilities, procMount } = container.securityContext ?? {};
    if (privileged) return `container ${JSON.stringify(container.name)}: privileged is refused: pods run without any capability`;
    // Every pod may bind low ports already, so the first asks for nothing new; the other is in each copy that `kubectl debug`
    // makes, and admission has warned that it is not granted.
    const added = (capabilities?.add ?? []).filter((name) => name !== "NET_BIND_SERVICE" && name !== "SYS_PTRACE");
    if (added.length > 0) return `container ${JSON.stringify(container.name)}: added capabilities (${added.join(", ")}) are refused: pods run without any capability`;
    if (procMount === "Unmasked") return `container ${JSON.stringify(container.name)}: procMount Unmasked is refused`;
    if ((container.volumeDevices ?? []).length > 0) return `container ${JSON.stringify(container.name)}: volumeDevices are refused: there are no block volumes here`;
    for (const port of container.ports ?? []) if (port.hostPort) return `container ${JSON.stringify(container.name)}: hostPort ${port.hostPort} is refused: use a Service of type NodePort or LoadBalancer`;
  }
  return undefined;
}

/** What the pod asks for, runs without, and is told of by an Event; nothing here is a guard. */
export function notHonoured(pod: Pod, ctx: Pick<NodeContext, "root" | "sandbox">): string[] {
  const { mode } = ctx.sandbox;
  const spec = pod.spec!;
  const found: string[] = [];
  if (spec.shareProcessNamespace && mode === "plain") found.push("shareProcessNamespace: without namespaces every program is one of the machine's processes, and PID 1 is the machine's");
  if (!hasGroups(ctx)) {
    const why = ctx.root ? "without namespaces a pod is one user and one group of the machine" : "Wherry runs as an ordinary user, and so every pod has one user and one group";
    const { fsGroup, supplementalGroups = [] } = spec.securityContext ?? {};
    if (fsGroup !== undefined) found.push(`fsGroup ${fsGroup}: ${why}; volumes belong to it, and it may read and write them`);
    if (supplementalGroups.length > 0) found.push(`supplementalGroups (${supplementalGroups.join(", ")}): ${why}`);
  }
  const mesh = meshRefusal(pod, mode);
  if (mesh) found.push(mesh);
  if (spec.setHostnameAsFQDN) found.push("setHostnameAsFQDN: the host name is the short one");
  if (spec.runtimeClassName) found.push(`runtimeClassName ${spec.runtimeClassName}: there is one way to run a pod here`);
  if (spec.securityContext?.sysctls?.length) found.push(`sysctls (${spec.securityContext.sysctls.map(({ name }) => name).join(", ")}): the pod has the kernel's defaults`);
  for (const { name, securityContext, restartPolicyRules } of [...(spec.initContainers ?? []), ...spec.containers]) {
    const { seLinuxOptions, seccompProfile, appArmorProfile } = { ...spec.securityContext, ...securityContext };
    if (seLinuxOptions) found.push(`seLinuxOptions of container ${name}`);
    if (seccompProfile?.type === "Localhost") found.push(`seccompProfile ${seccompProfile.localhostProfile} of container ${name}: Wherry's own filter is used where the machine allows one`);
    if (appArmorProfile?.type === "Localhost") found.push(`appArmorProfile ${appArmorProfile.localhostProfile} of container ${name}`);
    if (securityContext?.capabilities?.add?.includes("SYS_PTRACE")) found.push(`SYS_PTRACE of container ${name}: containers run without any capability`);
    if (restartPolicyRules?.length) found.push(`restartPolicyRules of container ${name}: its restartPolicy alone decides`);
  }
  for (const { name, emptyDir } of spec.volumes ?? []) {
    const users = [...(spec.initContainers ?? []), ...spec.containers].filter(({ volumeMounts }) => volumeMounts?.some((mount) => mount.name === name)).length;
    if (mode === "plain" && emptyDir?.medium === "Memory" && users > 1) found.push(`medium Memory of emptyDir ${name}: several containers share it, so it lies on disk`);
  }
  return found;
}

/** Conditions of the pod for what this machine does not enforce and the pod relies on. */
export function unenforced(pod: Pod, findings: readonly Finding[]): Condition[] {
  const limits = pod.spec!.containers.flatMap(({ resources }) => Object.keys(resources?.limits ?? {}));
  const matters: Record<string, boolean> = { namespaces: true, "memory-limits": limits.includes("memory"), "cpu-limits": limits.includes("cpu") };
  return findings.filter(({ id, enforced }) => !enforced && matters[id]).map(({ id, message }) => ({ type: conditionType(id), status: "False", reason: "NotEnforced", message }));
}
