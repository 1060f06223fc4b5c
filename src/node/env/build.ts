import type { Container, Pod } from "../../api/types.ts";
import { ContainerError, type NodeContext } from "../context.ts";
import { expand } from "./expand.ts";
import { fieldValue, resourceValue } from "./fields.ts";
import { linkedServices, serviceVariables } from "./services.ts";

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface EnvironmentInput {
  ctx: Pick<NodeContext, "objects" | "network" | "sandbox" | "hostIP">;
  pod: Pod;
  container: Container;
  image: Readonly<Record<string, string>>;
  podIP: string;
  hostname: string;
  homeDir: string;
  machine: { cpu: number; memoryBytes: number };
}

/**
 * A container's whole environment, later sources over earlier ones: PATH and HOSTNAME, image, Services, envFrom,
 * env (whose values may refer to what stands before them and to service variables).
 * Source of order and texts: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables).
 */
export async function buildEnvironment(input: EnvironmentInput): Promise<Record<string, string>> {
  const { ctx, pod, container } = input;
  const namespace = pod.metadata.namespace!;
  const links = serviceVariables(linkedServices(ctx.objects.services(namespace), ctx.objects.services("default"), pod.spec!.enableServiceLinks ?? true));
  if (!links["KUBERNETES_SERVICE_HOST"]) {
    Object.assign(links, { KUBERNETES_SERVICE_HOST: ctx.sandbox.network.apiServiceIP, KUBERNETES_SERVICE_PORT: "443", KUBERNETES_SERVICE_PORT_HTTPS: "443" });
  }
  const result: Record<string, string> = {};
  const configMaps = new Map<string, Record<string, string>>();

  for (const source of container.envFrom ?? []) {
    const prefix = source.prefix ?? "";
    const data = source.configMapRef
      ? await configMapData(ctx, namespace, source.configMapRef.name ?? "", source.configMapRef.optional ?? false, configMaps)
      : source.secretRef
        ? await secretData(ctx, namespace, source.secretRef.name ?? "", source.secretRef.optional ?? false)
        : {};
    for (const [key, value] of Object.entries(data ?? {})) result[prefix + key] = value;
  }

  const known: Record<string, string> = { ...links, ...result };
  for (const { name, value, valueFrom } of container.env ?? []) {
    let text: string | undefined = "";
    if (value !== undefined && value !== "") text = expand(value, (key) => known[key]);
    else if (valueFrom?.fieldRef) text = fieldValue(pod, valueFrom.fieldRef.fieldPath, { podIP: input.podIP, hostIP: ctx.hostIP });
    else if (valueFrom?.resourceFieldRef) {
      const { containerName, resource, divisor } = valueFrom.resourceFieldRef;
      const target = containerName ? [...(pod.spec!.initContainers ?? []), ...pod.spec!.containers].find((candidate) => candidate.name === containerName) : container;
      if (!target) throw new ContainerError("CreateContainerConfigError", `container ${containerName} not found`);
      text = resourceValue(target, resource, divisor, input.machine);
    } else if (valueFrom?.configMapKeyRef) {
      const { name: from = "", key, optional = false } = valueFrom.configMapKeyRef;
      const data = await configMapData(ctx, namespace, from, optional, configMaps);
      text = data?.[key];
      if (data && text === undefined && !optional) throw new ContainerError("CreateContainerConfigError", `couldn't find key ${key} in ConfigMap ${namespace}/${from}`);
    } else if (valueFrom?.secretKeyRef) {
      const { name: from = "", key, optional = false } = valueFrom.secretKeyRef;
      const data = await secretData(ctx, namespace, from, optional);
      text = data?.[key];
      if (data && text === undefined && !optional) throw new ContainerError("CreateContainerConfigError", `couldn't find key ${key} in Secret ${namespace}/${from}`);
    }
    // An optional reference to what does not exist leaves the variable unset.
    if (text === undefined) continue;
    known[name] = text;
    result[name] = text;
  }
  return { PATH: defaultPath, HOME: input.homeDir, HOSTNAME: input.hostname, ...input.image, ...links, ...result };
}

async function configMapData(ctx: EnvironmentInput["ctx"], namespace: string, name: string, optional: boolean, seen: Map<string, Record<string, string>>): Promise<Record<string, string> | undefined> {
  const cached = seen.get(name);
  if (cached) return cached;
  const object = await ctx.objects.configMap(namespace, name);
  if (!object) {
    if (optional) return undefined;
    throw new ContainerError("CreateContainerConfigError", `configmap ${JSON.stringify(name)} not found`);
  }
  const data = object.data ?? {};
  seen.set(name, data);
  return data;
}

async function secretData(ctx: EnvironmentInput["ctx"], namespace: string, name: string, optional: boolean): Promise<Record<string, string> | undefined> {
  const object = await ctx.objects.secret(namespace, name);
  if (!object) {
    if (optional) return undefined;
    throw new ContainerError("CreateContainerConfigError", `secret ${JSON.stringify(name)} not found`);
  }
  return Object.fromEntries(Object.entries(object.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]));
}
