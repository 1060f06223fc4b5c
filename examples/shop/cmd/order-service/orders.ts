import { createHash } from "node:crypto";
import { type Outbox, Problem } from "wherry/chassis";
import type { Database, Queryable } from "../../internal/database.ts";

/** One product of an order, at the price of the day. */
export interface Line {
  product_id: string;
  sku: string;
  quantity: number;
  price_cents: number;
  currency: string;
}

export interface Order {
  id: string;
  user_id: string;
  /** pending: the goods are reserved, and whether it is paid is not known yet. */
  status: "pending" | "placed" | "cancelled";
  total_cents: number;
  currency: string;
  created: Date;
  items: Omit<Line, "currency">[];
}

export interface NewOrder {
  user_id: string;
  items: { product_id?: string; sku?: string; quantity: number }[];
}

const columns = `id, user_id, status, total_cents, currency, created,
  (SELECT coalesce(json_agg(json_build_object('product_id', product_id, 'sku', sku, 'quantity', quantity, 'price_cents', price_cents) ORDER BY sku), '[]')
     FROM order_items WHERE order_id = orders.id) AS items`;

/** The orders of one database: written, told of and ended, each in one transaction. */
export class Orders {
  readonly #db: Database;
  readonly #outbox: Outbox;

  constructor(db: Database, outbox: Outbox) {
    this.#db = db;
    this.#outbox = outbox;
  }

  /**
   * Takes the goods off the shelf and writes the order, both or neither. With a key that was used before it is the order of then.
   * @throws Problem 409 where a product does not suffice, 422 where the key was used for something else
   */
  place(asked: NewOrder, lines: readonly Line[], options: { key: string | undefined; isPrivate: boolean }): Promise<{ order: Order; isNew: boolean }> {
    const [{ currency }] = lines as [Line];
    if (lines.some((line) => line.currency !== currency)) throw new Problem(422, "an order has one currency");
    // Always in the same order: two orders of the same products must not wait for each other.
    const sorted = [...lines].sort((a, b) => (a.product_id < b.product_id ? -1 : 1));
    const total = sorted.reduce((sum, { price_cents, quantity }) => sum + price_cents * quantity, 0);
    const { key, isPrivate } = options;
    return this.#db.transaction(async (transaction) => {
      // Another of the same key waits here until this one is through.
      const { rows } = await transaction.query<{ id: string }>(
        `INSERT INTO orders (user_id, status, total_cents, currency, private, idempotency_key, request_hash) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING id`,
        [asked.user_id, isPrivate ? "pending" : "placed", total, currency, isPrivate, key, hashOf(asked)],
      );
      const id = rows[0]?.id;
      if (id === undefined) return { order: (await this.#used(transaction, asked, key!))!, isNew: false };
      for (const { product_id, sku, quantity } of sorted) {
        const taken = await transaction.query("UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2", [product_id, quantity]);
        if (taken.rowCount === 0) throw new Problem(409, `there are not ${quantity} of ${sku} in stock`);
      }
      const items = sorted.map(({ product_id, sku, quantity, price_cents }) => ({ product_id, sku, quantity, price_cents }));
      await transaction.query("INSERT INTO order_items (order_id, product_id, sku, quantity, price_cents) SELECT $1, product_id, sku, quantity, price_cents FROM json_populate_recordset(NULL::order_items, $2)", [id, JSON.stringify(items)]);
      const order = (await transaction.query<Order>(`SELECT ${columns} FROM orders WHERE id = $1`, [id])).rows[0]!;
      if (order.status === "placed") await this.#tell(transaction, order, isPrivate);
      return { order, isNew: true };
    });
  }

  /** The order that a key was used for before. @throws Problem 422 where it was for something else */
  used(asked: NewOrder, key: string): Promise<Order | undefined> {
    return this.#db.transaction((transaction) => this.#used(transaction, asked, key));
  }

  async #used(db: Queryable, asked: NewOrder, key: string): Promise<Order | undefined> {
    const { rows } = await db.query<Order & { request_hash: string }>(`SELECT ${columns}, request_hash FROM orders WHERE user_id = $1 AND idempotency_key = $2`, [asked.user_id, key]);
    if (!rows[0]) return undefined;
    const { request_hash, ...order } = rows[0];
    if (request_hash !== hashOf(asked)) throw new Problem(422, "this Idempotency-Key was used for another order");
    return order;
  }

  /** Ends a pending order: placed; or cancelled, and the goods are back on the shelf. Done once, however often it is called. */
  end(id: string, status: "placed" | "cancelled"): Promise<Order> {
    return this.#db.transaction(async (transaction) => {
      const ended = await transaction.query<{ private: boolean }>("UPDATE orders SET status = $2 WHERE id = $1 AND status = 'pending' RETURNING private", [id, status]);
      if (ended.rowCount !== 0 && status === "cancelled") {
        // In the order in which they are taken.
        await transaction.query("SELECT FROM products WHERE id IN (SELECT product_id FROM order_items WHERE order_id = $1) ORDER BY id FOR UPDATE", [id]);
        await transaction.query("UPDATE products SET stock = stock + quantity FROM order_items WHERE order_id = $1 AND product_id = products.id", [id]);
      }
      const order = (await transaction.query<Order>(`SELECT ${columns} FROM orders WHERE id = $1`, [id])).rows[0]!;
      if (ended.rowCount !== 0) await this.#tell(transaction, order, ended.rows[0]!.private);
      return order;
    });
  }

  /** The customer learns of it if, and only if, it is so: in the transaction. */
  async #tell(db: Queryable, order: Order, isPrivate: boolean): Promise<void> {
    const { id, user_id, total_cents, currency, status } = order;
    const kind = `order_${status}`;
    const message = `Your order over ${(total_cents / 100).toFixed(2)} ${currency} is ${status}.`;
    await this.#outbox.add(db, { topic: kind, key: id, payload: { user_id, order_id: id, kind, message, private: isPrivate } });
  }

  /** Those that nobody has ended for a while: whoever was at it is gone. */
  async stuck(olderThanMs: number): Promise<string[]> {
    const rows = await this.#db.query<{ id: string }>("SELECT id FROM orders WHERE status = 'pending' AND created < now() - $1 * interval '1 millisecond' ORDER BY created LIMIT 20", [olderThanMs]);
    return rows.map(({ id }) => id);
  }

  /** What `caller` may see: their own; an admin all; and everybody those of guests. `only`: of it, what is this user's. */
  list(filter: { id?: string; user_id?: string | undefined; only?: string | undefined; limit: number; offset: number }, caller: { id: string; role: string } | undefined): Promise<Order[]> {
    return this.#db.query<Order>(
      `SELECT ${columns} FROM orders
        WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR user_id = $2) AND ($7::uuid IS NULL OR user_id = $7) AND (NOT private OR user_id = $5 OR $6)
        ORDER BY created DESC, id LIMIT $3 OFFSET $4`,
      [filter.id, filter.user_id, filter.limit, filter.offset, caller?.id, caller?.role === "admin", filter.only],
    );
  }
}

function hashOf({ user_id, items }: NewOrder): string {
  return createHash("sha256").update(JSON.stringify([user_id, items.map(({ product_id, sku, quantity }) => [product_id ?? sku, quantity])])).digest("hex");
}
