import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { Pool } from "pg";
import { postgresPrograms, startPostgres } from "../../examples/shop/test/postgres.ts";
import { currentContext, runInContext } from "./context.ts";
import { createInbox, createOutbox, inTransaction, type OutboxMessage, type PgPool, type Relay } from "./outbox.ts";
import { seededRandom } from "../base/random.ts";

test("an outbox on Postgres", { timeout: 120_000 }, async (t) => {
  const programs = postgresPrograms();
  if (!programs) return t.skip("needs initdb and postgres, or `npm install` with optional packages");
  const postgres = await startPostgres(programs);
  await postgres.start();
  const { DB_HOST: host, DB_PORT: port, DB_NAME: database, DB_USER: user } = postgres.env;
  const settings = { host: host!, port: Number(port), database: database!, user: user!, password: "unused" };
  const pool = new Pool({ ...settings, max: 20 });
  pool.on("error", () => {});
  t.after(async () => {
    await pool.end();
    await postgres.dispose();
  });
  const db = pool as unknown as PgPool;
  let tables = 0;
  const fresh = async () => {
    const outbox = createOutbox({ pool: db, table: `outbox_${++tables}` });
    // As replicas that start together do.
    await Promise.all([outbox.migrate(), outbox.migrate()]);
    return outbox;
  };
  const until = async (is: () => boolean | Promise<boolean>) => {
    while (!(await is())) await new Promise((resolve) => setImmediate(resolve));
  };

  await t.test("is sent with its transaction, in its trace, and not without it", async () => {
    const outbox = await fresh();
    const got: { message: OutboxMessage; trace: string | undefined }[] = [];
    const relay = outbox.relay((message) => void got.push({ message, trace: currentContext()?.trace.traceId }), { everyMs: 5 });
    await assert.rejects(
      inTransaction(db, async (client) => {
        await outbox.add(client, { topic: "order.placed", key: "1", payload: { id: 1 } });
        throw new Error("sold out");
      }),
      /sold out/,
    );
    const trace = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", sampled: true };
    await runInContext({ trace }, () => inTransaction(db, (client) => outbox.add(client, { topic: "order.placed", key: "2", payload: { id: 2, text: "ü" } })));
    await until(() => got.length > 0);
    await relay.stop();
    assert.deepEqual(got.map(({ message: { topic, key, payload, attempt }, trace: id }) => ({ topic, key, payload, attempt, id })), [{ topic: "order.placed", key: "2", payload: { id: 2, text: "ü" }, attempt: 1, id: trace.traceId }]);
    assert.deepEqual(await outbox.state(), { waiting: 0, dead: 0, oldestMs: 0 });
  });

  await t.test("several relays, deliveries that fail: each message comes, those of one key in the order of their commits", async () => {
    const outbox = await fresh();
    const random = seededRandom(7);
    const committed = new Map<string, number[]>();
    const keys = Array.from({ length: 8 }, (_, index) => `key-${index}`);
    // Writers at the same time, some of which roll back.
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let i = 0; i < 15; i++) {
          const number = writer * 100 + i;
          const key = keys[number % keys.length]!;
          await inTransaction(db, async (client) => {
            await outbox.add(client, { topic: "t", key, payload: number });
            if (random.next() < 0.2) throw new Error("rolled back");
            // Still in the transaction, whose key nobody else writes before it is committed.
            const list = committed.get(key) ?? [];
            committed.set(key, [...list, number]);
          }).catch((error: Error) => assert.equal(error.message, "rolled back"));
        }
      }),
    );
    const delivered = new Map<string, number[]>();
    const deliver = async ({ key, payload }: OutboxMessage) => {
      if (random.next() < 0.3) throw new Error("no luck");
      await new Promise((resolve) => setImmediate(resolve));
      delivered.set(key, [...(delivered.get(key) ?? []), payload as number]);
    };
    const relays = [1, 2, 3].map(() => outbox.relay(deliver, { everyMs: 2, backoffMs: 1, backoffMaxMs: 4, attemptsMax: 1_000, batchMax: 5 }));
    await until(async () => (await outbox.state()).waiting === 0);
    await Promise.all(relays.map((relay) => relay.stop()));
    assert.deepEqual(new Map([...delivered].toSorted()), new Map([...committed].toSorted()));
    assert.ok(relays.some(({ failed }) => failed > 0));
  });

  await t.test("one that fails waits longer each time, is given up at last, and can be revived; others of its key go on then", async () => {
    const outbox = await fresh();
    for (const payload of ["bad", "good"]) await inTransaction(db, (client) => outbox.add(client, { topic: "t", key: "k", payload }));
    const attempts: number[] = [];
    const good = Promise.withResolvers<void>();
    let isMended = false;
    const mended = Promise.withResolvers<void>();
    const deliver = ({ payload, attempt }: OutboxMessage) => {
      if (payload === "good") return good.resolve();
      if (isMended) return mended.resolve();
      attempts.push(attempt);
      throw new Error("never");
    };
    const relay: Relay = outbox.relay(deliver, { everyMs: 2, backoffMs: 1, attemptsMax: 3 });
    await good.promise;
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.equal((await outbox.state()).dead, 1);
    isMended = true;
    assert.equal(await outbox.revive(), 1);
    await mended.promise;
    await relay.stop();
    assert.equal((await outbox.state()).dead, 0);
    const { rows } = await pool.query<{ count: number }>(`SELECT count(*)::int AS count FROM outbox_${tables}`);
    assert.equal(rows[0]!.count, 0);
  });

  await t.test("a delivery that hangs is given up after its time", async () => {
    const outbox = await fresh();
    await inTransaction(db, (client) => outbox.add(client, { topic: "t", key: "k", payload: 1 }));
    const told = Promise.withResolvers<unknown>();
    const second = Promise.withResolvers<void>();
    const relay = outbox.relay(({ attempt }, signal) => (attempt > 1 ? second.resolve() : new Promise(() => signal.addEventListener("abort", () => told.resolve(signal.reason)))), { everyMs: 2, timeoutMs: 50, backoffMs: 1 });
    assert.match(String(await told.promise), /not delivered within 50 ms/);
    await second.promise;
    await relay.stop();
  });

  await t.test("a process that is killed in the middle: the message comes again, at another, and is done once", async () => {
    const outbox = await fresh();
    const inbox = createInbox({ pool: db, table: "inbox" });
    await inbox.migrate();
    await pool.query("CREATE TABLE mails (id text)");
    const id = await inTransaction(db, (client) => outbox.add(client, { topic: "mail", key: "k", payload: "hello" }));
    const done = (message: OutboxMessage) => inbox.once(message.id, (client) => client.query("INSERT INTO mails VALUES ($1)", [message.id]).then(() => {}));
    const program = `
      import { Pool } from "pg";
      import { createInbox, createOutbox } from ${JSON.stringify(join(import.meta.dirname, "outbox.ts"))};
      const pool = new Pool(${JSON.stringify(settings)});
      const inbox = createInbox({ pool, table: "inbox" });
      createOutbox({ pool, table: ${JSON.stringify(`outbox_${tables}`)} }).relay(async ({ id }) => {
        await inbox.once(id, (client) => client.query("INSERT INTO mails VALUES ($1)", [id]).then(() => {}));
        process.send("done, and not told");
        await new Promise(() => setInterval(() => {}, 1000));
      });`;
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module-typescript", "-e", program], { stdio: ["ignore", "inherit", "inherit", "ipc"], cwd: import.meta.dirname });
    try {
      await once(child, "message");
      const second = Promise.withResolvers<boolean>();
      const relay = outbox.relay(async (message) => second.resolve(await done(message)), { everyMs: 2 });
      child.kill("SIGKILL");
      assert.equal(await second.promise, false, "it comes again, and was done before");
      await relay.stop();
    } finally {
      child.kill("SIGKILL");
    }
    assert.deepEqual((await pool.query("SELECT id FROM mails")).rows, [{ id }]);
    assert.equal(await inbox.forget(60_000), 0);
    assert.equal(await inbox.forget(-60_000), 1);
  });

  await t.test("two senders, and Postgres ends the connection of one in the middle: it stops, the other delivers, and the order stays", async () => {
    const outbox = await fresh();
    for (const payload of [1, 2]) await inTransaction(db, (client) => outbox.add(client, { topic: "t", key: "k", payload }));
    const got: string[] = [];
    const begun = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<string>();
    const first = outbox.relay(({ payload }, signal) => {
      got.push(`first ${String(payload)}`);
      begun.resolve();
      return new Promise((_, reject) => signal.addEventListener("abort", () => (stopped.resolve(String(signal.reason)), reject(signal.reason as Error))));
    }, { everyMs: 60_000, timeoutMs: 60_000 });
    await begun.promise;
    const second = outbox.relay(({ payload, attempt }) => void got.push(`second ${String(payload)}, attempt ${attempt}`), { everyMs: 2 });
    assert.equal((await pool.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%outbox_${tables}%'`)).rows.length, 1);
    assert.match(await stopped.promise, /terminat/);
    await until(() => got.length === 3);
    assert.deepEqual(got, ["first 1", "second 1, attempt 1", "second 2, attempt 1"]);
    await Promise.all([first.stop(), second.stop()]);
    assert.deepEqual([first.delivered, first.failed, second.delivered], [0, 0, 2]);
  });

  await t.test("the database is restarted: the relay goes on by itself", async () => {
    const outbox = await fresh();
    const warned = Promise.withResolvers<void>();
    const got: unknown[] = [];
    const relay = outbox.relay(({ payload }) => void got.push(payload), { everyMs: 20, log: { warn: () => warned.resolve(), error() {} } });
    await postgres.stop();
    await warned.promise;
    await postgres.start();
    const add = () => inTransaction(db, (client) => outbox.add(client, { topic: "t", key: "k", payload: "after" }));
    await add().catch(add);
    await until(() => got.length > 0);
    await relay.stop();
    assert.deepEqual(got, ["after"]);
  });

  await t.test("names of tables are names", () => {
    assert.throws(() => createOutbox({ pool: db, table: 'a"; DROP TABLE orders; --' }), /Invalid value/);
  });
});
