import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { Channel, type Endpoint } from "./channel.ts";

/** Two endpoints joined back to back; messages are copied as a process border would. */
function pair(): [Channel, Channel, () => void] {
  const [a, b] = [new EventEmitter(), new EventEmitter()];
  const join = (from: EventEmitter, to: EventEmitter): Endpoint =>
    Object.assign(from, {
      send(message: unknown, handle?: unknown, _options?: object, sent?: (error: Error | null) => void) {
        const copy: unknown = JSON.parse(JSON.stringify(message));
        queueMicrotask(() => to.emit("message", copy, handle));
        sent?.(null);
        return true;
      },
    }) as unknown as Endpoint;
  return [new Channel(join(a, b)), new Channel(join(b, a)), () => a.emit("disconnect")];
}

test("a request is answered with body and handle", async () => {
  const [left, right] = pair();
  const handle = { fd: 7 };
  right.on("dial", (body: { port: number }) => ({ body: body.port + 1, handle }));
  const answer = await left.request<number>("dial", { port: 80 });
  assert.equal(answer.body, 81);
  assert.equal(answer.handle, handle);
});

test("a handle in an answer is given away, one in a notice is not", async () => {
  const [left, right] = pair();
  const closed: string[] = [];
  const given = { close: () => closed.push("given") };
  const kept = { close: () => closed.push("kept") };
  right.on("dial", () => ({ body: null, handle: given }));
  right.on("take", () => {});
  left.notify("take", null, kept);
  await left.request("dial");
  assert.deepEqual(closed, ["given"]);
});

test("an error travels back as an error", async () => {
  const [left, right] = pair();
  right.on("dial", () => {
    throw new Error("connection refused");
  });
  await assert.rejects(left.request("dial"), /connection refused/);
});

test("when the other process goes, waiting requests fail", async () => {
  const [left, right, disconnect] = pair();
  right.on("dial", () => new Promise<void>(() => {}));
  const pending = left.request("dial");
  disconnect();
  await assert.rejects(pending, /gone/);
  await assert.rejects(left.request("dial"), /gone/);
});
