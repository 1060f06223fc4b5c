import type { KubeObject } from "../../../meta.ts";
import { addQuantity, compareQuantity, formatQuantity, parseQuantity, type Quantity } from "../../../quantity.ts";
import { defaultClaimSpec } from "../claim-spec.ts";

// The draft's shape was proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/**
 * Defaults of a pod and of everything that holds a pod template. What is set here is exactly what upstream sets:
 * one field more or less, and every GitOps tool sees a difference for ever.
 * Source: k8s.io/kubernetes/pkg/apis/core/v1/defaults.go.
 */
export function defaultPod(pod: KubeObject): void {
  const spec = (pod.spec ??= {});
  defaultPodSpec(spec);
  // Upstream's conversion does this to pods, and not to templates.
  if (spec.terminationGracePeriodSeconds < 0) spec.terminationGracePeriodSeconds = 1;
  // These belong to pods only: in a template they would show up as changes of old Deployments.
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) requestLimits(container.resources);
  requestForPod(spec);
  spec.enableServiceLinks ??= true;
  if (pod.status) defaultAddresses(pod.status);
  if (spec.hostNetwork === true) {
    for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) for (const port of container.ports ?? []) port.hostPort ||= port.containerPort;
  }
}

/** The first of the list by its old name, which counts when the two differ. */
function defaultAddresses(status: Draft): void {
  const first = status.podIPs?.[0]?.ip;
  if (status.podIP && status.podIP !== first) status.podIPs = [{ ip: status.podIP }];
  else if (first && !status.podIP) status.podIP = first;
}

/** What is limited is also requested, unless said otherwise. */
function requestLimits(resources: Draft): void {
  if (!resources?.limits) return;
  resources.requests = { ...resources.limits, ...resources.requests };
}

/** A pod with limits of its own requests what its containers do, and its limit where they request nothing. */
function requestForPod(spec: Draft): void {
  if (!spec.resources?.limits) return;
  const wanted = containerRequests(spec);
  spec.resources.requests = { ...spec.resources.limits, ...wanted, ...spec.resources.requests };
}

/** CPU and memory that all containers together ask for: those that run side by side, or the greediest init container. */
function containerRequests(spec: Draft): Record<string, string> {
  const result: Record<string, string> = {};
  for (const resource of ["cpu", "memory"]) {
    const amount = (container: Draft): Quantity => parseQuantity(String(container.resources?.requests?.[resource] ?? "0"));
    let steady = (spec.containers ?? []).map(amount).reduce(addQuantity, parseQuantity("0"));
    let sidecars = parseQuantity("0");
    let peak = parseQuantity("0");
    for (const container of spec.initContainers ?? []) {
      if (container.restartPolicy === "Always") sidecars = addQuantity(sidecars, amount(container));
      const now = container.restartPolicy === "Always" ? sidecars : addQuantity(sidecars, amount(container));
      if (compareQuantity(now, peak) > 0) peak = now;
    }
    steady = addQuantity(steady, sidecars);
    const most = compareQuantity(peak, steady) > 0 ? peak : steady;
    if (most.amount !== 0n) result[resource] = formatQuantity(most);
  }
  return result;
}

/** `metadata` and `spec` of a workload's template. */
export function defaultPodTemplate(template: Draft): void {
  template.metadata ??= {};
  defaultPodSpec((template.spec ??= {}));
}

function defaultPodSpec(spec: Draft): void {
  spec.dnsPolicy ||= "ClusterFirst";
  spec.restartPolicy ||= "Always";
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= 30;
  spec.schedulerName ||= "default-scheduler";
  mirrorServiceAccount(spec);
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])]) defaultContainer(container);
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
}

/** `serviceAccount` is the old name of `serviceAccountName` and always says the same. */
export function mirrorServiceAccount(spec: Draft): void {
  spec.serviceAccountName ||= spec.serviceAccount;
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else {
    delete spec.serviceAccountName;
    delete spec.serviceAccount;
  }
}

function defaultContainer(container: Draft): void {
  container.imagePullPolicy ||= tagOf(container.image ?? "") === "latest" ? "Always" : "IfNotPresent";
  container.terminationMessagePath ||= "/dev/termination-log";
  container.terminationMessagePolicy ||= "File";
  container.resources ??= {};
  for (const port of container.ports ?? []) port.protocol ||= "TCP";
  for (const variable of container.env ?? []) defaultFieldSource(variable.valueFrom);
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) if (probe) defaultProbe(probe);
  for (const hook of [container.lifecycle?.postStart, container.lifecycle?.preStop]) if (hook) defaultHttpGet(hook.httpGet);
}

/** The tag that an image's name asks for: "latest" when neither tag nor digest is named, "" when it is no name at all. */
export function tagOf(image: string): string {
  const match = /^(?<repository>(?:[^/@]+\/)*[^/:@]+)(?::(?<tag>[\w][\w.-]{0,127}))?(?<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$/.exec(image);
  if (!match) return "";
  const path = match.groups!.repository!.split("/");
  // The first part may be a host; all others must be lower case, or the whole is no image's name.
  const host = path.length > 1 && /[.:]|^localhost$/.test(path[0]!);
  if (path.slice(host ? 1 : 0).some((part) => !/^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/.test(part))) return "";
  return match.groups!.tag ?? (match.groups!.digest ? "" : "latest");
}

function defaultProbe(probe: Draft): void {
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  defaultHttpGet(probe.httpGet);
  if (probe.grpc) probe.grpc.service ??= "";
}

function defaultHttpGet(action: Draft): void {
  if (!action) return;
  action.path ||= "/";
  action.scheme ||= "HTTP";
}

/** `fieldRef` and `resourceFieldRef`, in env and in downward API items. */
function defaultFieldSource(source: Draft): void {
  if (source?.fieldRef) source.fieldRef.apiVersion ||= "v1";
  if (source?.resourceFieldRef) source.resourceFieldRef.divisor ??= "0";
}

const fileMode = 0o644;

function defaultVolume(volume: Draft): void {
  if (Object.keys(volume).every((key) => key === "name" || volume[key] === undefined || volume[key] === null)) volume.emptyDir = {};
  for (const source of [volume.secret, volume.configMap, volume.downwardAPI, volume.projected]) if (source) source.defaultMode ??= fileMode;
  for (const item of volume.downwardAPI?.items ?? []) defaultFieldSource(item);
  for (const source of volume.projected?.sources ?? []) {
    if (source.serviceAccountToken) source.serviceAccountToken.expirationSeconds ??= 3600;
    for (const item of source.downwardAPI?.items ?? []) defaultFieldSource(item);
  }
  if (volume.ephemeral?.volumeClaimTemplate) {
    volume.ephemeral.volumeClaimTemplate.metadata ??= {};
    defaultClaimSpec((volume.ephemeral.volumeClaimTemplate.spec ??= {}));
  }
  if (volume.image) volume.image.pullPolicy ||= tagOf(volume.image.reference ?? "") === "latest" ? "Always" : "IfNotPresent";
  defaultVolumeSource(volume);
}

/** Sources that pods and PersistentVolumes share. */
export function defaultVolumeSource(source: Draft): void {
  if (source.hostPath) source.hostPath.type ??= "";
  if (source.iscsi) source.iscsi.iscsiInterface ||= "default";
  if (source.rbd) {
    source.rbd.pool ||= "rbd";
    source.rbd.user ||= "admin";
    source.rbd.keyring ||= "/etc/ceph/keyring";
  }
  if (source.azureDisk) {
    source.azureDisk.cachingMode ??= "ReadWrite";
    source.azureDisk.kind ??= "Shared";
    source.azureDisk.fsType ??= "ext4";
    source.azureDisk.readOnly ??= false;
  }
  if (source.scaleIO) {
    source.scaleIO.storageMode ||= "ThinProvisioned";
    source.scaleIO.fsType ||= "xfs";
  }
}
