import { Problem } from "wherry/chassis";
import { Database } from "../../internal/database.ts";
import { operation } from "../../internal/openapi.ts";
import { idParams, listOf, pageQuery, product, uuidPattern } from "../../internal/schemas.ts";
import { createShopService } from "../../internal/service.ts";
import { Tokens } from "../../internal/tokens.ts";
import { columns, migrations } from "./migrations.ts";

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

const orders = { category: "category, name", name: "name", price: "price_cents", "-price": "price_cents DESC" } as const;
const price = { type: "integer", minimum: 0, maximum: 1_000_000_000 } as const;
const listQuery = {
  type: "object",
  properties: {
    ...pageQuery,
    q: { type: "string", minLength: 1, maxLength: 200, description: 'Words, "a phrase", -without; as web searches have it' },
    category: { type: "string", maxLength: 64 },
    price_min: price,
    price_max: price,
    in_stock: { type: "boolean" },
    sort: { enum: Object.keys(orders), description: "By how well it fits, unless said, where q is given; else by category and name" },
  },
} as const;
interface ListQuery {
  limit: number;
  offset: number;
  q?: string;
  category?: string;
  price_min?: number;
  price_max?: number;
  in_stock?: boolean;
  sort?: keyof typeof orders;
}

const service = createShopService({
  name: "product-service",
  title: "The catalogue",
  collection: "products",
  routes: (app) => {
    app.get<{ Querystring: ListQuery }>("/", { schema: operation({ summary: "Products: searched, filtered, in pages. Link says where the next and the previous page are", querystring: listQuery, answers: { 200: { description: "A page", schema: { ...listOf("products", product) } } } }) }, async ({ query, url }, reply) => {
      const { limit, offset, q, category, price_min, price_max, in_stock, sort } = query;
      const order = sort ? orders[sort] : q === undefined ? orders.category : "ts_rank(search, websearch_to_tsquery('english', $3)) DESC";
      const found = await db.query<Product & { total: number }>(
        `SELECT ${columns}, count(*) OVER () AS total FROM products
          WHERE ($3::text IS NULL OR search @@ websearch_to_tsquery('english', $3)) AND ($4::text IS NULL OR category = $4)
            AND ($5::bigint IS NULL OR price_cents >= $5) AND ($6::bigint IS NULL OR price_cents <= $6) AND ($7::boolean IS NULL OR (stock > 0) = $7)
          ORDER BY ${order}, id LIMIT $1 OFFSET $2`,
        [limit, offset, q, category, price_min, price_max, in_stock],
      );
      const total = found[0]?.total ?? (offset === 0 ? 0 : undefined);
      const page = (at: number, rel: string) => {
        const search = new URLSearchParams(url.split("?", 2)[1] ?? "");
        search.set("limit", String(limit));
        search.set("offset", String(at));
        return `<?${search.toString()}>; rel="${rel}"`;
      };
      const links = [...(total !== undefined && offset + limit < total ? [page(offset + limit, "next")] : []), ...(offset > 0 ? [page(Math.max(0, offset - limit), "prev")] : [])];
      if (links.length > 0) reply.header("link", links.join(", "));
      const products = found.map((row) => {
        const { total: _, ...one } = row;
        return one;
      });
      return { instance_id: service.instanceId, products, ...(total !== undefined && { total }) };
    });

    app.get("/categories", { schema: operation({ summary: "Categories, and how much is in them", answers: { 200: { description: "Categories", schema: listOf("categories", { type: "object", properties: { name: { type: "string" }, count: { type: "integer" } } }) } } }) }, async () => ({
      instance_id: service.instanceId,
      categories: await db.query<{ name: string; count: number }>("SELECT category AS name, count(*) AS count FROM products GROUP BY category ORDER BY category"),
    }));

    // By id or by SKU: people know the one, programs the other.
    app.get<{ Params: { id: string } }>("/:id", { schema: operation({ summary: "One product, by its id or its SKU", params: { type: "object", properties: { id: { type: "string", maxLength: 64 } } }, answers: { 200: { description: "The product", schema: product }, 404: "There is none" } }) }, async ({ params }) => {
      const column = new RegExp(uuidPattern).test(params.id) ? "id" : "sku";
      const [found] = await db.query<Product>(`SELECT ${columns} FROM products WHERE ${column} = $1`, [params.id]);
      if (!found) throw new Problem(404, `there is no product ${params.id}`);
      return found;
    });

    app.patch<{ Params: { id: string }; Body: { price_cents: number } }>("/:id", { schema: operation({ summary: "Another price", signedIn: true, params: idParams, body: { type: "object", required: ["price_cents"], additionalProperties: false, properties: { price_cents: price } }, answers: { 200: { description: "The product", schema: product }, 403: "Only admins may", 404: "There is none" } }) }, async (request) => {
      if ((await tokens.required(request)).role !== "admin") throw new Problem(403, "only admins may say what things cost");
      const [changed] = await db.query<Product>(`UPDATE products SET price_cents = $2 WHERE id = $1 RETURNING ${columns}`, [request.params.id, request.body.price_cents]);
      if (!changed) throw new Problem(404, `there is no product ${request.params.id}`);
      return changed;
    });
  },
});
const db = new Database(service);
const tokens = Tokens.of(service);

service.prepare("migrations", () => db.migrate(migrations));
await service.start();
