import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Pod, PodStatus } from "../../api/types.ts";
import { NodeHarness } from "../testing/harness.ts";
import { StatusWriter, statusPatch } from "./status-writer.ts";

const withReady = (status: string, more: object = {}) => ({ phase: "Running", conditions: [{ type: "Ready", status, ...more }] }) as PodStatus;

test("statusPatch() says what changed, takes away what is gone, and replaces addresses", () => {
  const cases: [string, PodStatus, PodStatus, object | undefined][] = [
    ["nothing", withReady("True"), withReady("True"), undefined],
    ["a condition", withReady("False", { reason: "R" }), withReady("True"), { conditions: [{ reason: null, type: "Ready", status: "True" }] }],
    ["a field that is gone", { phase: "Running", reason: "x" }, { phase: "Running" }, { reason: null }],
    ["an address", { podIPs: [{ ip: "a" }] }, { podIPs: [{ ip: "b" }] }, { podIPs: [{ $patch: "replace" }, { ip: "b" }] }],
  ];
  for (const [name, from, to, patch] of cases) assert.deepEqual(statusPatch(from, to), patch, name);
});

test("writes are merged while one is under way, but each change of Ready is written; faults are tried again, refusals carried on", async () => {
  await using node = new NodeHarness();
  const pod = await node.client.create<Pod>(resources.pods, "default", { apiVersion: "v1", kind: "Pod", metadata: { name: "web" }, spec: { containers: [] }, status: {} });
  const writer = new StatusWriter(node.ctx, pod);
  let fault: Error | undefined;
  node.client.before = () => {
    const thrown = fault;
    fault = undefined;
    if (thrown) throw thrown;
  };
  const written = () => node.client.writes.filter(({ verb }) => verb === "patch").map(({ body }) => (body as { status: PodStatus }).status);
  for (const [status, message] of [["False", "1"], ["False", "2"], ["True", "3"], ["False", "4"], ["False", "5"]] as const) writer.put({ ...withReady(status), message });
  await writer.flush();
  assert.deepEqual(written().map(({ message, conditions }) => [message, conditions?.[0]?.status]), [["2", "False"], ["3", "True"], ["5", "False"]]);

  fault = new Error("connection reset");
  writer.put({ ...withReady("True"), message: "6" });
  await node.advance(1000);
  assert.equal(written().at(-1)!.message, "6");

  fault = new StatusError(422, "Invalid", "no");
  writer.put({ ...withReady("False"), message: "7" });
  await writer.flush();
  assert.equal(written().at(-1)!.message, "6");
  writer.put({ ...withReady("False"), message: "7", reason: "again" });
  await writer.flush();
  assert.deepEqual(node.pod()!.status, { ...withReady("False"), message: "7", reason: "again" });

  await node.client.delete(resources.pods, "default", "web", { gracePeriodSeconds: 0 });
  writer.put({ ...withReady("True"), message: "8" });
  await writer.flush();
  writer.put({ ...withReady("False"), message: "9" });
  assert.equal(written().at(-1)!.reason, "again", "a pod that is gone has no status");
});
