import assert from "node:assert/strict";
import { test } from "node:test";
import { relayed } from "./relayed.ts";

test("buffers that were relayed take memory of a few megabytes, however many there were", () => {
  const megabyte = 1024 * 1024;
  const before = process.memoryUsage().arrayBuffers;
  let peak = 0;
  for (let sent = 0; sent < 256 * megabyte; sent += 64 * 1024) {
    const chunk = Buffer.allocUnsafeSlow(64 * 1024);
    chunk[0] = 1;
    relayed(chunk.length);
    if (sent % megabyte === 0) peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
  }
  assert.ok(peak < 24 * megabyte, `${(peak / megabyte).toFixed(0)} MB waited for the collector`);
  assert.equal((globalThis as { gc?: unknown }).gc, undefined, "nobody else was given the collector");
});
