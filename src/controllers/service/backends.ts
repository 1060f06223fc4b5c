import { resources } from "../../api/resources.ts";
import type { Container, Pod, Service } from "../../api/types.ts";
import { selectorMatches } from "../../api/validation/selector.ts";
import type { Cache } from "../cache.ts";
import { byName } from "../claim.ts";
import { stableJson } from "../pod-template.ts";
import { isFinished, isReady, isTerminating } from "../pods.ts";

/** Which pods stand behind a Service, on which ports: the common ground of EndpointSlices and Endpoints. */
export interface Backend {
  pod: Pod;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  hostname?: string;
}
export interface BackendPort {
  name?: string;
  protocol: string;
  port: number;
  appProtocol?: string;
}
/** Pods may resolve a named port to different numbers: one group per distinct set of ports. */
export interface BackendGroup {
  ports: BackendPort[];
  backends: Backend[];
}

/** Reserved: what the controllers set themselves is never taken from the Service. */
export const serviceNameLabel = "kubernetes.io/service-name";
export const headlessLabel = "service.kubernetes.io/headless";
export const isHeadless = (service: Service): boolean => service.spec?.clusterIP === "None";
/** Services without a selector, and names for something outside, have endpoints that others write. */
export const hasBackends = (service: Service): boolean => service.spec?.selector !== undefined && Object.keys(service.spec.selector).length > 0 && service.spec.type !== "ExternalName";

export function backendsOf(service: Service, cache: Cache): BackendGroup[] {
  const groups = new Map<string, BackendGroup>();
  const publishNotReady = service.spec?.publishNotReadyAddresses === true;
  const pods = cache.inNamespace<Pod>(resources.pods, service.metadata.namespace!).filter((pod) => pod.status?.podIP && !isFinished(pod) && selectorMatches({ matchLabels: service.spec!.selector! }, pod.metadata.labels));
  for (const pod of pods.sort(byName)) {
    const ports = portsOf(service, pod);
    // No port of the Service exists in this pod: it cannot serve.
    if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
    const key = stableJson(ports);
    let group = groups.get(key);
    if (!group) groups.set(key, (group = { ports, backends: [] }));
    const [serving, terminating] = [isReady(pod), isTerminating(pod)];
    const named = pod.spec?.hostname && pod.spec.subdomain === service.metadata.name;
    group.backends.push({ pod, ready: publishNotReady || (serving && !terminating), serving, terminating, ...(named && { hostname: pod.spec!.hostname! }) });
  }
  return [...groups.values()];
}

function portsOf(service: Service, pod: Pod): BackendPort[] {
  return (service.spec?.ports ?? []).flatMap(({ name, port, targetPort, protocol = "TCP", appProtocol }) => {
    const number = targetPort === undefined || targetPort === 0 || targetPort === "" ? port : typeof targetPort === "number" ? targetPort : namedPort(pod, String(targetPort), protocol);
    return number === undefined ? [] : [{ name: name ?? "", protocol, port: number, ...(appProtocol && { appProtocol }) }];
  });
}

function namedPort(pod: Pod, name: string, protocol: string): number | undefined {
  const sidecars = ((pod.spec?.initContainers ?? []) as Container[]).filter((container) => container.restartPolicy === "Always");
  for (const container of [...((pod.spec?.containers ?? []) as Container[]), ...sidecars]) {
    const found = container.ports?.find((port) => port.name === name && (port.protocol ?? "TCP") === protocol);
    if (found) return found.containerPort;
  }
  return undefined;
}

/** Services that the pod, in this state, may stand behind. */
export const servicesOfPod = (pod: Pod, cache: Cache): string[] =>
  cache
    .inNamespace<Service>(resources.services, pod.metadata.namespace!)
    .filter((service) => hasBackends(service) && selectorMatches({ matchLabels: service.spec!.selector! }, pod.metadata.labels))
    .map((service) => `${service.metadata.namespace}/${service.metadata.name}`);

export const podReference = (pod: Pod): { kind: "Pod"; namespace: string; name: string; uid: string } => ({ kind: "Pod", namespace: pod.metadata.namespace!, name: pod.metadata.name, uid: pod.metadata.uid });

