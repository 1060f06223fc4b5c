import { type Clock, delay, systemClock } from "../base/clock.ts";
import { currentContext, runInContext } from "./context.ts";
import type { ServiceLog } from "./log.ts";
import { formatTraceparent, newSpanId, parseTraceparent } from "./trace-context.ts";

/**
 * Messages that are sent if, and only if, the transaction that caused them is committed: written to a table with it, and
 * delivered from there by any number of replicas. Each at least once, those of one key in the order of their commits, again with
 * growing pauses where delivery fails. The receiver does a message once by its id ({@link createInbox}).
 *
 *   const outbox = createOutbox({ pool });
 *   await outbox.add(client, { topic: "order.placed", key: order.id, payload: order }); // in the order's transaction
 *   const relay = outbox.relay(async ({ id, payload }, signal) => …);
 *   service.onClose("outbox", () => relay.stop());
 *
 * A message is locked (FOR UPDATE SKIP LOCKED) while it is being delivered: when the replica dies, Postgres gives it back.
 * `pg` is the caller's own: anything with its `query` and `connect` will do.
 */
export interface PgClient {
  query(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}
export interface PgPool extends PgClient {
  connect(): Promise<PgClient & { release(destroy?: boolean | Error): void; on?(event: "error", listener: (error: Error) => void): unknown; off?(event: "error", listener: (error: Error) => void): unknown }>;
}

export interface OutboxOptions {
  pool: PgPool;
  /** "outbox" unless said; "schema.table". */
  table?: string;
}
export interface OutgoingMessage {
  topic: string;
  /** Messages of one key keep their order; one that fails holds up those behind it. */
  key: string;
  payload: unknown;
}
export interface OutboxMessage {
  /** The same at each delivery. */
  id: string;
  topic: string;
  key: string;
  payload: unknown;
  /** 1 at the first. */
  attempt: number;
  createdAt: Date;
}

export interface RelayOptions {
  /** Messages at a time; 20 unless said. */
  batchMax?: number;
  /** Between looks at an empty table; 200 ms unless said. */
  everyMs?: number;
  /** For one delivery; 10 s unless said. */
  timeoutMs?: number;
  /** The first pause after a failure, doubled with each: 1 s, up to 5 minutes, unless said. */
  backoffMs?: number;
  backoffMaxMs?: number;
  /** Then a message is left as dead, and those behind it go on; 25 unless said. */
  attemptsMax?: number;
  clock?: Clock;
  log?: Pick<ServiceLog, "warn" | "error">;
}

export interface Outbox {
  /** Makes the table, if it is not there; may run in several replicas at once. */
  migrate(): Promise<void>;
  /** In the transaction of `client`. Resolves with the message's id. */
  add(client: PgClient, message: OutgoingMessage): Promise<string>;
  /** Delivers until it is stopped. Which message is delivered twice is not known beforehand: `deliver` must bear it. */
  relay(deliver: (message: OutboxMessage, signal: AbortSignal) => unknown, options?: RelayOptions): Relay;
  state(): Promise<{ waiting: number; dead: number; /** Of those that wait. */ oldestMs: number }>;
  /** Delivers the dead ones after all. Resolves with how many there are. */
  revive(): Promise<number>;
}
export interface Relay {
  readonly delivered: number;
  readonly failed: number;
  /** Looks at the table now. */
  wake(): void;
  /** Waits for deliveries under way. */
  stop(): Promise<void>;
}

export function createOutbox({ pool, table = "outbox" }: OutboxOptions): Outbox {
  const name = quotedName(table);
  return {
    async migrate() {
      await inTransaction(pool, async (client) => {
        // Two CREATE TABLE IF NOT EXISTS at once may still collide.
        await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [`migrate ${table}`]);
        await client.query(`CREATE TABLE IF NOT EXISTS ${name} (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          topic text NOT NULL,
          key text NOT NULL,
          payload jsonb NOT NULL,
          traceparent text,
          created_at timestamptz NOT NULL DEFAULT now(),
          attempts integer NOT NULL DEFAULT 0,
          next_at timestamptz NOT NULL DEFAULT now(),
          last_error text,
          dead boolean NOT NULL DEFAULT false
        )`);
        await client.query(`CREATE INDEX IF NOT EXISTS ${quotedName(`${table.split(".").at(-1)!}_by_key`)} ON ${name} (key, id) WHERE NOT dead`);
      });
    },
    async add(client, { topic, key, payload }) {
      const trace = currentContext()?.trace;
      // The lock comes before the id: within one key ids are in the order of commits.
      const { rows } = await client.query(
        `WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $3, 0)))
         INSERT INTO ${name} (topic, key, payload, traceparent) SELECT $2, $3, $4::jsonb, $5 FROM turn RETURNING id`,
        [table, topic, key, JSON.stringify(payload), trace ? formatTraceparent(trace) : null],
      );
      return String(rows[0]!["id"]);
    },
    relay: (deliver, options = {}) => new TableRelay(pool, name, deliver, options),
    async state() {
      const { rows } = await pool.query(`SELECT count(*) FILTER (WHERE NOT dead)::int AS waiting, count(*) FILTER (WHERE dead)::int AS dead, coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE NOT dead)) * 1000, 0)::float8 AS oldest FROM ${name}`);
      const { waiting, dead, oldest } = rows[0] as { waiting: number; dead: number; oldest: number };
      return { waiting, dead, oldestMs: oldest };
    },
    async revive() {
      const { rows } = await pool.query(`UPDATE ${name} SET dead = false, attempts = 0, next_at = now() WHERE dead RETURNING id`);
      return rows.length;
    },
  };
}

/** Between looks for a database that is away, at most. */
const awayMaxMs = 5_000;

class TableRelay implements Relay {
  delivered = 0;
  failed = 0;
  readonly #pool: PgPool;
  readonly #name: string;
  readonly #deliver: (message: OutboxMessage, signal: AbortSignal) => unknown;
  readonly #options: Required<Omit<RelayOptions, "log">> & Pick<RelayOptions, "log">;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #pause = new AbortController();

  constructor(pool: PgPool, name: string, deliver: (message: OutboxMessage, signal: AbortSignal) => unknown, options: RelayOptions) {
    this.#pool = pool;
    this.#name = name;
    this.#deliver = deliver;
    this.#options = { batchMax: 20, everyMs: 200, timeoutMs: 10_000, backoffMs: 1_000, backoffMaxMs: 300_000, attemptsMax: 25, clock: systemClock, ...options };
    this.#done = this.#run();
  }

  wake(): void {
    this.#pause.abort();
  }
  stop(): Promise<void> {
    this.#stop.abort(new Error("the relay was stopped"));
    this.wake();
    return this.#done;
  }

  async #run(): Promise<void> {
    const { clock, everyMs, batchMax, log } = this.#options;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      this.#pause = new AbortController();
      let count = 0;
      try {
        count = await this.#round();
        failures = 0;
      } catch (error) {
        // The database is away: what was under way is there again when it comes back. Told once, not as often as it is looked for.
        if (failures++ === 0) log?.warn({ err: error }, "the outbox cannot be read, and is tried again");
      }
      // A full batch has more behind it, and behind what was delivered may be the next of its key.
      if (signal.aborted || count === batchMax) continue;
      const pauseMs = failures > 0 ? Math.max(everyMs, Math.min(awayMaxMs, everyMs * 2 ** Math.min(failures - 1, 16))) : count > 0 ? 0 : everyMs;
      await delay(clock, pauseMs, this.#pause.signal).catch(() => {});
    }
  }

  /** Delivers the first message of each key, as far as nobody else is at it. */
  #round(): Promise<number> {
    return inTransaction(this.#pool, async (client, lost) => {
      const { rows } = await client.query(
        `SELECT id, topic, key, payload, traceparent, created_at, attempts FROM ${this.#name} AS message
         WHERE NOT dead AND next_at <= now() AND NOT EXISTS (SELECT FROM ${this.#name} AS earlier WHERE earlier.key = message.key AND earlier.id < message.id AND NOT earlier.dead)
         ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`,
        [this.#options.batchMax],
      );
      if (rows.length === 0) return 0;
      const outcomes = await Promise.all(rows.map((row) => this.#deliverOne(row, lost)));
      // With the connection the locks are gone: somebody else delivers them, and counts.
      if (lost.aborted) throw lost.reason;
      const done = outcomes.filter(({ error }) => error === undefined).map(({ id }) => id);
      if (done.length > 0) await client.query(`DELETE FROM ${this.#name} WHERE id = ANY($1::bigint[])`, [done]);
      for (const { id, attempt, error } of outcomes) {
        if (error === undefined) continue;
        const { backoffMs, backoffMaxMs, attemptsMax, log } = this.#options;
        const isDead = attempt >= attemptsMax;
        const pauseMs = Math.min(backoffMaxMs, backoffMs * 2 ** Math.min(attempt - 1, 30));
        if (isDead) log?.error({ err: error, message: id, attempts: attempt }, "a message of the outbox is given up");
        await client.query(`UPDATE ${this.#name} SET attempts = $2, next_at = now() + $3 * interval '1 millisecond', last_error = $4, dead = $5 WHERE id = $1`, [id, attempt, pauseMs, error instanceof Error ? error.message : String(error), isDead]);
      }
      this.delivered += done.length;
      this.failed += outcomes.length - done.length;
      return rows.length;
    });
  }

  /** `lost`: somebody else may have begun to deliver it. */
  async #deliverOne(row: Record<string, unknown>, lost: AbortSignal): Promise<{ id: string; attempt: number; error?: unknown }> {
    const { clock, timeoutMs } = this.#options;
    const id = String(row["id"]);
    const attempt = (row["attempts"] as number) + 1;
    const late = new AbortController();
    const message: OutboxMessage = { id, topic: row["topic"] as string, key: row["key"] as string, payload: row["payload"], attempt, createdAt: row["created_at"] as Date };
    let tooLate: (error: Error) => void = () => {};
    const timeUp = new Promise<never>((_, reject) => (tooLate = reject));
    timeUp.catch(() => {}); // mostly nobody waits for it
    const giveUp = (error: Error) => {
      late.abort(error);
      tooLate(error);
    };
    const timer = clock.setTimer(timeoutMs, () => giveUp(new Error(`not delivered within ${timeoutMs} ms`)));
    const onLost = () => giveUp(lost.reason as Error);
    lost.addEventListener("abort", onLost, { once: true });
    const parent = parseTraceparent((row["traceparent"] as string | null) ?? undefined);
    const work = async () => await this.#deliver(message, late.signal);
    try {
      await Promise.race([parent ? runInContext({ trace: { ...parent, spanId: newSpanId() }, deadlineMs: performance.now() + timeoutMs, signal: late.signal }, work) : work(), timeUp]);
      return { id, attempt };
    } catch (error) {
      return { id, attempt, error: error ?? new Error("failed") };
    } finally {
      timer.cancel();
      lost.removeEventListener("abort", onLost);
    }
  }
}

export interface Inbox {
  migrate(): Promise<void>;
  /** Runs `work` in a transaction, unless a message of this id was done before. Resolves with whether it ran. */
  once(id: string, work: (client: PgClient) => Promise<void>): Promise<boolean>;
  /** Forgets ids that are older. Resolves with how many. */
  forget(olderThanMs: number): Promise<number>;
}

/** The receiver's side: a message that comes twice is done once. */
export function createInbox({ pool, table = "inbox" }: OutboxOptions): Inbox {
  const name = quotedName(table);
  return {
    async migrate() {
      await inTransaction(pool, async (client) => {
        await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [`migrate ${table}`]);
        await client.query(`CREATE TABLE IF NOT EXISTS ${name} (id text PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT now())`);
      });
    },
    once(id, work) {
      return inTransaction(pool, async (client) => {
        // A second one at the same time waits here for the first, and then finds it done, or does it.
        const { rows } = await client.query(`INSERT INTO ${name} (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id`, [id]);
        if (rows.length === 0) return false;
        await work(client);
        return true;
      });
    },
    async forget(olderThanMs) {
      const { rows } = await pool.query(`DELETE FROM ${name} WHERE done_at < now() - $1 * interval '1 millisecond' RETURNING id`, [olderThanMs]);
      return rows.length;
    },
  };
}

/** Commits what `work` did, or nothing of it. `lost` fires when the connection is lost meanwhile: then it is nothing, and what was locked is not. */
export async function inTransaction<T>(pool: PgPool, work: (client: PgClient, lost: AbortSignal) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const lost = new AbortController();
  // A connection that is lost while nothing is asked says so by an event, which without a listener ends the process.
  const onError = (error: Error) => {
    broken = error;
    lost.abort(error);
  };
  client.on?.("error", onError);
  try {
    await client.query("BEGIN");
    const result = await work(client, lost.signal);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch((failure: Error) => (broken ??= failure));
    throw error;
  } finally {
    client.off?.("error", onError);
    client.release(broken);
  }
}

function quotedName(table: string): string {
  const parts = table.split(".");
  if (parts.length > 2 || parts.some((part) => !/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(part))) throw new TypeError(`table: Invalid value: "${table}"`);
  return parts.map((part) => `"${part}"`).join(".");
}
