import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { Problem, type Service } from "wherry/chassis";
import { integer, loadConfig, secret, text } from "wherry/chassis/config";
import { inTransaction, type PgPool } from "wherry/chassis/outbox";

/** A transaction. */
export interface Queryable {
  query<T = Record<string, unknown>>(text: string, values?: unknown[]): Promise<{ rows: T[]; rowCount: number | null }>;
}

/** One step of a service's schema; steps are applied in order, once, and never changed afterwards. */
export interface Migration {
  id: string;
  up: (db: Queryable) => Promise<unknown>;
}

// bigint as number: prices in cents and counts stay far below 2^53.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

/** A probe gives up after a second, so a check must know sooner. */
const checkMs = 800;
const againMs = 200;

/** A service's connections to Postgres (DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD) and its schema. */
export class Database {
  /** For what of the chassis asks for one. */
  readonly pool: PgPool;
  readonly #pool: pg.Pool;
  readonly #service: Service;

  constructor(service: Service) {
    const { db } = loadConfig({ db: { host: text({ default: "localhost" }), port: integer({ default: 5432, min: 1, max: 65_535 }), name: text({ default: "ecommerce" }), user: text(), password: secret() } }, { watch: false }).value;
    this.#service = service;
    this.#pool = new pg.Pool({
      host: db.host,
      port: db.port,
      database: db.name,
      user: db.user,
      password: db.password.reveal(),
      application_name: service.name,
      // Postgres allows a hundred connections in all; a dozen pods share them.
      max: 5,
      connectionTimeoutMillis: 5_000,
    });
    // An idle connection that breaks (the database was restarted) is replaced at the next query.
    this.#pool.on("error", () => {});
    this.pool = this.#pool as unknown as PgPool;
    service.addCheck("db", () => this.#pool.query("SELECT 1"), { timeoutMs: checkMs, intervalMs: 1_000 });
    service.prepare("database", (signal) => this.#reachable(signal));
    service.onClose("db", () => this.#pool.end());
  }

  async query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
    return (await this.#pool.query<T>(text, values).catch(unavailable)).rows;
  }

  /** Runs `work` in a transaction: all of it happens, or nothing. */
  transaction<T>(work: (db: Queryable) => Promise<T>): Promise<T> {
    return inTransaction(this.pool, (client) => work(client as unknown as Queryable)).catch(unavailable);
  }

  /** Looks often: services mostly start together with their database, and some seconds before it. */
  async #reachable(signal: AbortSignal): Promise<void> {
    for (let isTold = false; ; isTold = true) {
      try {
        return void (await this.#pool.query("SELECT 1"));
      } catch (error) {
        if (!isTold) this.#service.log.warn({ err: error }, "the database is not there yet, trying again");
        await delay(againMs, undefined, { signal });
      }
    }
  }

  /** All replicas of all services start at once: an advisory lock lets them through one at a time. */
  async migrate(migrations: readonly Migration[]): Promise<void> {
    const applied = await this.transaction((db) => this.#apply(db, migrations));
    if (applied.length > 0) this.#service.log.info({ applied }, "migrated");
  }

  async #apply(db: Queryable, migrations: readonly Migration[]): Promise<string[]> {
    await db.query("SELECT pg_advisory_xact_lock(hashtext('shop migrations'))");
    await db.query("CREATE TABLE IF NOT EXISTS schema_migrations (service text, id text, applied timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (service, id))");
    const { rows } = await db.query<{ id: string }>("SELECT id FROM schema_migrations WHERE service = $1", [this.#service.name]);
    const done = new Set(rows.map(({ id }) => id));
    const missing = migrations.filter(({ id }) => !done.has(id));
    for (const { id, up } of missing) {
      await up(db);
      await db.query("INSERT INTO schema_migrations (service, id) VALUES ($1, $2)", [this.#service.name, id]);
    }
    return missing.map(({ id }) => id);
  }
}

/** Whether Postgres refused a row because one with this key is there already. */
export const isDuplicate = (error: unknown): boolean => (error as { code?: string }).code === "23505";

/** A database that is away is told as that, and as something to try again; everything else is passed on as it is. */
function unavailable(error: Error & { code?: string }): never {
  if (/^(ECONN|EHOSTUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|08|57P)/.test(error.code ?? "") || /timeout exceeded|Connection terminated/.test(error.message)) throw new Problem(503, "the database cannot be reached at the moment", { cause: error, retryAfterSeconds: 1 });
  throw error;
}
