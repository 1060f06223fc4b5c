import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import type { Client } from "../api/client.ts";
import { FakeClock } from "../base/clock.ts";
import { startApi } from "../../test/harness-api.ts";
import { Fence, FencedError, startElection, withLock } from "./election.ts";
import { LeaseCandidate } from "./lease.ts";

const leases = { group: "coordination.k8s.io", version: "v1", resource: "leases" };
const options = (client: Client, name: string) => ({ client, namespace: "default", name });
const leaseOf = (client: Client, name: string) => client.get<{ spec: { holderIdentity?: string; leaseTransitions: number; leaseDurationSeconds: number; renewTime: string } }>(leases, "default", name);

test("candidates for a Lease, by the rules of client-go, whatever their clocks say", async (t) => {
  await using api = await startApi();
  const { client } = api;

  await t.test("one holds it, others wait for its whole duration after its last change, and tokens grow", async () => {
    // A year apart, and neither ever compares.
    const [first, second] = [new FakeClock(Date.UTC(2026, 0, 1)), new FakeClock(Date.UTC(2027, 0, 1))];
    const a = new LeaseCandidate({ ...options(client, "one"), identity: "a", clock: first });
    const b = new LeaseCandidate({ ...options(client, "one"), identity: "b", clock: second });
    assert.equal(await a.attempt(), true);
    const one = a.holding!;
    assert.equal(one.term, 0);
    assert.equal((await leaseOf(client, "one")).spec.renewTime, "2026-01-01T00:00:00.000000Z");
    assert.equal(await b.attempt(), false);
    second.advance(14_000);
    first.advance(2_000);
    assert.equal(await a.attempt(), true);
    assert.equal(a.holding!.token, one.token, "a renewal is the same holding");
    assert.equal(await b.attempt(), false, "seen to be renewed just now");
    second.advance(14_999);
    assert.equal(await b.attempt(), false);
    second.advance(1);
    assert.equal(await b.attempt(), true);
    assert.ok(b.holding!.token > one.token);
    assert.equal(b.holding!.term, 1);
    assert.equal(a.holding!.token, one.token, "a does not know yet: that is what the token is for");
    first.advance(10_000);
    assert.equal(a.holding, undefined, "nor does it have to be told: its time is over by its own clock");
    assert.equal(await a.attempt(), false);
  });

  await t.test("an own lease that ran out is a new holding, also of the same program", async () => {
    const clock = new FakeClock();
    const a = new LeaseCandidate({ ...options(client, "again"), identity: "a", clock });
    await a.attempt();
    const { token } = a.holding!;
    clock.advance(10_000);
    assert.equal(a.holding, undefined);
    assert.equal(await a.attempt(), true);
    assert.ok(a.holding!.token > token);
    assert.equal(a.holding!.term, 1);
  });

  await t.test("tokens grow also when the Lease was deleted in between", async () => {
    const clock = new FakeClock();
    const a = new LeaseCandidate({ ...options(client, "deleted"), identity: "a", clock });
    await a.attempt();
    const { token } = a.holding!;
    await client.delete(leases, "default", "deleted");
    const b = new LeaseCandidate({ ...options(client, "deleted"), identity: "b", clock });
    assert.equal(await b.attempt(), true);
    assert.equal(b.holding!.term, 0);
    assert.ok(b.holding!.token > token);
    assert.equal(await a.attempt(), false);
    assert.equal(a.holding, undefined);
  });

  await t.test("of many that try at once one gets it", async () => {
    const all = Array.from({ length: 8 }, (_, index) => new LeaseCandidate({ ...options(client, "race"), identity: `c${index}`, clock: new FakeClock() }));
    assert.equal((await Promise.all(all.map((one) => one.attempt()))).filter(Boolean).length, 1);
  });

  await t.test("what is given up is free at once", async () => {
    const clock = new FakeClock();
    const a = new LeaseCandidate({ ...options(client, "released"), identity: "a", clock });
    const b = new LeaseCandidate({ ...options(client, "released"), identity: "b", clock });
    await a.attempt();
    await a.release();
    const { spec } = await leaseOf(client, "released");
    assert.deepEqual([spec.holderIdentity, spec.leaseDurationSeconds], [undefined, 1]);
    assert.equal(await b.attempt(), true);
    await a.release();
    assert.equal((await leaseOf(client, "released")).spec.holderIdentity, "b", "not somebody else's");
  });

  await t.test("a server that does not answer does not prolong anything", async () => {
    const clock = new FakeClock();
    const stuck: Client = { ...client, get: client.get.bind(client), create: client.create.bind(client), update: () => new Promise(() => {}) };
    const a = new LeaseCandidate({ ...options(stuck, "stuck"), identity: "a", clock });
    await a.attempt();
    clock.advance(9_000);
    void a.attempt();
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1_000);
    assert.equal(a.holding, undefined);
  });

  await t.test("an answer that comes when the holding is over brings nothing back; the next holding has its own token", async () => {
    const clock = new FakeClock();
    let isLate = false;
    let [written, heard] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    // What it writes is written; who wrote hears of it late.
    const slow: Client = {
      ...client, get: client.get.bind(client), create: client.create.bind(client),
      async update<T>(...args: Parameters<Client["update"]>): Promise<T> {
        const lease = await client.update<T>(...args);
        if (!isLate) return lease;
        written.resolve();
        await heard.promise;
        return lease;
      },
    };
    const a = new LeaseCandidate({ ...options(slow, "late"), identity: "a", clock });
    await a.attempt();
    const { token } = a.holding!;
    clock.advance(9_900);
    isLate = true;
    const renewal = a.attempt();
    await written.promise;
    clock.advance(200);
    assert.equal(a.holding, undefined);
    isLate = false;
    assert.equal(await a.attempt(), true);
    const second = a.holding!;
    assert.ok(second.token > token);
    heard.resolve();
    assert.equal(await renewal, true);
    assert.deepEqual([a.holding!.token, a.holding!.term], [second.token, second.term]);
    // And with nobody between: over is over.
    clock.advance(9_900);
    [written, heard] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    isLate = true;
    const last = a.attempt();
    await written.promise;
    clock.advance(200);
    heard.resolve();
    assert.equal(await last, false);
    assert.equal(a.holding, undefined);
  });

  await t.test("a renewal that comes across a person's edit of the Lease is tried again, and loses nothing", async () => {
    const clock = new FakeClock();
    let edits = 0;
    const busy: Client = {
      ...client, create: client.create.bind(client), update: client.update.bind(client),
      async get<T>(...args: Parameters<Client["get"]>): Promise<T> {
        const found = await client.get<T>(...args);
        if (edits-- > 0) await client.patch(leases, "default", "edited", { metadata: { annotations: { edited: String(edits) } } });
        return found;
      },
    };
    const a = new LeaseCandidate({ ...options(busy, "edited"), identity: "a", clock });
    await a.attempt();
    const { token } = a.holding!;
    for (const times of [1, 2]) {
      edits = times;
      clock.advance(2_000);
      assert.equal(await a.attempt(), true);
      assert.equal(a.holding!.token, token);
    }
    // Deleted is deleted: somebody else may have made it already.
    await client.delete(leases, "default", "edited");
    assert.equal(await a.attempt(), true);
    assert.ok(a.holding!.token > token);
  });

  await t.test("a machine that slept wakes with its monotonic time, and the holding is over all the same", async () => {
    let [wallMs, monotonicMs] = [Date.UTC(2026, 0, 1), 1_000];
    const clock = { now: () => wallMs, monotonicMs: () => monotonicMs, setTimer: () => ({ cancel() {} }) };
    const a = new LeaseCandidate({ ...options(client, "asleep"), identity: "a", clock });
    await a.attempt();
    const { token } = a.holding!;
    [wallMs, monotonicMs] = [wallMs + 3_600_000, monotonicMs + 50];
    assert.equal(a.holding, undefined);
    assert.equal(await a.attempt(), true);
    assert.ok(a.holding!.token > token);
  });

  await t.test("what cannot work is refused", () => {
    for (const [wrong, message] of [[{ durationMs: 1_500 }, /whole seconds/], [{ durationMs: 1_000, renewDeadlineMs: 1_000 }, /must be retryMs/], [{ retryMs: 20_000 }, /must be retryMs/]] as const) assert.throws(() => new LeaseCandidate({ ...options(client, "x"), ...wrong }), message);
  });

  await t.test("a lock: one after the other, results and errors come through, waiting can be given up", async () => {
    const fast = { durationMs: 30_000, retryMs: 20 };
    let inside = 0;
    let most = 0;
    const tokens: number[] = [];
    const work = async ({ token }: { token: number }) => {
      most = Math.max(most, ++inside);
      tokens.push(token);
      await new Promise((resolve) => setImmediate(resolve));
      inside--;
      return token;
    };
    const results = await Promise.all([1, 2, 3].map(() => withLock({ ...options(client, "lock"), ...fast }, work)));
    assert.equal(most, 1);
    assert.deepEqual(results.toSorted((x, y) => x - y), tokens);
    await assert.rejects(withLock({ ...options(client, "lock"), ...fast }, () => Promise.reject(new Error("the work failed"))), /the work failed/);
    const release = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    const holder = withLock({ ...options(client, "lock"), ...fast }, () => (held.resolve(), release.promise));
    await held.promise;
    const wait = new AbortController();
    const waiting = withLock({ ...options(client, "lock"), ...fast, wait: wait.signal }, () => assert.fail("it was given up"));
    wait.abort(new Error("not for me"));
    await assert.rejects(waiting, /not for me/);
    release.resolve();
    await holder;
  });

  await t.test("a stopped election ends the work, waits for it, and another takes over at once", async () => {
    const fast = { durationMs: 30_000, retryMs: 20 };
    const order: string[] = [];
    const leading = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    const a = startElection({ ...options(client, "stop"), ...fast, identity: "a" }, async (_, signal) => {
      leading.resolve();
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      order.push("a ended");
    });
    await leading.promise;
    const b = startElection({ ...options(client, "stop"), ...fast, identity: "b" }, (_, signal) => (order.push("b leads"), second.resolve(), new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()))));
    await a.stop();
    await second.promise;
    assert.deepEqual(order, ["a ended", "b leads"]);
    assert.deepEqual([a.holding, b.leader], [undefined, "b"]);
    await b.stop();
  });
});

interface Told {
  who: ChildProcess;
  what: "elected" | "write";
  token: number;
}

test("three processes: the leader is killed, another follows with a greater token; one that was stopped meanwhile is fenced", { timeout: 120_000 }, async () => {
  await using api = await startApi();
  const kubeconfig = api.kubeconfig("election", api.pki.admin);
  const program = `
    import { findCluster } from ${JSON.stringify(join(import.meta.dirname, "kubernetes.ts"))};
    import { startElection } from ${JSON.stringify(join(import.meta.dirname, "election.ts"))};
    const { client, namespace } = await findCluster({ kubeconfig: ${JSON.stringify(kubeconfig)} });
    startElection({ client, namespace, name: "leader", durationMs: 1_000, retryMs: 100 }, async ({ token }, signal) => {
      process.send({ what: "elected", token });
      // Asks whether it still leads when it is too late, as every worker does now and then.
      do { await new Promise((resolve) => setTimeout(resolve, 20)); process.send({ what: "write", token }); } while (!signal.aborted);
    });
    process.once("disconnect", () => process.exit());`;
  const fence = new Fence();
  const elected: Told[] = [];
  const fenced: Told[] = [];
  const waits: { is: () => boolean; resolve: () => void }[] = [];
  const until = (is: () => boolean) => new Promise<void>((resolve) => (is() ? resolve() : void waits.push({ is, resolve })));
  const children = Array.from({ length: 3 }, () => spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module-typescript", "-e", program], { stdio: ["ignore", "inherit", "inherit", "ipc"] }));
  try {
    for (const who of children) {
      who.on("message", (message: Omit<Told, "who">) => {
        const told = { ...message, who };
        if (told.what === "elected") elected.push(told);
        if (told.what === "write") {
          try {
            fence.check(told.token);
          } catch (error) {
            assert.ok(error instanceof FencedError);
            fenced.push(told);
          }
        }
        for (const wait of waits.splice(0)) if (wait.is()) wait.resolve(); else waits.push(wait);
      });
    }
    await until(() => fence.greatest > 0);
    const killed = elected.at(-1)!;
    killed.who.kill("SIGKILL");
    await until(() => elected.at(-1)!.who !== killed.who && fence.greatest === elected.at(-1)!.token);
    assert.ok(elected.at(-1)!.token > killed.token);
    // Frozen in the middle of its work, as by a long collection or a suspended machine.
    const frozen = elected.at(-1)!;
    frozen.who.kill("SIGSTOP");
    await until(() => elected.at(-1)!.who !== frozen.who && fence.greatest === elected.at(-1)!.token);
    frozen.who.kill("SIGCONT");
    await until(() => fenced.some(({ who, token }) => who === frozen.who && token === frozen.token));
    const tokens = elected.map(({ token }) => token);
    assert.deepEqual(tokens, tokens.toSorted((a, b) => a - b));
    assert.equal(new Set(tokens).size, tokens.length);
    assert.ok(fenced.every(({ token }) => token < fence.greatest));
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
});

test("a program that does nothing else stays as long as it stands, and ends when it no longer does", { timeout: 60_000 }, async () => {
  // Somebody else holds it for ever; after three looks this one has enough.
  const program = `
    import { startElection } from ${JSON.stringify(join(import.meta.dirname, "election.ts"))};
    let looks = 0;
    const held = () => ({ apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "work" }, spec: { holderIdentity: "somebody", leaseDurationSeconds: 3_600, renewTime: String(looks) } });
    const client = { get: async () => (++looks === 3 && setImmediate(() => election.stop().then(() => console.log("enough"))), held()) };
    const election = startElection({ client, namespace: "default", name: "work", durationMs: 1_000, retryMs: 10 }, () => {});
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const [code] = await once(child, "close");
  assert.deepEqual([said, code], ["enough\n", 0]);
});
