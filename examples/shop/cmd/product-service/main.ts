import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { FastifyPluginCallback } from "fastify";
import { Database, type Migration } from "../../internal/database.ts";
import { pageQuery, uuidPattern } from "../../internal/schemas.ts";
import { httpError, instanceId, runService } from "../../internal/service.ts";

interface Product {
  id: string;
  sku: string;
  name: string;
  description: string;
  price_cents: number;
  currency: string;
  stock: number;
  category: string;
}

const name = "product-service";
const db = new Database(name);
const columns = "id, sku, name, description, price_cents, currency, stock, category";

const migrations: Migration[] = [
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
];

const listQuery = { type: "object", properties: { ...pageQuery, category: { type: "string" } } } as const;

const routes: FastifyPluginCallback = (app, _options, done) => {
  app.get<{ Querystring: { limit: number; offset: number; category?: string } }>("/", { schema: { querystring: listQuery } }, async ({ query }) => ({
    instance_id: instanceId(name),
    products: await db.query<Product>(`SELECT ${columns} FROM products WHERE $3::text IS NULL OR category = $3 ORDER BY category, name, id LIMIT $1 OFFSET $2`, [query.limit, query.offset, query.category]),
  }));

  // By id or by SKU: people know the one, programs the other.
  app.get<{ Params: { id: string } }>("/:id", async ({ params }) => {
    const column = new RegExp(uuidPattern).test(params.id) ? "id" : "sku";
    const [product] = await db.query<Product>(`SELECT ${columns} FROM products WHERE ${column} = $1`, [params.id]);
    if (!product) throw httpError(404, `there is no product ${params.id}`);
    return product;
  });
  done();
};

await runService({
  name,
  routes,
  collection: "products",
  checks: { db: () => db.check() },
  prepare: (signal, log) => db.migrate(migrations, signal, log),
  close: () => db.close(),
});
