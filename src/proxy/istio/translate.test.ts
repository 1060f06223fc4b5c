import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dump, loadAll } from "js-yaml";
import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { HttpRoute } from "../../api/traffic.ts";
import { randomInt, seededRandom } from "../../base/random.ts";
import { statusOf } from "./status.ts";
import { type Told, Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

const folder = join(import.meta.dirname, "cases");
/** Beyond the cluster. */
const names = { "api.example.com": ["192.0.2.10", "192.0.2.11"], "b.example.com": ["192.0.2.20"] };
const cases = readdirSync(folder).filter((file) => file.endsWith(".in.yaml"));

/** NAME.in.yaml: objects. NAME.out.yaml: what they come to; WHERRY_UPDATE=1 writes it, and the diff is for reading. */
for (const file of cases) {
  test(`${file.replace(".in.yaml", "")}: routes and statuses`, () => {
    const expected = join(folder, file.replace(".in.yaml", ".out.yaml"));
    const translator = new Translator(new ObjectWorld(objectsOf(file), names));
    const { told } = translator.flush();
    const { routes, upstreams } = translator.snapshot();
    const text = dump({ routes: (routes as HttpRoute[]).map(brief), upstreams: upstreams.map(({ namespace: _n, service: _s, port: _p, ...rest }) => rest), told: saidBy(told) }, { lineWidth: 180, noRefs: true });
    if (process.env["WHERRY_UPDATE"]) writeFileSync(expected, text);
    assert.equal(text, readFileSync(expected, "utf8"));
  });
}

test("changes one by one, in any order, come to what a fresh translation makes of the same objects", () => {
  const objects = cases.flatMap(objectsOf);
  for (let seed = 1; seed <= 10; seed++) {
    const random = seededRandom(seed);
    const world = new ObjectWorld([], names);
    const translator = new Translator(world);
    const present = new Map<string, KubeObject>();
    const engine = { routes: new Map<string, unknown>(), upstreams: new Map<string, unknown>() };
    for (let step = 0; step < 60; step++) {
      const object = objects[randomInt(random, objects.length)]!;
      const id = `${object.kind}/${keyOf(object)}`;
      if (present.has(id) && randomInt(random, 3) === 0) {
        present.delete(id);
        world.remove(object.kind, keyOf(object));
      } else {
        present.set(id, object);
        world.put(object);
      }
      translator.changed(object.kind, keyOf(object));
      if (randomInt(random, 3) > 0) continue;
      const { patch } = translator.flush();
      for (const part of ["routes", "upstreams"] as const) {
        for (const gone of patch?.remove[part] ?? []) assert.ok(engine[part].delete(gone), `${part} ${gone} is removed once`);
        for (const put of patch?.put[part] ?? []) engine[part].set(put.id, put);
      }
    }
    translator.flush();
    const fresh = new Translator(new ObjectWorld([...present.values()], names));
    fresh.flush();
    const sorted = (values: readonly { id: string }[]) => values.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const part of ["routes", "upstreams"] as const) assert.deepEqual(sorted(translator.snapshot()[part]), sorted(fresh.snapshot()[part]), `seed ${seed}: ${part}`);
  }
});

function objectsOf(file: string): KubeObject[] {
  const objects = loadAll(readFileSync(join(folder, file), "utf8")) as unknown as KubeObject[];
  const given = (index: number) => ({ uid: `${file}/${index}`, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1", namespace: "default" });
  return objects.map((object, index) => ({ ...object, metadata: { ...given(index), ...object.metadata } }));
}

function brief({ createdAt: _createdAt, type: _type, attachments, ...rest }: HttpRoute): object {
  return { at: attachments.map(({ listener }) => listener), ...rest };
}

function saidBy(told: readonly Told[]): object[] {
  return told.map(({ object, report }) => {
    const { conditions, validationMessages } = statusOf(report);
    return { [`${object.kind} ${keyOf(object)}`]: { ...Object.fromEntries(conditions.map(({ type, status, message }) => [type, `${status}: ${message}`])), ...(validationMessages.length > 0 && { codes: validationMessages.map(({ type, level }) => `${type.code} ${level}`) }) } };
  });
}
