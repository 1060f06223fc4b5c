import type { Migration } from "../../internal/database.ts";

export const outboxTable = "order_outbox";

/** After the outbox's own table. */
export const migrations: Migration[] = [
  {
    id: "001-orders",
    up: (db) =>
      db.query(`
        CREATE TABLE orders (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          user_id uuid NOT NULL,
          status text NOT NULL DEFAULT 'placed',
          total_cents bigint NOT NULL,
          currency char(3) NOT NULL,
          created timestamptz NOT NULL DEFAULT now(),
          notified timestamptz
        );
        CREATE INDEX orders_to_notify ON orders (created) WHERE notified IS NULL;
        CREATE TABLE order_items (
          order_id uuid NOT NULL REFERENCES orders ON DELETE CASCADE,
          product_id uuid NOT NULL,
          sku text NOT NULL,
          quantity integer NOT NULL CHECK (quantity > 0),
          price_cents bigint NOT NULL,
          PRIMARY KEY (order_id, product_id)
        )`),
  },
  {
    id: "002-sagas",
    up: (db) =>
      db.query(`
        ALTER TABLE orders
          ADD private boolean NOT NULL DEFAULT false,
          ADD idempotency_key text,
          ADD request_hash text,
          ADD UNIQUE (user_id, idempotency_key),
          ADD CHECK (status IN ('pending', 'placed', 'cancelled'));
        CREATE INDEX orders_pending ON orders (created) WHERE status = 'pending';
        CREATE INDEX orders_by_user ON orders (user_id, created);
        -- What an earlier version still had to tell.
        INSERT INTO ${outboxTable} (topic, key, payload)
          SELECT 'order_placed', id::text, json_build_object('user_id', user_id, 'order_id', id, 'kind', 'order_placed', 'private', false, 'message', 'Your order over ' || round(total_cents / 100.0, 2) || ' ' || currency || ' is placed.')
          FROM orders WHERE notified IS NULL ORDER BY created`),
  },
];
