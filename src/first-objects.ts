import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { installDefinitions } from "./api/definitions/definitions.ts";
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
import { createMemoryStore } from "./store/memory-store.ts";
import type { Store } from "./store/store.ts";

/**
 * What every cluster has before anybody is answered: namespaces, roles, priority levels, a hundred objects, and the definitions
 * that are shipped, which are served at once and not half a second later.
 * A stack that is new takes them from a file that was made beside its bundle (tools/bundle.mjs), each with a uid and a time
 * of its own, in one commit: made one by one, by code that runs for the first time, they are a third of its start. All that
 * makes them would find them there; it runs at every other start, and without the file it makes them.
 *
 * Of each object the file has two lines: its key, and the JSON as it is stored, cut by NUL at its uid, at its resourceVersion and
 * wherever a time stands; between two cuts is the name of what stands there.
 */
type Slot = "uid" | "revision" | "time";

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
  await installDefinitions(client);
  // What follows from a definition: its status, and that its group is served.
  await aggregator.registered();
  await store.flush();
  aggregator.close();
  api.close();
  return store.range("").filter(({ key }) => !own.has(key)).map(({ key, bytes }) => `${key}\n${cut(key, bytes.toString())}\n`).join("");
}

/** Creates what is missing; resolves when it is durable. */
export async function createFirstObjects(client: Parameters<typeof bootstrap>[0], aggregator: Aggregator): Promise<void> {
  // The namespaces before what lives in them.
  await Promise.all([bootstrap(client).then(() => aggregator.start()), bootstrapRbac(client), bootstrapFairness(client)]);
}

function cut(key: string, text: string): string {
  let marked = text;
  for (const [slot, pattern] of Object.entries(slots)) {
    if (marked.match(new RegExp(pattern, "g"))?.length !== 1) throw new Error(`${key} has not exactly one ${slot}: ${text}`);
    marked = marked.replace(pattern, `$1\0${slot}\0$3`);
  }
  marked = marked.replaceAll(made, "\0time\0");
  // The beginning of time is a default in Gateway API's schemas.
  const other = /"(?!1970-01-01T00:00:00Z")\d{4}-\d\d-\d\dT[^"]*"/.exec(marked);
  if (other) throw new Error(`${key} has a time of its own: ${other[0]}`);
  return marked;
}

let loaded: { file: string; lines: string[] } | undefined;

/** Reads the file, for who has nothing else to do just now. A file that cannot be read is none. */
export function loadFirstObjects(file: string = firstObjectsFile): string[] {
  if (loaded?.file !== file) {
    try {
      loaded = { file, lines: readFileSync(file, "utf8").split("\n") };
    } catch {
      loaded = { file, lines: [] };
    }
  }
  return loaded.lines;
}

/** Fills a store in which nothing is, from the file if there is one; resolves when all is durable, with whether it was so. */
export async function fillFirstObjects(store: Store, nowMs: number, file: string = firstObjectsFile): Promise<boolean> {
  const lines = store.count("") > 0 ? [] : loadFirstObjects(file);
  loaded = undefined;
  const time = timestamp(nowMs);
  const writes: Promise<unknown>[] = [];
  for (let at = 0; at + 1 < lines.length; at += 2) {
    // Texts and slots take turns.
    const parts = lines[at + 1]!.split("\0");
    const write = store.put(lines[at]!, 0, (revision) => {
      const values: Record<Slot, string> = { uid: randomUUID(), revision: String(revision), time };
      return { bytes: Buffer.from(parts.map((part, index) => (index % 2 === 0 ? part : values[part as Slot])).join("")) };
    });
    writes.push(write);
  }
  await Promise.all(writes);
  return writes.length > 0;
}

/** Beside the bundle; beside the sources there is none. */
const firstObjectsFile = join(import.meta.dirname, "first-objects.txt");
