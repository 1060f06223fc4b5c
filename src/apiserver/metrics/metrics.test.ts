import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hasKubectl, startApi, type TestApi } from "../../../test/harness-api.ts";
import type { NodeUsage } from "../../api/node.ts";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { serveMetrics } from "./metrics.ts";

const podMetrics = { group: "metrics.k8s.io", version: "v1beta1", resource: "pods" };
const nodeMetrics = { ...podMetrics, resource: "nodes" };

/** Three pods and a node; each container has used `cpu` cores and holds `memory` MiB since it started. */
const machine: Record<string, { namespace: string; labels: Record<string, string>; containers: Record<string, { cpu: number; memory: number }> }> = {
  busy: { namespace: "default", labels: { app: "shop" }, containers: { app: { cpu: 0.5, memory: 100 }, sidecar: { cpu: 0.25, memory: 10 } } },
  calm: { namespace: "default", labels: { app: "shop" }, containers: { app: { cpu: 0.001, memory: 300 } } },
  apart: { namespace: "kube-system", labels: { app: "other" }, containers: { app: { cpu: 0.1, memory: 20 } } },
};

async function startMachine(): Promise<TestApi> {
  const server = await startApi();
  const startedMs = Math.floor(Date.now() / 1000) * 1000 - 30_000;
  await server.client.create(resources.nodes, undefined, { metadata: { name: "wherry", labels: { zone: "here" } } });
  await server.client.patch(resources.nodes, undefined, "wherry", { status: { capacity: { cpu: "4", memory: "4Gi" }, allocatable: { cpu: "4", memory: "4Gi" } } }, { subresource: "status" });
  const pods: NodeUsage["pods"] = [];
  for (const [name, { namespace, labels, containers }] of Object.entries(machine)) {
    const spec = { containers: Object.keys(containers).map((container) => ({ name: container, image: "i" })) };
    const created = await server.client.create(resources.pods, namespace, { metadata: { name, labels }, spec });
    const containerStatuses = Object.keys(containers).map((container) => ({ name: container, image: "i", imageID: "", ready: true, restartCount: 0, state: { running: { startedAt: timestamp(startedMs) } } }));
    await server.client.patch(resources.pods, namespace, name, { status: { phase: "Running", containerStatuses } }, { subresource: "status" });
    pods.push({ namespace, name, uid: created.metadata.uid, containers: [] });
  }
  serveMetrics(server.api, async () => {
    const atMs = Date.now();
    const counted = pods.map((pod) => ({ ...pod, containers: Object.entries(machine[pod.name]!.containers).map(([name, { cpu, memory }]) => ({ name, atMs, cpuNs: (atMs - startedMs) * 1e6 * cpu, memoryBytes: memory * 1024 * 1024 })) }));
    return { node: { atMs, cpuNs: (atMs - startedMs) * 1e6 * 2, memoryBytes: 1024 ** 3 }, pods: counted };
  });
  return server;
}

test("metrics.k8s.io: objects, selectors, lists, tables and refusals, as for every kind", async () => {
  await using server = await startMachine();
  const { client } = server;
  const all = await client.list(podMetrics);
  assert.deepEqual(all.items.map(({ metadata }) => metadata.name).sort(), ["apart", "busy", "calm"]);
  const busy = await client.get(podMetrics, "default", "busy");
  assert.equal(busy["kind"], "PodMetrics");
  assert.match(busy["window"], /^\d+(\.\d+)?s$/);
  assert.deepEqual(busy["containers"], [
    { name: "app", usage: { cpu: "500000000n", memory: "102400Ki" } },
    { name: "sidecar", usage: { cpu: "250000000n", memory: "10240Ki" } },
  ]);
  assert.deepEqual(busy.metadata.labels, { app: "shop" });
  const named = async (options: object) => (await client.list(podMetrics, options)).items.map(({ metadata }) => metadata.name).sort();
  assert.deepEqual(await named({ labelSelector: "app=shop" }), ["busy", "calm"]);
  assert.deepEqual(await named({ namespace: "kube-system" }), ["apart"]);
  assert.deepEqual(await named({ namespace: "default", fieldSelector: "metadata.name=calm" }), ["calm"]);
  assert.deepEqual((await client.get(nodeMetrics, undefined, "wherry"))["usage"], { cpu: "2000000000n", memory: "1048576Ki" });
  await assert.rejects(client.get(podMetrics, "default", "none"), { code: 404, message: 'podmetrics.metrics.k8s.io "default/none" not found' });
  await assert.rejects(client.list(podMetrics, { labelSelector: "!!" }), { code: 400 });
  await assert.rejects(server.http().create(podMetrics, "default", { metadata: { name: "x" } }), { code: 405 });
  await assert.rejects(server.http().delete(podMetrics, "default", "busy"), { code: 405 });
});

describe("kubectl top", () => {
  for (const minor of ["1.27", "1.33"]) {
    test(`kubectl ${minor}`, async (t) => {
      if (!(await hasKubectl(t, minor))) return;
      await using server = await startMachine();
      const run = async (...args: string[]) => (await server.kubectl(minor, args)).stdout.replace(/ +/g, " ").replace(/ $/gm, "");
      assert.equal(await run("top", "nodes"), "NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)\nwherry 2000m 50% 1024Mi 25%\n".replace(/CPU\(%\)|MEMORY\(%\)/g, (name) => (minor === "1.33" ? name : name.replace("(%)", "%"))));
      assert.equal(await run("top", "pods"), "NAME CPU(cores) MEMORY(bytes)\nbusy 750m 110Mi\ncalm 1m 300Mi\n");
      assert.equal(await run("top", "pods", "--containers"), "POD NAME CPU(cores) MEMORY(bytes)\nbusy app 500m 100Mi\nbusy sidecar 250m 10Mi\ncalm app 1m 300Mi\n");
      assert.equal(await run("top", "pods", "-A", "--sort-by=memory", "--sum"), "NAMESPACE NAME CPU(cores) MEMORY(bytes)\ndefault calm 1m 300Mi\ndefault busy 750m 110Mi\nkube-system apart 100m 20Mi\n ________ ________\n 851m 430Mi\n");
      assert.equal(await run("top", "pod", "busy", "--no-headers"), "busy 750m 110Mi\n");
      assert.equal(await run("top", "pods", "-A", "-l", "app=other", "--no-headers"), "kube-system apart 100m 20Mi\n");
      assert.match(await run("get", "podmetrics", "calm"), /^NAME CPU MEMORY WINDOW\ncalm 1000000n 307200Ki [\d.]+s\n$/);
    });
  }
});
