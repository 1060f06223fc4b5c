import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { startApi } from "../../../test/harness-api.ts";

test("a namespace's label wherry.dev/mesh is its pods', unless they say otherwise", async () => {
  await using api = await startApi();
  const { client } = api;
  await client.create(resources.namespaces, undefined, { metadata: { name: "shop", labels: { "wherry.dev/mesh": "direct", team: "one" } } });
  await client.create(resources.serviceAccounts, "shop", { metadata: { name: "default" } });
  const cases: [namespace: string, labels: Record<string, string> | undefined, expected: Record<string, string> | undefined][] = [
    ["shop", undefined, { "wherry.dev/mesh": "direct" }],
    ["shop", { app: "web" }, { app: "web", "wherry.dev/mesh": "direct" }],
    ["shop", { "wherry.dev/mesh": "listener" }, { "wherry.dev/mesh": "listener" }],
    ["default", { app: "web" }, { app: "web" }],
  ];
  for (const [index, [namespace, labels, expected]] of cases.entries()) {
    const pod = await client.create<KubeObject>(resources.pods, namespace, { metadata: { name: `p${index}`, ...(labels && { labels }) }, spec: { containers: [{ name: "c", image: "node:26" }] } });
    assert.deepEqual(pod.metadata.labels, expected);
  }
  // What runs is not changed under it.
  await client.patch(resources.namespaces, undefined, "shop", { metadata: { labels: { "wherry.dev/mesh": "listener" } } }, { type: "merge" });
  const left = await client.patch<KubeObject>(resources.pods, "shop", "p0", { metadata: { annotations: { seen: "yes" } } }, { type: "merge" });
  assert.equal(left.metadata.labels?.["wherry.dev/mesh"], "direct");
});
