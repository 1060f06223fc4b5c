import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import { Names } from "./names.ts";

test("a name is looked up when it is asked for, and again; what changes is told, and a failure takes nothing away", () => {
  const clock = new FakeClock();
  const answers = new Map([["a.example.com", ["192.0.2.2", "192.0.2.1"]]]);
  const asked: string[] = [];
  const changed: string[] = [];
  const names = new Names({
    clock,
    changed: (name) => changed.push(name),
    lookup: (name, done) => {
      asked.push(name);
      clock.setTimer(10, () => done(answers.get(name) ?? []));
    },
  });
  assert.equal(names.get("a.example.com"), undefined);
  assert.equal(names.get("a.example.com"), undefined);
  assert.deepEqual(asked, ["a.example.com"]);
  clock.advance(10);
  assert.deepEqual(names.get("a.example.com"), ["192.0.2.1", "192.0.2.2"]);
  answers.set("a.example.com", ["192.0.2.1", "192.0.2.2"]);
  clock.advance(5_010);
  assert.deepEqual([changed, asked.length], [["a.example.com"], 2], "another order is no change");
  answers.delete("a.example.com");
  clock.advance(5_010);
  assert.deepEqual(names.get("a.example.com"), ["192.0.2.1", "192.0.2.2"]);
  answers.set("a.example.com", ["192.0.2.3"]);
  clock.advance(5_010);
  assert.deepEqual([names.get("a.example.com"), changed.length], [["192.0.2.3"], 2]);
  names.stop();
  clock.advance(60_000);
  assert.equal(asked.length, 4);
});
