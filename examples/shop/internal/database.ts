import { setTimeout as delay } from "node:timers/promises";
import type { FastifyBaseLogger } from "fastify";
import pg from "pg";

export type Queryable = Pick<pg.ClientBase, "query">;

/** One step of a service's schema; steps are applied in order, once, and never changed afterwards. */
export interface Migration {
  id: string;
  up: (db: Queryable) => Promise<unknown>;
}

// bigint as number: prices in cents and counts stay far below 2^53.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

/** A probe gives up after a second, so a check must know sooner. */
const checkMs = 800;

/** The service's connections to Postgres (DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD) and its schema. */
export class Database {
  readonly #service: string;
  readonly #pool: pg.Pool;

  constructor(service: string) {
    this.#service = service;
    this.#pool = new pg.Pool({
      host: process.env["DB_HOST"] ?? "localhost",
      port: Number(process.env["DB_PORT"] ?? 5432),
      database: process.env["DB_NAME"] ?? "ecommerce",
      user: process.env["DB_USER"],
      password: process.env["DB_PASSWORD"],
      application_name: service,
      // Postgres allows a hundred connections in all; a dozen pods share them.
      max: 4,
      connectionTimeoutMillis: 5_000,
    });
    // An idle connection that breaks (the database was restarted) is replaced at the next query.
    this.#pool.on("error", () => {});
  }

  async query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
    return (await this.#pool.query<T>(text, values)).rows;
  }

  /** Runs `work` in a transaction: all of it happens, or nothing. */
  async transaction<T>(work: (db: Queryable) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let failure: Error | undefined;
    try {
      await client.query("BEGIN");
      const result = await work(client);
      await client.query("COMMIT");
      return result;
    } catch (error) {
      failure = error as Error;
      await client.query("ROLLBACK").then(() => (failure = undefined), () => {});
      throw error;
    } finally {
      // A connection that could not even roll back is not used again.
      client.release(failure);
    }
  }

  /** Fails unless the database answers in time. */
  async check(): Promise<void> {
    const late = AbortSignal.timeout(checkMs);
    await Promise.race([
      this.#pool.query("SELECT 1"),
      new Promise((_, reject) => late.addEventListener("abort", () => reject(new Error(`no answer within ${checkMs} ms`)))),
    ]);
  }

  /**
   * Brings the schema up to date, trying again with growing pauses while Postgres is not there yet. All replicas
   * of all services start at once: an advisory lock lets them through one at a time.
   */
  async migrate(migrations: readonly Migration[], signal: AbortSignal, log: FastifyBaseLogger): Promise<void> {
    for (let waitMs = 100; !signal.aborted; waitMs = Math.min(2 * waitMs, 500)) {
      try {
        const applied = await this.transaction((db) => this.#apply(db, migrations));
        if (applied.length > 0) log.info({ applied }, "migrated");
        return;
      } catch (error) {
        log.warn({ error: (error as Error).message, waitMs }, "the database is not ready, trying again");
        await delay(waitMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #apply(db: Queryable, migrations: readonly Migration[]): Promise<string[]> {
    await db.query("SELECT pg_advisory_xact_lock(hashtext('shop migrations'))");
    await db.query("CREATE TABLE IF NOT EXISTS schema_migrations (service text, id text, applied timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (service, id))");
    const { rows } = await db.query<{ id: string }>("SELECT id FROM schema_migrations WHERE service = $1", [this.#service]);
    const done = new Set(rows.map(({ id }) => id));
    const missing = migrations.filter(({ id }) => !done.has(id));
    for (const { id, up } of missing) {
      await up(db);
      await db.query("INSERT INTO schema_migrations (service, id) VALUES ($1, $2)", [this.#service, id]);
    }
    return missing.map(({ id }) => id);
  }

  close(): Promise<void> {
    return this.#pool.end();
  }
}

/** Whether Postgres refused a row because one with this key is there already. */
export const isDuplicate = (error: unknown): boolean => (error as { code?: string }).code === "23505";
