import assert from "node:assert/strict";
import { test } from "node:test";
import { type NodeInput, nodeConditions } from "./node-object.ts";

const startMs = Date.parse("2026-01-01T00:00:00Z");
const input = (availableBytes: number): NodeInput => ({ mode: "isolated", findings: [], machine: { availableBytes, disk: { freeBytes: 90, totalBytes: 100 } }, hostIP: "127.0.0.1", version: "1" }) as unknown as NodeInput;

test("conditions of the node: what is unchanged is said again every five minutes, a change at once, and only a change moves its time", () => {
  const first = nodeConditions(undefined, input(1e9), startMs);
  assert.deepEqual([...new Set(first.map(({ lastHeartbeatTime }) => lastHeartbeatTime))], ["2026-01-01T00:00:00Z"]);
  const steady = nodeConditions(first, input(1e9), startMs + 299_000);
  assert.deepEqual(steady, first);
  const later = nodeConditions(first, input(1e9), startMs + 300_000);
  assert.deepEqual(later.map(({ lastTransitionTime, lastHeartbeatTime }) => [lastTransitionTime, lastHeartbeatTime]), first.map(() => ["2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"]));
  const full = nodeConditions(first, input(1e6), startMs + 10_000);
  assert.deepEqual(full.find(({ type }) => type === "MemoryPressure"), { type: "MemoryPressure", status: "True", reason: "KubeletHasInsufficientMemory", message: "kubelet has insufficient memory available", lastTransitionTime: "2026-01-01T00:00:10Z", lastHeartbeatTime: "2026-01-01T00:00:10Z" });
});
