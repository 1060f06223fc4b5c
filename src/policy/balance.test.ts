import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../base/random.ts";
import { ClientAffinity, rendezvous, RoundRobin } from "./balance.ts";

test("round robin gives each endpoint its turn, also when the list shrinks", () => {
  const turn = new RoundRobin(seededRandom(1));
  const counts = [0, 0, 0];
  for (let i = 0; i < 300; i++) counts[turn.next(3)]!++;
  assert.deepEqual(counts, [100, 100, 100]);
  for (let i = 0; i < 10; i++) assert.ok(turn.next(2) < 2);
  assert.equal(turn.next(1), 0);
});

test("rendezvous: even, and a lost endpoint moves its own clients only", () => {
  const keys = ["10.244.0.2:80", "10.244.0.3:80", "10.244.0.4:80", "10.244.0.5:80"];
  const clients = Array.from({ length: 4000 }, (_, i) => `10.244.${i >> 8}.${i & 255}`);
  const before = clients.map((client) => keys[rendezvous(client, keys)]!);
  for (const key of keys) {
    const share = before.filter((choice) => choice === key).length;
    assert.ok(share > 850 && share < 1150, `${key} has ${share} of 4000`);
  }
  const left = keys.slice(0, 3);
  const moved = clients.filter((client, i) => before[i] !== keys[3] && left[rendezvous(client, left)] !== before[i]);
  assert.deepEqual(moved, []);
});

test("affinity ends after its timeout, is renewed by use, and forgets the longest silent client", () => {
  const affinity = new ClientAffinity(10_000, 2);
  affinity.set("a", "one", 0);
  assert.equal(affinity.get("a", 9_999), "one");
  assert.equal(affinity.get("a", 10_000), undefined);
  affinity.set("a", "one", 0);
  affinity.set("a", "one", 9_000);
  assert.equal(affinity.get("a", 18_000), "one");
  affinity.set("b", "two", 1);
  affinity.set("a", "one", 2);
  affinity.set("c", "three", 3);
  assert.deepEqual([affinity.get("a", 4), affinity.get("b", 4), affinity.get("c", 4), affinity.size], ["one", undefined, "three", 2]);
});
