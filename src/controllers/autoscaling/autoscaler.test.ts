import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startApi, type TestApi } from "../../../test/harness-api.ts";
import { Informers } from "../../api/informer.ts";
import type { Kind } from "../../api/kind.ts";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { FakeClock, systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { HorizontalAutoscaler, horizontalPodAutoscalers } from "./autoscaler.ts";

/** What the metrics APIs say, in thousandths; undefined: they do not answer. */
interface World {
  cpu: number | undefined;
  queue: number | undefined;
}

/** A Deployment with its pods, two of them, over the real API; metrics as the test says, time as it moves. */
async function setup(world: World, spec: object) {
  const server = await startApi();
  const { client } = server;
  const clock = new FakeClock(Date.now());
  const labels = { app: "web" };
  const template = { metadata: { labels }, spec: { containers: [{ name: "app", image: "i", resources: { requests: { cpu: "1" } } }] } };
  await client.create(resources.deployments, "default", { metadata: { name: "web" }, spec: { replicas: 2, selector: { matchLabels: labels }, template } });
  const longAgo = timestamp(Date.now() - 3600_000);
  for (const name of ["a", "b"]) {
    await client.create(resources.pods, "default", { metadata: { name, labels }, spec: template.spec });
    await client.patch(resources.pods, "default", name, { status: { phase: "Running", startTime: longAgo, conditions: [{ type: "Ready", status: "True", lastTransitionTime: longAgo }] } }, { subresource: "status" });
  }
  server.api.registry.add({
    group: "metrics.k8s.io", version: "v1beta1", kind: "PodMetrics", resource: "pods", singular: "", shortNames: [], categories: [], scope: "Namespaced", verbs: ["get", "list"], subresources: [], schema: { type: "object" },
    computed: {
      list: async () => {
        if (world.cpu === undefined) throw new Error("the node is away");
        return ["a", "b"].map((name) => ({ apiVersion: "metrics.k8s.io/v1beta1", kind: "PodMetrics", metadata: { name, namespace: "default", labels } as unknown as KubeObject["metadata"], timestamp: timestamp(clock.now()), window: "15s", containers: [{ name: "app", usage: { cpu: `${world.cpu}m`, memory: "1Mi" } }] }));
      },
    },
  } satisfies Kind);
  const asked: string[] = [];
  const rawGet = async (path: string) => {
    asked.push(path);
    if (world.queue === undefined) throw new Error("the server could not find the requested resource");
    return { items: [{ value: `${world.queue}m` }] };
  };
  const informers = new Informers({ client, clock: systemClock });
  const kindOf = (apiVersion: string, kind: string) => {
    const [group, version] = apiVersion.includes("/") ? (apiVersion.split("/") as [string, string]) : ["", apiVersion];
    const found = server.api.registry.byKind(group, version, kind);
    return found && { resource: { group, version, resource: found.resource }, namespaced: found.scope === "Namespaced" };
  };
  const autoscaler = new HorizontalAutoscaler({ client, informers, kindOf, rawGet, clock, log: silentLog });
  await informers.start();
  autoscaler.start();
  await client.create(horizontalPodAutoscalers, "default", { metadata: { name: "web" }, spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, minReplicas: 1, maxReplicas: 5, ...spec } });
  return { server, client, clock, asked, stop: async () => (await autoscaler.stop(), await informers.stop(), await server[Symbol.asyncDispose]()) };
}

/** Lets the autoscaler look until its status says this; gives the conditions as one text. */
async function until({ client, clock }: { client: TestApi["client"]; clock: FakeClock }, wanted: RegExp): Promise<string> {
  let said = "";
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    await new Promise((resolve) => setImmediate(resolve));
    if (clock.nextDueMs() !== undefined) clock.advance(clock.nextDueMs()! - clock.now());
    const { status } = await client.get(horizontalPodAutoscalers, "default", "web");
    said = (status?.conditions ?? []).map(({ type, status: is, reason, message }: Record<string, string>) => `${type}=${is} ${reason}: ${message}`).join("\n");
    if (wanted.test(said)) return said;
  }
  throw new Error(`the autoscaler says\n${said}`);
}
const replicas = async ({ client }: { client: TestApi["client"] }) => (await client.get(resources.deployments, "default", "web"))["spec"].replicas as number;
const events = async ({ client }: { client: TestApi["client"] }) => (await client.list(resources.events, { namespace: "default" })).items.map((event) => `${event["type"]} ${event["reason"]}: ${event["message"]}`);

describe("an autoscaler over the real API", () => {
  test("scales up by CPU, says so, and stops at its maximum", async () => {
    const world = { cpu: 900, queue: undefined };
    const at = await setup(world, { metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } }] });
    try {
      await until(at, /AbleToScale=True SucceededRescale: the HPA controller was able to update the target scale to 4/);
      const said = await until(at, /ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization \(percentage of request\)/);
      assert.match(said, /ScalingLimited=(True|False)/);
      assert.ok((await replicas(at)) >= 4);
    } finally {
      await at.stop();
    }
  });
  test("a metric that cannot be had moves nothing, and is named", async () => {
    const at = await setup({ cpu: undefined, queue: undefined }, {});
    try {
      await until(at, /ScalingActive=False FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the node is away/);
      assert.equal(await replicas(at), 2);
      for (let turn = 0; turn < 200 && (await events(at)).length < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok((await events(at)).includes("Warning FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the node is away"), (await events(at)).join("\n"));
    } finally {
      await at.stop();
    }
  });
  const external = { type: "External", external: { metric: { name: "queue_length", selector: { matchLabels: { queue: "orders" } } }, target: { type: "AverageValue", averageValue: "10" } } };
  test("external and object metrics are asked of whoever registered for them", async () => {
    const described = { apiVersion: "v1", kind: "Service", name: "web" };
    const at = await setup({ cpu: 500, queue: 45_000 }, { metrics: [external, { type: "Object", object: { describedObject: described, metric: { name: "requests" }, target: { type: "Value", value: "45" } } }] });
    try {
      await at.client.patch(resources.deployments, "default", "web", { status: { replicas: 2 } }, { subresource: "status" });
      await until(at, /AbleToScale=True SucceededRescale: .* to (4|5)/);
      assert.ok(at.asked.includes("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue_length?labelSelector=queue%3Dorders"), at.asked.join("\n"));
      assert.ok(at.asked.some((path) => path.startsWith("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/web/requests?")), at.asked.join("\n"));
    } finally {
      await at.stop();
    }
  });
  test("one metric of two missing: up goes, down does not", async () => {
    const world: World = { cpu: 100, queue: undefined };
    const at = await setup(world, { metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } }, external] });
    try {
      await until(at, /ScalingActive=False FailedGetExternalMetric/);
      assert.equal(await replicas(at), 2);
      world.cpu = 900;
      await until(at, /AbleToScale=True SucceededRescale/);
      assert.ok((await replicas(at)) > 2);
    } finally {
      await at.stop();
    }
  });
  test("a target of zero is left alone; one that is not there is said", async () => {
    const at = await setup({ cpu: 900, queue: undefined }, {});
    try {
      await at.client.patch(resources.deployments, "default", "web", { spec: { replicas: 0 } });
      await until(at, /ScalingActive=False ScalingDisabled: scaling is disabled since the replica count of the target is zero/);
      assert.equal(await replicas(at), 0);
      await at.client.delete(resources.deployments, "default", "web");
      await until(at, /AbleToScale=False FailedGetScale: the HPA controller was unable to get the target's current scale: deployments\.apps "web" not found/);
    } finally {
      await at.stop();
    }
  });
});
