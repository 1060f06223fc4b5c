import assert from "node:assert/strict";
import { test } from "node:test";
import { LoopbackAddresses } from "./addresses.ts";
import type { Gateway } from "./kinds.ts";

const gateway = (name: string, spec: Partial<Gateway["spec"]> = {}, before?: string): Gateway =>
  ({ apiVersion: "v1", kind: "Gateway", metadata: { name, namespace: "shop" }, spec: { gatewayClassName: "wherry", ...spec }, ...(before && { status: { addresses: [{ type: "IPAddress", value: before }] } }) }) as Gateway;
const taken = (address: string) => ({ address, port: 80, protocol: "TCP" as const, code: "EADDRINUSE" });

test("an address of its own for each, the same one again, also after a restart", () => {
  const book = new LoopbackAddresses();
  const first = book.addressOf(gateway("a")).value!;
  assert.match(first, /^127\.99\.\d+\.\d+$/);
  assert.equal(book.addressOf(gateway("a")).value, first);
  assert.notEqual(book.addressOf(gateway("b")).value, first);
  assert.equal(new LoopbackAddresses().addressOf(gateway("c", {}, "127.99.7.7")).value, "127.99.7.7");
});

test("what is asked for is given, may be shared, and is not left when somebody else has the port", () => {
  const book = new LoopbackAddresses();
  const asked = { addresses: [{ value: "127.99.1.1" }] };
  assert.equal(book.addressOf(gateway("a", asked)).value, "127.99.1.1");
  assert.equal(book.addressOf(gateway("b", asked)).value, "127.99.1.1");
  book.bindings = [taken("127.99.1.1")];
  assert.equal(book.addressOf(gateway("a", asked)).value, "127.99.1.1");
  const both = book.addressOf(gateway("d", { addresses: [{ value: "192.0.2.1" }, { value: "127.0.0.9" }] }));
  assert.deepEqual([both.value, both.reason], ["127.0.0.9", "AddressNotUsable"], "served where it can be, and told that this is not all");
  for (const value of ["192.0.2.1", "127.0.0.0", "::1"]) assert.equal(book.addressOf(gateway("c", { addresses: [{ value }] })).reason, "AddressNotUsable", value);
  assert.equal(book.addressOf(gateway("c", { addresses: [{ type: "Hostname", value: "x" }] })).reason, "UnsupportedAddress");
});

test("where another program has the port, an address that was chosen gives way to another", () => {
  const book = new LoopbackAddresses();
  const first = book.addressOf(gateway("a")).value!;
  book.bindings = [taken(first)];
  const second = book.addressOf(gateway("a", {}, first)).value!;
  assert.notEqual(second, first);
  book.bindings = [taken(first), { address: second, port: 80, protocol: "TCP", boundPort: 80 }];
  assert.equal(book.addressOf(gateway("a", {}, first)).value, second);
});
