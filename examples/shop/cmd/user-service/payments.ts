import { Problem } from "wherry/chassis";
import type { Database } from "../../internal/database.ts";

export interface Payment {
  order_id: string;
  cents: number;
  state: "paid" | "closed";
}
const columns = "order_id, cents, state";

/**
 * An order is paid once, from the customer's balance, or closed: whichever comes first stays. The primary key decides between two
 * that come at once, so that whoever asks afterwards gets the last word.
 */
export function pay(db: Database, userId: string, orderId: string, cents: number): Promise<Payment> {
  return db.transaction(async (transaction) => {
    const { rows } = await transaction.query<Payment>(`INSERT INTO payments (order_id, user_id, cents, state) VALUES ($1, $2, $3, 'paid') ON CONFLICT DO NOTHING RETURNING ${columns}`, [orderId, userId, cents]);
    if (!rows[0]) return await known(transaction, orderId);
    const taken = await transaction.query("UPDATE users SET balance_cents = balance_cents - $2 WHERE id = $1 AND balance_cents >= $2", [userId, cents]);
    if (taken.rowCount === 0) throw new Problem(402, "the balance does not suffice");
    return rows[0];
  });
}

/** After this it is known for good whether it was paid. */
export function close(db: Database, orderId: string): Promise<Payment> {
  return db.transaction(async (transaction) => {
    const { rows } = await transaction.query<Payment>(`INSERT INTO payments (order_id, cents, state) VALUES ($1, 0, 'closed') ON CONFLICT DO NOTHING RETURNING ${columns}`, [orderId]);
    return rows[0] ?? (await known(transaction, orderId));
  });
}

async function known(db: { query: (text: string, values: unknown[]) => Promise<{ rows: unknown[] }> }, orderId: string): Promise<Payment> {
  return (await db.query(`SELECT ${columns} FROM payments WHERE order_id = $1`, [orderId])).rows[0] as Payment;
}
