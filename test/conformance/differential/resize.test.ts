import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { HttpClient } from "../../../src/api/http-client.ts";
import type { StatusError } from "../../../src/api/status.ts";
import { startApi, type TestApi } from "../../harness-api.ts";
import { hasOracle, type Oracle, startOracle } from "./oracle.ts";

/** pods/resize beside the real kube-apiserver: the same change is tried, and both give the same object or the same refusal. */
const skip = hasOracle() ? false : "no kube-apiserver here: node tools/build-oracle.mjs";
let api: TestApi;
let oracle: Oracle;
before(async () => {
  if (skip) return;
  [api, oracle] = await Promise.all([startApi(), startOracle()]);
});
after(async () => {
  if (skip) return;
  await Promise.all([api[Symbol.asyncDispose](), oracle[Symbol.asyncDispose]()]);
});

type Json = Record<string, any>;
const sized = (requests: Json | undefined, limits?: Json): Json => ({ resources: { ...(requests && { requests }), ...(limits && { limits }) } });
const some = sized({ cpu: "100m", memory: "64Mi" }, { cpu: "1", memory: "128Mi" });
const exact = sized({ cpu: "1", memory: "64Mi" }, { cpu: "1", memory: "64Mi" });
const running = (name: string, resources?: Json) => ({ phase: "Running", containerStatuses: [{ name, image: "i", imageID: "", ready: true, restartCount: 0, state: { running: {} }, ...(resources && { resources }) }] });
const change = (container: Json, spec: Json = {}, metadata: Json = {}): Json => ({ metadata, spec: { ...spec, containers: [{ name: "a", ...container }] } });
const restarts = { resizePolicy: [{ resourceName: "cpu", restartPolicy: "NotRequired" }, { resourceName: "memory", restartPolicy: "RestartContainer" }] };

/** Why, the pod's container, what is sent (a strategic merge patch), the rest of the pod's spec, its status. */
const cases: [why: string, container: Json, patch: Json, spec?: Json, status?: Json][] = [
  ["more of all", some, change(sized({ cpu: "200m", memory: "65Mi" }, { cpu: "2", memory: "256Mi" }))],
  ["less memory", some, change(sized({ memory: "1Mi" }, { memory: "2Mi" }))],
  ["in other words", some, change(sized({ cpu: "0.1" }, { cpu: "1000m" }))],
  ["nothing", some, change({})],
  ["a limit where there was none", sized({ cpu: "1" }), change(sized({}, { cpu: "2" }))],
  ["a request where there was none", sized({ cpu: "1" }), change(sized({ memory: "1Mi" }))],
  ["a limit below the request", some, change(sized({}, { cpu: "10m" }))],
  ["a request taken away", some, change(sized({ cpu: null }))],
  ["a limit taken away", some, change(sized({}, { memory: null }))],
  ["all taken away", some, change({ resources: null })],
  ["from guaranteed to burstable", exact, change(sized({ cpu: "500m" }))],
  ["guaranteed stays so", exact, change(sized({ cpu: "2" }, { cpu: "2" }))],
  ["from best effort", {}, change(sized({ cpu: "1" }))],
  ["another resource", some, change(sized({ "ephemeral-storage": "1Gi" }))],
  ["an extended resource", sized({ "example.com/x": "1", cpu: "1" }, { "example.com/x": "1" }), change(sized({ "example.com/x": "2" }, { "example.com/x": "2" }))],
  ["a resize policy", some, change(restarts)],
  ["another resize policy", { ...some, ...restarts }, change({ resizePolicy: [{ resourceName: "memory", restartPolicy: "NotRequired" }] })],
  ["an image and a label", some, change({ ...sized({ cpu: "200m" }), image: "other" }, {}, { labels: { a: "b" } })],
  ["another container", some, { spec: { containers: [{ name: "b", image: "i" }] } }],
  ["nonsense", some, change(sized({ cpu: "many" }))],
  ["a negative amount", some, change(sized({ cpu: "-1" }))],
  ["an init container", some, change({}, { initContainers: [{ name: "first", ...sized({ cpu: "2" }) }] }), { initContainers: [{ name: "first", image: "i", ...some }] }],
  ["a sidecar", some, change({}, { initContainers: [{ name: "first", ...sized({ cpu: "200m" }) }] }), { initContainers: [{ name: "first", image: "i", restartPolicy: "Always", ...some }] }],
  ["a sidecar's storage", some, change({}, { initContainers: [{ name: "first", ...sized({ "ephemeral-storage": "1Mi" }) }] }), { initContainers: [{ name: "first", image: "i", restartPolicy: "Always", ...some }] }],
  ["a pod with resources of its own", some, change(sized({ cpu: "200m" })), { resources: { requests: { cpu: "1" } } }],
  ["resources of the pod", some, change({}, { resources: { requests: { cpu: "1" } } })],
  ["a node that says nothing of resources", some, change(sized({ cpu: "200m" })), {}, running("a")],
  ["a node that does", some, change(sized({ cpu: "200m" })), {}, running("a", some["resources"])],
];

async function attempt(client: HttpClient, name: string, [, container, patch, spec, status]: (typeof cases)[number]): Promise<unknown> {
  const path = "/api/v1/namespaces/resize/pods";
  await client.raw("POST", `${path}?fieldManager=test`, { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { automountServiceAccountToken: false, ...spec, containers: [{ name: "a", image: "i", ...container }] } });
  if (status) await client.raw("PATCH", `${path}/${name}/status`, { status }, { "content-type": "application/merge-patch+json" });
  try {
    const { text } = await client.raw("PATCH", `${path}/${name}/resize?fieldManager=sizer`, patch, { "content-type": "application/strategic-merge-patch+json" });
    const { metadata, spec } = JSON.parse(text) as Json;
    const owned = metadata.managedFields.filter(({ manager }: Json) => manager === "sizer").map(({ subresource, operation, fieldsV1 }: Json) => ({ subresource, operation, fieldsV1 }));
    const read = JSON.parse((await client.raw("GET", `${path}/${name}/resize`)).text) as Json;
    return { spec, generation: metadata.generation, labels: metadata.labels, owned, read: [read["kind"], read["metadata"].name, read["spec"].containers[0].resources] };
  } catch (error) {
    const { code, reason, message, details } = error as StatusError;
    return { code, reason, message, causes: details?.causes };
  }
}

test("what a resize may change, in the real server's words", { skip }, async () => {
  const ours = api.http();
  for (const client of [ours, oracle.client]) {
    await client.raw("POST", "/api/v1/namespaces", { metadata: { name: "resize" } });
    await client.raw("POST", "/api/v1/namespaces/resize/serviceaccounts", { metadata: { name: "default" } });
  }
  for (const [index, one] of cases.entries()) {
    const [mine, real] = await Promise.all([attempt(ours, `p${index}`, one), attempt(oracle.client, `p${index}`, one)]);
    assert.deepEqual(mine, real, one[0]);
  }
});
