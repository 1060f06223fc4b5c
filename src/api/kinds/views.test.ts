import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../meta.ts";
import { hpaFromStored, hpaToStored } from "./autoscaling/conversion.ts";
import { eventFromStored, eventToStored } from "./core/event.ts";

const metadata = { name: "web", namespace: "shop", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" };

test("an Event is the same through both APIs", () => {
  const stored = {
    apiVersion: "v1",
    kind: "Event",
    metadata,
    involvedObject: { kind: "Pod", name: "web" },
    reason: "Started",
    message: "Started",
    source: { component: "kubelet" },
    firstTimestamp: "2026-01-01T00:00:00Z",
    lastTimestamp: "2026-01-01T00:00:01Z",
    count: 2,
    type: "Normal",
    eventTime: "2026-01-01T00:00:00.000000Z",
    series: { count: 2, lastObservedTime: "2026-01-01T00:00:01.000000Z" },
    action: "Start",
    related: { kind: "Node", name: "wherry" },
    reportingComponent: "kubelet",
    reportingInstance: "wherry",
  } as unknown as KubeObject;
  const seen = eventFromStored(stored);
  assert.deepEqual(seen, {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata,
    regarding: { kind: "Pod", name: "web" },
    reason: "Started",
    note: "Started",
    deprecatedSource: { component: "kubelet" },
    deprecatedFirstTimestamp: "2026-01-01T00:00:00Z",
    deprecatedLastTimestamp: "2026-01-01T00:00:01Z",
    deprecatedCount: 2,
    type: "Normal",
    eventTime: "2026-01-01T00:00:00.000000Z",
    series: { count: 2, lastObservedTime: "2026-01-01T00:00:01.000000Z" },
    action: "Start",
    related: { kind: "Node", name: "wherry" },
    reportingController: "kubelet",
    reportingInstance: "wherry",
  });
  assert.deepEqual(eventToStored(seen), stored);
});

const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };

test("an autoscaler of v1 is one CPU metric in v2, and back", () => {
  const v1 = { apiVersion: "autoscaling/v1", kind: "HorizontalPodAutoscaler", metadata, spec: { scaleTargetRef, minReplicas: 1, maxReplicas: 5, targetCPUUtilizationPercentage: 70 } } as unknown as KubeObject;
  const stored = hpaToStored(v1);
  assert.deepEqual(stored.spec, { scaleTargetRef, minReplicas: 1, maxReplicas: 5, metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } } }] });
  assert.equal(stored.apiVersion, "autoscaling/v2");
  assert.deepEqual(hpaFromStored(stored), v1);
});

test("an autoscaler of v1 without a metric means 80 % CPU", () => {
  const { spec } = hpaToStored({ apiVersion: "autoscaling/v1", kind: "HorizontalPodAutoscaler", metadata, spec: { scaleTargetRef, maxReplicas: 5 } } as unknown as KubeObject);
  assert.equal(spec.metrics[0].resource.target.averageUtilization, 80);
});

test("what only v2 can say survives a client of v1", () => {
  const stored = {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { ...metadata, annotations: { team: "shop" } },
    spec: {
      scaleTargetRef,
      maxReplicas: 5,
      metrics: [
        { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } } },
        { type: "Resource", resource: { name: "memory", target: { type: "AverageValue", averageValue: "1Gi" } } },
        { type: "ContainerResource", containerResource: { name: "cpu", container: "web", target: { type: "Utilization", averageUtilization: 60 } } },
        { type: "Pods", pods: { metric: { name: "rps", selector: { matchLabels: { a: "b" } } }, target: { type: "AverageValue", averageValue: "10" } } },
        { type: "Object", object: { metric: { name: "rps" }, describedObject: { kind: "Ingress", name: "shop" }, target: { type: "Value", value: "100" } } },
        { type: "External", external: { metric: { name: "queue" }, target: { type: "AverageValue", averageValue: "30" } } },
      ],
      behavior: { scaleDown: { stabilizationWindowSeconds: 60 } },
    },
  } as unknown as KubeObject;
  const v1 = hpaFromStored(stored);
  assert.equal(v1.spec.targetCPUUtilizationPercentage, 70);
  assert.equal(v1.spec.metrics, undefined);
  assert.deepEqual(JSON.parse(JSON.stringify(hpaToStored(v1))), stored);
});
