import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import pg from "pg";
import { type Postgres, postgresPrograms, startPostgres } from "./postgres.ts";
import { call, get, ready, type Service, startService, until } from "./services.ts";

/** The whole shop as processes on loopback, on a real Postgres. */
const programs = postgresPrograms();
const names = ["user-service", "product-service", "order-service", "notification-service"] as const;

suite("shop", { skip: programs ? false : "needs a Postgres (initdb, postgres)" }, () => {
  let postgres: Postgres;
  let gateway: Service;
  const services = {} as Record<(typeof names)[number], Service>;
  let secondUserService: Service;
  let sql: pg.Client;

  before(async () => {
    postgres = await startPostgres(programs!);
    // The database comes last, and two replicas of one service come at once.
    [services["user-service"], secondUserService, services["product-service"], services["notification-service"]] = await Promise.all(["user-service", "user-service", "product-service", "notification-service"].map((name) => startService(name, postgres.env))) as [Service, Service, Service, Service];
    const urls = { USER_SERVICE_URL: services["user-service"].url, PRODUCT_SERVICE_URL: services["product-service"].url, NOTIFICATION_SERVICE_URL: services["notification-service"].url };
    services["order-service"] = await startService("order-service", { ...postgres.env, ...urls });
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

  test("replicas that start at once migrate once", async () => {
    const { rows } = await sql.query("SELECT service, id FROM schema_migrations ORDER BY service, id");
    assert.deepEqual(rows.filter(({ service }) => service === "user-service").map(({ id }) => id), ["001-users", "002-first-users"]);
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
      for (const line of [`http_requests_total{service="${name}"} `, `http_request_duration_seconds_bucket{service="${name}",le="0.005"} `, `http_errors_total{service="${name}"} `, `active_connections{service="${name}"} 1\n`]) assert.ok(metrics.body.includes(line), `${line} in\n${metrics.body}`);
    });
  }

  test("metrics count what was answered", async () => {
    const { url } = services["product-service"];
    const read = async (): Promise<number[]> => {
      const { body } = await get(`${url}/metrics`);
      return ["http_requests_total", "http_errors_total", "http_request_duration_seconds_count"].map((name) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, "m").exec(body)![1]));
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
    assert.deepEqual(Object.keys(made.body), ["id", "username", "email", "created"]);
    assert.deepEqual((await get(`${secondUserService.url}/users/${made.body.id}`)).body, made.body);
    assert.equal((await call("POST", `${gateway.url}/users`, { username: "barbara", email: "other@example.com" })).status, 409);
    for (const [body, message] of [[{ username: "x" }, /email/], [{ username: "x", email: "nonsense" }, /email/], [{ username: "", email: "a@b" }, /username/]] as const) {
      const refused = await call("POST", `${gateway.url}/users`, body);
      assert.equal(refused.status, 400);
      assert.match(refused.body.error, message);
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
    assert.match(answers.find(({ status }) => status === 409)!.body.error, new RegExp(`there are not \\d+ of ${goods.sku} in stock`));
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
      assert.match(refused.body.error, message);
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
    services["notification-service"] = await startService("notification-service", { ...postgres.env, PORT: port });
    services["notification-service"].url = `http://127.0.0.1:${port}`;
    await ready(services["notification-service"]);
    await until(() => get(`${gateway.url}/notifications?order_id=${placed.body.id}`), ({ body }) => body.notifications?.length === 1);
  });

  test("without its database a service is unhealthy, not gone, and comes back by itself", async () => {
    const { url } = services["user-service"];
    await postgres.stop();
    const health = await get(`${url}/health`);
    assert.equal(health.status, 503);
    assert.deepEqual(Object.keys(health.body), ["status", "error"]);
    assert.equal(health.body.status, "unhealthy");
    assert.match(health.body.error, /^health check 'db' failed: .*(ECONNREFUSED|terminat)/);
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
    await until(async () => secondUserService.log(), (log) => log.includes("Shutting down gracefully..."));
    await holder.query("ROLLBACK");
    await Promise.all([holder.end(), observer.end()]);
    assert.equal((await waiting).status, 200);
    assert.deepEqual(await stopped, { code: 0 });
    assert.match(secondUserService.log(), /Graceful shutdown completed/);
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
