import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import { randomInt, seededRandom } from "../../base/random.ts";
import type { AnswerFilter, AnswerSink, Exchange } from "../exchange.ts";
import { toolsAt } from "../testing/request.ts";
import { bandwidth } from "./bandwidth.ts";

interface Flow {
  sink: AnswerSink;
  sent: Buffer[];
  get bytes(): number;
  hasEnded: boolean;
  failed: string;
  drained: number;
  leave(): void;
}

/** An answer behind the filter. */
function flowOf(handler: ReturnType<ReturnType<typeof bandwidth>>, { holds = true, isLocal = false } = {}): Flow | undefined {
  const ends: (() => void)[] = [];
  let filter: AnswerFilter | undefined;
  const exchange = { takeAnswer: (one: AnswerFilter) => (filter = one), onEnd: (release: () => void) => ends.push(release), hold: () => holds } as unknown as Exchange;
  handler(exchange, undefined as never);
  const flow = { sent: [] as Buffer[], hasEnded: false, failed: "", drained: 0, leave: () => ends.forEach((end) => end()) };
  const next: AnswerSink = { isBlocked: false, begin() {}, content: (bytes) => flow.sent.push(Buffer.from(bytes)), end: () => (flow.hasEnded = true), fail: (flag) => (flow.failed = flag) };
  const sink = filter!({ status: 200, isLocal, header: () => undefined }, next, () => flow.drained++);
  return sink && Object.defineProperty(Object.assign(flow, { sink }), "bytes", { get: () => flow.sent.reduce((sum, { length }) => sum + length, 0) }) as Flow | undefined;
}
const filterAt = (clock: FakeClock, answerBytesPerSecond: number) => bandwidth({ type: "bandwidth", answerBytesPerSecond }, toolsAt(clock))(() => {});

test("bandwidth: a second's worth at once, and then so much a second, in order, with its end behind it", () => {
  for (const rate of [7, 1000, 100_000, 10_000_000]) {
    const clock = new FakeClock();
    const flow = flowOf(filterAt(clock, rate))!;
    const body = Buffer.from(Array.from({ length: rate * 3 }, (_, i) => i & 255));
    flow.sink.begin({ status: 200, headers: [], length: body.length });
    flow.sink.content(body);
    flow.sink.end();
    assert.ok(flow.bytes <= rate && flow.bytes >= rate * 0.85, `${flow.bytes} of ${rate} at once`);
    assert.ok(flow.sink.isBlocked && !flow.hasEnded);
    for (let ms = 100; ms <= 2100; ms += 100) {
      clock.advance(100);
      assert.ok(flow.bytes <= rate + (rate * ms) / 1000 + 1, `${flow.bytes} after ${ms} ms at ${rate}`);
      assert.ok(flow.bytes >= Math.min(body.length, rate * 0.85 + (rate * (ms - 200)) / 1000), `${flow.bytes} after ${ms} ms at ${rate}`);
    }
    assert.ok(flow.hasEnded);
    assert.deepEqual(Buffer.concat(flow.sent), body);
  }
});

test("bandwidth: answers of one rule share it, whatever their pieces; each comes whole", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seededRandom(seed);
    const clock = new FakeClock();
    const handler = filterAt(clock, 5000);
    const flows = Array.from({ length: 5 }, () => flowOf(handler)!);
    const bodies = flows.map((flow) => {
      const pieces = Array.from({ length: 1 + randomInt(random, 10) }, () => Buffer.alloc(randomInt(random, 900), randomInt(random, 256)));
      for (const piece of pieces) flow.sink.content(piece);
      flow.sink.end();
      return Buffer.concat(pieces);
    });
    let ms = 0;
    for (; flows.some(({ hasEnded }) => !hasEnded) && ms < 60_000; ms += 50) {
      const all = flows.reduce((sum, { bytes }) => sum + bytes, 0);
      assert.ok(all <= 5000 + (5000 * ms) / 1000 + 1, `seed ${seed}: ${all} after ${ms} ms`);
      clock.advance(50);
    }
    flows.forEach((flow, i) => assert.deepEqual([flow.hasEnded, Buffer.concat(flow.sent)], [true, bodies[i]], `seed ${seed}`));
  }
});

test("bandwidth: what waits stops its upstream, and lets it go on", () => {
  const clock = new FakeClock();
  const flow = flowOf(filterAt(clock, 1000))!;
  flow.sink.content(Buffer.alloc(1500));
  assert.ok(flow.sink.isBlocked);
  clock.advance(600);
  assert.deepEqual([flow.sink.isBlocked, flow.drained > 0, flow.bytes], [false, true, 1500]);
});

test("bandwidth: a client that leaves takes what waits along; too much that is held fails; our own answers go at once", () => {
  const clock = new FakeClock();
  const handler = filterAt(clock, 1000);
  const flow = flowOf(handler)!;
  flow.sink.content(Buffer.alloc(5000));
  const { bytes } = flow;
  flow.leave();
  clock.advance(10_000);
  assert.equal(flow.bytes, bytes);
  const full = flowOf(handler, { holds: false })!;
  full.sink.content(Buffer.alloc(1));
  assert.equal(full.failed, "OM");
  assert.equal(flowOf(handler, { isLocal: true }), undefined);
});
