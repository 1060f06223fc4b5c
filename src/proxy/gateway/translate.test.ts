import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dump, loadAll } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import type { EdgeListener } from "../../api/traffic.ts";
import { keyOf } from "../../api/informer.ts";
import { seededRandom, randomInt } from "../../base/random.ts";
import { LoopbackAddresses } from "./addresses.ts";
import { Translator, type WantedStatus } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

/** Every port can be had. */
class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: EdgeListener): EdgeBinding {
    return { address, port, protocol: "TCP", boundPort: port };
  }
}

const folder = join(import.meta.dirname, "cases");
const cases = readdirSync(folder).filter((file) => file.endsWith(".in.yaml"));

/** NAME.in.yaml: objects. NAME.out.yaml: what they come to; WHERRY_UPDATE=1 writes it, and the diff is for reading. */
for (const file of cases) {
  test(`${file.replace(".in.yaml", "")}: routes and statuses`, () => {
    const expected = join(folder, file.replace(".in.yaml", ".out.yaml"));
    const { translator, statuses } = translated(objectsOf(file));
    const { listeners, routes, upstreams } = translator.snapshot();
    const text = dump({ listeners, routes, upstreams, statuses: statuses.map(brief) }, { lineWidth: 180, noRefs: true });
    if (process.env["WHERRY_UPDATE"]) writeFileSync(expected, text);
    assert.equal(text, readFileSync(expected, "utf8"));
  });
}

test("changes one by one, in any order, come to what a fresh translation makes of the same objects", () => {
  const objects = cases.flatMap(objectsOf);
  for (let seed = 1; seed <= 25; seed++) {
    const random = seededRandom(seed);
    const world = new ObjectWorld();
    const addresses = new FreeAddresses();
    const translator = new Translator(world, addresses);
    const present = new Map<string, KubeObject>();
    const told = new Map<string, WantedStatus>();
    const engine = { listeners: new Map<string, unknown>(), routes: new Map<string, unknown>(), upstreams: new Map<string, unknown>() };
    for (let step = 0; step < 120; step++) {
      const object = objects[randomInt(random, objects.length)]!;
      const id = `${object.kind}/${keyOf(object)}`;
      if (present.has(id) && randomInt(random, 3) === 0) {
        present.delete(id);
        world.remove(object.kind, keyOf(object));
        told.delete(id);
      } else {
        present.set(id, object);
        world.put(object);
      }
      translator.changed(object.kind, keyOf(object));
      if (randomInt(random, 3) > 0) continue;
      const { patch, statuses } = translator.flush();
      for (const status of statuses) told.set(`${status.kind}/${status.key}`, status);
      for (const part of ["listeners", "routes", "upstreams"] as const) {
        for (const gone of patch?.remove[part] ?? []) assert.ok(engine[part].delete(gone), `${part} ${gone} is removed once`);
        for (const put of patch?.put[part] ?? []) engine[part].set(put.id, put);
      }
    }
    const { statuses } = translator.flush();
    for (const status of statuses) told.set(`${status.kind}/${status.key}`, status);
    const fresh = translated([...present.values()]);
    const sorted = (values: readonly { id: string }[]) => values.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const [have, want] = [translator.snapshot(), fresh.translator.snapshot()];
    for (const part of ["listeners", "routes", "upstreams"] as const) assert.deepEqual(sorted(have[part]), sorted(want[part]), `seed ${seed}: ${part}`);
    for (const status of fresh.statuses) assert.deepEqual(told.get(`${status.kind}/${status.key}`), status, `seed ${seed}: ${status.kind} ${status.key}`);
  }
});

function objectsOf(file: string): KubeObject[] {
  const objects = loadAll(readFileSync(join(folder, file), "utf8")) as unknown as KubeObject[];
  const given = (index: number) => ({ uid: `${file}/${index}`, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" });
  return objects.map((object, index) => ({ ...object, metadata: Object.assign(given(index), object.metadata) }));
}

function translated(objects: readonly KubeObject[]): { translator: Translator; statuses: WantedStatus[] } {
  const translator = new Translator(new ObjectWorld(objects), new FreeAddresses());
  for (const object of objects) translator.changed(object.kind, keyOf(object));
  const last = new Map<string, WantedStatus>();
  for (const status of translator.flush().statuses) last.set(`${status.kind}/${status.key}`, status);
  return { translator, statuses: [...last.values()].sort((a, b) => (`${a.kind}/${a.key}` < `${b.kind}/${b.key}` ? -1 : 1)) };
}

/** Conditions as one line each. */
function brief(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(brief);
  if (typeof value !== "object" || value === null) return value;
  const { type, status, reason, message } = value as Record<string, string>;
  if (reason !== undefined && message !== undefined && type !== undefined) return `${type}=${status} ${reason}: ${message}`;
  return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, brief(inner)]));
}
