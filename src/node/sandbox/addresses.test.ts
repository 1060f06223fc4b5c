import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressPool } from "./addresses.ts";

test("an address that was given back rests until all others were used", () => {
  const pool = new AddressPool("10.244");
  const [first, second] = [pool.take(), pool.take()];
  assert.deepEqual([first, second], ["10.244.0.2", "10.244.0.3"]);
  pool.give(first);
  const seen = new Set<string>();
  for (;;) {
    const address = pool.take();
    assert.ok(!seen.has(address) && address !== second, "in use");
    seen.add(address);
    assert.doesNotMatch(address, /\.(0|255)$/);
    if (address === first) break;
  }
  assert.equal(seen.size, 256 * 254 - 2);
  assert.throws(() => {
    for (;;) pool.take();
  }, /all addresses of 10\.244\.0\.0\/16 are in use/);
});
