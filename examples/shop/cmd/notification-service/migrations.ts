import type { Migration } from "../../internal/database.ts";

export const outboxTable = "mail_outbox";

export const migrations: Migration[] = [
  {
    id: "001-notifications",
    up: (db) =>
      db.query(`
        CREATE TABLE notifications (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          user_id uuid NOT NULL,
          order_id uuid NOT NULL,
          kind text NOT NULL,
          message text NOT NULL,
          created timestamptz NOT NULL DEFAULT now(),
          UNIQUE (order_id, kind)
        )`),
  },
  {
    id: "002-mails",
    up: (db) =>
      db.query(`
        ALTER TABLE notifications ADD private boolean NOT NULL DEFAULT false, ADD mailed timestamptz;
        CREATE TABLE mails (
          id text PRIMARY KEY,
          sender text NOT NULL,
          recipients text[] NOT NULL,
          subject text NOT NULL,
          text text NOT NULL,
          times integer NOT NULL DEFAULT 1,
          received timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX mails_by_time ON mails (received)`),
  },
];
