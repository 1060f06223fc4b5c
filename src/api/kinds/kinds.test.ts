import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Kind } from "../kind.ts";
import type { KubeObject } from "../meta.ts";
import { renderFieldError } from "../field.ts";
import { createBuiltinRegistry } from "../registry.ts";
import type { Schema } from "../schema.ts";
import { type Random, seededRandom } from "../../base/random.ts";
import { walk } from "../walker.ts";
import { parseYaml } from "../yaml.ts";
import { strategies } from "./index.ts";

const testdata = join(import.meta.dirname, "testdata");
const registry = createBuiltinRegistry(strategies);

function kindOf(object: KubeObject): Kind {
  const [group, version] = object.apiVersion.includes("/") ? (object.apiVersion.split("/") as [string, string]) : ["", object.apiVersion];
  const kind = registry.byKind(group, version, object.kind);
  assert.ok(kind, `${object.apiVersion} ${object.kind} is a built-in kind`);
  return kind;
}
const load = (file: string): KubeObject => parseYaml(readFileSync(join(testdata, file), "utf8"))[0] as KubeObject;
const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** As the API server makes an object of what a client sends. */
function created(file: string): { kind: Kind; object: KubeObject } {
  const given = load(file);
  const kind = kindOf(given);
  const object = walk(kind.schema, given as unknown as Record<string, unknown>).value as unknown as KubeObject;
  kind.defaults?.(object);
  kind.prepareForCreate?.(object);
  return { kind, object };
}

const inputs = readdirSync(testdata).filter((file) => file.endsWith(".in.yaml"));

/** Upstream declares these columns as something else than what it puts there. */
const declaredOtherwise: Readonly<Record<string, string>> = { Data: "number", Count: "number", Revision: "number", "Up-to-date": "number", Available: "number", MaxPods: "number", Replicas: "number", MatchingPrecedence: "number", AllowVolumeExpansion: "boolean", Suspend: "string" };

for (const input of inputs) {
  const subject = input.replace(".in.yaml", "");
  test(`a new ${subject} gets upstream's defaults, is valid, and stays as it is when written again`, () => {
    const { kind, object } = created(input);
    assert.deepEqual(copy(object), load(`${subject}.out.yaml`));
    assert.deepEqual((kind.validate?.(object) ?? []).map(renderFieldError), []);

    const again = copy(object);
    kind.defaults?.(again);
    kind.prepareForUpdate?.(again, object);
    assert.deepEqual(again, copy(object), "a reapply changes nothing");
    assert.deepEqual((kind.validateUpdate?.(again, object) ?? []).map(renderFieldError), []);
    for (const column of kind.columns ?? []) {
      const cell = column.cell(object, Date.UTC(2026, 0, 1));
      const wanted = { string: "string", integer: "number", boolean: "boolean", number: "number", date: "string" }[column.type];
      assert.equal(typeof cell, column.type === "integer" ? wanted : (declaredOtherwise[column.name] ?? wanted), `${column.name} of ${subject}`);
    }
  });
}

/**
 * validation.txt: a line that starts a section names an input ("deployment", or "update deployment" for changes of
 * an object that exists, "status deployment" for writes of its status); each case below it is `assignments => errors`, assignments `path=JSON` or `-path`
 * separated by "; ", errors separated by " && ", none for "ok".
 */
const sections: { update: boolean; status: boolean; subject: string; cases: { line: number; text: string }[] }[] = [];
for (const [index, text] of readFileSync(join(testdata, "validation.txt"), "utf8").split("\n").entries()) {
  if (text.trim() === "" || text.startsWith("#")) continue;
  if (!text.startsWith(" ")) sections.push({ update: text.startsWith("update "), status: text.startsWith("status "), subject: text.replace(/^(update|status) /, "").trim(), cases: [] });
  else sections.at(-1)!.cases.push({ line: index + 1, text: text.trim() });
}

for (const { update, status, subject, cases } of sections) {
  test(`${status ? "a status of" : update ? "changing" : "creating"} a ${subject} is refused in upstream's words`, () => {
    for (const { line, text } of cases) {
      const [assignments, errors] = text.split(" => ") as [string, string];
      assert.ok(errors, `validation.txt:${line} has no " => "`);
      const { kind, object } = created(`${subject}.in.yaml`);
      const old = copy(object);
      const next = copy(object);
      for (const assignment of assignments.split("; ")) assign(next, assignment);
      if (update) {
        for (const each of [old, next]) each.metadata.resourceVersion = "1";
        kind.defaults?.(next);
        kind.prepareForUpdate?.(next, old);
      }
      const wrong = status ? (kind.validateStatusUpdate?.(next, old) ?? []) : [...(kind.validate?.(next, update ? old : undefined) ?? []), ...(update ? (kind.validateUpdate?.(next, old) ?? []) : [])];
      const found = wrong.map((error) => renderFieldError(error).split("\n")[0]!);
      assert.deepEqual(found, errors === "ok" ? [] : errors.split(" && "), `validation.txt:${line}`);
    }
  });
}

/** `spec.ports[0].port=80`, `-spec.selector`; a part in quotes may hold dots. */
function assign(object: KubeObject, assignment: string): void {
  const remove = assignment.startsWith("-");
  const equals = assignment.indexOf("=");
  const path = remove ? assignment.slice(1) : assignment.slice(0, equals);
  const parts = [...path.matchAll(/"([^"]+)"|([^.[\]]+)/g)].map((match) => match[1] ?? match[2]!);
  let holder = object as unknown as Record<string, unknown>;
  for (const part of parts.slice(0, -1)) holder = (holder[part] ??= {}) as Record<string, unknown>;
  if (remove) delete holder[parts.at(-1)!];
  else holder[parts.at(-1)!] = JSON.parse(assignment.slice(equals + 1));
}

test("every kind with code has a table, and every column a cell for an empty object", () => {
  for (const kind of registry.all()) {
    const object = { apiVersion: kind.group === "" ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind, metadata: { name: "x", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" } } as KubeObject;
    for (const column of kind.columns ?? []) assert.notEqual(column.cell(object, Date.UTC(2026, 0, 1)), undefined, `${kind.kind} ${column.name}`);
    kind.selectableFields?.(object);
    kind.rowConditions?.(object);
  }
});

/** Some value of a schema: fields come and go, strings are now good, now bad. Quantities and the like are well formed, as after the walk. */
function someValue(schema: Schema, random: Random, depth: number): unknown {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random.next() * values.length)]!;
  switch (schema.format) {
    case "quantity":
      return pick(["1", "100m", "-1", "0", "2Gi"]);
    case "int-or-string":
      return pick<unknown>([0, 1, -1, "50%", "http", "nonsense text"]);
    case "date-time":
      return "2026-01-01T00:00:00Z";
    case "micro-time":
      return "2026-01-01T00:00:00.000000Z";
    case "byte":
      return pick(["", "YWJj"]);
    default:
  }
  switch (schema.type) {
    case "string":
      return schema.enum ? pick([...(schema.enum as string[]), "Bad"]) : pick(["", "a", "A b", "10.0.0.1", "None", "a/b", "../x", "latest"]);
    case "integer":
    case "number":
      return pick([0, 1, -1, 80, 70_000]);
    case "boolean":
      return pick([true, false]);
    case "array":
      return schema.items && depth > 0 ? Array.from({ length: pick([0, 1, 2]) }, () => someValue(schema.items!, random, depth - 1)) : [];
    default: {
      if (depth <= 0) return {};
      if (schema.additionalProperties) return { [pick(["a", "cpu", "memory", "A b"])]: someValue(schema.additionalProperties, random, depth - 1) };
      return Object.fromEntries(Object.entries(schema.properties ?? {}).filter(() => random.next() < 0.5).map(([field, node]) => [field, someValue(node, random, depth - 1)]));
    }
  }
}

test("no step of any kind throws, and defaults settle at once, whatever an object of the right shape says", () => {
  const random = seededRandom(1);
  const metadata = { name: "x", namespace: "shop", uid: "u", resourceVersion: "", creationTimestamp: "2026-01-01T00:00:00Z" };
  for (const kind of registry.all()) {
    const apiVersion = kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
    let old: KubeObject | undefined;
    for (let round = 0; round < 60; round++) {
      const value = round === 0 ? {} : (someValue(kind.schema, random, 9) as Record<string, unknown>);
      const given = { ...value, apiVersion, kind: kind.kind, metadata: { ...metadata } };
      const seen = JSON.stringify(given);
      try {
        const object = walk(kind.schema, given).value as unknown as KubeObject;
        kind.defaults?.(object);
        const once = copy(object);
        kind.defaults?.(object);
        assert.deepEqual(copy(object), once, "defaults are idempotent");
        if (old) kind.prepareForUpdate?.(object, old);
        else kind.prepareForCreate?.(object);
        kind.validate?.(object);
        if (old) {
          kind.validateUpdate?.(object, old);
          kind.validateStatusUpdate?.(object, old);
        }
        kind.warnings?.(object, old);
        kind.gracePeriodSeconds?.(object);
        kind.selectableFields?.(object);
        kind.scale?.labelSelector(object);
        for (const column of kind.columns ?? []) column.cell(object, 0);
        if (kind.storedAs) kind.storedAs.fromStored(kind.storedAs.toStored(object));
        old = deepFreeze(copy(object));
      } catch (error) {
        throw new Error(`${kind.kind}, round ${round}: ${seen}`, { cause: error });
      }
    }
  }
});

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
