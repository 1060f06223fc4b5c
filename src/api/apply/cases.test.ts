import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Schema } from "../schema.ts";
import { parseYaml } from "../yaml.ts";
import { noFields, paths, setOf, union } from "./fields.ts";
import { type Owner, ownerOf, type Owners } from "./managers.ts";
import { fieldElement, printPath } from "./path-element.ts";
import { shapeOf } from "./shape.ts";
import { applyConfig, ConflictsError, recordUpdate, type Versions } from "./updater.ts";
import { validateConfig } from "./validate.ts";

/**
 * The cases of testdata/*.txt. A case is a title and lines, in order:
 *
 *   NAME applies VALUE      a configuration; `forces` takes what others own
 *   NAME updates VALUE      writes the object as it shall be
 *   in VERSION …            any of these in another version than v1: v2 calls `number` size, v0 is served no more
 *   now FIELD is {…}        the type changes
 *   status …                any of the writes, which then cannot own `number`
 *
 * and what is so after the line above:
 *
 *   object VALUE            the object
 *   same                    the write changed nothing of the object
 *   NAME owns PATHS         what NAME owns by applying; `wrote`: by updating. All owners must be listed, or none
 *   nobody owns anything
 *   conflict NAME PATHS     the apply failed, with these and no other conflicts (one line a manager)
 *   refused TEXT            the configuration does not fit the type
 */
const folder = join(import.meta.dirname, "testdata");
const typeText = readFileSync(join(folder, "thing.yaml"), "utf8");

class World {
  readonly #schema = parseYaml(typeText)[0] as Schema & { properties: Record<string, Schema> };
  object: Record<string, unknown> = {};
  owners: Owners = new Map();
  /** Of the last write. */
  failure: unknown;
  changed = true;

  write(manager: string, how: string, value: unknown, version: string, status: boolean): void {
    const versions = this.#versions(status);
    const own = versions(version)!;
    const operation = how === "updates" ? "Update" : "Apply";
    const as = ownerOf({ manager, operation, apiVersion: version, ...(status && { subresource: "status" }) }, noFields);
    this.failure = undefined;
    const live = own.convert({ apiVersion: "v1", ...this.object });
    const config = { apiVersion: version, ...(value as object) };
    if (operation === "Update") {
      const { owners, changed } = recordUpdate(live, config, version, this.owners, versions);
      this.owners = Object.keys(changed).length === 0 ? owners : new Map(owners).set(as.id, { ...as, fields: union(owners.get(as.id)?.fields ?? noFields, changed) });
      this.#set(versions("v1")!.convert(config));
      return;
    }
    const wrong = validateConfig(own.shape, config);
    if (wrong.length > 0) {
      this.failure = wrong;
      return;
    }
    try {
      const applied = applyConfig(live, config, as, this.owners, versions, how === "forces");
      this.changed = applied.object !== undefined;
      this.owners = applied.owners;
      if (applied.object !== undefined) this.#set(versions("v1")!.convert(applied.object));
    } catch (error) {
      if (!(error instanceof ConflictsError)) throw error;
      this.failure = error;
    }
  }

  change(field: string, schema: Partial<Schema>): void {
    Object.assign(this.#schema.properties[field]!, schema);
  }

  #set(object: unknown): void {
    const { apiVersion: _, ...fields } = object as Record<string, unknown>;
    this.object = fields;
  }

  #versions(status: boolean): Versions {
    const text: Schema = { type: "string" };
    const { number, ...rest } = this.#schema.properties;
    const shapes: Record<string, Schema> = {
      v1: structuredClone({ ...this.#schema, properties: { ...rest, number: number!, apiVersion: text } }),
      v2: structuredClone({ ...this.#schema, properties: { ...rest, size: number!, apiVersion: text } }),
    };
    const names: Record<string, string> = { v1: "number", v2: "size" };
    return (version) =>
      shapes[version] && {
        shape: shapeOf(shapes[version]),
        custom: true,
        convert(object) {
          const { apiVersion, ...fields } = object as Record<string, unknown>;
          const from = names[apiVersion as string]!;
          if (apiVersion === version || !(from in fields)) return { ...fields, apiVersion: version };
          const { [from]: value, ...others } = fields;
          return { ...others, [names[version]!]: value, apiVersion: version };
        },
        reset: setOf([fieldElement("apiVersion")], ...(status ? [[fieldElement(names[version]!)]] : [])),
      };
  }
}

const value = (text: string): unknown => parseYaml(text)[0];
const pathsOf = ({ fields }: Owner): string[] => [...paths(fields)].map(printPath).sort();
const words = (text: string): string[] => text.split(" ").sort();
const write = /^(?:in (\w+) )?(status )?(\w+) (applies|forces|updates) (.*)$/;

function run(lines: readonly string[]): void {
  const world = new World();
  let conflicts: Map<string, string[]> | undefined;
  let owned: Map<string, string[]> | undefined;
  const settle = () => {
    if (conflicts) {
      assert.ok(world.failure instanceof ConflictsError, `expected conflicts with ${[...conflicts.keys()]}`);
      const found = Map.groupBy(world.failure.conflicts, ({ owner }) => owner.entry.manager!);
      assert.deepEqual(Object.fromEntries([...found].map(([name, list]) => [name, list.map(({ path }) => printPath(path)).sort()])), Object.fromEntries(conflicts));
    } else if (world.failure instanceof ConflictsError) assert.fail(`unexpected conflicts: ${world.failure.conflicts.map(({ owner, path }) => `${owner.entry.manager} ${printPath(path)}`)}`);
    if (owned) assert.deepEqual(Object.fromEntries([...world.owners.values()].map((owner) => [`${owner.entry.manager} ${owner.applied ? "owns" : "wrote"}`, pathsOf(owner)])), Object.fromEntries(owned));
    conflicts = owned = undefined;
  };
  for (const line of lines) {
    try {
      const written = write.exec(line);
      if (written) {
        settle();
        assert.ok(!Array.isArray(world.failure), `refused: ${world.failure}`);
        world.write(written[3]!, written[4]!, value(written[5]!), written[1] ?? "v1", written[2] !== undefined);
        continue;
      }
      const [first, second, ...rest] = line.split(" ") as [string, string, ...string[]];
      const tail = line.slice(first.length).trim();
      if (first === "object") assert.deepEqual(world.object, value(tail));
      else if (first === "same") assert.equal(world.changed, false);
      else if (first === "refused") {
        assert.deepEqual(world.failure, [tail]);
        world.failure = undefined;
      } else if (first === "conflict") (conflicts ??= new Map()).set(second, words(rest.join(" ")));
      else if (first === "now") world.change(second, value(line.slice(line.indexOf("{"))) as Partial<Schema>);
      else if (line === "nobody owns anything") owned = new Map();
      else if (second === "owns" || second === "wrote") (owned ??= new Map()).set(`${first} ${second}`, words(rest.join(" ")));
      else assert.fail("unknown line");
    } catch (error) {
      if (error instanceof Error) error.message = `${line}\n${error.message}`;
      throw error;
    }
  }
  settle();
}

let count = 0;
for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt"))) {
  test(`apply: testdata/${file}`, async (t) => {
    const blocks = readFileSync(join(folder, file), "utf8").split(/\n{2,}/).map((block) => block.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#")));
    for (const [title, ...lines] of blocks) if (title !== undefined) await t.test(title, () => (count++, run(lines)));
  });
}
test("no case is lost", () => assert.ok(count >= 80, `${count} cases`));
