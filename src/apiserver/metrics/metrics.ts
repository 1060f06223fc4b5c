import type { Column, Kind } from "../../api/kind.ts";
import { name, text } from "../../api/kinds/columns.ts";
import { builtinSchema } from "../../api/kinds/table.ts";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import type { NodeUsage } from "../../api/node.ts";
import { nodeName } from "../../api/resources.ts";
import type { Schema } from "../../api/schema.ts";
import { serviceUnavailableError } from "../../api/status.ts";
import type { Pod } from "../../api/types.ts";
import type { Api } from "../api.ts";
import { objectOf } from "../rest/keys.ts";
import { type Usage, UsageSamples } from "./samples.ts";

/**
 * metrics.k8s.io/v1beta1, made from the node's counters when somebody asks.
 * Source of the shapes: k8s.io/metrics/pkg/apis/metrics/v1beta1; of columns and rounding: sigs.k8s.io/metrics-server/pkg/api.
 */
export const metricsGroup = { group: "metrics.k8s.io", version: "v1beta1" } as const;

/** Adds NodeMetrics and PodMetrics to what is served. */
export function serveMetrics(api: Api, read: () => Promise<NodeUsage>): void {
  const samples = new UsageSamples(read, api.clock);
  const kindOf = (resource: "pods" | "nodes"): Kind => api.registry.byResource("", "v1", resource)!;
  const objects = (resource: "pods" | "nodes", namespace: string | undefined, name: string | undefined): KubeObject[] => {
    const kind = kindOf(resource);
    const fieldSelector = name === undefined ? undefined : `metadata.name=${name}`;
    return api.list(kind, { ...(namespace !== undefined && { namespace }), ...(fieldSelector !== undefined && { fieldSelector }) }).entries.map((entry) => objectOf(kind, entry));
  };
  const rates = async () => {
    try {
      return await samples.rates(startedAtMs);
    } catch (error) {
      throw serviceUnavailableError(`the metrics of node ${nodeName} cannot be read: ${(error as Error).message}`);
    }
  };
  /** Looked up in the store at most once a pod and question. */
  const startedAtMs = (uid: string, container: string): number | undefined => {
    const status = podsByUid().get(uid)?.status?.containerStatuses?.find((found) => found.name === container);
    const startedAt = status?.state?.running?.startedAt;
    return startedAt === undefined ? undefined : Date.parse(String(startedAt));
  };
  let indexed: { revision: number; pods: Map<string, Pod> } | undefined;
  const podsByUid = (): Map<string, Pod> => {
    const { revision } = api.store;
    if (indexed?.revision !== revision) indexed = { revision, pods: new Map(objects("pods", undefined, undefined).map((pod) => [pod.metadata.uid, pod as unknown as Pod])) };
    return indexed.pods;
  };

  api.registry.add({
    ...kindDefaults("NodeMetrics", "nodes", "Cluster", usageFields),
    columns: columnsOf(({ usage }) => usage),
    computed: {
      async list(_, only) {
        const nodes = objects("nodes", undefined, only);
        if (nodes.length === 0) return [];
        const { node } = await rates();
        return nodes.map(({ metadata }) => ({ kind: "NodeMetrics", apiVersion, metadata: metadataOf(metadata, node), ...timesOf(node), usage: amounts(node) }));
      },
    },
  });
  api.registry.add({
    ...kindDefaults("PodMetrics", "pods", "Namespaced", { containers: { type: "array", items: { type: "object", required: ["name", "usage"], properties: { name: { type: "string" }, usage: usageFields["usage"]! } } } }),
    columns: columnsOf(({ containers }) => total(containers as { usage: Amounts }[])),
    computed: {
      async list(namespace, only) {
        const running = objects("pods", namespace, only).filter(({ status }) => status?.phase === "Running");
        if (running.length === 0) return [];
        const { pods } = await rates();
        return running.flatMap(({ metadata }) => {
          const containers = [...(pods.get(metadata.uid) ?? [])];
          const newest = containers.map(([, usage]) => usage).reduce<Usage | undefined>((a, b) => (a && a.windowMs < b.windowMs ? a : b), undefined);
          // A pod whose containers have not run for a second has nothing to say yet, as with metrics-server.
          if (!newest) return [];
          return [{ kind: "PodMetrics", apiVersion, metadata: metadataOf(metadata, newest), ...timesOf(newest), containers: containers.map(([container, usage]) => ({ name: container, usage: amounts(usage) })) }];
        });
      },
    },
  });
}

interface Amounts {
  cpu: string;
  memory: string;
}

const apiVersion = `${metricsGroup.group}/${metricsGroup.version}`;
const amounts = ({ cpuNanos, memoryBytes }: Usage): Amounts => ({ cpu: cpuNanos === 0 ? "0" : `${cpuNanos}n`, memory: memoryBytes < 1024 ? "0" : `${Math.floor(memoryBytes / 1024)}Ki` });
const timesOf = ({ atMs, windowMs }: Usage) => ({ timestamp: timestamp(atMs), window: `${windowMs / 1000}s` });
const metadataOf = ({ name, namespace, labels }: KubeObject["metadata"], { atMs }: Usage) => ({ name, ...(namespace !== undefined && { namespace }), creationTimestamp: timestamp(atMs), ...(labels && { labels }) }) as KubeObject["metadata"];

const usageFields: Record<string, Schema> = { usage: { type: "object", additionalProperties: { format: "quantity" } } };

function kindDefaults(kind: string, resource: "pods" | "nodes", scope: Kind["scope"], fields: Record<string, Schema>): Kind {
  return {
    ...metricsGroup,
    kind,
    resource,
    singular: "",
    shortNames: [],
    categories: [],
    scope,
    verbs: ["get", "list"],
    subresources: [],
    get schema(): Schema {
      const metadata = builtinSchema("", "v1", "Pod")!.properties!["metadata"]!;
      return { type: "object", required: ["timestamp", "window", ...Object.keys(fields)], properties: { apiVersion: { type: "string" }, kind: { type: "string" }, metadata, timestamp: { type: "string", format: "date-time" }, window: { type: "string" }, ...fields } };
    },
  };
}

const nanos = ({ cpu }: Amounts): number => (cpu.endsWith("n") ? Number(cpu.slice(0, -1)) : Number(cpu));
const kibibytes = ({ memory }: Amounts): number => (memory.endsWith("Ki") ? Number(memory.slice(0, -2)) : Number(memory));
const total = (containers: { usage: Amounts }[]): Amounts => ({
  cpu: `${containers.reduce((sum, { usage }) => sum + nanos(usage), 0)}n`,
  memory: `${containers.reduce((sum, { usage }) => sum + kibibytes(usage), 0)}Ki`,
});

const columnsOf = (usage: (object: KubeObject) => Amounts): Column[] => [
  name,
  text("cpu", (object) => usage(object).cpu),
  text("memory", (object) => usage(object).memory),
  text("window", (object) => object["window"] as string),
];
