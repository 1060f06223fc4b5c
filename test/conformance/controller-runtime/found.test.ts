import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../src/api/meta.ts";
import { StatusError } from "../../../src/api/status.ts";
import { startApi } from "../../harness-api.ts";
import { startWebhookServer } from "../../webhook-server.ts";

// What controller-runtime's suites found, as cases that take no minutes.

test("a node brings its status with it, and has what Go always writes", async () => {
  await using api = await startApi();
  const nodes = { group: "", version: "v1", resource: "nodes" };
  const bare = await api.client.create<KubeObject>(nodes, undefined, { metadata: { name: "bare" } });
  assert.deepEqual(bare.status.daemonEndpoints, { kubeletEndpoint: { Port: 0 } });
  assert.equal(bare.status.nodeInfo.machineID, "");
  const full = await api.client.create<KubeObject>(nodes, undefined, { metadata: { name: "full" }, status: { capacity: { cpu: "2" }, conditions: [{ type: "Ready", status: "True" }] } });
  assert.deepEqual([full.status.capacity, full.status.conditions[0].type], [{ cpu: "2" }, "Ready"]);
});

test("events are selected by the labels of their own API", async (t) => {
  await using api = await startApi();
  const http = api.http();
  await http.raw("POST", "/apis/events.k8s.io/v1/namespaces/default/events", { metadata: { name: "one" }, eventTime: "2026-01-01T00:00:00.000000Z", reportingController: "example.org/c", reportingInstance: "c-0", action: "Act", reason: "Why", type: "Normal", regarding: { kind: "Pod", name: "web", namespace: "default" } });
  for (const [path, found] of [
    ["/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dweb", 1],
    ["/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dother", 0],
    ["/apis/events.k8s.io/v1/events?fieldSelector=reportingController%3Dexample.org/c", 1],
    ["/api/v1/events?fieldSelector=involvedObject.name%3Dweb,reportingComponent%3Dexample.org/c", 1],
    ["/api/v1/events?fieldSelector=regarding.name%3Dweb", "field label not supported: regarding.name"],
    ["/apis/events.k8s.io/v1/events?fieldSelector=involvedObject.name%3Dweb", "field label not supported: involvedObject.name"],
  ] as const) {
    await t.test(path, async () => {
      const answer = await http.raw("GET", path).then(({ text }) => (JSON.parse(text) as { items: object[] }).items.length, (error: unknown) => (error instanceof StatusError ? error.message : error));
      assert.equal(answer, found);
    });
  }
});

test("a webhook's path is joined as Go does", async () => {
  await using webhook = await startWebhookServer();
  await using api = await startApi();
  webhook.on("/judge", () => ({ allowed: false, status: { message: "Always denied" } }));
  const configurations = { group: "admissionregistration.k8s.io", version: "v1", resource: "validatingwebhookconfigurations" };
  await api.client.create(configurations, undefined, { metadata: { name: "judge" }, webhooks: [{ name: "judge.example.org", clientConfig: { url: `${webhook.url}//judge`, caBundle: webhook.caBundle }, rules: [{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }], sideEffects: "None", admissionReviewVersions: ["v1"] }] });
  await assert.rejects(api.client.create({ group: "", version: "v1", resource: "configmaps" }, "default", { metadata: { name: "x" } }), /denied the request: Always denied/);
});
