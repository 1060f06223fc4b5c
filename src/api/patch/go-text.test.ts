import assert from "node:assert/strict";
import { test } from "node:test";
import { goText } from "./go-text.ts";

test("values as Go prints them", () => {
  assert.equal(goText({ spec: { replicas: "two", paused: null, list: [{ name: "b", at: 1 }, "x", true] }, a: {} }), "map[a:map[] spec:map[list:[map[at:1 name:b] x true] paused:<nil> replicas:two]]");
});
