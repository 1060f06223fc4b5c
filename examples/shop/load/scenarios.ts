import { randomUUID } from "node:crypto";
import type { Answer, Customer, ShopClient } from "./shop-client.ts";

interface Product {
  id: string;
  sku: string;
  name: string;
  category: string;
  price_cents: number;
  stock: number;
}

export interface World {
  shop: ShopClient;
  customers: readonly Customer[];
  /** While it is expected that parts of the shop fail: 5xx and broken connections count as tries, not as failures. */
  rough: boolean;
}
export type Scenario = (world: World, dueMs: number) => Promise<void>;

const one = <T>(of: readonly T[]): T => of[Math.floor(Math.random() * of.length)]!;
const trouble = [0, 429, 500, 502, 503, 504];
const also = ({ rough }: World, ...expected: number[]) => (rough ? [...expected, ...trouble] : expected);

/** For how long one order is tried: all of a cluster may have to come back meanwhile. */
const patienceMs = 300_000;
const freshMs = 2_000;
const shelves = new WeakMap<ShopClient, { readMs: number; products: Product[] }>();

/** What is in stock, as of a moment ago. */
async function shelf(world: World): Promise<Product[]> {
  const known = shelves.get(world.shop);
  if (known && performance.now() - known.readMs < freshMs) return known.products;
  const { status, body } = await world.shop.ask("shelf", "GET", "/products?limit=500&in_stock=true", { expect: also(world, 200) });
  if (status !== 200) return known?.products ?? [];
  shelves.set(world.shop, { readMs: performance.now(), products: body.products });
  return body.products;
}

/** Looks around: a page, a search, one product. */
const browse: Scenario = async (world, dueMs) => {
  const { shop } = world;
  const words = ["kettle", "lamp", "wool", "\"desk pad\"", "olive oil", "glass -kettle", "baking"];
  const look = one(["page", "page", "search", "product", "product", "product", "categories"]);
  if (look === "page") await shop.ask(look, "GET", `/products?limit=24&offset=${24 * Math.floor(Math.random() * 10)}`, { expect: also(world, 200), dueMs });
  else if (look === "search") await shop.ask(look, "GET", `/products?limit=24&q=${encodeURIComponent(one(words))}`, { expect: also(world, 200), dueMs });
  else if (look === "categories") await shop.ask(look, "GET", "/products/categories", { expect: also(world, 200), dueMs });
  else {
    const product = one(await shelf(world));
    if (product) await shop.ask(look, "GET", `/products/${one([product.id, product.sku])}`, { expect: also(world, 200), dueMs });
  }
};

/** Sends an order until somebody answers, each time with the same key; and keeps what was promised. */
async function order(world: World, customer: Customer, items: object[], key: string, dueMs: number, operation = "order"): Promise<Answer> {
  const { shop } = world;
  const giveUpMs = performance.now() + patienceMs;
  for (let attempt = 1; ; attempt++) {
    const answer = await shop.ask(operation, "POST", "/orders", { body: { user_id: customer.id, items }, token: customer.token, key, expect: also(world, 201, 202, 402, 409), dueMs });
    if (answer.status === 201 || answer.status === 202) shop.ledger.push({ user_id: customer.id, key, order_id: answer.body.id });
    if (!trouble.includes(answer.status) || !world.rough) return answer;
    if (performance.now() > giveUpMs) {
      shop.fail(`${operation}: no answer to ${attempt} tries, the last ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(1_000, 50 * 2 ** attempt) * (0.5 + Math.random() / 2)));
    dueMs = performance.now();
  }
}

const buy: Scenario = async (world, dueMs) => {
  const products = await shelf(world);
  if (products.length === 0) return;
  // Of two things the cheaper one, as most people do.
  const choice = () => [one(products), one(products)].toSorted((a, b) => a.price_cents - b.price_cents)[0]!;
  const items = [...new Set([choice(), ...(Math.random() < 0.3 ? [choice()] : [])])].map(({ id }) => ({ product_id: id, quantity: 1 }));
  const [customer, key] = [one(world.customers), randomUUID()];
  const answer = await order(world, customer, items, key, dueMs);
  if (answer.status !== 201 || Math.random() > 0.1) return;
  // As a client does who did not hear the answer.
  const again = await order(world, customer, items, key, performance.now(), "order again");
  if (again.status === 201 && (again.body.id !== answer.body.id || again.headers["idempotent-replayed"] !== "true")) world.shop.fail(`one key, two orders: ${answer.body.id} and ${again.body.id}`);
};

/** What must be refused, and how; and clients that hang up. */
const fail: Scenario = async (world, dueMs) => {
  const { shop, customers } = world;
  const [customer, other] = [one(customers), randomUUID()];
  const product = one(await shelf(world));
  if (!product) return;
  const asked = (items: object[], user_id = customer.id) => ({ user_id, items });
  const right = [{ product_id: product.id, quantity: 1 }];
  const forged = `${customer.token.slice(0, -6)}${customer.token.endsWith("AAAAAA") ? "BBBBBB" : "AAAAAA"}`;
  const wrong: [name: string, method: string, path: string, options: { body?: unknown; token?: string; key?: string }, expected: number][] = [
    ["no token", "POST", "/orders", { body: asked(right) }, 401],
    ["forged token", "POST", "/orders", { body: asked(right), token: forged }, 401],
    ["somebody else's name", "POST", "/orders", { body: asked(right, other), token: customer.token }, 422],
    ["unknown product", "POST", "/orders", { body: asked([{ product_id: other, quantity: 1 }]), token: customer.token }, 422],
    ["more than there is", "POST", "/orders", { body: asked([{ product_id: product.id, quantity: 1_000 }]), token: customer.token }, 409],
    ["no JSON", "POST", "/orders", { body: "{", token: customer.token }, 400],
    ["an order of nothing", "POST", "/orders", { body: asked([]), token: customer.token }, 400],
    ["no admin", "PATCH", `/products/${product.id}`, { body: { price_cents: 1 }, token: customer.token }, 403],
    ["a way inside", "POST", `/users/internal/payments/${other}/close`, {}, 404],
    ["nothing there", "GET", "/products/NO-SUCH-SKU", {}, 404],
    ["hang up", "", "", {}, 0],
  ];
  const [name, method, path, options, expected] = one(wrong);
  if (name !== "hang up") return void (await shop.ask(name, method, path, { ...options, expect: also(world, expected), dueMs }));
  const key = randomUUID();
  await shop.ask(name, "POST", "/orders", { body: asked(right), token: customer.token, key, expect: [0, 201, 202, 402, 409, ...(world.rough ? trouble : [])], timeoutMs: 1 + Math.floor(Math.random() * 25), dueMs });
  await order(world, customer, right, key, performance.now(), "order after hanging up");
};

export const scenarios: Readonly<Record<string, { about: string; run: Scenario; /** Times the rate, by the share of the time that has passed. */ shape?: (passed: number) => number }>> = {
  browse: { about: "looks at pages, searches, opens products", run: browse },
  buy: { about: "places orders, each under an Idempotency-Key, and some of them twice", run: buy },
  burst: { about: "three browse to one buy, and in the middle third ten times the rate", run: (world, dueMs) => one([browse, browse, browse, buy])(world, dueMs), shape: (passed) => (passed >= 1 / 3 && passed < 2 / 3 ? 10 : 1) },
  fail: { about: "what must be refused is refused; clients hang up and ask again", run: fail },
};
