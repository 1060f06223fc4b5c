import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dump, loadAll } from "js-yaml";
import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { randomInt, seededRandom } from "../../base/random.ts";
import { type Told, Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

const folder = join(import.meta.dirname, "cases");
const cases = readdirSync(folder).filter((file) => file.endsWith(".in.yaml"));

/** NAME.in.yaml: objects. NAME.out.yaml: what they come to; WHERRY_UPDATE=1 writes it, and the diff is for reading. */
for (const file of cases) {
  test(`${file.replace(".in.yaml", "")}: what the engine is told, and what the Ingresses are`, () => {
    const expected = join(folder, file.replace(".in.yaml", ".out.yaml"));
    const { translator, told } = translated(objectsOf(file));
    const { listeners, routes, upstreams } = translator.snapshot();
    const text = dump({ listeners, routes, upstreams, told: told.map(({ notes, ...rest }) => ({ ...rest, notes: notes.map(({ type, reason, message }) => `${type} ${reason}: ${message}`) })) }, { lineWidth: 180, noRefs: true });
    if (process.env["WHERRY_UPDATE"]) writeFileSync(expected, text);
    assert.equal(text, readFileSync(expected, "utf8"));
  });
}

test("changes one by one, in any order, come to what a fresh translation makes of the same objects", () => {
  const objects = cases.flatMap(objectsOf);
  // The same Ingresses with and without what makes a host otherwise.
  const variants = objects.map((object) => (object.kind === "Ingress" ? [object, plain(object)] : [object]));
  for (let seed = 1; seed <= 40; seed++) {
    const random = seededRandom(seed);
    const world = new ObjectWorld();
    const translator = new Translator(world, fake);
    translator.bound = bound;
    const present = new Map<string, KubeObject>();
    const told = new Map<string, Told>();
    const engine = { listeners: new Map<string, unknown>(), routes: new Map<string, unknown>(), upstreams: new Map<string, unknown>() };
    const flush = () => {
      const { patch, told: news } = translator.flush();
      for (const one of news) told.set(one.key, one);
      for (const part of ["listeners", "routes", "upstreams"] as const) {
        for (const gone of patch?.remove[part] ?? []) assert.ok(engine[part].delete(gone), `${part} ${gone} is removed once`);
        for (const put of patch?.put[part] ?? []) engine[part].set(put.id, put);
      }
    };
    for (let step = 0; step < 80; step++) {
      const which = variants[randomInt(random, variants.length)]!;
      const object = which[randomInt(random, which.length)]!;
      const id = `${object.kind}/${keyOf(object)}`;
      if (present.has(id) && randomInt(random, 3) === 0) {
        present.delete(id);
        world.remove(object.kind, keyOf(object));
        if (object.kind === "Ingress") told.delete(keyOf(object));
      } else {
        present.set(id, object);
        world.put(object);
      }
      translator.changed(object.kind, keyOf(object));
      if (randomInt(random, 3) === 0) flush();
    }
    flush();
    const fresh = translated([...present.values()]);
    const byId = (values: Iterable<unknown>) => [...(values as Iterable<{ id: string }>)].sort((a, b) => (a.id < b.id ? -1 : 1));
    const want = fresh.translator.snapshot();
    for (const part of ["listeners", "routes", "upstreams"] as const) assert.deepEqual(byId(engine[part].values()), byId(want[part]), `seed ${seed}: ${part}`);
    for (const one of fresh.told) assert.deepEqual(told.get(one.key), one, `seed ${seed}: ${one.key}`);
  }
});

test("an Ingress that changes touches its own hosts alone", () => {
  const ingress = (name: string, host: string) => ({ ...objectsOf(cases[0]!)[0]!, metadata: { name, namespace: "ecommerce", uid: name, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" }, spec: { rules: [{ host, http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "user-service", port: { number: 80 } } } }] } }] } }) as KubeObject;
  const world = new ObjectWorld([...objectsOf(cases[0]!).filter(({ kind }) => kind === "Service"), ...Array.from({ length: 50 }, (_, i) => ingress(`i${i}`, `h${i}.io`))]);
  const translator = new Translator(world, fake);
  for (const { metadata } of world.ingresses()) translator.changed("Ingress", keyOf({ metadata } as KubeObject));
  assert.equal(translator.flush().patch!.put.routes!.length, 50);
  world.put(ingress("i7", "moved.io"));
  translator.changed("Ingress", "ecommerce/i7");
  const { patch, told } = translator.flush();
  assert.deepEqual([patch!.put.routes!.map(({ id }) => id), patch!.remove.routes, patch!.put.listeners, told.map(({ key }) => key)], [["Ingress/ecommerce/i7/moved.io"], ["Ingress/ecommerce/i7/h7.io"], undefined, ["ecommerce/i7"]]);
});

test("what should not be possible in one Ingress is its own loss", () => {
  const [first] = objectsOf(cases[0]!);
  const spec = (host: string, backend: unknown) => ({ rules: [{ host, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }] });
  const good = { service: { name: "user-service", port: { number: 80 } } };
  const ingress = (name: string, host: string, backend: unknown) => ({ ...first!, metadata: { ...first!.metadata, name, uid: name, annotations: {} }, spec: spec(host, backend) }) as KubeObject;
  const world = new ObjectWorld([...objectsOf(cases[0]!).filter(({ kind }) => kind === "Service"), ingress("a", "a.io", undefined), ingress("b", "b.io", good), ingress("c", "c.io", good)]);
  const translator = new Translator(world, fake);
  for (const name of ["a", "b", "c"]) translator.changed("Ingress", `ecommerce/${name}`);
  const { patch, faults } = translator.flush();
  assert.deepEqual([patch!.put.routes!.map(({ id }) => id), faults.map(({ what }) => what)], [["Ingress/ecommerce/b/b.io", "Ingress/ecommerce/c/c.io"], ["Ingress ecommerce/a"]]);
  world.put(ingress("b", "b.io", undefined));
  translator.changed("Ingress", "ecommerce/b");
  assert.deepEqual([translator.flush().patch, translator.snapshot().routes.length], [undefined, 2], "it stays as it was");
  assert.deepEqual(translator.flush().faults, []);
});

test("an Ingress that goes to another controller loses its address, once", () => {
  const [first] = objectsOf(cases[0]!);
  const world = new ObjectWorld([first!]);
  const translator = new Translator(world, fake);
  translator.bound = { http: 80, https: 443 };
  const key = keyOf(first!);
  const change = (spec: object) => {
    world.put({ ...first!, spec: { ...first!["spec"], ...spec } });
    translator.changed("Ingress", key);
    return translator.flush().told.map(({ addresses }) => addresses);
  };
  assert.deepEqual(change({}), [[{ ip: "127.0.0.1" }]]);
  assert.deepEqual(change({ ingressClassName: "haproxy" }), [[]]);
  assert.deepEqual(change({ ingressClassName: "haproxy" }), []);
  assert.deepEqual(change({ ingressClassName: "nginx" }), [[{ ip: "127.0.0.1" }]]);
});

const fake = { certificate: "fake certificate", key: "fake key" };
const bound = { http: 10080, https: 10443 };

function plain(object: KubeObject): KubeObject {
  const { annotations: _annotations, ...metadata } = object.metadata;
  const { tls: _tls, ...spec } = object["spec"] as { tls?: unknown };
  return { ...object, metadata, spec };
}

function objectsOf(file: string): KubeObject[] {
  const objects = loadAll(readFileSync(join(folder, file), "utf8")) as unknown as KubeObject[];
  const given = (index: number) => ({ uid: `${file}/${index}`, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" });
  return objects.map((object, index) => ({ ...object, metadata: Object.assign(given(index), object.metadata) }));
}

function translated(objects: readonly KubeObject[]): { translator: Translator; told: Told[] } {
  const translator = new Translator(new ObjectWorld(objects), fake);
  translator.bound = bound;
  for (const object of objects) translator.changed(object.kind, keyOf(object));
  return { translator, told: translator.flush().told.sort((a, b) => (a.key < b.key ? -1 : 1)) };
}
