import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import pg from "pg";
import { SigningKeys } from "../cmd/user-service/keys.ts";
import type { Database } from "../internal/database.ts";
import { signToken } from "../internal/tokens.ts";
import { check } from "../load/checker.ts";
import { runLoad } from "../load/run.ts";
import { inTransaction, type PgClient, type PgPool } from "wherry/chassis/outbox";
import { type Postgres, postgresPrograms, startPostgres } from "./postgres.ts";
import { type Answer, call, get, ready, type Service, startService, until } from "./services.ts";

/** The whole shop as processes on loopback, on a real Postgres. */
const programs = postgresPrograms();
const names = ["user-service", "product-service", "order-service", "notification-service"] as const;

suite("shop", { skip: programs ? false : "needs a Postgres (initdb, postgres)" }, () => {
  let postgres: Postgres;
  let gateway: Service;
  const services = {} as Record<(typeof names)[number], Service>;
  let secondUserService: Service;
  let sql: pg.Client;
  let users: Record<string, string>;
  let urls: Record<string, string>;

  before(async () => {
    postgres = await startPostgres(programs!);
    // The database comes last, and two replicas of one service come at once.
    [services["user-service"], secondUserService] = (await Promise.all(["user-service", "user-service"].map((name) => startService(name, postgres.env)))) as [Service, Service];
    users = { ...postgres.env, USER_SERVICE_URL: services["user-service"].url };
    [services["product-service"], services["notification-service"]] = (await Promise.all(["product-service", "notification-service"].map((name) => startService(name, users)))) as [Service, Service];
    urls = { USER_SERVICE_URL: services["user-service"].url, PRODUCT_SERVICE_URL: services["product-service"].url, NOTIFICATION_SERVICE_URL: services["notification-service"].url };
    services["order-service"] = await startService("order-service", { ...postgres.env, ...urls, STUCK_AFTER: "1s" });
    gateway = await startService("gateway", { ...urls, ORDER_SERVICE_URL: services["order-service"].url });
    await until(() => get(`${services["user-service"].url}/health`), ({ status }) => status === 503);
    const early = await get(`${services["user-service"].url}/ready`);
    assert.deepEqual([early.status, early.body], [503, { status: "not ready" }]);
    await postgres.start();
    await Promise.all([...Object.values(services), secondUserService, gateway].map(ready));
    sql = await connect();
  });

  after(async () => {
    await sql?.end().catch(() => {});
    await Promise.all([...Object.values(services), secondUserService, gateway].map((service) => service?.stop()));
    await postgres?.dispose();
  });

  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ host: "127.0.0.1", port: Number(postgres.env["DB_PORT"]), user: "shop", database: "ecommerce" });
    // One test takes the database away.
    client.on("error", () => {});
    await client.connect();
    return client;
  };
  const product = async (minimum: number) => (await get(`${gateway.url}/products?limit=500`)).body.products.find((one: { stock: number }) => one.stock >= minimum);
  const ada = async () => (await get(`${gateway.url}/users`)).body.users.find((user: { username: string }) => user.username === "ada");

  const login = async (username: string, password: string): Promise<{ id: string; token: string }> => {
    const { body } = await call("POST", `${gateway.url}/users/login`, { username, password });
    return { id: body.user.id, token: body.access_token };
  };
  const account = async (username: string) => {
    assert.equal((await call("POST", `${gateway.url}/users`, { username, email: `${username}@example.com`, password: `password of ${username}` })).status, 201);
    return await login(username, `password of ${username}`);
  };

  test("replicas that start at once migrate once", async () => {
    const { rows } = await sql.query("SELECT service, id FROM schema_migrations ORDER BY service, id");
    assert.deepEqual(rows.filter(({ service }) => service === "user-service").map(({ id }) => id), ["001-users", "002-first-users", "003-accounts"]);
    assert.equal((await sql.query("SELECT count(*)::int AS n FROM signing_keys")).rows[0].n, 1);
    assert.equal((await sql.query("SELECT count(*)::int AS n FROM products")).rows[0].n, 240);
  });

  for (const name of [...names, "gateway"] as const) {
    test(`${name} answers probes and its collection, and says who it is`, async () => {
      const { url } = name === "gateway" ? gateway : services[name];
      const health = await get(`${url}/health`);
      assert.equal(health.status, 200);
      assert.deepEqual(Object.keys(health.body), ["status", "service", "instance_id", "timestamp"]);
      assert.deepEqual([health.body.status, health.body.service], ["healthy", name]);
      assert.match(health.body.timestamp, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      assert.deepEqual((await get(`${url}/ready`)).body, { status: "ready" });
      const root = await get(`${url}/`);
      assert.equal(root.status, 200);
      assert.equal(root.headers.get("x-instance-id"), health.body.instance_id);
      assert.equal(root.body.instance_id, health.body.instance_id);
      const metrics = await get(`${url}/metrics`);
      assert.match(metrics.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
      const route = `service="${name}",method="GET",route="/health"`;
      for (const line of [`http_requests_total{${route},status="200"} `, `http_request_duration_seconds_bucket{${route},le="0.005"} `, `http_errors_total{service="${name}"} `, `active_connections{service="${name}"} 1\n`]) assert.ok(metrics.body.includes(line), `${line} in\n${metrics.body}`);
    });
  }

  test("metrics count what was answered", async () => {
    const { url } = services["product-service"];
    const read = async (): Promise<number[]> => {
      const { body } = await get(`${url}/metrics`);
      return ["http_requests_total", "http_errors_total", "http_request_duration_seconds_count"].map((name) => [...(body as string).matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, "gm"))].reduce((sum, [, value]) => sum + Number(value), 0));
    };
    const before = await read();
    await get(`${url}/`);
    assert.equal((await get(`${url}/NO-SUCH-SKU`)).status, 404);
    const later = await read();
    // The first reading itself is counted after it was answered.
    assert.deepEqual(later.map((value, i) => value - before[i]!), [3, 1, 3]);
  });

  test("a user is made, found and not made twice", async () => {
    const made = await call("POST", `${gateway.url}/users`, { username: "barbara", email: "barbara@example.com" });
    assert.equal(made.status, 201);
    const { email, balance_cents, ...open } = made.body;
    assert.deepEqual([email, balance_cents, open.role], ["barbara@example.com", 0, "guest"]);
    // What is hers alone is not shown to others.
    assert.deepEqual((await get(`${secondUserService.url}/users/${made.body.id}`)).body, open);
    assert.equal((await call("POST", `${gateway.url}/users`, { username: "barbara", email: "other@example.com" })).status, 409);
    for (const [body, message] of [[{ username: "x" }, /email/], [{ username: "x", email: "nonsense" }, /email/], [{ username: "", email: "a@b" }, /username/]] as const) {
      const refused = await call("POST", `${gateway.url}/users`, body);
      assert.equal(refused.status, 400);
      assert.match(refused.body.detail, message);
    }
    assert.equal((await get(`${gateway.url}/users/no-uuid`)).status, 400);
  });

  test("the gateway passes on what it gets, and whose answer it is", async () => {
    const answer = await get(`${gateway.url}/users?limit=1`);
    assert.equal(answer.body.users.length, 1);
    assert.equal(answer.headers.get("x-instance-id"), answer.body.instance_id);
    assert.match(answer.headers.get("x-instance-id")!, /^user-service-/);
    assert.match(answer.headers.get("x-gateway-instance-id")!, /^gateway-/);
    assert.equal((await get(`${gateway.url}/users/health`)).body.service, "user-service");
    assert.equal((await get(`${gateway.url}/nowhere`)).status, 404);
    // A body of unknown length, for a method that usually has none: it must reach the service in a frame.
    const body = () => new Blob([JSON.stringify({ username: "alan", email: "alan@example.com" })]).stream();
    for (const [method, status] of [["DELETE", 404], ["POST", 201]] as const) {
      const chunked = await fetch(`${gateway.url}/users`, { method, body: body(), duplex: "half", headers: { "content-type": "application/json" } } as RequestInit);
      assert.equal(chunked.status, status);
      await chunked.text();
      assert.equal((await get(`${gateway.url}/users`)).status, 200);
    }
  });

  test("an order is written, takes the goods, and is told to the customer", async () => {
    const [user, goods] = [await ada(), await product(5)];
    const placed = await call("POST", `${gateway.url}/orders`, { user_id: user.id, items: [{ product_id: goods.id, quantity: 2 }, { sku: goods.sku, quantity: 1 }] });
    assert.equal(placed.status, 201, JSON.stringify(placed.body));
    assert.equal(placed.body.total_cents, 3 * goods.price_cents);
    assert.deepEqual(placed.body.items, [{ product_id: goods.id, sku: goods.sku, quantity: 3, price_cents: goods.price_cents }]);
    assert.deepEqual((await get(`${gateway.url}/orders/${placed.body.id}`)).body, placed.body);
    assert.equal((await get(`${gateway.url}/products/${goods.sku}`)).body.stock, goods.stock - 3);
    const { rows } = await sql.query("SELECT user_id, total_cents::int FROM orders WHERE id = $1", [placed.body.id]);
    assert.deepEqual(rows, [{ user_id: user.id, total_cents: 3 * goods.price_cents }]);
    const told = await until(() => get(`${gateway.url}/notifications?order_id=${placed.body.id}`), ({ body }) => body.notifications.length > 0);
    assert.equal(told.body.notifications[0].kind, "order_placed");
    assert.equal(told.body.notifications[0].user_id, user.id);
  });

  test("buyers of the last pieces get them or a conflict, and stock never falls below zero", async () => {
    const [user, goods] = [await ada(), await product(7)];
    const other = (await get(`${gateway.url}/products?limit=500`)).body.products.find((one: { id: string; stock: number }) => one.id !== goods.id && one.stock >= 20);
    const count = async (): Promise<number> => (await sql.query("SELECT count(*)::int AS n FROM orders")).rows[0].n;
    const before = await count();
    // Half of the buyers name the products in the other order.
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => {
        const items = [{ product_id: goods.id, quantity: Math.floor(goods.stock / 5) }, { product_id: other.id, quantity: 1 }];
        return call("POST", `${gateway.url}/orders`, { user_id: user.id, items: i % 2 ? items : items.toReversed() });
      }),
    );
    const sold = answers.filter(({ status }) => status === 201).length;
    assert.deepEqual([...new Set(answers.map(({ status }) => status))].sort(), [201, 409]);
    assert.match(answers.find(({ status }) => status === 409)!.body.detail, new RegExp(`there are not \\d+ of ${goods.sku} in stock`));
    assert.equal((await get(`${gateway.url}/products/${goods.id}`)).body.stock, goods.stock - sold * Math.floor(goods.stock / 5));
    // A refused order has taken nothing else either.
    assert.equal((await get(`${gateway.url}/products/${other.id}`)).body.stock, other.stock - sold);
    assert.equal((await count()) - before, sold);
  });

  test("an order of nobody, of nothing, or of something unknown is refused", async () => {
    const [user, goods] = [await ada(), await product(1)];
    const nobody = "00000000-0000-4000-8000-000000000000";
    for (const [body, status, message] of [
      [{ user_id: nobody, items: [{ product_id: goods.id, quantity: 1 }] }, 422, /there is no user/],
      [{ user_id: user.id, items: [{ product_id: nobody, quantity: 1 }] }, 422, /there is no product/],
      [{ user_id: user.id, items: [] }, 400, /items/],
      [{ user_id: user.id, items: [{ product_id: goods.id, quantity: 0 }] }, 400, /quantity/],
      [{ user_id: "'; DROP TABLE users; --", items: [{ product_id: goods.id, quantity: 1 }] }, 400, /user_id/],
    ] as const) {
      const refused = await call("POST", `${gateway.url}/orders`, body);
      assert.equal(refused.status, status);
      assert.match(refused.body.detail, message);
    }
  });

  test("a notification that cannot be sent is sent later", async () => {
    const [user, goods] = [await ada(), await product(1)];
    const port = new URL(services["notification-service"].url).port;
    await services["notification-service"].stop();
    const placed = await call("POST", `${gateway.url}/orders`, { user_id: user.id, items: [{ product_id: goods.id, quantity: 1 }] });
    assert.equal(placed.status, 201);
    assert.equal((await get(`${gateway.url}/notifications`)).status, 503);
    await until(async () => services["order-service"].log(), (log) => log.includes("could not be sent"));
    services["notification-service"] = await startService("notification-service", { ...users, PORT: port });
    services["notification-service"].url = `http://127.0.0.1:${port}`;
    await ready(services["notification-service"]);
    await until(() => get(`${gateway.url}/notifications?order_id=${placed.body.id}`), ({ body }) => body.notifications?.length === 1);
  });

  test("an account: a password that is kept as a hash, tokens that everybody can judge, and keys that change", async (context) => {
    const made = await call("POST", `${gateway.url}/users`, { username: "edith", email: "edith@example.com", password: "correct horse" });
    assert.deepEqual([made.status, made.body.role, made.body.balance_cents, made.body.password], [201, "customer", 100_000, undefined]);
    assert.match((await sql.query("SELECT password FROM users WHERE username = 'edith'")).rows[0].password, /^\$scrypt\$ln=13,r=8,p=10\$/);
    for (const [username, password] of [["edith", "wrong horse"], ["nobody", "correct horse"], ["ada", ""]] as const) assert.equal((await call("POST", `${gateway.url}/users/login`, { username, password })).status, 401, username);
    const { token } = await login("edith", "correct horse");
    const me = await get(`${gateway.url}/users/me`, token);
    assert.deepEqual([me.status, me.body.email], [200, "edith@example.com"]);
    assert.equal((await get(`${gateway.url}/users/me`)).status, 401);

    const [head, body, signature] = token.split(".") as [string, string, string];
    const as = (part: string, changes: object) => Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(part, "base64url").toString()), ...changes })).toString("base64url");
    for (const [name, forged] of Object.entries({ "another role": `${head}.${as(body, { role: "admin" })}.${signature}`, "no algorithm": `${as(head, { alg: "none" })}.${body}.`, "another algorithm": `${as(head, { alg: "HS256" })}.${body}.${signature}`, "another key": `${as(head, { kid: "x" })}.${body}.${signature}`, nonsense: "a.b.c" })) {
      // The gateway refuses it; and each service judges by itself, also where nobody did so before.
      for (const url of [`${gateway.url}/orders`, services["order-service"].url, services["user-service"].url]) assert.equal((await get(url, forged)).status, 401, name);
    }

    // A new key signs when everybody has had the time to fetch it; until then the old one does.
    const [first] = (await get(`${gateway.url}/users/.well-known/jwks.json`)).body.keys;
    const pool = new pg.Pool({ host: "127.0.0.1", port: Number(postgres.env["DB_PORT"]), user: "shop", database: "ecommerce" });
    context.after(() => pool.end());
    const db = { query: async (text: string, values?: unknown[]) => (await pool.query(text, values)).rows, transaction: (work: (db: PgClient) => Promise<unknown>) => inTransaction(pool as unknown as PgPool, work) } as unknown as Database;
    const replica = () => new SigningKeys(db, { rotateMs: 86_400_000, publishMs: 600_000, lifetimeMs: 3_600_000 });
    await replica().rotate();
    assert.deepEqual((await replica().published()).map(({ kid }) => kid), [first.kid]);
    await sql.query("UPDATE signing_keys SET created = created - interval '25 hours'");
    await Promise.all([replica().rotate(), replica().rotate()]);
    const shown = await replica().published();
    assert.deepEqual([shown.length, Object.keys(shown[0]!).sort(), shown[1]!.kid], [2, ["alg", "crv", "kid", "kty", "use", "x", "y"], first.kid]);
    assert.equal((await replica().current()).kid, first.kid);
    await sql.query("UPDATE signing_keys SET created = created - interval '15 minutes'");
    const { kid, key } = await replica().current();
    assert.equal(kid, shown[0]!.kid);
    // One who has never seen the key fetches it; the old token is good as long as it lasts.
    const renewed = signToken(kid, key, { id: me.body.id, role: "customer" }, 60_000);
    await until(() => get(`${services["order-service"].url}/`, renewed), ({ status }) => status === 200);
    assert.equal((await get(`${gateway.url}/users/me`, token)).status, 200);
    assert.equal((await get(`${gateway.url}/users/me`, signToken(kid, key, { id: me.body.id, role: "customer" }, 60_000, Date.now() - 120_000))).status, 401);
    // No token needs it any more.
    await sql.query("UPDATE signing_keys SET created = created - interval '1 hour'");
    await replica().rotate();
    assert.deepEqual((await replica().published()).map((one) => one.kid), [kid]);
  });

  test("a key that is made before its day is shown at once, and signs when all have seen it", async () => {
    const shown = async () => (await get(`${services["user-service"].url}/.well-known/jwks.json`)).body.keys.map(({ kid }: { kid: string }) => kid) as string[];
    const [first] = await shown();
    const printed = execFileSync(process.execPath, ["rotate.ts"], { cwd: join(import.meta.dirname, "../cmd/user-service"), env: { ...process.env, ...postgres.env }, encoding: "utf8" });
    const kid = /^key (\S+) is shown from now on, and signs in 600 s\n$/.exec(printed)?.[1];
    await until(shown, (keys) => keys[0] === kid && keys.includes(first!));
    const { token } = await login("edith", "correct horse");
    assert.equal(JSON.parse(Buffer.from(token.split(".")[0]!, "base64url").toString()).kid, first);
  });

  test("what an edge says of who asks narrows what a token allows, and opens nothing", async () => {
    const [hans, ida] = await Promise.all([account("hans"), login("edith", "correct horse")]);
    const guest = await ada();
    const [goods] = (await get(`${gateway.url}/products?in_stock=true&sort=price&limit=1`)).body.products;
    const { url } = services["order-service"];
    const asked = { items: [{ product_id: goods.id, quantity: 1 }] };
    const placed = await call("POST", url, asked, { token: hans.token });
    assert.deepEqual([placed.status, placed.body.user_id], [201, hans.id]);
    assert.equal((await call("POST", url, asked)).status, 401);
    await call("POST", url, { ...asked, user_id: guest.id });
    const list = async (token: string | undefined, only: string | undefined) => {
      const answer = await fetch(`${url}/?limit=500`, { headers: { ...(token && { authorization: `Bearer ${token}` }), ...(only !== undefined && { "x-user-id": only }) } });
      return answer.ok ? [...new Set(((await answer.json()) as { orders: { user_id: string }[] }).orders.map((one) => one.user_id))].toSorted() : answer.status;
    };
    const everybody = (await list(undefined, undefined)) as string[];
    assert.ok(everybody.includes(guest.id) && !everybody.includes(hans.id));
    assert.deepEqual([await list(hans.token, hans.id), await list(hans.token, ida.id), await list(undefined, hans.id), await list(ida.token, hans.id)], [[hans.id], [], [], []]);
    assert.equal(await list(hans.token, "' OR true --"), 400);
    const of = async (token: string, only: string) => (await fetch(`${url}/${placed.body.id}`, { headers: { authorization: `Bearer ${token}`, "x-user-id": only } })).status;
    assert.deepEqual([await of(hans.token, hans.id), await of(hans.token, ida.id), await of(ida.token, hans.id)], [200, 404, 404]);
    const other = await fetch(url, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${hans.token}`, "x-user-id": ida.id }, body: JSON.stringify({ ...asked, user_id: hans.id }) });
    assert.equal(other.status, 403);
  });

  test("roles: what is a customer's is the customer's, and an admin may more", async () => {
    const [alice, bob] = await Promise.all([account("alice"), account("bob")]);
    const [goods] = (await get(`${gateway.url}/products?in_stock=true&sort=price&limit=1`)).body.products;
    const asked = { user_id: alice.id, items: [{ product_id: goods.id, quantity: 1 }] };
    assert.equal((await call("POST", `${gateway.url}/orders`, asked)).status, 401);
    assert.equal((await call("POST", `${gateway.url}/orders`, asked, { token: bob.token })).status, 403);
    const placed = await call("POST", `${gateway.url}/orders`, asked, { token: alice.token });
    assert.deepEqual([placed.status, placed.body.status], [201, "placed"]);
    assert.equal((await get(`${gateway.url}/users/me`, alice.token)).body.balance_cents, 100_000 - goods.price_cents);
    for (const [who, token, status] of [["nobody", undefined, 404], ["bob", bob.token, 404], ["alice", alice.token, 200]] as const) assert.equal((await get(`${gateway.url}/orders/${placed.body.id}`, token)).status, status, who);
    await until(() => get(`${gateway.url}/notifications?order_id=${placed.body.id}`, alice.token), ({ body }) => body.notifications.length === 1);
    assert.deepEqual((await get(`${gateway.url}/notifications?order_id=${placed.body.id}`, bob.token)).body.notifications, []);

    const price = { price_cents: goods.price_cents };
    assert.equal((await call("PATCH", `${gateway.url}/products/${goods.id}`, price, { token: bob.token })).status, 403);
    execFileSync(process.execPath, ["grant.ts", "bob"], { cwd: join(import.meta.dirname, "../cmd/user-service"), env: { ...process.env, ...postgres.env } });
    const { token } = await login("bob", "password of bob");
    assert.equal((await call("PATCH", `${gateway.url}/products/${goods.id}`, price, { token })).status, 200);
    assert.equal((await get(`${gateway.url}/orders/${placed.body.id}`, token)).status, 200);
    assert.equal((await call("PUT", `${gateway.url}/users/${alice.id}/role`, { role: "admin" }, { token: alice.token })).status, 403);
    assert.equal((await call("PUT", `${gateway.url}/users/${alice.id}/role`, { role: "admin" }, { token })).body.role, "admin");
  });

  test("the catalogue is searched, filtered and read in pages", async () => {
    const list = async (query: string) => (await get(`${gateway.url}/products?${query}`)).body;
    const kettles = await list("q=kettles");
    assert.ok(kettles.total > 0 && kettles.products.every(({ name }: { name: string }) => /kettle/i.test(name)), JSON.stringify(kettles));
    assert.deepEqual([(await list("q=%22no+such+thing%22")).total, (await list("q=kettle+-kettle")).products], [0, []]);
    const cheap = await list("price_max=500&in_stock=true&sort=-price&limit=5");
    assert.ok(cheap.products.every(({ price_cents, stock }: { price_cents: number; stock: number }) => price_cents <= 500 && stock > 0));
    assert.deepEqual(cheap.products.map(({ price_cents }: { price_cents: number }) => price_cents), cheap.products.map(({ price_cents }: { price_cents: number }) => price_cents).toSorted((a: number, b: number) => b - a));
    const seen = new Set<string>();
    let next: string | undefined = `${gateway.url}/products?category=garden&limit=7`;
    let total = 0;
    while (next) {
      const page: Answer = await get(next);
      for (const { id } of page.body.products) seen.add(id);
      total = page.body.total;
      const link: string | undefined = /<([^>]*)>; rel="next"/.exec(page.headers.get("link") ?? "")?.[1];
      next = link && new URL(link, next).href;
    }
    assert.equal(seen.size, total);
    assert.equal((await get(`${gateway.url}/products/categories`)).body.categories.find(({ name }: { name: string }) => name === "garden").count, total);
  });

  test("what lies inside is not reached from outside, however it is spelt", async () => {
    const { id } = await ada();
    assert.equal((await get(`${services["user-service"].url}/internal/contacts/${id}`)).body.email, "ada@example.com");
    const { hostname, port } = new URL(gateway.url);
    // As written: fetch would take the dots out itself.
    const raw = (path: string, method = "GET") => new Promise<number>((resolve, reject) => request({ hostname, port, path, method }, (answer) => answer.resume().on("end", () => resolve(answer.statusCode!))).on("error", reject).end());
    for (const path of ["/users/internal/contacts/", "/users/%69nternal/contacts/", "/users//internal/contacts/", "/users/x/../internal/contacts/", "/users/%2e%2e/internal/contacts/", "/users/x/%2e%2e/internal/contacts/", "/users/./internal/contacts/", "/users/users/internal/contacts/", "/products/../users/internal/contacts/"]) assert.equal(await raw(path + id), 404, path);
    assert.equal((await call("POST", `${gateway.url}/notifications`, {})).status, 405);
  });

  test("an order with a key is the same order each time; with another order behind it, it is refused", async () => {
    const customer = await account("carol");
    const goods = (await get(`${gateway.url}/products?in_stock=true&sort=price&limit=500`)).body.products.find(({ stock }: { stock: number }) => stock >= 20);
    const asked = { user_id: customer.id, items: [{ product_id: goods.id, quantity: 2 }] };
    const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => call("POST", `${gateway.url}/orders`, asked, { token: customer.token, key: i % 2 ? "one" : '"one"' })));
    assert.deepEqual(answers.map(({ status }) => status), answers.map(() => 201));
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
    assert.equal(answers.filter(({ headers }) => headers.get("idempotent-replayed") === "true").length, 5);
    assert.equal((await get(`${gateway.url}/products/${goods.id}`)).body.stock, goods.stock - 2);
    assert.equal((await get(`${gateway.url}/users/me`, customer.token)).body.balance_cents, 100_000 - 2 * goods.price_cents);
    const other = await call("POST", `${gateway.url}/orders`, { ...asked, items: [{ product_id: goods.id, quantity: 1 }] }, { token: customer.token, key: "one" });
    assert.equal(other.status, 422);
  });

  test("an order that cannot be paid is taken back: the goods are on the shelf again, and the customer is told", async () => {
    const customer = await account("dave");
    const goods = (await get(`${gateway.url}/products?limit=500`)).body.products.find(({ stock, price_cents }: { stock: number; price_cents: number }) => stock * price_cents > 100_000);
    const refused = await call("POST", `${gateway.url}/orders`, { user_id: customer.id, items: [{ product_id: goods.id, quantity: goods.stock }] }, { token: customer.token });
    assert.deepEqual([refused.status, refused.body.order.status], [402, "cancelled"]);
    assert.equal((await get(`${gateway.url}/products/${goods.id}`)).body.stock, goods.stock);
    const told = await until(() => get(`${gateway.url}/notifications?order_id=${refused.body.order.id}`, customer.token), ({ body }) => body.notifications?.[0]?.mailed);
    assert.equal(told.body.notifications[0].kind, "order_cancelled");
    const { body } = await get(`${gateway.url}/mail?to=dave@example.com`);
    assert.equal(body.mails[0].subject, "Your order was cancelled");
    assert.match(body.mails[0].text, /^Dear dave,\n\nYour order over [\d.]+ EUR is cancelled\./);
    const page = await (await fetch(`${gateway.url}/mail`, { headers: { accept: "text/html" } })).text();
    assert.match(page, /Your order was cancelled/);
  });

  test("each service tells its interface as an OpenAPI document, and people get a page", async () => {
    for (const [path, method] of [["/users/login", "post"], ["/products/{id}", "patch"], ["/orders", "post"], ["/notifications", "get"]] as const) {
      const { body } = await get(`${gateway.url}/${path.split("/")[1]}/openapi.json`);
      assert.deepEqual([body.openapi, typeof body.paths[path][method].summary], ["3.1.0", "string"], path);
    }
    const orders = (await get(`${services["order-service"].url}/openapi.json`)).body;
    assert.deepEqual(Object.keys(orders.paths), ["/orders", "/orders/{id}"]);
    assert.deepEqual(orders.paths["/orders"].post.parameters.map(({ name, in: place }: { name: string; in: string }) => `${place} ${name}`), ["header idempotency-key"]);
    const page = await fetch(`${gateway.url}/`, { headers: { accept: "text/html" } });
    assert.match(await page.text(), /<script type="module" src="\/page.js">/);
    for (const path of ["/page.js", "/page.css"]) assert.equal((await fetch(gateway.url + path)).status, 200);
  });

  test("order-service and notification-service are killed while people buy: no order is lost, none is there twice", async (context) => {
    const load = runLoad({ url: gateway.url, scenario: "buy", rate: 40, durationMs: 1_500, customers: 3, rough: true });
    const trouble = (async () => {
      const before = (await sql.query("SELECT count(*)::int AS n FROM orders")).rows[0].n;
      await until(() => sql.query("SELECT count(*)::int AS n FROM orders"), ({ rows }) => rows[0].n >= before + 8);
      for (const name of ["order-service", "notification-service"] as const) {
        const { port } = new URL(services[name].url);
        const gone = once(services[name].process, "exit");
        services[name].process.kill("SIGKILL");
        await gone;
        services[name] = { ...(await startService(name, { ...users, ...urls, STUCK_AFTER: "1s", PORT: port })), url: `http://127.0.0.1:${port}` };
        await ready(services[name]);
      }
    })();
    const [report] = await Promise.all([load, trouble]);
    const refusals = await runLoad({ url: gateway.url, scenario: "fail", rate: 60, durationMs: 1_000, customers: 1 });
    context.diagnostic(`${report.ledger.length} orders promised: ${JSON.stringify(report.operations.find(({ operation }) => operation === "order")?.statuses)}; refused ${JSON.stringify(refusals.operations.map(({ operation, count }) => `${operation} ${count}`))}`);
    assert.deepEqual([report.failures, refusals.failures], [[], []]);
    assert.ok(report.ledger.length > 15, `only ${report.ledger.length}`);
    assert.deepEqual(await check(sql, { ledger: [...report.ledger, ...refusals.ledger] }), []);
    // The checker sees what is wrong: a rule that cannot be broken proves nothing.
    const { id } = (await sql.query("SELECT id FROM orders WHERE private AND status = 'placed' LIMIT 1")).rows[0];
    await sql.query("BEGIN");
    await sql.query("DELETE FROM payments WHERE order_id = $1", [id]);
    await sql.query("UPDATE products SET stock = stock + 1 WHERE id IN (SELECT product_id FROM order_items WHERE order_id = $1)", [id]);
    await sql.query("DELETE FROM notifications WHERE order_id = $1", [id]);
    const told = (await check(sql, { ledger: [{ user_id: "u", key: "k", order_id: "00000000-0000-4000-8000-000000000000" }], patienceMs: 0 })).map((line) => line.split(":")[0]);
    await sql.query("ROLLBACK");
    for (const rule of ["goods are on the shelf, or in an order", "a customer's order that is placed is paid, once and whole", "of each order one notification says how it ended", "what was promised is there"]) assert.ok(told.includes(rule), `${rule} in ${told.join(", ")}`);
  });

  test("without its database a service is unhealthy, not gone, and comes back by itself", async () => {
    const { url } = services["user-service"];
    await postgres.stop();
    const health = await get(`${url}/health`);
    assert.equal(health.status, 503);
    assert.deepEqual(Object.keys(health.body), ["status", "error"]);
    assert.equal(health.body.status, "unhealthy");
    // It may have asked while Postgres was going: then in Postgres' own words. Within a second it asks again, and nobody is there.
    assert.match(health.body.error, /^health check 'db' failed: .*(ECONN(REFUSED|RESET)|terminat|shutting down)/);
    const cause = `health check 'db' failed: connect ECONNREFUSED 127.0.0.1:${postgres.env["DB_PORT"]}`;
    assert.equal((await until(() => get(`${url}/health`), ({ body }) => body.error === cause)).body.error, cause);
    assert.deepEqual((await get(`${url}/ready`)).body, { status: "not ready" });
    assert.equal((await get(`${gateway.url}/users`)).status, 503);
    assert.equal((await get(`${gateway.url}/health`)).status, 200);
    await postgres.start();
    await until(() => get(`${url}/health`), ({ status }) => status === 200);
    assert.equal((await get(`${gateway.url}/users`)).status, 200);
  });

  test("SIGTERM lets requests finish and ends in order", async () => {
    // One that waits for a lock while the signal comes.
    const [holder, observer] = await Promise.all([connect(), connect()]);
    await holder.query("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE");
    const waiting = get(`${secondUserService.url}/users`);
    await until(() => observer.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'user-service'"), ({ rows }) => rows.length > 0);
    const stopped = secondUserService.stop();
    await until(async () => secondUserService.log(), (log) => log.includes("shutting down"));
    await holder.query("ROLLBACK");
    await Promise.all([holder.end(), observer.end()]);
    assert.equal((await waiting).status, 200);
    assert.deepEqual(await stopped, { code: 0 });
    assert.match(secondUserService.log(), /"msg":"ended"/);
  });

  test("every service stays well inside its 128Mi under load", async (context) => {
    const load = async (url: string) => {
      const end = performance.now() + 1_500;
      await Promise.all(Array.from({ length: 16 }, async () => {
        while (performance.now() < end) await (await fetch(url)).arrayBuffer();
      }));
    };
    const all = [...Object.entries(services), ["gateway", gateway] as const];
    const idle = all.map(([, service]) => service.memory());
    for (const path of ["users", "products?limit=240", "orders", "notifications"]) await load(`${gateway.url}/${path}`);
    for (const [i, [name, service]] of all.entries()) {
      const { resident, anonymous } = service.memory();
      context.diagnostic(`${name}: ${idle[i]!.resident} MB (${idle[i]!.anonymous} anonymous) before, ${resident} MB (${anonymous} anonymous) after load`);
      assert.ok(anonymous < 100, `${name} uses ${anonymous} MB`);
    }
  });
});
