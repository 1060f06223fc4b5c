import assert from "node:assert/strict";
import { createServer } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import pg from "pg";
import { check } from "../../examples/shop/load/checker.ts";
import { runLoad } from "../../examples/shop/load/run.ts";
import type { Acknowledged } from "../../examples/shop/load/shop-client.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { CommandLine, familyOf, isUp, survivors } from "./command-line.ts";
import { until } from "./gateway-stack.ts";
import { applyFolders, directUrl, examples, freePort, load as steadyLoad } from "./stack.ts";

const shop = join(examples, "shop");
const skip = process.env["WHERRY_CONFORMANCE"] ? false : "takes minutes; npm run conformance runs it";

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

/** People buy, round upon round, until `over`: what the shop promised them, and what they may complain about. */
class Buyers {
  readonly ledger: Acknowledged[] = [];
  readonly failures: string[] = [];
  readonly #over = new AbortController();
  readonly #rounds: Promise<void>;

  constructor(url: string) {
    this.#rounds = (async () => {
      while (!this.#over.signal.aborted) {
        const report = await runLoad({ url, scenario: "buy", rate: 8, durationMs: 5_000, customers: 3, rough: true });
        this.ledger.push(...report.ledger);
        this.failures.push(...report.failures);
      }
    })();
    // It is told by whoever waits for `over`.
    this.#rounds.catch(() => {});
  }
  /** Everybody has an answer. */
  async over(): Promise<void> {
    this.#over.abort();
    await this.#rounds;
  }
}

async function assertNothingLost(t: TestContext, buyers: Buyers, address: pg.ClientConfig): Promise<void> {
  t.diagnostic(`${buyers.ledger.length} orders were promised`);
  const database = new pg.Client(address);
  await database.connect();
  try {
    assert.deepEqual(buyers.failures, []);
    assert.ok(buyers.ledger.length > 20, `only ${buyers.ledger.length} orders`);
    assert.deepEqual(await check(database, { ledger: buyers.ledger, patienceMs: 120_000 }), []);
  } finally {
    await database.end();
  }
}

test("everything of the shop, and Wherry's own parts, are killed while people buy: no order is lost, none is there twice", { timeout: 580_000, skip }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t, hostPathRoots: [shop] });
  await applyFolders(wherry, [shop]);
  const kubectl = async (...args: string[]) => {
    const { code, stdout, stderr } = await wherry.kubectl(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const secret = async (key: string) => Buffer.from(await kubectl("get", "secret", "db-credentials", "-n", "ecommerce", "-o", `jsonpath={.data.${key}}`), "base64").toString();
  const { hostname, port } = new URL(directUrl(wherry, "ecommerce", "postgres-service"));
  const address = { host: hostname, port: Number(port), database: "ecommerce", user: await secret("username"), password: await secret("password") };
  /** Of a workload's pods: name, how often its program was started anew, whether it is ready. */
  const pods = async (app: string) =>
    (await kubectl("get", "pods", "-n", "ecommerce", "-l", `app=${app}`, "-o", "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}{\"\\n\"}{end}"))
      .trim().split("\n").map((line) => line.split(" ")).map(([name, restarts, ready]) => ({ name: name!, restarts: Number(restarts), ready: ready === "true" }));
  /** SIGKILL for all that runs in a pod, by what runs in it: its container ends with 137 and is started anew. */
  const killProgram = async (app: string) => {
    const { name, restarts } = (await pods(app))[0]!;
    // It dies of it as well.
    await wherry.kubectl("exec", "-n", "ecommerce", name, "--", "sh", "-c", "kill -9 -1");
    await until(`${name} is back`, async () => (await pods(app)).some((pod) => pod.name === name && pod.restarts > restarts && pod.ready), 90_000);
  };
  /** Each with its container, without a grace; the Deployment makes new ones. */
  const killPods = async (app: string) => {
    const before = (await pods(app)).map(({ name }) => name);
    await kubectl("delete", "pod", "-n", "ecommerce", "-l", `app=${app}`, "--grace-period=0", "--force");
    await until(`${app} has other pods`, async () => {
      const now = await pods(app);
      return now.length === before.length && now.every(({ name, ready }) => ready && !before.includes(name));
    }, 90_000);
  };
  const answers = () => until("orders are read", async () => (await fetch(`${gateway}/orders?limit=1`, { signal: AbortSignal.timeout(5_000) })).ok, 90_000);

  const gateway = directUrl(wherry, "ecommerce", "gateway");
  const buyers = new Buyers(gateway);
  const took = async (name: string, fault: () => Promise<void>) => {
    const began = performance.now();
    await fault();
    t.diagnostic(`${name}: back after ${Math.round(performance.now() - began)} ms`);
  };
  const services = ["order-service", "user-service", "product-service", "notification-service"];
  try {
    for (const name of [...services, "postgres"]) await took(`a replica of ${name}`, () => killProgram(name));
    for (const name of services) await took(`all pods of ${name}`, () => killPods(name));
    await took("wherry-api", async () => {
      const old = wherry.processes().api!;
      process.kill(old, "SIGKILL");
      await until("another wherry-api", () => (wherry.processes().api ?? old) !== old, 30_000);
      await kubectl("rollout", "status", "deployment/order-service", "-n", "ecommerce", "--timeout=90s");
    });
    await took("wherry-net", async () => {
      const old = wherry.processes().net[0]!;
      process.kill(old, "SIGKILL");
      await until("another wherry-net", () => (wherry.processes().net[0] ?? old) !== old, 30_000);
      await answers();
    });
    // Two at once: what was under way in one finds the other gone, too.
    await took("postgres and order-service", async () => void (await Promise.all([killProgram("postgres"), killPods("order-service")])));
    await answers();
  } finally {
    await buyers.over();
  }
  await assertNothingLost(t, buyers, address);
});

test("all of Wherry is killed while people buy, twice: it comes back with every order", { timeout: 580_000, skip }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using desk = new CommandLine(t);
  const [dataDir, port] = [desk.path("data"), await freePort()];
  const up = async () => {
    const running = desk.start("up", shop, "--data-dir", dataDir, "--port", String(port), "--no-watch");
    await running.said(isUp);
    return running;
  };
  let stack = await up();
  const kubectl = (...args: string[]) => desk.kubectl("wherry", "-n", "ecommerce", ...args);
  // Where people know the shop to be, whatever becomes of it: ports that were asked for.
  const nodePort = async (service: string, from: number, targetPort: number) => {
    for (let candidate = 30_000 + Math.floor(Math.random() * 2_700); ; candidate++) {
      if (!(await isFree(candidate))) continue;
      kubectl("patch", "service", service, "-p", JSON.stringify({ spec: { type: "NodePort", ports: [{ port: from, targetPort, nodePort: candidate }] } }));
      return candidate;
    }
  };
  const [gateway, postgres] = [await nodePort("gateway", 80, 8080), await nodePort("postgres-service", 5432, 5432)];
  const url = `http://127.0.0.1:${gateway}`;
  const answers = () => until("orders are read", async () => (await fetch(`${url}/orders?limit=1`, { signal: AbortSignal.timeout(5_000) })).ok, 120_000);
  await answers();
  const secret = (key: string) => Buffer.from(kubectl("get", "secret", "db-credentials", "-o", `jsonpath={.data.${key}}`), "base64").toString();
  const address = { host: "127.0.0.1", port: postgres, database: "ecommerce", user: secret("username"), password: secret("password") };

  const buyers = new Buyers(url);
  try {
    for (const time of ["once", "again"]) {
      const bought = buyers.ledger.length;
      await until("somebody has bought", () => buyers.ledger.length > bought, 60_000);
      const family = familyOf(dataDir, stack.pid);
      const began = performance.now();
      stack.kill("SIGKILL");
      await stack.ended;
      stack = await up();
      await answers();
      t.diagnostic(`killed ${time}: back after ${Math.round(performance.now() - began)} ms`);
      assert.deepEqual(await survivors(family, 20_000), []);
    }
  } finally {
    await buyers.over();
  }
  await assertNothingLost(t, buyers, address);
});

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().on("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
