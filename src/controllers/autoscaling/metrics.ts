import type { Client } from "../../api/client.ts";
import type { KubeObject } from "../../api/meta.ts";
import { quantityMilliValue } from "../../api/quantity.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import { MetricError, type PodMetric } from "./replicas.ts";
import type { MetricName } from "./types.ts";

/**
 * Where an autoscaler's numbers come from: the three metrics APIs. Values in thousandths.
 * Source: k8s.io/kubernetes/pkg/controller/podautoscaler/metrics/client.go.
 */
export interface MetricsSource {
  /** Of each pod, all its containers or the one named. */
  resource(namespace: string, selector: string, resource: string, container: string | undefined): Promise<Map<string, PodMetric>>;
  pods(namespace: string, selector: string, metric: MetricName): Promise<Map<string, PodMetric>>;
  /** `resource` as "services" or "ingresses.networking.k8s.io". */
  object(namespace: string, resource: string, kind: string, name: string, metric: MetricName): Promise<number>;
  external(namespace: string, metric: MetricName): Promise<number>;
}

/** GET of a path that a registered API server serves; rejects with a StatusError. */
export type RawGet = (path: string) => Promise<unknown>;

const podMetrics = { group: "metrics.k8s.io", version: "v1beta1", resource: "pods" };

export function createMetricsSource(client: Client, rawGet: RawGet | undefined): MetricsSource {
  const custom = async (path: string, of: "custom" | "external"): Promise<MetricValue[]> => {
    const group = `${of}.metrics.k8s.io`;
    if (!rawGet) throw new MetricError(`unable to fetch metrics from ${of} metrics API: no ${of} metrics API (${group}) registered`);
    try {
      const list = (await rawGet(`/apis/${group}/${path}`)) as { items?: MetricValue[] };
      return list.items ?? [];
    } catch (error) {
      throw new MetricError(`unable to fetch metrics from ${of} metrics API: ${(error as Error).message}`);
    }
  };
  return {
    async resource(namespace, selector, resource, container) {
      let items: KubeObject[];
      try {
        ({ items } = await client.list(podMetrics, { namespace, labelSelector: selector }));
      } catch (error) {
        throw new MetricError(`unable to fetch metrics from resource metrics API: ${(error as Error).message}`);
      }
      if (items.length === 0) throw new MetricError("no metrics returned from resource metrics API");
      const found = new Map<string, PodMetric>();
      for (const item of items) {
        const { metadata, timestamp, window, containers } = item as unknown as PodMetricsObject;
        const counted = containers.filter(({ name }) => container === undefined || name === container);
        if (container !== undefined && counted.length === 0) throw new MetricError(`failed to get container metrics: container ${container} not present in metrics for pod ${namespace}/${metadata.name}`);
        if (counted.some(({ usage }) => usage[resource] === undefined)) continue;
        found.set(metadata.name, { value: counted.reduce((sum, { usage }) => sum + quantityMilliValue(usage[resource]!), 0), atMs: Date.parse(timestamp), windowMs: Number.parseFloat(window) * 1000 });
      }
      return found;
    },
    async pods(namespace, selector, metric) {
      const values = await custom(`v1beta2/namespaces/${namespace}/pods/*/${metric.name}?${query({ labelSelector: selector, metricLabelSelector: selectorText(metric) })}`, "custom");
      if (values.length === 0) throw new MetricError("no metrics returned from custom metrics API");
      return new Map(values.map(({ describedObject, value, timestamp, windowSeconds }) => [describedObject?.name ?? "", { value: quantityMilliValue(value), atMs: Date.parse(timestamp ?? ""), windowMs: (windowSeconds ?? 60) * 1000 }]));
    },
    async object(namespace, resource, kind, name, metric) {
      // A Namespace is asked for by itself: it lies in none.
      const place = kind === "Namespace" ? `namespaces/${name}/metrics/${metric.name}` : `namespaces/${namespace}/${resource}/${name}/${metric.name}`;
      const [value] = await custom(`v1beta2/${place}?${query({ metricLabelSelector: selectorText(metric) })}`, "custom");
      if (!value) throw new MetricError("no metrics returned from custom metrics API");
      return quantityMilliValue(value.value);
    },
    async external(namespace, metric) {
      const values = await custom(`v1beta1/namespaces/${namespace}/${metric.name}?${query({ labelSelector: selectorText(metric) })}`, "external");
      if (values.length === 0) throw new MetricError("no metrics returned from external metrics API");
      return values.reduce((sum, { value }) => sum + quantityMilliValue(value), 0);
    },
  };
}

interface PodMetricsObject {
  metadata: { name: string };
  timestamp: string;
  /** A Go duration in seconds, as metrics servers write it: "15.02s". */
  window: string;
  containers: { name: string; usage: Record<string, string> }[];
}
interface MetricValue {
  describedObject?: { name?: string };
  timestamp?: string;
  windowSeconds?: number;
  value: string;
}

const query = (parameters: Record<string, string>): string => new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "")).toString();
const selectorText = ({ selector }: MetricName): string => (selector ? (labelSelectorOf(selector)?.toString() ?? "") : "");
