import { monitorEventLoopDelay } from "node:perf_hooks";
import { createBuiltinRegistry } from "../src/api/registry.ts";
import { strategies } from "../src/api/kinds/index.ts";
import type { JSONSchemaProps } from "../src/api/crd/json-schema.ts";
import { createApi } from "../src/apiserver/api.ts";
import { systemIdentity } from "../src/apiserver/rest/context.ts";
import { systemClock } from "../src/base/clock.ts";
import { silentLog } from "../src/base/log.ts";
import { systemRandom } from "../src/base/random.ts";
import { createMemoryStore } from "../src/store/memory-store.ts";
import { median, print } from "./measure.ts";

const count = 100;
const definitions = { group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" };

/** A schema as operators have them: sections of fields with prose, bounds, a list with keys, a rule here and there. */
function schemaOf(sections: number): JSONSchemaProps {
  const field = (index: number): JSONSchemaProps => ({ type: "string", maxLength: 253, pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description: `Field ${index} says something that takes a line or two to say, as the comments do that such descriptions are made of. More is told elsewhere.` });
  const section = (): JSONSchemaProps => ({
    type: "object",
    properties: { ...Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`field${index}`, field(index)])), items: { type: "array", maxItems: 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], items: { type: "object", required: ["name"], properties: { name: field(0), size: { type: "integer", default: 1 } } } } },
    "x-kubernetes-validations": [{ rule: "!has(self.field0) || has(self.field1)", message: "field1 belongs to field0" }],
  });
  return { type: "object", properties: { spec: { type: "object", properties: Object.fromEntries(Array.from({ length: sections }, (_, index) => [`section${index}`, section()])) }, status: { type: "object", "x-kubernetes-preserve-unknown-fields": true } } };
}

const heapMb = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20 + process.memoryUsage().external / 2 ** 20;
};

/** How long until a definition is served, what a hundred of them hold, and how long is nobody else served meanwhile? Run with --expose-gc for the memory. */
export async function run(): Promise<void> {
  const rows: string[][] = [];
  for (const sections of [1, 10, 80]) {
    const schema = schemaOf(sections);
    const api = createApi({ store: createMemoryStore(), registry: createBuiltinRegistry(strategies), clock: systemClock, random: systemRandom, log: silentLog });
    const client = api.client(systemIdentity("bench"));
    const made = (index: number) => {
      const plural = `things${index}`;
      return { metadata: { name: `${plural}.bench.example` }, spec: { group: "bench.example", scope: "Cluster", names: { plural, kind: `Thing${index}` }, versions: [{ name: "v1", served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema: schema } }] } };
    };
    await client.create(definitions, undefined, made(count));
    const before = heapMb();
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    const times: number[] = [];
    for (let index = 0; index < count; index++) {
      const start = performance.now();
      await client.create(definitions, undefined, made(index));
      if (!api.registry.byResource("bench.example", "v1", `things${index}`)) throw new Error("a definition was answered before it was served");
      times.push(performance.now() - start);
      await new Promise((resolve) => setImmediate(resolve));
    }
    loop.disable();
    const held = heapMb() - before;
    const first = performance.now();
    await client.create({ group: "bench.example", version: "v1", resource: "things0" }, undefined, { metadata: { name: "one" }, spec: { section0: { field0: "a", field1: "b" } } });
    rows.push([`${Math.round(JSON.stringify(schema).length / 1024)} KB`, median(times).toFixed(1), Math.max(...times).toFixed(1), (loop.percentile(99) / 1e6).toFixed(1), globalThis.gc ? held.toFixed(1) : "—", (performance.now() - first).toFixed(1)]);
    api.close();
    await api.store.close();
  }
  print([`${count} definitions of`, "served after ms", "at most ms", "loop late p99 ms", "MB held", "first object ms"], rows);
}
