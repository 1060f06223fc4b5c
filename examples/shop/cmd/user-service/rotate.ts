// Makes a new key for tokens now, without waiting for its day: shown at once, it signs after TOKENS_PUBLISH.
//   kubectl exec -n ecommerce deployment/user-service -- node rotate.ts
import pg from "pg";
import { inTransaction, type PgPool } from "wherry/chassis/outbox";
import type { Queryable } from "../../internal/database.ts";
import { readKeyTimes, SigningKeys } from "./keys.ts";

const { DB_HOST: host, DB_PORT: port, DB_NAME: database, DB_USER: user, DB_PASSWORD: password } = process.env;
const pool = new pg.Pool({ host, port: Number(port ?? 5432), database, user, password, max: 1 });
const times = readKeyTimes();
const keys = new SigningKeys(
  {
    query: async <T extends pg.QueryResultRow>(text: string, values: unknown[] = []) => (await pool.query<T>(text, values)).rows,
    transaction: (work) => inTransaction(pool as unknown as PgPool, (client) => work(client as unknown as Queryable)),
  },
  times,
);
await keys.rotate({ now: true });
const [{ kid }] = (await keys.published()) as [{ kid: string }];
await pool.end();
console.log(`key ${kid} is shown from now on, and signs in ${Math.round(times.publishMs / 1000)} s`);
