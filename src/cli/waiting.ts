import type { ConfigMap, Pod, Service } from "../api/types.ts";

/** What is around a pod, to tell what it waits for. */
export interface Surroundings {
  pods: readonly Pod[];
  services: readonly Service[];
  /** For environments that are read from them; may be left out. */
  configMaps?: readonly ConfigMap[];
}

export interface Dependency {
  name: string;
  /** Somebody is to answer; not yet. False: it leads to no pod at all. */
  hasPods: boolean;
}

const isReady = (pod: Pod) => pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
/** Variables of which the whole value may be the name of a Service. */
const namesPlace = /host|url|uri|addr|server|endpoint|dsn|broker|service|node|peer|upstream|target|dep(ends|endenc)/i;

/**
 * The Services of its namespace that a pod speaks of, in its environment or its commands, and behind which nobody is Ready:
 * what a pod that is not Ready most likely waits for. Kubernetes has no field that says so; the standard ways are init
 * containers that ask again and again, and readiness probes that answer no until then.
 */
export function waitsFor(pod: Pod, { pods, services, configMaps = [] }: Surroundings): Dependency[] {
  const { namespace } = pod.metadata;
  const chosen = ({ metadata, spec }: Service, candidate: Pod) =>
    candidate.metadata.namespace === metadata.namespace && !candidate.metadata.deletionTimestamp && Object.entries(spec?.selector ?? {}).every(([key, value]) => candidate.metadata.labels?.[key] === value);
  const found: Dependency[] = [];
  for (const service of services) {
    const { name } = service.metadata;
    if (service.metadata.namespace !== namespace || Object.keys(service.spec?.selector ?? {}).length === 0 || chosen(service, pod)) continue;
    const behind = pods.filter((candidate) => chosen(service, candidate));
    if (behind.some(isReady) || !speaksOf(pod, name, configMaps)) continue;
    found.push({ name, hasPods: behind.length > 0 });
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function speaksOf(pod: Pod, name: string, configMaps: readonly ConfigMap[]): boolean {
  const literal = name.replaceAll(".", "\\.");
  const word = new RegExp(`(^|[^a-z0-9.-])${literal}($|[^a-z0-9-])`);
  // As an address: "name:5432", "name.namespace.svc", "a,name"; "//name", "user@name", "host=name dbname=x".
  const address = new RegExp(`^${literal}(:\\d|/|,|\\.${pod.metadata.namespace}\\b)|[/@,;=]${literal}(:\\d|/|\\.${pod.metadata.namespace}\\b|[,;& ]|$)`);
  const dataOf = (map: string | undefined) => configMaps.find(({ metadata }) => metadata.namespace === pod.metadata.namespace && metadata.name === map)?.data ?? {};
  const isPlace = (variable: string, value: string | undefined) => value !== undefined && (value === name ? namesPlace.test(variable) : address.test(value));
  return [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].some(
    ({ command = [], args = [], env = [], envFrom = [] }) =>
      [...command, ...args].some((text) => word.test(text)) ||
      env.some((variable) => isPlace(variable.name, variable.value ?? dataOf(variable.valueFrom?.configMapKeyRef?.name)[variable.valueFrom?.configMapKeyRef?.key ?? ""])) ||
      envFrom.some(({ configMapRef }) => Object.entries(dataOf(configMapRef?.name)).some(([variable, value]) => isPlace(variable, value))),
  );
}

/** "waiting for postgres", with how it waits where that is not plain; "" when a pod waits for nobody. */
export function waitingLine(pod: Pod, surroundings: Surroundings): string {
  const names = waitsFor(pod, surroundings).map(({ name }) => name);
  const init = (pod.status?.initContainerStatuses ?? []).find(({ state, ready, started }) => !ready && !started && (state?.running ?? state?.waiting?.reason !== "PodInitializing"));
  const crashed = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
    .map(({ name, state, lastState }) => ({ name, code: (state?.terminated ?? (state?.waiting?.reason === "CrashLoopBackOff" ? lastState?.terminated : undefined))?.exitCode ?? 0 }))
    .find(({ code }) => code !== 0);
  const how = crashed ? ` (${crashed.name} ended with exit code ${crashed.code}, and is started again)` : init?.state?.running ? ` (init container ${init.name})` : "";
  if (names.length > 0) return `waiting for ${names.join(", ")}${how}`;
  return init?.state?.running && !crashed ? `init container ${init.name} runs` : "";
}
