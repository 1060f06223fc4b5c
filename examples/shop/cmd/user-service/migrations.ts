import type { Migration } from "../../internal/database.ts";

export const migrations: Migration[] = [
  {
    id: "001-users",
    up: (db) =>
      db.query(`
        CREATE TABLE users (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          username text NOT NULL UNIQUE,
          email text NOT NULL UNIQUE,
          created timestamptz NOT NULL DEFAULT now()
        )`),
  },
  {
    id: "002-first-users",
    up: (db) =>
      db.query(`
        INSERT INTO users (id, username, email) VALUES
          ('0a1b7c52-9f53-4f0e-8a51-6d1f5b1c0001', 'ada', 'ada@example.com'),
          ('0a1b7c52-9f53-4f0e-8a51-6d1f5b1c0002', 'grace', 'grace@example.com'),
          ('0a1b7c52-9f53-4f0e-8a51-6d1f5b1c0003', 'linus', 'linus@example.com')`),
  },
  {
    id: "003-accounts",
    up: (db) =>
      db.query(`
        ALTER TABLE users
          ADD password text,
          ADD role text NOT NULL DEFAULT 'guest' CHECK (role IN ('guest', 'customer', 'admin')),
          ADD balance_cents bigint NOT NULL DEFAULT 0 CHECK (balance_cents >= 0),
          ADD CHECK ((role = 'guest') = (password IS NULL));
        -- One row an order, whatever becomes of it: it was paid, or it was closed before anybody paid.
        CREATE TABLE payments (
          order_id uuid PRIMARY KEY,
          user_id uuid REFERENCES users,
          cents bigint NOT NULL CHECK (cents >= 0),
          state text NOT NULL CHECK (state IN ('paid', 'closed')),
          created timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE signing_keys (
          kid text PRIMARY KEY,
          private_key jsonb NOT NULL,
          created timestamptz NOT NULL DEFAULT now()
        )`),
  },
];
