import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { check } from "../../examples/shop/load/checker.ts";
import { runLoad } from "../../examples/shop/load/run.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { applyFolders, directUrl, examples } from "./stack.ts";

const shop = join(examples, "shop");
const skip = process.env["WHERRY_CONFORMANCE"] ? false : "takes a minute; npm run conformance runs it";

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
    const [before, began] = [ledger.length, performance.now()];
    await fault();
    t.diagnostic(`${name}: back after ${Math.round(performance.now() - began)} ms; ${ledger.length - before} orders were promised meanwhile`);
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
