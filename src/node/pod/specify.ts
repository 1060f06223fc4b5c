import { availableParallelism, totalmem } from "node:os";
import { quantityMilliValue, quantityValue } from "../../api/quantity.ts";
import { systemNamespace } from "../../api/resources.ts";
import type { Container, Pod } from "../../api/types.ts";
import { ContainerError, type NodeContext } from "../context.ts";
import { buildEnvironment } from "../env/build.ts";
import { expand } from "../env/expand.ts";
import { runtimeVariables } from "../env/runtime.ts";
import { liveFolder, makeRoom } from "../images/artifact-image.ts";
import type { Image } from "../images/image.ts";
import { containerUser } from "../images/user.ts";
import type { ContainerSpec, Mount, PodSandboxSpec } from "../sandbox/sandbox.ts";
import type { PodGroups } from "./groups.ts";
import { meshParts } from "./mesh.ts";
import type { PodVolumes } from "../volumes/volumes.ts";

/** A pod's host name: spec.hostname or its name, cut to what a host name may hold. */
export function podHostname(pod: Pod): string {
  return (pod.spec!.hostname ?? pod.metadata.name).slice(0, 63).replace(/[-.]+$/, "");
}

export function podSandboxSpec(pod: Pod, dir: string, hostUid: number, dnsIP: string, groups: PodGroups = [], memoryVolumes: NonNullable<PodSandboxSpec["memoryVolumes"]> = []): PodSandboxSpec {
  const { namespace = "" } = pod.metadata;
  const spec = pod.spec!;
  const config = spec.dnsConfig ?? {};
  const cluster = spec.dnsPolicy !== "None" && spec.dnsPolicy !== "Default";
  // "Default" would be the host's own resolver, which no pod can reach: names outside are resolved by ours too.
  const searches = cluster ? [`${namespace}.svc.cluster.local`, "svc.cluster.local", "cluster.local"] : [];
  const options = new Map<string, string | undefined>(cluster ? [["ndots", "5"]] : []);
  for (const { name, value } of config.options ?? []) if (name) options.set(name, value);
  const nameservers = spec.dnsPolicy === "None" ? [] : [dnsIP];
  return {
    uid: pod.metadata.uid,
    namespace,
    name: pod.metadata.name,
    hostname: podHostname(pod),
    dir,
    hostUid,
    ...(groups.length > 0 && { groups }),
    ...(memoryVolumes.length > 0 && { memoryVolumes }),
    ...(spec.shareProcessNamespace && { shareProcesses: true }),
    hostAliases: (spec.hostAliases ?? []).map(({ ip, hostnames }) => ({ ip, hostnames: hostnames ?? [] })),
    dns: {
      nameservers: [...new Set([...nameservers, ...(config.nameservers ?? [])])].slice(0, 3),
      searches: [...new Set([...searches, ...(config.searches ?? []), ...(cluster ? [`${systemNamespace}.svc.cluster.local`] : [])])].slice(0, 32),
      options: [...options].map(([name, value]) => (value === undefined ? name : `${name}:${value}`)),
    },
  };
}

export interface SpecifyInput {
  ctx: NodeContext;
  pod: Pod;
  container: Container;
  image: Image;
  podIP: string;
  volumes: PodVolumes;
}

/** Everything the sandbox must know to start a container. Throws ContainerError in kubelet's words. */
export async function specifyContainer({ ctx, pod, container, image, podIP, volumes }: SpecifyInput): Promise<ContainerSpec> {
  const user = containerUser(pod, container, image);
  const env = await buildEnvironment({
    ctx,
    pod,
    container,
    image: image.env,
    podIP,
    hostname: podHostname(pod),
    homeDir: user.homeDir,
    machine: { cpu: availableParallelism(), memoryBytes: totalmem() },
  });
  const lookup = (name: string) => env[name];
  // A command replaces the image's entrypoint and drops its cmd; arguments replace cmd alone.
  const command = container.command?.length ? container.command.map((word) => expand(word, lookup)) : image.entrypoint;
  const args = container.args?.length ? container.args.map((word) => expand(word, lookup)) : container.command?.length ? [] : image.cmd;
  const argv = [...command, ...args];
  if (argv.length === 0) throw new ContainerError("CreateContainerError", `no command specified: neither the image ${container.image} nor container ${container.name} names one`);

  let mounts: Mount[] = [...image.mounts];
  for (const mount of container.volumeMounts ?? []) {
    const found = await volumes.source(mount, env);
    // The pod's own mounts lie over what the image has at the same place.
    const same = mounts.findIndex(({ target }) => target === found.target);
    if (same >= 0) mounts.splice(same, 1);
    mounts.push(found);
  }
  for (const target of image.volumes) {
    // A volume of the pod at, above or below the place takes the image's part.
    const taken = mounts.some((mount) => mount.target === target || mount.target.startsWith(`${target}/`) || (target.startsWith(`${mount.target}/`) && !image.mounts.includes(mount)));
    if (!taken) mounts.push(await volumes.anonymous(container.name, target, liveFolder(image.mounts, target)));
  }
  const limits = containerLimits(container);
  const runtime = runtimeVariables({ argv, env, limits, cores: availableParallelism() });
  const mesh = meshParts(ctx, pod, podIP, runtime["NODE_OPTIONS"] ?? env["NODE_OPTIONS"]);
  mounts.push(...mesh.mounts);
  if (ctx.sandbox.mode === "isolated") for (const { target } of mounts) mounts = makeRoom(mounts, target);
  // Parents before what lies in them.
  mounts.sort((a, b) => a.target.split("/").length - b.target.split("/").length);
  const target = pod.spec!.ephemeralContainers?.find(({ name }) => name === container.name)?.targetContainerName;
  tellRuntime(ctx, pod, container.name, volumes, runtime);
  return {
    name: container.name,
    argv,
    env: { ...env, ...runtime, ...mesh.env },
    workingDir: container.workingDir || image.workingDir || "/",
    ...user,
    explicitUser: (container.securityContext?.runAsUser ?? pod.spec!.securityContext?.runAsUser) !== undefined,
    mounts,
    readOnlyRoot: container.securityContext?.readOnlyRootFilesystem ?? false,
    limits,
    stdin: container.stdin ?? false,
    tty: container.tty ?? false,
    ...(target && { processesOf: target }),
  };
}

/** What a container may use and what it asks for, in bytes and thousandths of a core. */
export function containerLimits(container: Pick<Container, "name" | "resources">): ContainerSpec["limits"] {
  const { memory, cpu } = container.resources?.limits ?? {};
  const asked = container.resources?.requests?.["cpu"] ?? cpu;
  return { ...(asked !== undefined && { cpuRequestMillis: quantityMilliValue(String(asked)) }), ...(memory !== undefined && { memoryBytes: quantityValue(String(memory)) }), ...(cpu !== undefined && { cpuMillis: Math.max(1, quantityMilliValue(String(cpu))) }) };
}

/** "NODE_OPTIONS=… , GOMAXPROCS=1": what the container's program was started with because of its limits. */
export const runtimeTold = (volumes: PodVolumes, container: string): string => told.get(volumes)?.get(container) ?? "";

/** What was last said of each container's runtime, as long as its pod is here. */
const told = new WeakMap<PodVolumes, Map<string, string>>();

/** People look into `kubectl describe pod`; said once, not at each restart. */
function tellRuntime(ctx: NodeContext, pod: Pod, container: string, volumes: PodVolumes, variables: Readonly<Record<string, string>>): void {
  const text = Object.entries(variables).map(([name, value]) => (value.includes(" ") ? `${name}=${JSON.stringify(value)}` : `${name}=${value}`)).join(", ");
  const known = told.get(volumes) ?? new Map<string, string>();
  if (text === (known.get(container) ?? "")) return;
  told.set(volumes, known.set(container, text));
  if (text !== "") ctx.event(pod, "Normal", "RuntimeConfigured", `Set by the limits of container ${container}: ${text}`, container);
}
