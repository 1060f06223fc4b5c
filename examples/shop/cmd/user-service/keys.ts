import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID, type webcrypto } from "node:crypto";
import { duration, loadConfig } from "wherry/chassis/config";
import type { Database } from "../../internal/database.ts";
import type { Jwk } from "../../internal/tokens.ts";

export interface KeyTimes {
  /** How long a key signs. */
  rotateMs: number;
  /** How long a new one is shown before it signs: others keep what they fetched for a while. */
  publishMs: number;
  /** Of the tokens: so much longer a key is shown after it signed the last. */
  lifetimeMs: number;
}

const hour = 3_600_000;

/** TOKENS_LIFETIME, TOKENS_ROTATE, TOKENS_PUBLISH. */
export function readKeyTimes(): KeyTimes {
  const { tokens } = loadConfig({ tokens: { lifetime: duration({ default: hour, min: 1_000 }), rotate: duration({ default: 24 * hour, min: 1_000 }), publish: duration({ default: 600_000 }) } }, { watch: false }).value;
  return { rotateMs: tokens.rotate, publishMs: tokens.publish, lifetimeMs: tokens.lifetime };
}

interface Row {
  kid: string;
  private_key: webcrypto.JsonWebKey;
  age_ms: number;
}
const rereadMs = 1_000;

/** The keys that tokens are signed with: in the database, so that all replicas have the same, and new ones from time to time. */
export class SigningKeys {
  readonly #db: Pick<Database, "query" | "transaction">;
  readonly #times: KeyTimes;
  #rows: Row[] = [];
  #readMs = -Infinity;

  constructor(db: Pick<Database, "query" | "transaction">, times: KeyTimes) {
    this.#db = db;
    this.#times = times;
  }

  /** Makes a new one when the newest is old enough, and forgets those that no token needs any more. `now`: whatever its age. */
  async rotate({ now = false } = {}): Promise<void> {
    const { rotateMs, publishMs, lifetimeMs } = this.#times;
    await this.#db.transaction(async (db) => {
      await db.query("SELECT pg_advisory_xact_lock(hashtext('shop signing keys'))");
      await db.query("DELETE FROM signing_keys WHERE created < now() - $1 * interval '1 millisecond'", [rotateMs + 2 * publishMs + lifetimeMs + 60_000]);
      const { rows } = await db.query<{ fresh: boolean }>("SELECT coalesce(max(created) > now() - $1 * interval '1 millisecond', false) AS fresh FROM signing_keys", [rotateMs]);
      if (rows[0]!.fresh && !now) return;
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      await db.query("INSERT INTO signing_keys (kid, private_key) VALUES ($1, $2)", [randomUUID(), JSON.stringify(privateKey.export({ format: "jwk" }))]);
    });
    this.#readMs = -Infinity;
  }

  /** The newest that everybody has had the time to fetch; the very first signs at once. */
  async current(): Promise<{ kid: string; key: KeyObject }> {
    const rows = await this.#read();
    const row = rows.find(({ age_ms }) => age_ms >= this.#times.publishMs) ?? rows.at(-1)!;
    return { kid: row.kid, key: createPrivateKey({ key: row.private_key, format: "jwk" }) };
  }

  /** What everybody may have: https://datatracker.ietf.org/doc/html/rfc7517 */
  async published(): Promise<Jwk[]> {
    return (await this.#read()).map(({ kid, private_key: { kty, crv, x, y } }) => ({ kty, crv, x, y, kid, alg: "ES256", use: "sig" }) as Jwk);
  }

  /** The newest first. */
  async #read(): Promise<Row[]> {
    if (performance.now() - this.#readMs > rereadMs) {
      this.#rows = await this.#db.query<Row>("SELECT kid, private_key, (extract(epoch FROM now() - created) * 1000)::float8 AS age_ms FROM signing_keys ORDER BY created DESC, kid");
      this.#readMs = performance.now();
    }
    return this.#rows;
  }
}
