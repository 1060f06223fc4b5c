import assert from "node:assert/strict";
import { test } from "node:test";
import { formatQuantity } from "./quantity.ts";
import { podResources, type PodResourcesStatus } from "./pod-resources.ts";

const of = (cpu: string, name = "app") => ({ name, resources: { requests: { cpu }, limits: { cpu } } });
const has = (cpu: string, allocated: string | undefined = cpu, name = "app") => ({ name, resources: { requests: { cpu }, limits: { cpu } }, ...(allocated && { allocatedResources: { cpu: allocated } }) });
const infeasible = [{ type: "PodResizePending", reason: "Infeasible" }];

test("while a pod is resized, the most counts of what is asked for, promised and had", () => {
  const cases: [why: string, spec: object, status: PodResourcesStatus | undefined, requests: string, limits: string][] = [
    ["nothing said yet", { containers: [of("2")] }, undefined, "2", "2"],
    ["a node that says nothing of sizes", { containers: [of("2")] }, { containerStatuses: [{ name: "app" }] }, "2", "2"],
    ["more is asked for", { containers: [of("2")] }, { containerStatuses: [has("1")] }, "2", "2"],
    ["less is asked for, and still had", { containers: [of("1")] }, { containerStatuses: [has("3", "2")] }, "3", "3"],
    ["less is in force than was promised", { containers: [of("1")] }, { containerStatuses: [has("1", "2")] }, "2", "1"],
    ["what never fits is not had", { containers: [of("9")] }, { containerStatuses: [has("1", "2")], conditions: infeasible }, "2", "1"],
    ["what waits will be had", { containers: [of("9")] }, { containerStatuses: [has("1", "2")], conditions: [{ type: "PodResizePending", reason: "Deferred" }] }, "9", "9"],
    ["another container's status", { containers: [of("1"), of("1", "side")] }, { containerStatuses: [has("3", "3", "side")] }, "4", "4"],
    ["a sidecar is resized too", { containers: [of("1")], initContainers: [{ ...of("1", "side"), restartPolicy: "Always" }] }, { initContainerStatuses: [has("3", "3", "side")] }, "4", "4"],
    ["an init container is not", { containers: [of("1")], initContainers: [of("2", "first")] }, { initContainerStatuses: [has("9", "9", "first")] }, "2", "2"],
  ];
  for (const [why, spec, status, requests, limits] of cases) {
    const found = (["requests", "limits"] as const).map((part) => formatQuantity(podResources(spec, part, status && { status })["cpu"]!));
    assert.deepEqual(found, [requests, limits], why);
  }
});
