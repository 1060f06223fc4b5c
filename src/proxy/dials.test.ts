import assert from "node:assert/strict";
import { test } from "node:test";
import type { TcpHandle } from "../base/handles.ts";
import { Dials } from "./dials.ts";

type Done = (status: number, handle: TcpHandle | undefined) => void;

function world() {
  const asked: { ip: string; done: Done }[] = [];
  const dials = new Dials((ip, _port, _timeoutMs, done) => void asked.push({ ip, done }));
  const told: string[] = [];
  const dial = (ip: string, name = ip) => dials.dial(ip, 80, 3_000, (status, handle) => told.push(`${name} ${status}${handle ? " open" : ""}`));
  return { asked, dials, told, dial };
}
function handle(): TcpHandle & { isClosed: boolean } {
  const it = { isClosed: false, close: () => (it.isClosed = true) };
  return it as unknown as TcpHandle & { isClosed: boolean };
}

test("who waits for a pod that has ended is told at once; what comes of it later is nobody's", () => {
  const { asked, dials, told, dial } = world();
  dial("10.244.0.2", "a");
  dial("10.244.0.2", "b");
  dial("10.244.0.3");
  dials.gone("10.244.0.2");
  assert.deepEqual(told, ["a -113", "b -113"]);
  const late = handle();
  asked[0]!.done(0, late);
  asked[1]!.done(-110, undefined);
  assert.ok(late.isClosed);
  asked[2]!.done(0, handle());
  assert.deepEqual(told, ["a -113", "b -113", "10.244.0.3 0 open"]);
});

test("nobody dials a pod that has ended, until there is another at its address; never within the call", async () => {
  const { asked, dials, told, dial } = world();
  dials.gone("10.244.0.2");
  dial("10.244.0.2", "gone");
  assert.deepEqual(told, []);
  await Promise.resolve();
  assert.deepEqual(told, ["gone -113"]);
  assert.equal(asked.length, 0);
  dials.came("10.244.0.2");
  dial("10.244.0.2", "next");
  asked[0]!.done(0, handle());
  assert.deepEqual(told, ["gone -113", "next 0 open"]);
});

test("one that dials again when it is told is not told twice", async () => {
  const { dials, told } = world();
  let times = 0;
  const again = (): void => dials.dial("10.244.0.2", 80, 3_000, () => void (told.push("told"), ++times < 3 && again()));
  again();
  dials.gone("10.244.0.2");
  for (let i = 0; i < 5; i++) await Promise.resolve();
  assert.deepEqual(told, ["told", "told", "told"]);
});
