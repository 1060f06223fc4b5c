import assert from "node:assert/strict";
import { test } from "node:test";
import { type EgressRefusal, EgressRefusals, toldPorts } from "./egress.ts";

test("a refusal names the address, the port and the remedy", () => {
  const told: EgressRefusal[] = [];
  const refusals = new EgressRefusals([443, 80], (refusal) => told.push(refusal));
  refusals.refused("10.244.0.5", "198.51.100.7", 5432, 0);
  refusals.refused("10.244.0.5", "169.254.169.254", 80, 0);
  assert.deepEqual(told, [
    { podIP: "10.244.0.5", message: "Connection to 198.51.100.7:5432 refused: pods reach the outside by TCP on ports 80 and 443 only; start Wherry with --egress-port 5432, or write a Service with an EndpointSlice for this address" },
    { podIP: "10.244.0.5", message: "Connection to 169.254.169.254:80 refused: the address belongs to this machine or its links, which pods never reach; run what listens there as a pod behind a Service" },
  ]);
});

test("the same refusal is told once a minute, and a pod that dials everything is not told without end", () => {
  let told = 0;
  const refusals = new EgressRefusals([80], () => told++);
  for (let ms = 0; ms < 60_000; ms += 100) refusals.refused("10.244.0.5", "198.51.100.7", 22, ms);
  assert.equal(told, 1);
  refusals.refused("10.244.0.6", "198.51.100.7", 22, 59_999);
  assert.equal(told, 2, "another pod is another refusal");
  refusals.refused("10.244.0.5", "198.51.100.7", 22, 60_000);
  assert.equal(told, 3);
  for (let port = 1; port <= 65_000; port++) refusals.refused("10.244.0.5", "198.51.100.8", port, 60_001);
  assert.equal(told, 2 + 999, "of a thousand remembered refusals, two were there before and one of them is old by now");
});

test("ports whose refusal is told are distinct and sorted", () => {
  assert.deepEqual([...toldPorts], [...new Set(toldPorts)].toSorted((a, b) => a - b));
});
