import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { resources, systemNamespace } from "../api/resources.ts";
import type { ConfigMap, Pod } from "../api/types.ts";
import { type Claim, claimName } from "../base/claimed-name.ts";
import { FakeClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { MemoryClient } from "./testing/memory-client.ts";
import { placeOf, UidAllocator } from "./uids.ts";

let serial = 0;
function pod(name: string, owner?: { kind: string; name: string }, hash?: string): Pod {
  const ownerReferences = owner && [{ apiVersion: "apps/v1", uid: "o", controller: true, ...owner }];
  return { metadata: { name, namespace: "shop", uid: `u${serial++}`, ...(ownerReferences && { ownerReferences }), ...(hash && { labels: { "pod-template-hash": hash } }) }, spec: { containers: [] } } as unknown as Pod;
}
/** A machine of their own, where names are claimed and released. */
function machine(taken = new Set<string>()) {
  return async (name: string) => {
    if (taken.has(name)) return undefined;
    taken.add(name);
    return { release: () => void taken.delete(name) };
  };
}
async function allocator(client = new MemoryClient(), { dataDir = "/data", claim = machine() }: { dataDir?: string; claim?: (name: string) => Promise<Claim | undefined> } = {}): Promise<UidAllocator> {
  const uids = new UidAllocator({ client, clock: new FakeClock(), log: silentLog, dataDir }, claim);
  await uids.claim();
  return uids;
}

test("a place is namespace, workload and ordinal; a roll-out keeps its Deployment's", () => {
  assert.deepEqual(placeOf(pod("db-2", { kind: "StatefulSet", name: "db" })), { workload: "shop.StatefulSet.db", ordinal: 2 });
  assert.deepEqual(placeOf(pod("web-abc12-x", { kind: "ReplicaSet", name: "web-abc12" }, "abc12")), { workload: "shop.ReplicaSet.web", ordinal: undefined });
  assert.deepEqual(placeOf(pod("alone")), { workload: "shop.Pod.alone", ordinal: undefined });
});

test("living pods never share a uid; a place gives the next pod the same one", async () => {
  const uids = await allocator();
  const [a, b] = [pod("web-1-a", { kind: "ReplicaSet", name: "web-1" }, "1"), pod("web-1-b", { kind: "ReplicaSet", name: "web-1" }, "1")];
  const [first, second] = [uids.acquire(a), uids.acquire(b)];
  assert.notEqual(first, second);
  assert.ok(first > 100_000 && first < 165_536);
  assert.equal(uids.acquire(a), first, "asked twice");
  // Recreate: the old pod is gone before its successor, of another template, comes.
  uids.release(a);
  assert.equal(uids.acquire(pod("web-2-c", { kind: "ReplicaSet", name: "web-2" }, "2")), first);
  const db = () => pod("db-0", { kind: "StatefulSet", name: "db" });
  const ordinal = uids.acquire(db());
  assert.equal(uids.acquire(db()), ordinal, "an ordinal's successor, even while the last one is ending");
  assert.equal(new Set([first, second, ordinal]).size, 3);
});

test("stacks of one machine share no uid, though their data directories are called the same: a uid is who may signal whom", { skip: process.platform !== "linux" && "names are claimed on Linux" }, async () => {
  // No stack beside this test is called so.
  const dataDir = `/nowhere/${randomUUID()}`;
  const pods = Array.from({ length: 50 }, (_, n) => pod(`web-${n}`));
  const given = (uids: UidAllocator) => new Set(pods.map((one) => uids.acquire(one)));
  const [one, other] = [await allocator(new MemoryClient(), { dataDir, claim: claimName }), await allocator(new MemoryClient(), { dataDir, claim: claimName })];
  const [here, there] = [given(one), given(other)];
  assert.deepEqual([here.size, there.size, here.intersection(there).size], [50, 50, 0]);
  for (const uid of [...here, ...there]) assert.ok(uid > 100_000 && uid < 165_536);
  one.releaseAll();
  other.releaseAll();
  const again = await allocator(new MemoryClient(), { dataDir, claim: claimName });
  assert.deepEqual(given(again), here, "a stack that starts again finds its own, and its volumes with them");
  again.releaseAll();
});

test("of what was saved, only what is in a block of one's own is heeded", async () => {
  const client = new MemoryClient();
  const claim = machine();
  const before = await allocator(client, { claim });
  const uid = before.acquire(pod("web"));
  for (let i = 0; i < 20; i++) await Promise.resolve();
  before.releaseAll();
  const squatter = await allocator(new MemoryClient(), { claim });
  assert.equal(squatter.acquire(pod("other")), uid);
  const after = await allocator(client, { claim });
  await after.load(new Set());
  assert.notEqual(after.acquire(pod("web")), uid);
});

test("who holds more than half of his block gets a second; where none is left, nobody gets another's", async () => {
  const taken = new Set<string>();
  const claim = machine(taken);
  const uids = await allocator(new MemoryClient(), { claim });
  const owner = pod("many");
  const numbers = new Set<number>();
  for (let gid = 0; gid < 900; gid++) {
    numbers.add(uids.group(owner, gid));
    await Promise.resolve();
  }
  assert.deepEqual([numbers.size, taken.size], [900, 3]);
  const neighbours = await Promise.all(Array.from({ length: 106 }, (_, n) => allocator(new MemoryClient(), { claim, dataDir: `/data/${n}` })));
  assert.equal(neighbours.length + 3, taken.size);
  await assert.rejects(allocator(new MemoryClient(), { claim }), /all 109 blocks of user ids for pods belong to other stacks/);
  for (let gid = 900; gid < 1800; gid++) uids.group(owner, gid);
  assert.throws(() => uids.acquire(pod("one-more")), /no uid is free/);
  neighbours[0]!.releaseAll();
  assert.throws(() => uids.acquire(pod("one-more")), /no uid is free/);
  // All that is asked for is answered within this turn.
  await new Promise(setImmediate);
  assert.ok(!numbers.has(uids.acquire(pod("one-more"))));
});

test("a group is one number of the machine for all pods of a namespace, and of no pod's user, as long as one of them lives", async () => {
  const uids = await allocator();
  const [a, b] = [pod("a"), pod("b")];
  const other = { ...pod("c"), metadata: { ...pod("c").metadata, namespace: "elsewhere" } };
  const shared = uids.group(a, 2000);
  assert.equal(uids.group(b, 2000), shared);
  assert.equal(new Set([shared, uids.group(a, 2001), uids.group(other, 2000), uids.acquire(a), uids.acquire(b), uids.acquire(other)]).size, 6);
  uids.release(a);
  for (let i = 0; i < 2000; i++) {
    const job = pod(`job-${i}`);
    uids.group(job, 5000 + i);
    uids.release(job);
  }
  assert.equal(uids.group(pod("d"), 2000), shared, "b still lives");
  uids.release(b);
  assert.equal(uids.group(pod("e"), 2000), shared, "and the next pod finds its volume its own");
});

test("places of pods that never come back are forgotten, the longest free first", async () => {
  const uids = await allocator();
  const sts = pod("db-0", { kind: "StatefulSet", name: "db" });
  const uid = uids.acquire(sts);
  const given = new Set<number>();
  for (let i = 0; i < 2000; i++) {
    const job = pod(`job-${i}`);
    given.add(uids.acquire(job));
    uids.release(job);
  }
  assert.ok(given.size < 600, `${given.size}`);
  assert.equal(uids.acquire(sts), uid, "a place that is held is never forgotten");
});

test("places survive a restart; pods that are gone no longer hold theirs", async () => {
  const client = new MemoryClient();
  const claim = machine();
  const before = await allocator(client, { claim });
  const [kept, gone] = [pod("kept"), pod("x-1-a", { kind: "ReplicaSet", name: "x-1" }, "1")];
  const [keptUid, goneUid] = [before.acquire(kept), before.acquire(gone)];
  for (let i = 0; i < 20; i++) await Promise.resolve();
  const saved = await client.get<ConfigMap>(resources.configMaps, systemNamespace, "wherry-uids");
  assert.equal(saved.data!["shop.Pod.kept.0"], `${keptUid} ${kept.metadata.uid}`);
  before.releaseAll();
  const after = await allocator(client, { claim });
  await after.load(new Set([kept.metadata.uid]));
  assert.notEqual(after.acquire(pod("new")), keptUid);
  assert.equal(after.acquire(kept), keptUid);
  assert.equal(after.acquire(pod("x-1-b", { kind: "ReplicaSet", name: "x-1" }, "1")), goneUid);
});
