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

test("what comes before its handlers is there when they are, in the order in which it came", async () => {
  const [left, right] = pair();
  const got: unknown[] = [];
  const handle = { fd: 7 };
  left.notify("init", 1);
  left.notify("patch", 2, handle);
  left.notify("init", 3);
  const asked = left.request<string>("ask");
  await new Promise((resolve) => setImmediate(resolve));
  // Registered the other way round, and one behind the other.
  right.on("ask", () => ({ body: `after ${got.length}` }));
  right.on("patch", (body: number, given) => void got.push([body, given]));
  right.on("init", (body: number) => void got.push(body));
  left.notify("patch", 4);
  assert.equal((await asked).body, "after 3");
  left.notify("init", 5);
  await left.request("ask");
  assert.deepEqual(got, [1, [2, handle], 3, [4, undefined], 5]);
});

test("a handler that comes late finds what came for it, behind what others have had", async () => {
  const [left, right] = pair();
  const got: string[] = [];
  right.on("a", (body: string) => void got.push(body));
  left.notify("b", "b1");
  left.notify("a", "a1");
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(got, ["a1"]);
  right.on("b", (body: string) => void got.push(body));
  left.notify("b", "b2");
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(got, ["a1", "b1", "b2"]);
});

test("what nobody ever takes does not stay hidden, and takes no handle along when the other process goes", async () => {
  const emitter = new EventEmitter();
  const channel = new Channel(emitter as unknown as Endpoint);
  const closed: number[] = [];
  for (let i = 0; i < 1_000; i++) emitter.emit("message", { type: "unknown", body: i }, i === 7 ? { close: () => closed.push(i) } : undefined);
  assert.throws(() => emitter.emit("message", { type: "unknown", body: 0 }), /^Error: unknown: nobody has taken what came, 1000 messages by now$/);
  emitter.emit("disconnect");
  assert.deepEqual([closed, channel.isClosed], [[7], true]);
});

test("a request that nobody answers is an error at last", { timeout: 30_000 }, async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [left] = pair();
  const asked = left.request("unknown");
  asked.catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(10_000);
  await assert.rejects(asked, /unknown: nobody answers this/);
});
