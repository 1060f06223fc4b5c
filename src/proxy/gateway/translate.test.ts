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

test("of many policies a change tells those that it is about, and no others", () => {
  const world = new ObjectWorld();
  const translator = new Translator(world, new FreeAddresses());
  const group = "gateway.networking.k8s.io";
  const put = (kind: string, name: string, generation: number, spec: object): void => {
    world.put({ apiVersion: `${group}/v1`, kind, metadata: { name, namespace: "many", uid: `${kind}/${name}`, generation, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, spec });
    translator.changed(kind, `many/${name}`);
  };
  const route = (i: number, generation = 1): void => put("HTTPRoute", `route${i}`, generation, { parentRefs: [{ name: "edge" }], hostnames: [`${i}.example.com`], rules: [{ timeouts: { request: `${generation}s` } }] });
  const policy = (i: number, generation = 1): void => put("SecurityPolicy", `policy${i}`, generation, { targetRefs: [{ group, kind: "HTTPRoute", name: `route${i}` }], ...(i % 2 === 0 && { mergeType: "JSONMerge" }), csrf: { additionalOrigins: [`https://${generation}.example.com`] } });
  const wide = (generation: number, more: object = {}): void => put("SecurityPolicy", "wide", generation, { targetRefs: [{ group, kind: "Gateway", name: "edge" }], cors: { allowOrigins: [`https://${generation}.example.com`] }, ...more });
  const told = (): string[] => translator.flush().statuses.map(({ key }) => key.slice("many/".length)).sort();
  world.put({ apiVersion: `${group}/v1`, kind: "GatewayClass", metadata: { name: "wherry", uid: "1", creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, spec: { controllerName: "wherry.dev/gateway-controller" } });
  put("Gateway", "edge", 1, { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] });
  const count = 400;
  for (let i = 0; i < count; i++) {
    route(i);
    policy(i);
  }
  wide(1);
  assert.equal(told().length, 2 * count + 2);
  assert.deepEqual(told(), []);
  route(7, 2);
  assert.deepEqual(told(), ["route7"]);
  policy(8, 2);
  assert.deepEqual(told(), ["policy8", "route8"]);
  // A message may be no longer than 32 KiB, however many there are.
  const { statuses } = (wide(2), translator.flush());
  const own = statuses.find(({ key }) => key === "many/wide")!;
  assert.ok("ancestors" in own);
  assert.deepEqual(own.ancestors[0]!.conditions.map(({ type, message }) => `${type} ${message.replace(/: .* and/, ": … and")}`).slice(1), ["Merged This policy is being merged by other securityPolicies for these routes: … and 150 more]", "Overridden This policy is being overridden by other securityPolicies for these routes: … and 150 more]"]);
  assert.deepEqual(statuses.filter(({ kind }) => kind === "SecurityPolicy").map(({ key }) => key), ["many/wide"]);
  // What it cannot do, those that are merged over it cannot either.
  wide(3, { wasm: {} });
  assert.equal(translator.flush().statuses.filter(({ kind, ...status }) => kind === "SecurityPolicy" && "ancestors" in status && status.ancestors[0]!.conditions[0]!.status === "False").length, count / 2 + 1);
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
