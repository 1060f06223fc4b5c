import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";
import { FakeClock } from "../base/clock.ts";
import type { Client, ListOptions, WatchOptions } from "./client.ts";
import { Informer, Informers, keyOf, splitKey } from "./informer.ts";
import type { KubeObject, WatchEvent } from "./meta.ts";
import { resources } from "./resources.ts";
import { expiredError, goneRevisionError } from "./status.ts";

type Step = WatchEvent | Error | "end";

const pod = (name: string, revision: number, more: Record<string, unknown> = {}): KubeObject => ({
  apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default", uid: `uid-${name}`, resourceVersion: String(revision), creationTimestamp: "" }, ...more,
});

/** A server whose answers the test writes: pages of lists, and the steps of each watch. */
function scripted(): { client: Client; lists: (KubeObject[] | Error)[]; push(...steps: Step[]): void; revision: { list: string }; asked: { lists: ListOptions[]; watches: WatchOptions[] } } {
  const steps: Step[] = [];
  let wake = () => {};
  const lists: (KubeObject[] | Error)[] = [];
  const revision = { list: "10" };
  const asked = { lists: [] as ListOptions[], watches: [] as WatchOptions[] };
  const client = {
    async list(_of: unknown, options: ListOptions) {
      asked.lists.push(options);
      const items = lists.shift() ?? [];
      if (items instanceof Error) throw items;
      return { apiVersion: "v1", kind: "PodList", metadata: { resourceVersion: revision.list }, items };
    },
    async *watch(_of: unknown, options: WatchOptions) {
      asked.watches.push(options);
      options.signal!.addEventListener("abort", () => wake());
      while (!options.signal!.aborted) {
        const step = steps.shift();
        if (step === "end") return;
        if (step instanceof Error) throw step;
        if (step) yield step;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  } as unknown as Client;
  return { client, lists, revision, asked, push: (...more) => void (steps.push(...more), wake()) };
}

async function settle(clock?: FakeClock, ms = 0): Promise<void> {
  for (let i = 0; i < 5; i++) await setImmediate();
  if (clock && ms) {
    clock.advance(ms);
    for (let i = 0; i < 5; i++) await setImmediate();
  }
}

function recording(informer: Informer): string[] {
  const heard: string[] = [];
  informer.onChange((key, object, old) => heard.push(`${object ? (old ? "changed" : "new") : "gone"} ${key} ${(object ?? old)!.metadata.resourceVersion}`));
  return heard;
}

test("an informer lists, then follows", async () => {
  const server = scripted();
  const clock = new FakeClock();
  const informer = new Informer({ client: server.client, resource: resources.pods, clock, indexes: { node: (object) => [object["spec"]?.nodeName ?? ""] } });
  const heard = recording(informer);
  server.lists.push([pod("a", 3), pod("b", 7, { spec: { nodeName: "wherry" } })]);
  informer.start();
  await informer.synced;
  assert.deepEqual(heard, ["new default/a 3", "new default/b 7"]);
  assert.equal(informer.revision, 10);

  server.push({ type: "MODIFIED", object: pod("a", 11, { spec: { nodeName: "wherry" } }) }, { type: "ADDED", object: pod("c", 12) }, { type: "DELETED", object: pod("b", 13) });
  server.push({ type: "BOOKMARK", object: { metadata: { resourceVersion: "20" } } as KubeObject });
  await settle();
  assert.deepEqual(heard.slice(2), ["changed default/a 11", "new default/c 12", "gone default/b 13"]);
  assert.equal(informer.revision, 20);
  assert.deepEqual(informer.byIndex("node", "wherry").map(keyOf), ["default/a"]);
  assert.deepEqual(informer.inNamespace("default").map(keyOf), ["default/a", "default/c"]);
  assert.equal(informer.get("default/b"), undefined);
  assert.deepEqual(recording(informer), ["new default/a 11", "new default/c 12"], "a late handler hears of what is there");
  await informer.stop();
});

test("how an informer goes on after each way a watch can end", async (t) => {
  const cases: { name: string; step: Step; relists: boolean }[] = [
    { name: "the server ends it", step: "end", relists: false },
    { name: "the connection breaks", step: new Error("socket hang up"), relists: false },
    { name: "410 before the stream", step: goneRevisionError(5, 100), relists: true },
    { name: "410 inside the stream", step: { type: "ERROR", object: expiredError("too old resource version: 5 (100)").toStatus() as unknown as KubeObject }, relists: true },
  ];
  for (const { name, step, relists } of cases) {
    await t.test(name, async () => {
      const server = scripted();
      const clock = new FakeClock();
      const informer = new Informer({ client: server.client, resource: resources.pods, clock });
      const heard = recording(informer);
      server.lists.push([pod("a", 3), pod("b", 4), pod("c", 5)]);
      informer.start();
      await informer.synced;
      server.push({ type: "MODIFIED", object: pod("a", 11) });
      await settle();
      // While we do not look, b goes, c changes, and a is deleted and made anew.
      const reborn = pod("a", 28);
      reborn.metadata.uid = "another";
      server.lists.push([reborn, pod("c", 30)]);
      server.revision.list = "31";
      server.push(step);
      await settle(clock, 1_000);
      assert.equal(server.asked.lists.length, relists ? 2 : 1);
      assert.equal(server.asked.watches.at(-1)!.resourceVersion, relists ? "31" : "11");
      if (relists) assert.deepEqual(heard.slice(4), ["gone default/a 11", "new default/a 28", "changed default/c 30", "gone default/b 4"]);
      else assert.equal(heard.length, 4);
      await informer.stop();
    });
  }
});

test("failures are retried ever more slowly, and success forgets them", async () => {
  const server = scripted();
  const clock = new FakeClock();
  const informer = new Informer({ client: server.client, resource: resources.pods, clock });
  for (let i = 0; i < 4; i++) server.lists.push(new Error("connect ECONNREFUSED"));
  server.lists.push([pod("a", 3)]);
  informer.start();
  const startMs = clock.now();
  const attemptsAtMs: number[] = [];
  for (let seen = 0; seen < 5; ) {
    await settle();
    if (server.asked.lists.length > seen) {
      seen++;
      attemptsAtMs.push(clock.now() - startMs);
    } else clock.advance(clock.nextDueMs()! - clock.now());
  }
  assert.deepEqual(attemptsAtMs, [0, 50, 150, 350, 750]);
  await informer.synced;
  await informer.stop();
});

test("items of a list, which come without, get their kind", async () => {
  const server = scripted();
  const informer = new Informer({ client: server.client, resource: resources.pods, clock: new FakeClock() });
  const { apiVersion: _, kind: __, ...bare } = pod("a", 3);
  server.lists.push([bare as KubeObject]);
  informer.start();
  await informer.synced;
  assert.deepEqual([informer.get("default/a")!.apiVersion, informer.get("default/a")!.kind], ["v1", "Pod"]);
  await informer.stop();
});

test("a handler that throws does not stop the others", async () => {
  const server = scripted();
  const informer = new Informer({ client: server.client, resource: resources.pods, clock: new FakeClock() });
  informer.onChange(() => {
    throw new Error("on purpose");
  });
  const heard = recording(informer);
  server.lists.push([pod("a", 3)]);
  informer.start();
  await informer.synced;
  assert.deepEqual(heard, ["new default/a 3"]);
  await informer.stop();
});

test("stopping before the first list rejects synced and ends", async () => {
  const server = scripted();
  server.lists.push(new Error("down"));
  const informer = new Informer({ client: server.client, resource: resources.pods, clock: new FakeClock() });
  informer.start();
  await settle();
  await informer.stop();
  await assert.rejects(informer.synced, /stopped/);
});

test("Informers shares one per resource", async () => {
  const server = scripted();
  const informers = new Informers({ client: server.client, clock: new FakeClock() });
  assert.equal(informers.for(resources.pods), informers.for({ ...resources.pods }));
  await informers.start();
  assert.equal(server.asked.lists.length, 1);
  await informers.stop();
});

test("of what nobody reads, only metadata is held", async () => {
  const server = scripted();
  const informers = new Informers({ client: server.client, clock: new FakeClock(), metadataOnly: ({ resource }) => resource === "pods" });
  const full = pod("a", 3);
  server.lists.push([{ ...full, metadata: { ...full.metadata, annotations: { long: "text" } }, spec: { large: true } } as KubeObject]);
  informers.for(resources.pods).start();
  await informers.for(resources.pods).synced;
  const [held] = informers.for(resources.pods).list();
  assert.equal(held!.metadata.name, "a");
  assert.deepEqual([held!["spec"], held!.metadata.annotations], [undefined, undefined]);
  await informers.stop();
});

test("keys", () => {
  assert.deepEqual(splitKey("default/web"), { namespace: "default", name: "web" });
  assert.deepEqual(splitKey("wherry"), { namespace: undefined, name: "wherry" });
});
