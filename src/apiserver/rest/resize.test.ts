import assert from "node:assert/strict";
import { test } from "node:test";
import { hasKubectl, startApi } from "../../../test/harness-api.ts";
import { resources } from "../../api/resources.ts";
import type { StatusError } from "../../api/status.ts";
import type { Pod } from "../../api/types.ts";

// What may change at all is compared with the real server's words in test/conformance/differential/resize.test.ts.
const resize = { subresource: "resize" };
const sized = (cpu: string, memory: string) => ({ requests: { cpu, memory }, limits: { cpu: "2", memory: "1Gi" } });
const pod = (name: string, more: object = {}) => ({ metadata: { name, labels: { app: "web" } }, spec: { containers: [{ name: "app", image: "app:1", resources: sized("1", "128Mi") }], ...more } });

test("pods/resize writes sizes and nothing else; the pod itself refuses them", async () => {
  await using api = await startApi();
  const { client } = api;
  const made = await client.create<Pod>(resources.pods, "default", pod("web"));
  const wanted = structuredClone(made);
  Object.assign(wanted.spec!.containers[0]!, { image: "other", resources: sized("1500m", "256Mi") });
  wanted.metadata.labels = { app: "other" };
  const written = await client.update<Pod>(resources.pods, "default", "web", wanted, resize);
  assert.deepEqual([written.spec!.containers[0]!.resources, written.spec!.containers[0]!.image, written.metadata.labels], [sized("1500m", "256Mi"), "app:1", { app: "web" }]);
  assert.equal(written.metadata.generation, (made.metadata.generation ?? 0) + 1);
  assert.deepEqual((await client.get<Pod>(resources.pods, "default", "web", resize)).spec, written.spec);
  const same = await client.patch<Pod>(resources.pods, "default", "web", { spec: { containers: [{ name: "app", resources: { requests: { cpu: "1.5" } } }] } }, { ...resize, type: "strategic" });
  assert.equal(same.metadata.resourceVersion, written.metadata.resourceVersion, "nothing new, nothing written");
  for (const [patch, text] of [
    [{ resources: { limits: { cpu: null } } }, /spec\.containers\[0\]\.resources\.limits: Forbidden: resource limits cannot be removed/],
    [{ resources: { requests: { cpu: "3" } } }, /must be less than or equal to cpu limit of 2/],
    [{ resources: { requests: { "ephemeral-storage": "1Gi" } } }, /only cpu and memory resources are mutable/],
    [{ resources: { requests: { cpu: "2", memory: "1Gi" } } }, /Pod QOS Class may not change as a result of resizing/],
  ] as const) {
    await assert.rejects(client.patch(resources.pods, "default", "web", { spec: { containers: [{ name: "app", ...patch }] } }, { ...resize, type: "strategic" }), (error: StatusError) => error.code === 422 && text.test(error.message), String(text));
  }
  await assert.rejects(client.patch(resources.pods, "default", "web", { spec: { containers: [{ name: "app", resources: sized("1", "1Gi") }] } }, { type: "strategic" }), /pod updates may not change fields other than/);
});

test("LimitRanges and quotas hold for a resize; a quota counts what the node still has to give back", async () => {
  await using api = await startApi();
  const { client } = api;
  const of = (resource: string) => ({ group: "", version: "v1", resource });
  await client.create(of("limitranges"), "default", { metadata: { name: "range" }, spec: { limits: [{ type: "Container", max: { memory: "1Gi", cpu: "2" } }] } });
  await client.create(of("resourcequotas"), "default", { metadata: { name: "quota" }, spec: { hard: { "requests.cpu": "3" } } });
  for (const name of ["a", "b"]) await client.create(resources.pods, "default", pod(name));
  const to = (name: string, patch: object) => client.patch<Pod>(resources.pods, "default", name, { spec: { containers: [{ name: "app", resources: patch }] } }, { ...resize, type: "strategic" });
  await assert.rejects(to("a", { limits: { memory: "2Gi" } }), /pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi/);
  await to("a", { requests: { cpu: "2" } });
  await assert.rejects(to("b", { requests: { cpu: "1100m" } }), /pods "b" is forbidden: exceeded quota: quota, requested: requests\.cpu=100m, used: requests\.cpu=3, limited: requests\.cpu=3/);
  // The node has given it two cores, and is asked for one again: until it has them back, two count.
  await client.patch(resources.pods, "default", "a", { status: { containerStatuses: [{ name: "app", image: "i", imageID: "", ready: true, restartCount: 0, state: { running: {} }, allocatedResources: { cpu: "2" }, resources: { requests: { cpu: "2" } } }] } }, { subresource: "status", type: "strategic" });
  await to("a", { requests: { cpu: "1" } });
  await assert.rejects(to("b", { requests: { cpu: "1100m" } }), /exceeded quota/);
  await client.patch(resources.pods, "default", "a", { status: { containerStatuses: [{ name: "app", allocatedResources: { cpu: "1" }, resources: { requests: { cpu: "1" } } }] } }, { subresource: "status", type: "strategic" });
  await to("b", { requests: { cpu: "1100m" } });
});

test("kubectl edit --subresource=resize", async (t) => {
  if (!(await hasKubectl(t, "1.33"))) return;
  await using api = await startApi();
  await api.client.create(resources.pods, "default", pod("web"));
  const edited = await api.kubectl("1.33", ["edit", "pod", "web", "--subresource=resize"], { env: { KUBE_EDITOR: "sed -i s/128Mi/192Mi/" } });
  assert.match(edited.stdout, /pod\/web edited/, edited.stderr);
  const read = await api.kubectl("1.33", ["get", "pod", "web", "--subresource=resize", "-o", "jsonpath={.spec.containers[0].resources.requests.memory}"]);
  assert.equal(read.stdout, "192Mi", read.stderr);
});
