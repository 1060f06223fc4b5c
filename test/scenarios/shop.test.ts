import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { find, needs } from "../needs.ts";
import { applyFolders, directUrl, examples, freePort, load } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const shop = join(examples, "shop");

test("the shop: every kubectl line of seed 003 works as printed, and an order is in Postgres", { timeout: 600_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl", "psql")) return;
  await using wherry = await startWherry({ test: t, hostPathRoots: [shop] });
  const output = await applyFolders(wherry, [shop]);
  assert.match(output, /Ready in/);

  await t.test("the transcript", async () => {
    await runTranscript(join(import.meta.dirname, "shop.transcript"), { cwd: shop, env: wherry.env, variables: { FORWARD_PORT: String(await freePort()) } });
  });

  await t.test("an order placed through the services is in Postgres: psql sees it", async () => {
    const gateway = directUrl(wherry, "ecommerce", "gateway");
    const json = async (path: string, body?: object) => {
      const response = await fetch(`${gateway}${path}`, { ...(body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }), signal: AbortSignal.timeout(20_000) });
      const text = await response.text();
      assert.ok(response.ok, `${path}: ${response.status} ${text}`);
      return JSON.parse(text) as Record<string, never>;
    };
    const user = await json("/users", { username: `ada-${process.pid}`, email: `ada-${process.pid}@example.com` });
    const products = (await json("/products")) as { products?: { id: string; stock: number }[]; items?: { id: string; stock: number }[] };
    const product = (products.products ?? products.items)!.find(({ stock }) => stock > 1)!;
    const order = await json("/orders", { user_id: user["id"], items: [{ product_id: product.id, quantity: 1 }] });
    const database = new URL(directUrl(wherry, "ecommerce", "postgres-service"));
    const { execFileSync } = await import("node:child_process");
    const secret = async (key: string) => Buffer.from((await wherry.kubectl("get", "secret", "db-credentials", "-n", "ecommerce", "-o", `jsonpath={.data.${key}}`)).stdout, "base64").toString();
    const row = execFileSync(find("psql")!, ["-h", database.hostname, "-p", database.port, "-U", await secret("username"), "-d", "ecommerce", "-Atc", `select count(*) from orders where id = '${String(order["id"])}'`], { env: { ...wherry.env, PGPASSWORD: await secret("password") }, encoding: "utf8" });
    assert.equal(row.trim(), "1");
  });

  await t.test("a roll-out of five replicas under load fails no request", async () => {
    const url = `${directUrl(wherry, "ecommerce", "user-service")}/health`;
    const traffic = load(url);
    await wherry.kubectl("rollout", "restart", "deployment/user-service", "-n", "ecommerce");
    const status = await wherry.kubectl("rollout", "status", "deployment/user-service", "-n", "ecommerce", "--timeout=240s");
    const { ok, failures } = await traffic.stop();
    assert.equal(status.code, 0, status.stderr);
    assert.deepEqual(failures, []);
    assert.ok(ok > 100, `only ${ok} requests`);
  });
});

test("an empty stack that only knows the images: the seed's lines create everything", { timeout: 600_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl")) return;
  await using wherry = await startWherry({ test: t, hostPathRoots: [shop] });
  await applyFolders(wherry, [], [shop]);
  await runTranscript(join(import.meta.dirname, "shop-empty.transcript"), { cwd: shop, env: wherry.env });
});
