import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import type { Pod } from "../../src/api/types.ts";
import { Cluster, deployment } from "./cluster.ts";

test("a pod of a higher class takes the place of lesser ones, which come back when it is gone", async () => {
  const cluster = new Cluster({ allocatable: { cpu: "2", memory: "4Gi", pods: "110" } });
  await cluster.start();
  const { client } = cluster;
  await client.create(resources.priorityClasses, undefined, { metadata: { name: "urgent" }, value: 1000 });
  const lesser = deployment("web", 4);
  Object.assign(lesser.spec.template.spec.containers[0]!, { resources: { requests: { cpu: "500m" } } });
  await client.create(resources.deployments, "default", lesser);
  const running = async (): Promise<string[]> => (await cluster.pods()).filter(({ spec, metadata }) => spec?.nodeName && !metadata.deletionTimestamp).map(({ metadata }) => metadata.name.replace(/-.*/, "")).sort();
  await cluster.until("all four run", async () => (await running()).length === 4);
  await client.create(resources.pods, "default", { metadata: { name: "urgent" }, spec: { priorityClassName: "urgent", containers: [{ name: "c", image: "i", resources: { requests: { cpu: "1" } } }] } });
  await cluster.until("it runs", async () => (await running()).includes("urgent"));
  await cluster.run(5_000);
  assert.deepEqual(await running(), ["urgent", "web", "web"]);
  const urgent = await client.get<Pod>(resources.pods, "default", "urgent");
  assert.equal(urgent.status?.nominatedNodeName, undefined, "the nomination ends with the binding");
  const events = (await client.list<KubeObject>(resources.events, { namespace: "default" })).items.filter((event) => event["reason"] === "Preempted").map((event) => event["message"]);
  assert.deepEqual(events, Array.from({ length: 2 }, () => `Preempted by pod ${urgent.metadata.uid} on node wherry`));
  await client.delete(resources.pods, "default", "urgent");
  await cluster.until("they are back", async () => (await running()).filter((name) => name === "web").length === 4);
  await cluster.stop();
});
