import { setTimeout as delay } from "node:timers/promises";
import type { FastifyBaseLogger } from "fastify";
import type { Database } from "../../internal/database.ts";
import { callJson, serviceUrl } from "../../internal/http-client.ts";

const pollMs = 5_000;

/**
 * Tells notification-service about each placed order at least once, whatever fails in between: an order is marked
 * as notified only after it was taken, and replicas do not send the same one at the same time.
 */
export class Outbox {
  readonly #db: Database;
  #nap = new AbortController();
  #awake = false;

  constructor(db: Database) {
    this.#db = db;
  }

  /** There is something to send. */
  wake(): void {
    this.#awake = true;
    this.#nap.abort();
  }

  start(signal: AbortSignal, log: FastifyBaseLogger): void {
    signal.addEventListener("abort", () => this.#nap.abort());
    void (async () => {
      while (!signal.aborted) {
        this.#awake = false;
        try {
          while (!signal.aborted && (await this.#sendOne()));
        } catch (error) {
          log.warn({ error: (error as Error).message }, "a notification could not be sent, trying again later");
          this.#awake = false;
        }
        this.#nap = new AbortController();
        if (!this.#awake && !signal.aborted) await delay(pollMs, undefined, { signal: this.#nap.signal }).catch(() => {});
      }
    })();
  }

  #sendOne(): Promise<boolean> {
    return this.#db.transaction(async (db) => {
      const { rows } = await db.query<{ id: string; user_id: string; total_cents: number; currency: string }>("SELECT id, user_id, total_cents, currency FROM orders WHERE notified IS NULL ORDER BY created LIMIT 1 FOR UPDATE SKIP LOCKED");
      const order = rows[0];
      if (!order) return false;
      const message = `Your order over ${(order.total_cents / 100).toFixed(2)} ${order.currency} is placed.`;
      const { status } = await callJson("POST", serviceUrl("notification-service"), { user_id: order.user_id, order_id: order.id, kind: "order_placed", message });
      if (status >= 300) throw new Error(`notification-service answers ${status}`);
      await db.query("UPDATE orders SET notified = now() WHERE id = $1", [order.id]);
      return true;
    });
  }
}
