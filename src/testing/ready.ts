import type { KubeObject, StackClient } from "./types.ts";

/** "deployment/web" of a namespace. */
export interface Target {
  kind: string;
  name: string;
  namespace: string;
}

const kinds: Record<string, { apiVersion: string; kind: string }> = {
  deployment: { apiVersion: "apps/v1", kind: "Deployment" },
  statefulset: { apiVersion: "apps/v1", kind: "StatefulSet" },
  daemonset: { apiVersion: "apps/v1", kind: "DaemonSet" },
  job: { apiVersion: "batch/v1", kind: "Job" },
  pod: { apiVersion: "v1", kind: "Pod" },
};
const shortNames: Record<string, string> = { deploy: "deployment", sts: "statefulset", ds: "daemonset", po: "pod" };
/** Of the stack itself. */
const ownNamespaces = new Set(["kube-system", "wherry-system"]);

/** Throws TypeError for what names no such thing. A name alone is a pod's. */
export function targetOf(text: string, namespace: string): Target {
  const [word, name, ...rest] = text.includes("/") ? text.split("/") : ["pod", text];
  const singular = word!.toLowerCase().replace(/s$/, (end) => (word!.toLowerCase() in shortNames ? end : ""));
  const kind = shortNames[singular] ?? singular;
  if (!(kind in kinds) || !name || rest.length > 0) throw new TypeError(`${JSON.stringify(text)} is none of ${Object.keys(kinds).map((known) => `${known}/NAME`).join(", ")}`);
  return { kind, name, namespace };
}

/** What keeps a workload from being ready; undefined: nothing. Source: kubectl rollout status. */
export function lackOf(kind: string, { spec = {}, status = {}, metadata }: KubeObject): string | undefined {
  if (kind === "job") {
    const condition = (type: string) => (status.conditions ?? []).find((entry: { type: string; status: string }) => entry.type === type && entry.status === "True");
    const failed = condition("Failed");
    if (failed) throw new NeverReady(`it has failed: ${failed.reason ?? ""} ${failed.message ?? ""}`.trim());
    return condition("Complete") ? undefined : `${status.succeeded ?? 0} of ${spec.completions ?? 1} done`;
  }
  if (kind === "pod") {
    if (status.phase === "Succeeded") return undefined;
    if (status.phase === "Failed") throw new NeverReady(`it has failed: ${status.reason ?? ""} ${status.message ?? ""}`.trim());
    return (status.conditions ?? []).some((entry: { type: string; status: string }) => entry.type === "Ready" && entry.status === "True") ? undefined : "not Ready";
  }
  if ((status.observedGeneration ?? 0) < ((metadata?.["generation"] as number | undefined) ?? 0)) return "not looked at yet";
  const wanted = kind === "daemonset" ? (status.desiredNumberScheduled ?? 0) : (spec.replicas ?? 1);
  const updated = kind === "daemonset" ? (status.updatedNumberScheduled ?? 0) : (status.updatedReplicas ?? 0);
  const ready = kind === "daemonset" ? (status.numberAvailable ?? 0) : kind === "deployment" ? (status.availableReplicas ?? 0) : (status.readyReplicas ?? 0);
  if (updated < wanted && spec.updateStrategy?.type !== "OnDelete") return `${updated} of ${wanted} updated`;
  if (ready < wanted) return `${ready} of ${wanted} ready`;
  if (kind === "deployment" && (status.replicas ?? 0) > wanted) return `${status.replicas - wanted} old still there`;
  return undefined;
}

/** No waiting will help. */
export class NeverReady extends Error {}

/** Waits for all targets; `undefined`: for every workload there is. Throws Error with what is missing and why. */
export async function untilReady(client: StackClient, targets: readonly Target[] | undefined, timeoutMs: number, failed: () => Error | undefined): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const failure = failed();
    if (failure) throw failure;
    const lacks: { target: Target; why: string }[] = [];
    let hopeless = false;
    for (const { target, object } of await objectsOf(client, targets)) {
      try {
        const why = object === undefined ? "there is none" : lackOf(target.kind, object);
        if (why !== undefined) lacks.push({ target, why });
      } catch (error) {
        if (!(error instanceof NeverReady)) throw error;
        hopeless = true;
        lacks.push({ target, why: error.message });
      }
    }
    if (lacks.length === 0) return;
    const late = performance.now() >= deadline;
    if (late || hopeless || (await imagesThatNeverCome(client, lacks.map(({ target }) => target)))) {
      const details = await Promise.all(lacks.map(async ({ target, why }) => `  ${target.kind}/${target.name} in ${target.namespace}: ${why}${await wordsOf(client, target)}`));
      throw new Error(`${late ? `not ready within ${timeoutMs / 1000} s` : "it will not become ready"}:\n${details.join("\n")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function objectsOf(client: StackClient, targets: readonly Target[] | undefined): Promise<{ target: Target; object: KubeObject | undefined }[]> {
  if (targets) {
    return Promise.all(
      targets.map(async (target) => {
        const { kind, name, namespace } = target;
        return { target, object: await client.get({ ...kinds[kind], metadata: { name, namespace } }).catch((error: { code?: number }) => (error.code === 404 ? undefined : Promise.reject(error as Error))) };
      }),
    );
  }
  const lists = await Promise.all(Object.entries(kinds).filter(([kind]) => kind !== "job").map(async ([kind, ref]) => (await client.list(ref, { allNamespaces: true })).map((object) => ({ kind, object }))));
  return lists
    .flat()
    .filter(({ kind, object }) => !ownNamespaces.has(object.metadata!.namespace!) && !(kind === "pod" && object.metadata!["ownerReferences"]))
    .map(({ kind, object }) => ({ target: { kind, name: object.metadata!.name!, namespace: object.metadata!.namespace! }, object }));
}

/** The pods that a target stands for. */
export async function podsOf(client: StackClient, { kind, name, namespace }: Target): Promise<KubeObject[]> {
  const object = await client.get({ ...kinds[kind], metadata: { name, namespace } });
  if (kind === "pod") return [object];
  const { matchLabels = {}, matchExpressions = [] } = object["spec"].selector as { matchLabels?: Record<string, string>; matchExpressions?: { key: string; operator: string; values?: string[] }[] };
  const expressions = matchExpressions.map(({ key, operator, values = [] }) => ({ In: `${key} in (${values.join(",")})`, NotIn: `${key} notin (${values.join(",")})`, Exists: key, DoesNotExist: `!${key}` })[operator]!);
  const labelSelector = [...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`), ...expressions].join(",");
  return client.list({ ...kinds["pod"], metadata: { namespace } }, { labelSelector });
}

const statusesOf = (pod: KubeObject): any[] => [...(pod["status"]?.initContainerStatuses ?? []), ...(pod["status"]?.containerStatuses ?? [])];

async function imagesThatNeverCome(client: StackClient, targets: readonly Target[]): Promise<boolean> {
  const pods = await Promise.all(targets.map((target) => podsOf(client, target).catch(() => [])));
  return pods.flat().some((pod) => statusesOf(pod).some(({ state }) => /^(ErrImagePull|ImagePullBackOff|InvalidImageName)$/.test(state?.waiting?.reason ?? "")));
}

/** Why its pods are not ready, and what they said last. */
async function wordsOf(client: StackClient, target: Target): Promise<string> {
  const lines: string[] = [];
  for (const pod of await podsOf(client, target).catch(() => [])) {
    const name = pod.metadata!.name!;
    const pending = (pod["status"]?.conditions ?? []).find(({ type, status, message }: { type: string; status: string; message?: string }) => type === "PodScheduled" && status === "False" && message);
    if (pending) lines.push(`pod ${name}: ${pending.reason}: ${pending.message}`);
    for (const { name: container, state, ready, restartCount } of statusesOf(pod)) {
      if (ready || state?.terminated?.exitCode === 0) continue;
      const why = state?.waiting ?? state?.terminated;
      lines.push(`pod ${name}, container ${container}: ${why ? `${why.reason ?? ""}${why.message ? `: ${why.message}` : ""}` : "running, not ready"}${restartCount > 0 ? ` (${restartCount} restarts)` : ""}`);
      if (state?.waiting && !(restartCount > 0)) continue;
      const log = await client.request("GET", `/api/v1/namespaces/${target.namespace}/pods/${name}/log?container=${container}&tailLines=10${state?.waiting ? "&previous=true" : ""}`).catch(() => "");
      lines.push(...String(log).trimEnd().split("\n").filter(Boolean).map((line) => `  | ${line}`));
    }
  }
  return lines.map((line) => `\n    ${line}`).join("");
}

/** The log of each pod and container, one after the other; with their names before each where there are several. */
export async function textOf(client: StackClient, target: Target, options: { container?: string; tail?: number; previous?: boolean }): Promise<string> {
  const wanted = (await podsOf(client, target)).flatMap((pod) => {
    const names = [...(pod["spec"].initContainers ?? []), ...pod["spec"].containers].map(({ name }: { name: string }) => name);
    return names.filter((name) => options.container === undefined || name === options.container).map((container) => ({ pod: pod.metadata!.name!, container }));
  });
  const texts = await Promise.all(
    wanted.map(async ({ pod, container }) => {
      const query = new URLSearchParams({ container, ...(options.tail !== undefined && { tailLines: String(options.tail) }), ...(options.previous && { previous: "true" }) });
      const text = await client.request("GET", `/api/v1/namespaces/${target.namespace}/pods/${pod}/log?${query}`);
      return wanted.length === 1 ? String(text) : `==> ${pod}, ${container}\n${text}`;
    }),
  );
  return texts.join("");
}
