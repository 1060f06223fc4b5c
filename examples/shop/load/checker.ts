import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Acknowledged } from "./shop-client.ts";

/** Of a `pg.Client`. */
interface Database {
  query(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

/** What must be so whatever failed in between: each an SQL that gives the rows for which it is not. */
const rules: readonly (readonly [rule: string, sql: string])[] = [
  ["goods are on the shelf, or in an order", `
    SELECT sku, initial, stock, ordered FROM (
      SELECT products.sku, first.stock AS initial, products.stock, coalesce((SELECT sum(quantity) FROM order_items JOIN orders ON orders.id = order_id WHERE product_id = products.id AND status <> 'cancelled'), 0) AS ordered
      FROM products JOIN json_populate_recordset(NULL::products, $1) AS first USING (id)) AS shelf
    WHERE initial <> stock + ordered`],
  ["an order costs what its goods cost", "SELECT id, total_cents FROM orders WHERE total_cents <> (SELECT coalesce(sum(quantity * price_cents), 0) FROM order_items WHERE order_id = orders.id)"],
  ["a customer's order that is placed is paid, once and whole", "SELECT orders.id, total_cents, cents, state FROM orders LEFT JOIN payments ON order_id = orders.id WHERE private AND status = 'placed' AND (state IS DISTINCT FROM 'paid' OR cents <> total_cents OR payments.user_id <> orders.user_id)"],
  ["what is paid is an order that is placed", "SELECT order_id, cents FROM payments LEFT JOIN orders ON orders.id = order_id WHERE state = 'paid' AND status IS DISTINCT FROM 'placed'"],
  ["a customer has what they had, less what they paid", "SELECT username, balance_cents FROM users WHERE role <> 'guest' AND balance_cents + coalesce((SELECT sum(cents) FROM payments WHERE user_id = users.id AND state = 'paid'), 0) <> $1::bigint"],
  ["no order is left pending", "SELECT id, created FROM orders WHERE status = 'pending'"],
  ["of each order one notification says how it ended", "SELECT id, status FROM orders WHERE status <> 'pending' AND (SELECT count(*) FROM notifications WHERE order_id = orders.id AND kind = 'order_' || status) <> 1"],
  ["nothing is told of what is not so", "SELECT order_id, kind FROM notifications LEFT JOIN orders ON orders.id = order_id WHERE kind LIKE 'order\\_%' AND kind IS DISTINCT FROM 'order_' || status"],
  ["what was told was mailed", "SELECT id, order_id FROM notifications WHERE mailed IS NULL"],
];

export interface CheckOptions {
  ledger?: readonly Acknowledged[];
  /** As in user-service's WELCOME_CENTS. */
  welcomeCents?: number;
  /** For what is still under way: pending orders, outboxes. */
  patienceMs?: number;
}

/**
 * Reads the shop's database: no order that was promised is lost, none is there twice, and stock, money and messages add up. Returns what
 * is wrong, a line each.
 */
export async function check(database: Database, { ledger = [], welcomeCents = 100_000, patienceMs = 60_000 }: CheckOptions = {}): Promise<string[]> {
  const rows = async (sql: string, ...values: unknown[]) => (await database.query(sql, values)).rows;
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const [under] = await rows("SELECT (SELECT count(*) FROM orders WHERE status = 'pending') + (SELECT count(*) FROM order_outbox) + (SELECT count(*) FROM mail_outbox) AS way");
    if (Number(under!["way"]) === 0 || performance.now() > deadline) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const wrong: string[] = [];
  const catalogue = await readFile(join(import.meta.dirname, "../cmd/product-service/catalogue.json"), "utf8");
  for (const [rule, sql] of rules) {
    const values = sql.includes("json_populate_recordset") ? [catalogue] : sql.includes("$1") ? [welcomeCents] : [];
    for (const row of (await rows(sql, ...values)).slice(0, 5)) wrong.push(`${rule}: ${JSON.stringify(row)}`);
  }
  const promised = new Map<string, Set<string>>();
  for (const { user_id, key, order_id } of ledger) {
    const name = `${user_id} ${key}`;
    promised.set(name, (promised.get(name) ?? new Set()).add(order_id));
  }
  for (const [key, ids] of promised) if (ids.size > 1) wrong.push(`one key, one order: ${key} was promised ${[...ids].join(" and ")}`);
  const lost = await rows("SELECT promised FROM unnest($1::uuid[]) AS promised WHERE NOT EXISTS (SELECT FROM orders WHERE id = promised)", [...new Set(ledger.map(({ order_id }) => order_id))]);
  for (const { promised: id } of lost.slice(0, 5)) wrong.push(`what was promised is there: order ${String(id)} is not`);
  return wrong;
}
