import assert from "node:assert/strict";
import { test } from "node:test";
import { renderFieldError } from "../field.ts";
import type { ObjectMeta } from "../meta.ts";
import { isCIDR, validateIP, validateNonSpecialIP } from "./address.ts";
import { semanticEqual } from "./checks.ts";
import { differences } from "./differences.ts";
import { validateObjectMeta, validateObjectMetaUpdate } from "./metadata.ts";
import { formatSelector, selectorMatches, validateLabelSelector } from "./selector.ts";

const meta = (part: Partial<ObjectMeta>): ObjectMeta => ({ name: "web", namespace: "shop", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z", ...part });

test("validateObjectMeta() in upstream's words", () => {
  const cases: [Partial<ObjectMeta>, namespaced: boolean, errors: string[]][] = [
    [{}, true, []],
    [{ name: "" }, true, ["metadata.name: Required value: name or generateName is required"]],
    [{ namespace: "" }, true, ["metadata.namespace: Required value"]],
    [{}, false, ["metadata.namespace: Forbidden: not allowed on this type"]],
    [{ labels: { "a b": "x" } }, true, ["metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]],
    [{ annotations: { "Example.com/A": "anything at all\n" } }, true, []],
    [{ annotations: { a: "x".repeat(256 * 1024) } }, true, ["metadata.annotations: Too long: may not be more than 262144 bytes"]],
    [{ ownerReferences: [{ apiVersion: "", kind: "", name: "x", uid: "u" }] }, true, ['metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty', 'metadata.ownerReferences.kind: Invalid value: "": must not be empty']],
    [{ ownerReferences: [{ apiVersion: "a/b/c", kind: "K", name: "x", uid: "u" }] }, true, ['metadata.ownerReferences.apiVersion: Invalid value: "a/b/c": version must not be empty']],
    [{ finalizers: ["orphan", "foregroundDeletion"] }, true, ['metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set']],
  ];
  for (const [part, namespaced, errors] of cases) assert.deepEqual(validateObjectMeta(meta(part), { namespaced }).map(renderFieldError), errors);
});

test("one object has at most one controller", () => {
  const owner = (name: string) => ({ apiVersion: "apps/v1", kind: "ReplicaSet", name, uid: name, controller: true });
  const [error] = validateObjectMeta(meta({ ownerReferences: [owner("a"), owner("b")] }), { namespaced: true });
  assert.match(renderFieldError(error!), /Only one reference can have Controller set to true\. Found "true" in references for ReplicaSet\/a and ReplicaSet\/b$/);
});

test("validateObjectMetaUpdate() guards what never changes", () => {
  const cases: [next: Partial<ObjectMeta>, old: Partial<ObjectMeta>, errors: string[]][] = [
    [{ labels: { a: "b" } }, {}, []],
    [{ uid: "v" }, {}, ['metadata.uid: Invalid value: "v": field is immutable']],
    [{ resourceVersion: "" }, {}, ['metadata.resourceVersion: Invalid value: "": must be specified for an update']],
    [{ generation: 1 }, { generation: 2 }, ["metadata.generation: Invalid value: 1: must not be decremented"]],
    [{ deletionTimestamp: "t", finalizers: ["a/b"] }, { deletionTimestamp: "t" }, ['metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a/b"}']],
    [{ deletionTimestamp: "t" }, { deletionTimestamp: "t", finalizers: ["a/b"] }, []],
  ];
  for (const [next, old, errors] of cases) assert.deepEqual(validateObjectMetaUpdate(meta(next), meta(old)).map(renderFieldError), errors);
});

test("semanticEqual() takes nothing and an empty list for the same, an empty map not", () => {
  const cases: [unknown, unknown, boolean][] = [
    [undefined, [], true],
    [null, {}, false],
    [{ podSelector: {} }, { podSelector: {}, namespaceSelector: {} }, false],
    [{ a: [] }, {}, true],
    [{ a: { b: undefined } }, { a: {} }, true],
    [0, undefined, false],
    ["", undefined, false],
    [[1], { 0: 1 }, false],
    [[1, 2], [2, 1], false],
    [{ a: 1, b: 2 }, { b: 2, a: 1 }, true],
  ];
  for (const [a, b, equal] of cases) assert.equal(semanticEqual(a, b), equal, JSON.stringify([a, b]));
});

test("differences() names each field that differs", () => {
  assert.equal(differences({ a: { b: [1, 2] }, c: 1 }, { a: { b: [1, 3] }, c: 1, d: [] }), "- a.b[1]: 2\n+ a.b[1]: 3\n");
  assert.equal(differences({}, { a: "x" }), '- a: unset\n+ a: "x"\n');
});

test("label selectors match, and are written down, as upstream's", () => {
  const selector = { matchLabels: { app: "web" }, matchExpressions: [{ key: "tier", operator: "NotIn", values: ["b", "a"] }, { key: "old", operator: "DoesNotExist" }] };
  assert.deepEqual(validateLabelSelector(selector, "spec.selector"), []);
  assert.equal(formatSelector(selector), "app=web,!old,tier notin (a,b)");
  const cases: [labels: Record<string, string>, matches: boolean][] = [
    [{ app: "web" }, true],
    [{ app: "web", tier: "a" }, false],
    [{ app: "web", old: "" }, false],
    [{ tier: "c" }, false],
  ];
  for (const [labels, matches] of cases) assert.equal(selectorMatches(selector, labels), matches, JSON.stringify(labels));
  assert.equal(selectorMatches(undefined, {}), false);
  assert.equal(selectorMatches({}, {}), true);
});

test("addresses", () => {
  assert.deepEqual(["10.0.0.1", "::1", "2001:db8::1"].flatMap((address) => validateIP("ip", address)), []);
  assert.equal(validateIP("ip", "010.0.0.1.2").length, 1);
  assert.deepEqual(["10.0.0.0/8", "::/0", "1.2.3.4/32"].map(isCIDR), [true, true, true]);
  assert.deepEqual(["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1"].map(isCIDR), [false, false, false, false]);
  for (const address of ["0.0.0.0", "::", "127.0.0.1", "::1", "169.254.1.1", "fe80::1", "224.0.0.5", "ff02::1"]) assert.equal(validateNonSpecialIP("ip", address).length, 1, address);
  assert.deepEqual(validateNonSpecialIP("ip", "10.244.0.3"), []);
});
