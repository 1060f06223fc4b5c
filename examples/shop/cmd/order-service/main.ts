import type { FastifyPluginCallback } from "fastify";
import { Database, type Migration } from "../../internal/database.ts";
import { callJson, serviceUrl } from "../../internal/http-client.ts";
import { idParams, pageQuery, uuid } from "../../internal/schemas.ts";
import { httpError, instanceId, runService } from "../../internal/service.ts";
import { Outbox } from "./outbox.ts";
import { type Line, listOrders, placeOrder } from "./orders.ts";

const name = "order-service";
const db = new Database(name);
const outbox = new Outbox(db);

const migrations: Migration[] = [
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
];

interface NewOrder {
  user_id: string;
  items: { product_id?: string; sku?: string; quantity: number }[];
}
const newOrder = {
  type: "object",
  required: ["user_id", "items"],
  additionalProperties: false,
  properties: {
    user_id: uuid,
    items: {
      type: "array",
      minItems: 1,
      maxItems: 50,
      items: {
        type: "object",
        required: ["quantity"],
        additionalProperties: false,
        properties: { product_id: uuid, sku: { type: "string", minLength: 1, pattern: "^[A-Za-z0-9-]+$" }, quantity: { type: "integer", minimum: 1, maximum: 1000 } },
        oneOf: [{ required: ["product_id"] }, { required: ["sku"] }],
      },
    },
  },
} as const;

/** What the other services say about an order: its user exists, and what is ordered and at which price. */
async function validate({ user_id, items }: NewOrder): Promise<Line[]> {
  const [user, ...products] = await Promise.all([
    callJson<unknown>("GET", `${serviceUrl("user-service")}/${user_id}`),
    ...items.map(({ product_id, sku }) => callJson<{ id: string; sku: string; price_cents: number; currency: string }>("GET", `${serviceUrl("product-service")}/${product_id ?? sku}`)),
  ]);
  if (user.status !== 200) throw httpError(422, `there is no user ${user_id}`);
  const lines = new Map<string, Line>();
  for (const [i, { status, body }] of products.entries()) {
    if (status !== 200) throw httpError(422, `there is no product ${items[i]!.product_id ?? items[i]!.sku}`);
    const quantity = (lines.get(body.id)?.quantity ?? 0) + items[i]!.quantity;
    lines.set(body.id, { product_id: body.id, sku: body.sku, price_cents: body.price_cents, currency: body.currency, quantity });
  }
  return [...lines.values()];
}

const listQuery = { type: "object", properties: { ...pageQuery, user_id: uuid } } as const;

const routes: FastifyPluginCallback = (app, _options, done) => {
  app.get<{ Querystring: { limit: number; offset: number; user_id?: string } }>("/", { schema: { querystring: listQuery } }, async ({ query }) => ({
    instance_id: instanceId(name),
    orders: await listOrders(db, query),
  }));

  app.get<{ Params: { id: string } }>("/:id", { schema: { params: idParams } }, async ({ params }) => {
    const [order] = await listOrders(db, { id: params.id, limit: 1, offset: 0 });
    if (!order) throw httpError(404, `there is no order ${params.id}`);
    return order;
  });

  app.post<{ Body: NewOrder }>("/", { schema: { body: newOrder } }, async ({ body }, reply) => {
    const order = await placeOrder(db, body.user_id, await validate(body));
    outbox.wake();
    return reply.code(201).send(order);
  });
  done();
};

await runService({
  name,
  routes,
  collection: "orders",
  checks: { db: () => db.check() },
  prepare: async (signal, log) => {
    await db.migrate(migrations, signal, log);
    outbox.start(signal, log);
  },
  close: () => db.close(),
});
