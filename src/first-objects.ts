import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { strategies } from "./api/kinds/index.ts";
import { timestamp } from "./api/meta.ts";
import { createBuiltinRegistry } from "./api/registry.ts";
import { Aggregator } from "./apiserver/aggregation/aggregator.ts";
import { createApi } from "./apiserver/api.ts";
import { bootstrapRbac } from "./apiserver/authz/bootstrap-roles.ts";
import { bootstrapFairness } from "./apiserver/fairness/defaults.ts";
import { systemIdentity } from "./apiserver/rest/context.ts";
import { FakeClock } from "./base/clock.ts";
import { silentLog } from "./base/log.ts";
import { systemRandom } from "./base/random.ts";
import { bootstrap } from "./controllers/bootstrap.ts";
import { deepFreeze } from "./store/entry.ts";
import { createMemoryStore } from "./store/memory-store.ts";
import type { Store } from "./store/store.ts";

/**
 * What every cluster has before anybody is answered: namespaces, roles, priority levels, definitions, a hundred objects.
 * A stack that is new takes them from a file that was made beside its bundle (tools/bundle.mjs), each with a uid and a time
 * of its own, in one commit: made one by one, by code that runs for the first time, they are a third of its start. All that
 * makes them runs afterwards as at any start, and finds them there; without the file it makes them.
 */
interface FirstObject {
  key: string;
  /** The JSON as it is stored, cut at its uid, at its resourceVersion and wherever a time stands. */
  parts: (string | "uid" | "revision" | "time")[];
}

const made = "2000-01-01T00:00:00Z";
const slots = { uid: /("uid":")([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(")/, revision: /("resourceVersion":")(\d+)(")/ } as const;
/** What differs from stack to stack beyond these. */
const own = new Set(["/core/configmaps/kube-system/extension-apiserver-authentication"]);

/** The objects as text of a file, made by those who make them in a stack. */
export async function makeFirstObjects(): Promise<string> {
  const store = createMemoryStore();
  const clock = new FakeClock(Date.parse(made));
  const api = createApi({ store, registry: createBuiltinRegistry(strategies), clock, random: systemRandom, log: silentLog });
  const client = api.client(systemIdentity("controllers"), "kube-controller-manager");
  const none = { ca: "", cert: "", key: "" };
  const aggregator = new Aggregator({ api, client, clock, random: systemRandom, log: silentLog, frontProxy: () => Promise.resolve(none), clientCa: "" });
  await createFirstObjects(client, aggregator);
  aggregator.close();
  api.close();
  return JSON.stringify(store.range("").filter(({ key }) => !own.has(key)).map(({ key, bytes }) => ({ key, parts: cut(key, bytes.toString()) })));
}

/** Creates what is missing; resolves when it is durable. */
export async function createFirstObjects(client: Parameters<typeof bootstrap>[0], aggregator: Aggregator): Promise<void> {
  // The namespaces before what lives in them.
  await Promise.all([bootstrap(client).then(() => aggregator.start()), bootstrapRbac(client), bootstrapFairness(client)]);
}

function cut(key: string, text: string): FirstObject["parts"] {
  let marked = text;
  for (const [slot, pattern] of Object.entries(slots)) {
    if (marked.match(new RegExp(pattern, "g"))?.length !== 1) throw new Error(`${key} has not exactly one ${slot}: ${text}`);
    marked = marked.replace(pattern, `$1\0${slot}\0$3`);
  }
  marked = marked.replaceAll(made, "\0time\0");
  const other = /"\d{4}-\d\d-\d\dT[^"]*"/.exec(marked);
  if (other) throw new Error(`${key} has a time of its own: ${other[0]}`);
  return marked.split("\0");
}

/** Fills a store in which nothing is; resolves when all is durable. A file that cannot be read is none. */
export async function fillFirstObjects(store: Store, nowMs: number, file: string = firstObjectsFile): Promise<void> {
  if (store.count("") > 0) return;
  let objects: FirstObject[];
  try {
    objects = JSON.parse(readFileSync(file, "utf8")) as FirstObject[];
  } catch {
    return;
  }
  const time = timestamp(nowMs);
  await Promise.all(
    objects.map(({ key, parts }) =>
      store.put(key, 0, (revision) => {
        const values: Record<string, string> = { uid: randomUUID(), revision: String(revision), time };
        // Texts and slots take turns.
        const text = parts.map((part, index) => (index % 2 === 0 ? part : values[part]!)).join("");
        return { bytes: Buffer.from(text), object: deepFreeze(JSON.parse(text) as object) };
      }),
    ),
  );
}

/** Beside the bundle; beside the sources there is none. */
const firstObjectsFile = join(import.meta.dirname, "first-objects.json");
