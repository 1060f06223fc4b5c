import assert from "node:assert/strict";
import { test } from "node:test";
import { type Random, seededRandom } from "../../base/random.ts";
import { compare, equalValues } from "./compare.ts";
import { childrenOf, difference, equals, type Fields, has, intersection, isEmpty, noFields, parseFields, paths, recursiveDifference, setOf, sorted, union } from "./fields.ts";
import { fieldSetOf } from "./field-set.ts";
import { compareElements, keyElement, parseElement, type Path, printPath, valueElement } from "./path-element.ts";
import { extractFields } from "./remove.ts";
import { mergeValues } from "./merge.ts";
import { type Shape, shapeOf } from "./shape.ts";
import type { Schema } from "../schema.ts";
import { ownerOf, type Owners } from "./managers.ts";
import { applyConfig, type Versions } from "./updater.ts";
import { withoutZeros, withZeros } from "./zeros.ts";
import { builtinSchema } from "../kinds/table.ts";

/** "a.b a" as a set. */
const set = (text: string): Fields => setOf(...text.split(" ").filter(Boolean).map((path) => path.split(".").map((name) => `f:${name}`)));
const text = (fields: Fields): string => [...paths(fields)].map((path) => printPath(path).slice(1)).sort().join(" ");

test("operations on sets", () => {
  const cases: [operation: (a: Fields, b: Fields) => Fields, a: string, b: string, result: string][] = [
    [union, "a", "b", "a b"],
    [union, "a", "a.b", "a a.b"],
    [union, "a.b", "a.c a", "a a.b a.c"],
    [union, "", "a", "a"],
    [intersection, "a a.b c", "a.b c d", "a.b c"],
    [intersection, "a", "a.b", ""],
    [intersection, "a.b", "a", ""],
    [difference, "a a.b a.c", "a.b", "a a.c"],
    [difference, "a a.b", "a", "a.b"],
    [difference, "a.b", "a", "a.b"],
    [difference, "a.b", "a.b", ""],
    [recursiveDifference, "a a.b c", "a", "c"],
    [recursiveDifference, "a.b.c a.d", "a.b", "a.d"],
    [recursiveDifference, "a", "a.b", "a"],
  ];
  for (const [operation, a, b, result] of cases) assert.equal(text(operation(set(a), set(b))), result, `${operation.name}(${a}; ${b})`);
  assert.ok(has(set("a.b"), ["f:a", "f:b"]) && !has(set("a.b"), ["f:a"]) && !has(set("a"), []));
  const whole = set("a.b a.c d");
  assert.equal(difference(whole, set("x")), whole, "what nothing is taken from is the very same set");
  assert.equal(union(whole, set("a.b")), whole);
});

test("elements as others write them", () => {
  assert.equal(keyElement([["protocol", "TCP"], ["containerPort", 80]]), 'k:{"containerPort":80,"protocol":"TCP"}');
  assert.equal(parseElement('k: {"b": 1, "a": "x"}'), 'k:{"a":"x","b":1}');
  assert.equal(valueElement("a<b>&"), 'v:"a\\u003cb\\u003e\\u0026"');
  assert.equal(parseElement('v:"a<b>"'), valueElement("a<b>"));
  assert.equal(parseElement("i:07"), "i:7");
  assert.equal(parseElement("x:what is this"), undefined);
  for (const wrong of ["f", "foo", "k:[1]", "k:{", "v:", "i:one"]) assert.throws(() => parseElement(wrong), { name: "Error" }, wrong);
  const order = ["f:a", "f:b", 'k:{"name":"a"}', 'k:{"name":"b"}', 'k:{"port":9}', 'k:{"port":80}', "v:2", "v:10", 'v:"a"', "v:true", "i:2", "i:10"];
  assert.deepEqual(order.toReversed().sort(compareElements), order);
});

test("FieldsV1 of clients is read leniently and written in order", () => {
  const given = { "f:b": { ".": {} }, "x:future": { "f:z": {} }, "f:a": { 'k:{"b":1,"a":2}': {}, "f:c": {} } };
  assert.deepEqual(Object.keys(sorted(parseFields(given))), ["f:a", "f:b"]);
  assert.equal(JSON.stringify(sorted(parseFields(given))), '{"f:a":{"f:c":{},"k:{\\"a\\":2,\\"b\\":1}":{}},"f:b":{}}');
  assert.ok(isEmpty(parseFields({})) && isEmpty(parseFields(null)));
  assert.throws(() => parseFields({ "f:a": 1 }));
  assert.throws(() => parseFields({ a: {} }));
});

/** A type of all sorts, and values of it that overlap a lot. */
const item = { type: "object", properties: { name: { type: "string" }, value: { type: "integer" } } } as const;
const inner: Schema = { type: "object", properties: { a: { type: "string" }, list: { type: "array", listType: "map", listMapKeys: ["name"], items: item }, tags: { type: "array", listType: "set", items: { type: "string" } } } };
const thing: Schema = { type: "object", properties: { apiVersion: { type: "string" }, text: { type: "string" }, inner, sealed: { ...inner, mapType: "atomic" }, order: { type: "array", items: inner }, map: { type: "object", additionalProperties: inner } } };
const shape = shapeOf(thing);
const versions: Versions = () => ({ shape, convert: (object) => object });

function valueOf(schema: Schema, random: Random): unknown {
  const some = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;
  switch (schema.type) {
    case "string":
      return some(["a", "b", "c"]);
    case "integer":
      return some([1, 2, 3]);
    case "array": {
      const items = Array.from({ length: some([1, 2, 3]) }, () => valueOf(schema.items!, random));
      if (schema.listType === "set") return [...new Set(items)];
      if (schema.listType !== "map") return items;
      return [...new Map(items.map((each, index) => [["a", "b", "c"][index]!, { ...(each as object), name: ["a", "b", "c"][index] }])).values()];
    }
    default: {
      const names = schema.additionalProperties ? ["x", "y"] : Object.keys(schema.properties!).filter((name) => name !== "apiVersion");
      const chosen = names.filter(() => random.next() < 0.6);
      // An empty map is a leaf, and what is left of a map is null: decoding makes them one.
      const entries = (chosen.length > 0 ? chosen : names.slice(0, 1)).map((name) => [name, valueOf(schema.additionalProperties ?? schema.properties![name]!, random)]);
      return Object.fromEntries(entries);
    }
  }
}

test("for any configurations: apply is idempotent, states what it states, and force leaves others what they own alone", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    let object: unknown = {};
    let owners: Owners = new Map();
    for (let step = 0; step < 6; step++) {
      const manager = ["alice", "bob", "carol"][Math.floor(random.next() * 3)]!;
      const as = ownerOf({ manager, operation: "Apply", apiVersion: "v1" }, noFields);
      const config = valueOf(thing, random);
      const before = owners;
      const applied = applyConfig(object, config, as, owners, versions, true);
      const next = applied.object ?? object;
      const why = `seed ${seed} step ${step}`;
      const again = applyConfig(next, config, as, applied.owners, versions, false);
      assert.equal(again.object, undefined, `${why}: the same again changes nothing, and conflicts with nobody`);
      assert.deepEqual(sets(again.owners), sets(applied.owners), why);
      assert.ok(equalValues(mergeValues(shape, next, config), next), `${why}: what was stated is there`);
      const stated = fieldSetOf(shape, config);
      assert.ok(equals(applied.owners.get(as.id)?.fields ?? noFields, stated), `${why}: it owns what it states`);
      for (const [id, owner] of before) {
        if (id === as.id) continue;
        const lost = difference(owner.fields, applied.owners.get(id)?.fields ?? noFields);
        const { added, modified, removed } = compare(shape, object, next);
        assert.ok(isEmpty(difference(lost, union(union(added, modified), removed))), `${why}: ${id} lost only what became another`);
      }
      const owned = [...applied.owners.values()].reduce((all, { fields }) => union(all, fields), noFields);
      assert.deepEqual(leavesOf(fieldSetOf(shape, next)).filter((path) => !has(owned, path)).map(printPath), [], `${why}: every leaf has an owner`);
      object = next;
      owners = applied.owners;
    }
  }
});

const sets = (owners: Owners) => Object.fromEntries([...owners.values()].map((owner) => [owner.id, [...paths(owner.fields)].map(printPath)]));
const leavesOf = (fields: Fields, prefix: Path = []): Path[] => Object.keys(fields).flatMap((element) => (element === "." ? [] : isEmpty(childrenOf(fields[element])) ? [[...prefix, element]] : leavesOf(fields[element]!, [...prefix, element])));

test("for any value: what is extracted by its own set is the value, and a comparison tells the way from one to another", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    const [a, b] = [valueOf(thing, random), valueOf(thing, random)];
    const extracted = extractFields(shape, a, fieldSetOf(shape, a));
    assert.ok(equalValues(extracted ?? {}, a), `seed ${seed}: ${JSON.stringify([extracted, a])}`);
    const there = compare(shape, a, b, { plain: true });
    const back = compare(shape, b, a, { plain: true });
    assert.deepEqual([text(there.added), text(there.modified), text(there.removed)], [text(back.removed), text(back.modified), text(back.added)], `seed ${seed}`);
    assert.ok(isEmpty(intersection(there.added, there.removed)));
  }
});

test("an own property named __proto__ is a key like any other", () => {
  const map = shapeOf({ type: "object", additionalProperties: { type: "string" } });
  const config = JSON.parse('{"__proto__":"x"}') as object;
  assert.equal(text(fieldSetOf(map, config)), "__proto__");
  const merged = mergeValues(map, { a: "1" }, config);
  assert.equal(JSON.stringify(merged), '{"a":"1","__proto__":"x"}');
  assert.ok(!equalValues(merged, { a: "1" }) && !equalValues({ a: "1" }, merged));
  assert.equal(text(compare(map, { a: "1" }, merged).added), "__proto__");
  assert.equal(text(compare(map, merged, { a: "1" }).removed), "__proto__");
});

test("what Go always writes comes and goes without a trace", () => {
  const pod: Shape = shapeOf(builtinSchema("", "v1", "Pod")!);
  const object = Object.freeze({ apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: { containers: [{ name: "c", ports: [{ containerPort: 80 }] }], securityContext: {} } });
  const whole = withZeros(pod, object) as { status: object; spec: { containers: { resources: object }[]; securityContext: object } };
  assert.deepEqual([whole.status, whole.spec.containers[0]!.resources], [{}, {}]);
  assert.deepEqual(withoutZeros(whole), object);
  assert.deepEqual(withoutZeros({ ...whole, status: { phase: "Running" } }), { ...object, status: { phase: "Running" } });
  const definition = { apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: { name: "d" }, spec: { versions: [{ name: "v1", schema: { openAPIV3Schema: { type: "object", properties: { a: { type: "array", items: {} } } } } }] } };
  const typed = withZeros(shapeOf(builtinSchema("apiextensions.k8s.io", "v1", "CustomResourceDefinition")!), definition) as typeof definition;
  assert.deepEqual(typed.spec.versions[0]!.schema, definition.spec.versions[0]!.schema, "behind a schema's JSON are pointers: a definition that is applied by another is the same");
  const { added } = compare(pod, { apiVersion: "v1", kind: "Pod" }, object);
  assert.ok(has(added, ["f:spec", "f:containers", 'k:{"name":"c"}', "f:resources"]), "a container that comes has its empty resources");
  assert.ok(!has(added, ["f:spec"]) && !has(added, ["f:spec", "f:containers"]), "the spec was always there");
});
