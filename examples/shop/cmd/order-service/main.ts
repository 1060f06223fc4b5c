import { CallError, createHttpClient, createOutbox, Problem } from "wherry/chassis";
import { duration, loadConfig } from "wherry/chassis/config";
import { Database } from "../../internal/database.ts";
import { operation } from "../../internal/openapi.ts";
import { idParams, listOf, order, pageQuery, uuid } from "../../internal/schemas.ts";
import { createShopService, serviceUrl } from "../../internal/service.ts";
import { type Caller, onlyOf, Tokens } from "../../internal/tokens.ts";
import { migrations, outboxTable } from "./migrations.ts";
import { type Line, type NewOrder, type Order, Orders } from "./orders.ts";

/** After this a pending order is taken up by whoever is there. */
const { stuck } = loadConfig({ stuck: { after: duration({ default: 15_000 }) } }, { watch: false }).value;

const newOrder = {
  type: "object",
  required: ["items"],
  additionalProperties: false,
  properties: {
    user_id: { ...uuid, description: "Whose token it is, unless said; nobody orders for somebody else" },
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
// Quoted, as the header's draft wants it, or not, as most people write it.
const keyHeader = { type: "object", properties: { "idempotency-key": { type: "string", pattern: '^("[\\x20-\\x21\\x23-\\x7e]{1,255}"|[\\x21\\x23-\\x7e]{1,255})$', description: "The same key and the same order again: the order of then, and none else" } } } as const;

const service = createShopService({
  name: "order-service",
  title: "Orders",
  collection: "orders",
  routes: (app) => {
    app.get<{ Querystring: { limit: number; offset: number; user_id?: string } }>("/", { schema: operation({ summary: "Orders, the latest first: one's own, an admin's are all, and those of guests are everybody's", querystring: { type: "object", properties: { ...pageQuery, user_id: uuid } }, answers: { 200: { description: "Orders", schema: listOf("orders", order) } } }) }, async (request, reply) => {
      const caller = await tokens.caller(request);
      reply.header("cache-control", "private, no-cache");
      return { instance_id: service.instanceId, orders: await orders.list({ ...request.query, only: onlyOf(request) }, caller) };
    });

    app.get<{ Params: { id: string } }>("/:id", { schema: operation({ summary: "One order", params: idParams, answers: { 200: { description: "The order", schema: order }, 404: "There is none that you may see" } }) }, async (request, reply) => {
      const { id } = request.params;
      const caller = await tokens.caller(request);
      reply.header("cache-control", "private, no-cache");
      const [found] = await orders.list({ id, only: onlyOf(request), limit: 1, offset: 0 }, caller);
      if (!found) throw new Problem(404, `there is no order ${id} that you may see`);
      return found;
    });

    app.post<{ Body: Omit<NewOrder, "user_id"> & { user_id?: string }; Headers: { "idempotency-key"?: string } }>("/", { schema: operation({ summary: "Orders, and pays from the balance; guests pay at the door", body: newOrder, headers: keyHeader, answers: { 201: { description: "Placed", schema: order }, 202: { description: "The goods are reserved; whether it is paid will be known soon", schema: order }, 402: "The balance does not suffice: nothing was taken", 409: "Not enough in stock: nothing was taken", 422: "There is no such user or product, or the key was used for another order" } }) }, async (request, reply) => {
      const caller = await tokens.caller(request);
      const only = onlyOf(request);
      const user_id = request.body.user_id ?? only ?? caller?.id;
      if (user_id === undefined) throw new Problem(401, "log in first: POST /users/login; or say for which guest: user_id");
      if (only !== undefined && only !== user_id.toLowerCase()) throw new Problem(403, "nobody orders for somebody else");
      const body: NewOrder = { ...request.body, user_id };
      const key = request.headers["idempotency-key"]?.replace(/^"(.*)"$/, "$1");
      const { role, lines } = await lookedUp(body);
      if (role !== "guest") {
        if (!caller) throw new Problem(401, "log in first: POST /users/login");
        if (caller.id !== body.user_id) throw new Problem(403, "nobody orders for somebody else");
      }
      const before = key === undefined ? undefined : await orders.used(body, key);
      const { order, isNew } = before ? { order: before, isNew: false } : await orders.place(body, await lines(), { key, isPrivate: role !== "guest" });
      if (!isNew) reply.header("idempotent-replayed", "true");
      relay?.wake();
      const ended = order.status === "pending" ? await paid(order, caller!) : order;
      if (ended.status === "cancelled") throw new Problem(402, "the balance does not suffice: the order was cancelled, the goods are back on the shelf", { extensions: { order: ended } });
      return reply.code(ended.status === "pending" ? 202 : 201).header("location", `/orders/${ended.id}`).send(ended);
    });
  },
});
const db = new Database(service);
const outbox = createOutbox({ pool: db.pool, table: outboxTable });
const orders = new Orders(db, outbox);
const tokens = Tokens.of(service);
const client = (name: string, options = {}) => createHttpClient({ url: serviceUrl(name), name, timeoutMs: 5_000, service, ...options });
// Of notifications the outbox has its own way of trying again.
const [users, products, notifications] = [client("user-service"), client("product-service"), client("notification-service", { retry: false, circuit: false })];
let relay: ReturnType<typeof outbox.relay> | undefined;

/** What the other services say: who the user is; and, when it is asked for, what is ordered and at which price. */
async function lookedUp({ user_id, items }: NewOrder): Promise<{ role: string; lines: () => Promise<Line[]> }> {
  const user = await users.request("GET", `/${user_id}`);
  if (user.status === 404) throw new Problem(422, `there is no user ${user_id}`);
  if (user.status !== 200) throw new CallError("status", `user-service answers ${user.status}`, { status: user.status });
  const lines = async () => {
    const found = new Map<string, Line>();
    await Promise.all(
      items.map(async ({ product_id, sku, quantity }) => {
        const answer = await products.request("GET", `/${product_id ?? sku}`);
        if (answer.status === 404) throw new Problem(422, `there is no product ${product_id ?? sku}`);
        if (answer.status !== 200) throw new CallError("status", `product-service answers ${answer.status}`, { status: answer.status });
        const product = answer.json<{ id: string; sku: string; price_cents: number; currency: string }>();
        const sum = (found.get(product.id)?.quantity ?? 0) + quantity;
        found.set(product.id, { product_id: product.id, sku: product.sku, price_cents: product.price_cents, currency: product.currency, quantity: sum });
      }),
    );
    return [...found.values()];
  };
  return { role: user.json<{ role: string }>().role, lines };
}

/**
 * The second step of an order's saga; the first has reserved the goods. Where it is not known whether it was paid the order stays
 * pending, and `settle` finds out; where it was not, the compensation gives the goods back.
 */
async function paid(order: Order, caller: Caller): Promise<Order> {
  try {
    const answer = await users.request("POST", "/internal/payments", { body: { order_id: order.id, cents: order.total_cents }, headers: { authorization: `Bearer ${caller.token}` }, idempotencyKey: order.id });
    if (answer.status === 201 && answer.json<{ state: string; cents: number }>().state === "paid") return await orders.end(order.id, "placed");
    if (answer.status >= 500) return order;
    return await settle(order.id);
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    service.log.warn({ err: error, order: order.id }, "not known yet whether an order is paid");
    return order;
  }
}

/** Asks for the last word: what is not paid by now never will be. */
async function settle(id: string): Promise<Order> {
  const { state } = await users.json<{ state: "paid" | "closed" }>("POST", `/internal/payments/${id}/close`, { idempotencyKey: id });
  return await orders.end(id, state === "paid" ? "placed" : "cancelled");
}

service.prepare("outbox", () => outbox.migrate());
service.prepare("migrations", () => db.migrate(migrations));
service.prepare("relay", () => {
  const options = { log: service.log, backoffMs: 500, backoffMaxMs: 30_000, attemptsMax: 1_000 };
  relay = outbox.relay(async ({ payload, attempt }) => {
    try {
      await notifications.json("POST", "/", { body: payload });
    } catch (error) {
      service.log.warn({ err: error, attempt }, "a notification could not be sent, trying again later");
      throw error;
    }
  }, options);
});
service.loop("settle", 2_000, async () => {
  for (const id of await orders.stuck(stuck.after)) await settle(id);
});
const waiting = service.metrics.gauge({ name: "order_outbox_waiting", help: "Notifications that are not delivered yet" }).only;
service.loop("outbox state", 5_000, async () => waiting.set((await outbox.state()).waiting));
service.onClose("outbox", () => relay?.stop());
await service.start();
