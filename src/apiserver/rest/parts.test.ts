import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { StatusError } from "../../api/status.ts";
import type { Pod } from "../../api/types.ts";
import { startApi } from "../../../test/harness-api.ts";

test("pods/ephemeralcontainers adds containers to a pod that exists, and changes nothing else", async () => {
  await using api = await startApi();
  const { client } = api;
  const part = { subresource: "ephemeralcontainers" };
  const pod = await client.create<Pod>(resources.pods, "default", { metadata: { name: "web" }, spec: { containers: [{ name: "app", image: "app:1" }] } });
  const debug = { name: "debugger", image: "busybox", stdin: true, targetContainerName: "app" };
  const added = await client.patch<Pod>(resources.pods, "default", "web", { metadata: { labels: { not: "here" } }, spec: { ephemeralContainers: [debug], containers: [{ name: "app", image: "app:2" }] } }, { ...part, type: "strategic" });
  assert.deepEqual([added.spec!.ephemeralContainers!.map(({ name, imagePullPolicy }) => [name, imagePullPolicy]), added.spec!.containers[0]!.image, added.metadata.labels], [[["debugger", "Always"]], "app:1", undefined]);
  assert.equal(added.metadata.generation, (pod.metadata.generation ?? 0) + 1);
  const read = await client.get<Pod>(resources.pods, "default", "web");
  assert.equal(read.spec!.ephemeralContainers!.length, 1);

  const refusals: [why: string, list: object[], text: RegExp][] = [
    ["changed", [{ ...debug, image: "other" }], /existing ephemeral containers "debugger" may not be changed/],
    ["taken away", [], /existing ephemeral containers "debugger" may not be removed/],
    ["a capability", [...read.spec!.ephemeralContainers!, { name: "b", image: "x", securityContext: { capabilities: { add: ["SYS_ADMIN"] } } }], /SYS_ADMIN cannot be added/],
    ["a name twice", [...read.spec!.ephemeralContainers!, { name: "app", image: "x" }], /spec\.ephemeralContainers\[1\]\.name: Duplicate value: "app"/],
    ["a target that is not there", [...read.spec!.ephemeralContainers!, { name: "b", image: "x", targetContainerName: "nobody" }], /spec\.ephemeralContainers\[1\]\.targetContainerName: Not found: "nobody"/],
  ];
  for (const [why, ephemeralContainers, text] of refusals) {
    await assert.rejects(client.update(resources.pods, "default", "web", { ...read, spec: { ...read.spec!, ephemeralContainers } }, part), (error: StatusError) => error.code === 422 && text.test(error.message), why);
  }
  await assert.rejects(client.patch(resources.pods, "default", "web", { spec: { ephemeralContainers: [...read.spec!.ephemeralContainers!, { name: "b", image: "x" }] } }), /pod updates may not change fields other than/);
  await assert.rejects(client.patch(resources.pods, "default", "gone", { spec: { ephemeralContainers: [debug] } }, { ...part, type: "strategic" }), (error: StatusError) => error.code === 404);
});
