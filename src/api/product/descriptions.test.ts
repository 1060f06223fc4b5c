import assert from "node:assert/strict";
import { test } from "node:test";
import { productDefinition } from "./definition.ts";
import { descriptionOf, descriptions } from "./descriptions.ts";

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
}

test("kubectl explain says what each field is for, and nothing of fields that are not there", () => {
  const fields: [path: string, schema: Schema][] = [];
  const walk = (schema: Schema, path: string): void => {
    for (const [name, inner] of Object.entries(schema.properties ?? {})) {
      const at = path === "" ? name : `${path}.${name}`;
      fields.push([at, inner]);
      walk(inner.items ?? inner, at);
    }
  };
  walk((productDefinition["spec"] as { versions: { schema: { openAPIV3Schema: Schema } }[] }).versions[0]!.schema.openAPIV3Schema, "");
  // What says itself by its name, within what is described.
  const plain = /(^|\.)(apiVersion|kind|metadata|group|namespace|name|port|sectionName|value|key|\w+Bytes|parameters|ignoreCase)$|^status\.conditions|^status\.\w+(\.\w+)*\.\w+$|\.(max|require)\.\w+$/;
  assert.deepEqual(fields.filter(([path, { description }]) => description === undefined && !plain.test(path)).map(([path]) => path), []);
  assert.equal(fields.find(([path]) => path === "spec.stages.plans.throttle")?.[1].description, descriptionOf("plans.throttle"));
  const ends = (end: string): boolean => fields.some(([path]) => path === end || path.endsWith(`.${end}`));
  assert.deepEqual(Object.keys(descriptions).filter((end) => !ends(end)), []);
});
