import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import type { HostAddress } from "../../src/api/network.ts";
import { resources } from "../../src/api/resources.ts";
import type { ConfigMap } from "../../src/api/types.ts";
import { connect } from "../../src/cli/connect.ts";
import { needs } from "../needs.ts";
import { CommandLine, isUp } from "./command-line.ts";
import { examples, freePort } from "./stack.ts";

const shop = join(examples, "shop");

/** Kinds whose objects a stack does not change by running on. */
const compared = ["secrets", "services", "deployments", "statefulsets", "persistentvolumeclaims", "persistentvolumes", "configmaps", "serviceaccounts", "namespaces", "pods"].join(",");

/** What a person would miss if it were another: everything of an object but what its controllers say of it now. */
function essence({ kind, metadata, spec, data, type }: KubeObject & { spec?: unknown; data?: unknown; type?: unknown }): [string, unknown] {
  const { uid, generation, creationTimestamp, labels, annotations, ownerReferences } = metadata as never as Record<string, unknown>;
  return [`${kind} ${metadata.namespace ?? ""}/${metadata.name}`, { uid, generation, creationTimestamp, labels, annotations, ownerReferences, spec, data, type }];
}

/** Orders placed one after the other by each of a few customers, and which of them were acknowledged when. */
function customers(gateway: string, userId: string, products: readonly { id: string; stock: number }[]) {
  const acknowledged: { id: string; atMs: number }[] = [];
  const failures: string[] = [];
  let longestMs = 0;
  const closing = new AbortController();
  const shelf = products.flatMap(({ id, stock }) => Array.from({ length: Math.max(0, stock - 2) }, () => id));
  const one = async () => {
    while (!closing.signal.aborted) {
      const product = shelf.pop();
      if (product === undefined) return void failures.push("the shop is sold out");
      const began = performance.now();
      try {
        const response = await fetch(`${gateway}/orders`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ user_id: userId, items: [{ product_id: product, quantity: 1 }] }), signal: AbortSignal.timeout(30_000) });
        const text = await response.text();
        if (response.ok) acknowledged.push({ id: String((JSON.parse(text) as { id: string }).id), atMs: performance.now() });
        else failures.push(`${response.status} ${text.slice(0, 200)}`);
      } catch (error) {
        failures.push(String((error as Error).cause ?? error));
      }
      longestMs = Math.max(longestMs, performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const all = Promise.all([one(), one()]);
  return {
    acknowledged,
    async stop() {
      closing.abort();
      await all;
      return { failures, longestMs };
    },
  };
}

async function json<T>(url: string, body?: object): Promise<T> {
  const response = await fetch(url, { ...(body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }), signal: AbortSignal.timeout(20_000) });
  const text = await response.text();
  assert.ok(response.ok, `${url}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

/** The port of the host that leads to a Service of the stack in this data directory. */
async function address(dataDir: string, service: string): Promise<string> {
  const client = await connect(dataDir);
  const { data } = await client.get<ConfigMap>(resources.configMaps, "wherry-system", "wherry-addresses");
  const found = (JSON.parse(data!["addresses"]!) as HostAddress[]).find((entry) => entry.service === service && entry.namespace === "ecommerce")!;
  return found.address ?? new URL(found.url).host;
}

test("the shop is backed up while customers order, and restored beside itself", { timeout: 240_000 }, async (t) => {
  if (!needs(t, "kubectl", "psql")) return;
  await using desk = new CommandLine(t);
  const up = desk.start("up", shop, "--no-watch", "--name", "first", "--data-dir", "data", "--port", String(await freePort()));
  await up.said(isUp);
  const gateway = `http://${await address(desk.path("data"), "gateway")}`;
  const user = await json<{ id: string }>(`${gateway}/users`, { username: "backup", email: "backup@example.com" });
  const listed = await json<{ products?: { id: string; stock: number }[]; items?: { id: string; stock: number }[] }>(`${gateway}/products`);
  const token = desk.kubectl("first", "create", "token", "default", "-n", "ecommerce", "--duration=1h").trim();

  const buying = customers(gateway, user.id, (listed.products ?? listed.items)!);
  while (buying.acknowledged.length < 20) await new Promise((resolve) => setTimeout(resolve, 20));
  const beganMs = performance.now();
  const made = await desk.wherry("backup", "--data-dir", "data", "-o", "shop.wherry");
  assert.equal(made.code, 0, made.stderr);
  const before = buying.acknowledged.filter(({ atMs }) => atMs < beganMs);
  while (buying.acknowledged.length < before.length + 40) await new Promise((resolve) => setTimeout(resolve, 20));
  const { failures, longestMs } = await buying.stop();
  assert.deepEqual(failures, [], "no request failed, before, while and after");
  const pause = /programs stood still for ([\d.]+) s/.exec(made.stdout);
  assert.ok(pause, made.stdout);
  t.diagnostic(`${pause[0]}; the slowest of ${buying.acknowledged.length} orders took ${longestMs.toFixed(0)} ms`);
  assert.equal(statSync(desk.path("shop.wherry")).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(desk.path("data")).filter((name) => name.startsWith(".")), [], "nothing is left beside the data");
  const originals = new Map((JSON.parse(desk.kubectl("first", "get", compared, "-A", "-o", "json")) as { items: KubeObject[] }).items.map(essence));

  // In another place, while the first goes on.
  const port = await freePort();
  const second = desk.start("up", "--link", shop, "--no-watch", "--name", "second", "--data-dir", "elsewhere", "--port", String(port), "--from", "shop.wherry");
  const said = await second.said(isUp);
  const revision = Number(/at revision (\d+)/.exec(said)![1]);
  const restored = (JSON.parse(desk.kubectl("second", "get", compared, "-A", "-o", "json", "--show-managed-fields")) as { items: KubeObject[] }).items;
  desk.kubectl("second", "wait", "--for=condition=Ready", "pods", "--all", "-n", "ecommerce", "--timeout=60s");

  await t.test("objects are the same ones", () => {
    const others = new Map(restored.map(essence));
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
    // Volumes lie in the new data directory; what the stack says about itself is its own.
    for (const [key, object] of originals) {
      if (/^ConfigMap wherry-system\/wherry-(addresses|uids)|^Service default\/kubernetes$/.test(key)) continue;
      const text = JSON.stringify(object).replaceAll(desk.path("data"), desk.path("elsewhere"));
      assert.deepEqual(plain(others.get(key)), JSON.parse(text), key);
    }
    const unchanged = restored.filter(({ metadata }) => Number(metadata.resourceVersion) <= revision);
    assert.ok(unchanged.length > 20, `${unchanged.length} objects have the resourceVersion they had`);
    const managed = unchanged.filter(({ metadata }) => (metadata as { managedFields?: unknown[] }).managedFields?.length);
    assert.ok(managed.length > 5, `${managed.length} of them have their managedFields`);
  });

  await t.test("a token signed before is good there", () => {
    // Without the kubeconfig's certificate, which would speak first.
    const asked = spawnSync("kubectl", ["--kubeconfig=/dev/null", `--server=https://127.0.0.1:${port}`, `--certificate-authority=${desk.path("data", "pki", "ca.crt")}`, `--token=${token}`, "auth", "whoami"], { env: desk.env, encoding: "utf8", timeout: 60_000 });
    assert.match(asked.stdout, /system:serviceaccount:ecommerce:default/, asked.stderr);
  });

  await t.test("Postgres has each order that was acknowledged before the backup began, and goes on", async () => {
    const there = new Set(await orders(desk, "second", await address(desk.path("elsewhere"), "postgres-service")));
    assert.deepEqual(before.filter(({ id }) => !there.has(id)), []);
    const door = `http://${await address(desk.path("elsewhere"), "gateway")}`;
    const product = (listed.products ?? listed.items)!.find(({ stock }) => stock > 5)!;
    const order = await json<{ id: string }>(`${door}/orders`, { user_id: user.id, items: [{ product_id: product.id, quantity: 1 }] });
    const here = await orders(desk, "first", await address(desk.path("data"), "postgres-service"));
    assert.deepEqual(buying.acknowledged.filter(({ id }) => !here.includes(id)), [], "and the first has all, also those of later");
    assert.ok(!here.includes(order.id), "they are two shops now");
  });
  assert.ok(existsSync(desk.path("data", "lock")), "the first goes on");
});

async function orders(desk: CommandLine, context: string, database: string): Promise<string[]> {
  const secret = (key: string) => Buffer.from(desk.kubectl(context, "get", "secret", "db-credentials", "-n", "ecommerce", "-o", `jsonpath={.data.${key}}`), "base64").toString();
  const { hostname, port } = new URL(`tcp://${database}`);
  return execFileSync("psql", ["-h", hostname, "-p", port, "-U", secret("username"), "-d", "ecommerce", "-Atc", "select id from orders"], { env: { ...desk.env, PGPASSWORD: secret("password") }, encoding: "utf8", maxBuffer: 1 << 26 }).trim().split("\n");
}
