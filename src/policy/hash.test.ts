import assert from "node:assert/strict";
import { test } from "node:test";
import { rendezvous } from "./hash.ts";
import { SessionNames } from "./session-token.ts";

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

test("session names are SipHash-2-4", () => {
  // The vectors of the reference implementation: key and text are the bytes 0, 1, 2, …
  const names = new SessionNames("000102030405060708090a0b0c0d0e0f");
  const upTo = (length: number) => Array.from({ length }, (_, i) => String.fromCharCode(i)).join("");
  for (const [length, name] of [[0, "726fdb47dd0e0e31"], [1, "74f839c593dc67fd"], [7, "ab0200f58b01d137"], [8, "93f5f5799a932462"], [15, "a129ca6149be45e5"]] as const) assert.equal(names.name(upTo(length)), name);
  assert.throws(() => new SessionNames("short"));
});
