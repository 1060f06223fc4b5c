import type { Writable } from "node:stream";
import type { Client } from "../api/client.ts";
import type { HostAddress } from "../api/network.ts";
import { reloadFailedAnnotation } from "../api/reload.ts";
import { nodeName, resources, systemNamespace } from "../api/resources.ts";
import type { ConfigMap, Deployment, Event, Node, PersistentVolumeClaim, Pod, Service, StatefulSet } from "../api/types.ts";
import { debuggersOf } from "./debuggers.ts";
import { connect } from "./connect.ts";
import { printDoors } from "./doors.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";
import { whyNotReady } from "./progress.ts";
import { type Surroundings, waitsFor } from "./waiting.ts";
import { workloadOf } from "./workload.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    { line: "status [--data-dir DIR]", about: "What runs, where to reach it, how healthy it is, what is wrong and what to do.", options: { "data-dir": dataDirOption }, examples: ["wherry status"] },
    argv,
  );
  if (!options) return;
  const dataDir = dataDirOf(options.values);
  return printStatus(await connect(dataDir), dataDir, process.stdout);
}

interface Row {
  namespace: string;
  workload: string;
  ready: string;
  restarts: string;
  health: string;
  address: string;
}

/** The table, then what is wrong with a next step each. Gives 1 when something is not healthy. */
export async function printStatus(client: Client, dataDir: string, out: Writable): Promise<number> {
  const [node, { items: pods }, { items: deployments }, { items: statefulSets }, { items: events }, { items: claims }, { items: services }, { items: configMaps }, addresses] = await Promise.all([
    client.get<Node>(resources.nodes, undefined, nodeName).catch(() => undefined),
    client.list<Pod>(resources.pods),
    client.list<Deployment>(resources.deployments),
    client.list<StatefulSet>(resources.statefulSets),
    client.list<Event>(resources.events, { fieldSelector: "type=Warning" }),
    client.list<PersistentVolumeClaim>(resources.persistentVolumeClaims),
    client.list<Service>(resources.services),
    client.list<ConfigMap>(resources.configMaps),
    hostAddresses(client),
  ]);
  const isolation = node?.status?.conditions?.find(({ type }) => type === "IsolationLevel" || type === "PodIsolation");
  out.write(`Node ${nodeName}: ${node?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ? "Ready" : "NotReady"}${isolation?.message ? `, ${isolation.message}` : ""}\n\n`);

  /** Where the Services that choose these pods are reached. */
  const reach = (mine: readonly Pod[]): string =>
    services
      .filter(({ metadata, spec }) => spec?.selector && mine.some((pod) => pod.metadata.namespace === metadata.namespace && Object.entries(spec.selector!).every(([key, value]) => pod.metadata.labels?.[key] === value)))
      .flatMap(({ metadata }) => addresses.filter(({ namespace, service }) => namespace === metadata.namespace && service === metadata.name).map(({ url }) => url))
      .join(" ");
  const around: Surroundings = { pods, services, configMaps };
  const rows: Row[] = [];
  const problems: string[] = [];
  const owned = new Set<string>();
  const behind = new Map<string, string>();
  for (const workload of [...deployments, ...statefulSets]) {
    const selector = Object.entries(workload.spec?.selector.matchLabels ?? {});
    const mine = pods.filter((pod) => pod.metadata.namespace === workload.metadata.namespace && selector.every(([key, value]) => pod.metadata.labels?.[key] === value));
    for (const pod of mine) owned.add(pod.metadata.uid);
    rows.push(rowOf(workload.metadata.namespace!, `${workload.kind === "StatefulSet" ? "statefulset" : "deployment"}/${workload.metadata.name}`, mine, workload.spec?.replicas ?? 1, reach(mine), around));
  }
  for (const pod of pods) {
    if (!owned.has(pod.metadata.uid)) rows.push(rowOf(pod.metadata.namespace!, `pod/${pod.metadata.name}`, [pod], 1, reach([pod]), around));
    const failed = pod.metadata.annotations?.[reloadFailedAnnotation];
    if (failed !== undefined && !pod.metadata.deletionTimestamp) {
      behind.set(`${pod.metadata.namespace}/${workloadOf(pod).name}`, failed);
      continue;
    }
    const why = pod.metadata.deletionTimestamp || pod.status?.phase === "Succeeded" ? "" : whyNotReady(pod, around);
    if (why === "" || why === "started, not Ready yet" || why === "starting" || why.startsWith("init container ")) continue;
    if (why.startsWith("waiting for ")) {
      // Whoever is waited for is named where its own pods are told of; one without any would be waited for for ever.
      for (const { name, hasPods } of waitsFor(pod, around)) if (!hasPods) problems.push(`${pod.metadata.namespace}/${pod.metadata.name}: waits for Service ${name}, which leads to no pod\n      → kubectl describe service ${name} -n ${pod.metadata.namespace}`);
      // One that ends again and again may have a reason of its own.
      if (!/exit code/.test(why) || !pod.status?.containerStatuses?.some(({ restartCount }) => restartCount >= 3)) continue;
    }
    problems.push(problemOf(pod, why, events));
  }
  for (const [workload, failed] of behind) problems.push(`${workload}: ${failed.replaceAll("\n", "\n      ")}\n      → save the file again: \`up\` tries again`);
  for (const claim of claims.filter(({ status }) => status?.phase === "Pending" || status?.phase === "Lost")) problems.push(`${claim.metadata.namespace}/persistentvolumeclaim/${claim.metadata.name} is ${claim.status!.phase}: kubectl describe pvc ${claim.metadata.name} -n ${claim.metadata.namespace}`);

  if (rows.length === 0) out.write("Nothing runs yet. Apply something: kubectl apply -f FILE, or wherry up ./FOLDER\n");
  else out.write(table(["NAMESPACE", "WORKLOAD", "READY", "RESTARTS", "HEALTH", "ADDRESS"], rows.map(({ namespace, workload, ready, restarts, health, address }) => [namespace, workload, ready, restarts, health, address])));
  await printDoors(client, dataDir, out);
  const debuggers = debuggersOf(pods);
  if (debuggers.length > 0) out.write(`\n${table(["POD", "DEBUGGER"], debuggers)}`);
  if (problems.length > 0) out.write(`\nWhat is wrong, and what to do:\n${problems.map((problem) => `  ${problem}\n`).join("")}`);
  return problems.length > 0 ? 1 : 0;
}

function rowOf(namespace: string, workload: string, pods: readonly Pod[], wanted: number, address: string, around: Surroundings): Row {
  const live = pods.filter((pod) => !pod.metadata.deletionTimestamp);
  const ready = live.filter((pod) => whyNotReady(pod, around) === "").length;
  const restarts = live.flatMap((pod) => pod.status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + (restartCount ?? 0), 0);
  const why = live.map((pod) => whyNotReady(pod, around)).find((text) => text !== "");
  const isBehind = live.some((pod) => pod.metadata.annotations?.[reloadFailedAnnotation] !== undefined);
  const done = live.length > 0 && live.every((pod) => pod.status?.phase === "Succeeded");
  return { namespace, workload, ready: `${ready}/${wanted}`, restarts: String(restarts), health: done ? "Completed" : isBehind ? "reload failed" : ready >= wanted ? "Ready" : (why ?? "waiting for pods").split(":")[0]!, address };
}

/** What is wrong with a pod and the next command, chosen by what keeps it. */
function problemOf(pod: Pod, why: string, events: readonly Event[]): string {
  const { namespace, name } = pod.metadata;
  const last = events
    .filter(({ involvedObject }) => involvedObject?.uid === pod.metadata.uid)
    .sort((a, b) => String(a.lastTimestamp ?? "").localeCompare(String(b.lastTimestamp ?? "")))
    .at(-1);
  const step = /CrashLoopBackOff|Error|exit code/.test(why) ? `kubectl logs ${name} -n ${namespace} --previous` : `kubectl describe pod ${name} -n ${namespace}`;
  return `${namespace}/${name}: ${why}${last?.message && !why.includes(last.message) ? ` (${last.reason}: ${last.message.replaceAll("\n", "\n      ")})` : ""}\n      → ${step}`;
}

export async function hostAddresses(client: Client): Promise<HostAddress[]> {
  const published = await client.get<ConfigMap>(resources.configMaps, systemNamespace, "wherry-addresses").catch(() => undefined);
  return published?.data?.["addresses"] ? (JSON.parse(published.data["addresses"]) as HostAddress[]) : [];
}

/** Where to reach what: one line a Service port. */
export async function printAddresses(client: Client, out: Writable): Promise<void> {
  const addresses = (await hostAddresses(client)).filter(({ namespace }) => namespace !== "kube-system" && namespace !== systemNamespace);
  if (addresses.length > 0) out.write(table(["SERVICE", "ADDRESS"], addresses.map(({ namespace, service, port, url }) => [`${namespace}/${service}:${port}`, url])));
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, index) => Math.max(title.length, ...rows.map((row) => row[index]!.length)));
  return [head, ...rows].map((row) => `${row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index]! + 3))).join("")}`.trimEnd()).join("\n") + "\n";
}
