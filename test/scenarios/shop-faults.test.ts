import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { check } from "../../examples/shop/load/checker.ts";
import { runLoad } from "../../examples/shop/load/run.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { applyFolders, directUrl, examples, load as steadyLoad } from "./stack.ts";

const shop = join(examples, "shop");
const skip = process.env["WHERRY_CONFORMANCE"] ? false : "takes a minute; npm run conformance runs it";

test("the manifests beside the seed's: a canary for one of ten and for who asks, blue to green without a failed request", { timeout: 300_000, skip }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t, hostPathRoots: [shop] });
  await applyFolders(wherry, [shop]);
  const kubectl = async (...args: string[]) => {
    const { code, stdout, stderr } = await wherry.kubectl(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const k8s = (name: string) => join(shop, "k8s", name);
  for (const name of ["mesh", "autoscaling", "canary", "blue-green", "edge"]) assert.match(await kubectl("apply", "--dry-run=server", "-f", k8s(name)), /created \(server dry run\)/, name);
  await kubectl("apply", "-f", k8s("mesh/resilience.yaml"));
  await kubectl("apply", "-f", k8s("canary"), "-f", k8s("blue-green"));
  for (const name of ["product-service-canary", "storefront-blue", "storefront-green"]) await kubectl("rollout", "status", `deployment/${name}`, "-n", "ecommerce", "--timeout=90s");

  const gateway = directUrl(wherry, "ecommerce", "gateway");
  const pod = async (headers: Record<string, string> = {}) => (await fetch(`${gateway}/products?limit=1`, { headers })).headers.get("x-instance-id")!;
  const isCanary = (name: string) => name.startsWith("product-service-canary-");
  // It is in force when who asks for it gets it.
  for (const deadline = performance.now() + 20_000; !isCanary(await pod({ "x-preview": "yes" })); ) assert.ok(performance.now() < deadline, "the route is not in force");
  let canaries = 0;
  for (let i = 0; i < 200; i++) if (isCanary(await pod())) canaries++;
  t.diagnostic(`${canaries} of 200 to the canary`);
  assert.ok(canaries >= 15 && canaries <= 25, `${canaries} of 200`);

  const storefront = directUrl(wherry, "ecommerce", "storefront");
  const colour = async () => /storefront-(blue|green)-/.exec(((await (await fetch(storefront, { headers: { connection: "close" } })).json()) as { instance_id: string }).instance_id)?.[1];
  assert.equal(await colour(), "blue");
  const traffic = steadyLoad(storefront);
  await kubectl("patch", "service", "storefront", "-n", "ecommerce", "-p", '{"spec":{"selector":{"version":"green"}}}');
  for (const deadline = performance.now() + 20_000; (await colour()) !== "green"; ) assert.ok(performance.now() < deadline, "still blue");
  assert.deepEqual((await traffic.stop()).failures, []);
});

test("everything of the shop, and Wherry's own parts, are killed while people buy: no order is lost, none is there twice", { timeout: 300_000, skip }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t, hostPathRoots: [shop] });
  await applyFolders(wherry, [shop]);
  const gateway = directUrl(wherry, "ecommerce", "gateway");
  const secret = async (key: string) => Buffer.from((await wherry.kubectl("get", "secret", "db-credentials", "-n", "ecommerce", "-o", `jsonpath={.data.${key}}`)).stdout, "base64").toString();
  const { hostname, port } = new URL(directUrl(wherry, "ecommerce", "postgres-service"));
  const address = { host: hostname, port: Number(port), database: "ecommerce", user: await secret("username"), password: await secret("password") };
  const ready = async (kind: string, name: string) => {
    const { code, stderr } = await wherry.kubectl("rollout", "status", `${kind}/${name}`, "-n", "ecommerce", "--timeout=90s");
    assert.equal(code, 0, stderr);
  };
  const kill = async (kind: string, name: string) => {
    const { code, stderr } = await wherry.kubectl("delete", "pod", "-n", "ecommerce", "-l", `app=${name}`, "--grace-period=0", "--force");
    assert.equal(code, 0, stderr);
    await ready(kind, name);
  };

  const over = new AbortController();
  const ledger: Awaited<ReturnType<typeof runLoad>>["ledger"] = [];
  const failures: string[] = [];
  const load = (async () => {
    // Round upon round, until all has been killed and is back.
    while (!over.signal.aborted) {
      const report = await runLoad({ url: gateway, scenario: "buy", rate: 8, durationMs: 5_000, customers: 3, rough: true });
      ledger.push(...report.ledger);
      failures.push(...report.failures);
    }
  })();
  const took = async (name: string, fault: () => Promise<void>) => {
    const began = performance.now();
    await fault();
    t.diagnostic(`${name}: back after ${Math.round(performance.now() - began)} ms`);
  };
  try {
    for (const name of ["order-service", "user-service", "product-service", "notification-service"]) await took(name, () => kill("deployment", name));
    await took("postgres", () => kill("statefulset", "postgres"));
    await took("wherry-api", async () => {
      process.kill(wherry.processes().api!, "SIGKILL");
      await ready("deployment", "order-service");
    });
    await took("wherry-net", async () => {
      process.kill(wherry.processes().net[0]!, "SIGKILL");
      await ready("deployment", "gateway");
    });
  } finally {
    over.abort();
    await load;
  }
  t.diagnostic(`${ledger.length} orders were promised`);
  const database = new pg.Client(address);
  await database.connect();
  try {
    assert.deepEqual(failures, []);
    assert.ok(ledger.length > 20, `only ${ledger.length} orders`);
    assert.deepEqual(await check(database, { ledger }), []);
  } finally {
    await database.end();
  }
});
