import type { Database } from "../../internal/database.ts";
import { httpError } from "../../internal/service.ts";

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
  status: string;
  total_cents: number;
  currency: string;
  created: Date;
  items: Omit<Line, "currency">[];
}

/** Takes the goods off the shelf and writes the order, both or neither. Throws 409 when a product does not suffice. */
export function placeOrder(db: Database, userId: string, lines: readonly Line[]): Promise<Order> {
  const [{ currency }] = lines as [Line];
  if (lines.some((line) => line.currency !== currency)) throw httpError(422, "an order has one currency");
  // Always in the same order: two orders of the same products must not wait for each other.
  const sorted = [...lines].sort((a, b) => (a.product_id < b.product_id ? -1 : 1));
  const total = sorted.reduce((sum, { price_cents, quantity }) => sum + price_cents * quantity, 0);
  return db.transaction(async (transaction) => {
    for (const { product_id, sku, quantity } of sorted) {
      const taken = await transaction.query("UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2", [product_id, quantity]);
      if (taken.rowCount === 0) throw httpError(409, `there are not ${quantity} of ${sku} in stock`);
    }
    const { rows } = await transaction.query<Omit<Order, "items">>("INSERT INTO orders (user_id, total_cents, currency) VALUES ($1, $2, $3) RETURNING id, user_id, status, total_cents, currency, created", [userId, total, currency]);
    const order = rows[0]!;
    const items = sorted.map(({ product_id, sku, quantity, price_cents }) => ({ product_id, sku, quantity, price_cents }));
    await transaction.query("INSERT INTO order_items (order_id, product_id, sku, quantity, price_cents) SELECT $1, product_id, sku, quantity, price_cents FROM json_populate_recordset(NULL::order_items, $2)", [order.id, JSON.stringify(items)]);
    return { ...order, items };
  });
}

export function listOrders(db: Database, filter: { id?: string; user_id?: string; limit: number; offset: number }): Promise<Order[]> {
  return db.query<Order>(
    `SELECT id, user_id, status, total_cents, currency, created,
            (SELECT coalesce(json_agg(json_build_object('product_id', product_id, 'sku', sku, 'quantity', quantity, 'price_cents', price_cents) ORDER BY sku), '[]')
               FROM order_items WHERE order_id = orders.id) AS items
       FROM orders
      WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR user_id = $2)
      ORDER BY created DESC, id LIMIT $3 OFFSET $4`,
    [filter.id, filter.user_id, filter.limit, filter.offset],
  );
}
