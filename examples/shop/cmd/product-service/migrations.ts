import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Migration } from "../../internal/database.ts";

export const columns = "id, sku, name, description, price_cents, currency, stock, category";

export const migrations: Migration[] = [
  {
    id: "001-products",
    up: (db) =>
      db.query(`
        CREATE TABLE products (
          id uuid PRIMARY KEY,
          sku text NOT NULL UNIQUE,
          name text NOT NULL,
          description text NOT NULL,
          price_cents bigint NOT NULL CHECK (price_cents >= 0),
          currency char(3) NOT NULL,
          stock integer NOT NULL CHECK (stock >= 0),
          category text NOT NULL
        );
        CREATE INDEX products_by_category ON products (category, name)`),
  },
  {
    id: "002-catalogue",
    up: async (db) => {
      const catalogue = await readFile(join(import.meta.dirname, "catalogue.json"), "utf8");
      await db.query(`INSERT INTO products (${columns}) SELECT ${columns} FROM json_populate_recordset(NULL::products, $1)`, [catalogue]);
    },
  },
  {
    id: "003-search",
    up: (db) =>
      db.query(`
        ALTER TABLE products ADD search tsvector GENERATED ALWAYS AS
          (setweight(to_tsvector('english', name), 'A') || setweight(to_tsvector('english', category), 'B') || to_tsvector('english', description)) STORED;
        CREATE INDEX products_by_words ON products USING gin (search)`),
  },
];
