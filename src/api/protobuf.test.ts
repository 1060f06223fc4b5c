import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeProtobuf, isProtobuf } from "./protobuf.ts";
import { StatusError } from "./status.ts";

/** A field: number and value; a number is a varint, a list a message. */
type Field = [number: number, value: number | string | Uint8Array | Field[]];

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}
function encode(fields: Field[]): Uint8Array {
  const bytes: number[] = [];
  for (const [number, value] of fields) {
    if (typeof value === "number") bytes.push(...varint(number * 8), ...varint(value));
    else {
      const inner = typeof value === "string" ? new TextEncoder().encode(value) : value instanceof Uint8Array ? value : encode(value);
      bytes.push(...varint(number * 8 + 2), ...varint(inner.length), ...inner);
    }
  }
  return Uint8Array.from(bytes);
}
const body = (apiVersion: string, kind: string, message: Field[]) => Uint8Array.from([0x6b, 0x38, 0x73, 0, ...encode([[1, [[1, apiVersion], [2, kind]]], [2, encode(message)], [3, ""], [4, ""]])]);

test("decodeProtobuf() leaves out the zeros that Go's JSON would", () => {
  const cases: [why: string, bytes: Uint8Array, object: unknown][] = [
    ["zero behind a pointer stays, other zeros go", body("apps/v1", "Deployment", [[2, [[1, 0], [5, 0], [7, 0]]]]), { apiVersion: "apps/v1", kind: "Deployment", spec: { replicas: 0 } }],
    ["empty structs that are no pointers go", body("v1", "ConfigMap", [[1, [[1, "x"], [2, ""], [8, []], [7, 0]]], [2, [[1, "a"], [2, ""]]]]), { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" }, data: { a: "" } }],
    ["empty structs behind pointers stay", body("v1", "Pod", [[2, [[14, []], [2, [[1, "c"], [2, ""], [8, []], [15, []]]]]]]), { apiVersion: "v1", kind: "Pod", spec: { securityContext: {}, containers: [{ name: "c", securityContext: {} }] } }],
    ["required zeros stay", body("v1", "Pod", [[2, [[2, [[1, ""], [6, [[2, 0], [3, 0]]]]]]]]), { apiVersion: "v1", kind: "Pod", spec: { containers: [{ name: "", ports: [{ containerPort: 0 }] }] } }],
    ["inlined messages lie flat", body("v1", "Pod", [[2, [[1, [[1, "v"], [2, [[2, [[1, ""]]]]]]]]]]), { apiVersion: "v1", kind: "Pod", spec: { volumes: [{ name: "v", emptyDir: {} }] } }],
    ["negative numbers", body("v1", "Pod", [[2, [[25, -5], [4, -1]]]]), { apiVersion: "v1", kind: "Pod", spec: { priority: -5, terminationGracePeriodSeconds: -1 } }],
    ["unknown fields are skipped", body("v1", "ConfigMap", [[99, "x"], [98, 1], [97, [[1, 1]]], [1, [[1, "x"]]]]), { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" } }],
    ["secrets are base64", body("v1", "Secret", [[2, [[1, "k"], [2, Uint8Array.from([0, 255])]]]]), { apiVersion: "v1", kind: "Secret", data: { k: "AP8=" } }],
    ["delete options", body("apps/v1", "DeleteOptions", [[1, 0], [4, "Background"]]), { apiVersion: "apps/v1", kind: "DeleteOptions", gracePeriodSeconds: 0, propagationPolicy: "Background" }],
    ["a scale", body("autoscaling/v1", "Scale", [[1, [[1, "x"]]], [2, [[1, 3]]], [3, [[1, 0]]]]), { apiVersion: "autoscaling/v1", kind: "Scale", metadata: { name: "x" }, spec: { replicas: 3 }, status: { replicas: 0 } }],
    ["an eviction", body("policy/v1", "Eviction", [[1, [[1, "x"]]], [2, [[1, 5]]]]), { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "x" }, deleteOptions: { gracePeriodSeconds: 5 } }],
    ["an odd map key", body("v1", "ConfigMap", [[2, [[1, "__proto__"], [2, "x"]]]]), JSON.parse('{"apiVersion":"v1","kind":"ConfigMap","data":{"__proto__":"x"}}')],
  ];
  for (const [why, bytes, object] of cases) assert.deepEqual(decodeProtobuf(bytes), object, why);
});

test("decodeProtobuf() refuses what is no such message, and nothing else escapes", () => {
  const good = body("v1", "Pod", [[1, [[1, "x"], [8, [[1, 1_700_000_000]]]]], [2, [[2, [[1, "c"], [8, [[1, [[1, "cpu"], [2, [[1, "1"]]]]]]]]], [4, 30]]]]);
  assert.equal(isProtobuf(good), true);
  assert.equal(isProtobuf(new TextEncoder().encode("{}")), false);
  const refuse = (bytes: Uint8Array, message?: RegExp) => assert.throws(() => decodeProtobuf(bytes), (error) => error instanceof StatusError && error.code === 400 && (message?.test(error.message) ?? true));
  refuse(new TextEncoder().encode("{}"), /does not appear to be a protobuf message/);
  refuse(body("v1", "Nothing", []), /no kind "Nothing" is registered for version "v1"/);
  for (let end = 4; end < good.length; end++) {
    try {
      decodeProtobuf(good.subarray(0, end));
    } catch (error) {
      assert.ok(error instanceof StatusError, String(error));
    }
  }
  for (let at = 4; at < good.length; at++) {
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      const bytes = good.slice();
      bytes[at] = value;
      try {
        decodeProtobuf(bytes);
      } catch (error) {
        assert.ok(error instanceof StatusError, String(error));
      }
    }
  }
  let nested: Field[] = [];
  for (let depth = 0; depth < 1200; depth++) nested = [[25, encode(nested)]];
  refuse(body("apiextensions.k8s.io/v1", "CustomResourceDefinition", [[2, [[7, [[4, [[1, encode(nested)]]]]]]]]), /depth/);
});
