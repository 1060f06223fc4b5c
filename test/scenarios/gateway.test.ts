import assert from "node:assert/strict";
import { chmodSync, cpSync, readFileSync } from "node:fs";
import { Agent } from "node:http";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { gatewayResources, type Gateway } from "../../src/proxy/gateway/kinds.ts";
import { entry } from "../../src/wherry.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { ask, gatewayLoad } from "./gateway-load.ts";
import { runTranscript } from "./transcript.ts";

/** The mark for being back is a second; a deadline in a test is five times the mark. */
const deadlineMs = 5_000;

async function until(what: string, holds: () => Promise<boolean> | boolean, withinMs: number): Promise<void> {
  for (const began = performance.now(); !(await (async () => holds())().catch(() => false)); ) {
    assert.ok(performance.now() - began < withinMs, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const route = (name: string, hostname: string, path: string) => ({
  metadata: { name },
  spec: { parentRefs: [{ name: "edge" }], hostnames: [hostname], rules: [{ matches: [{ path: { value: path } }], backendRefs: [{ name: "echo", port: 80 }] }] },
});

test("a Gateway: every protocol and filter, consent across namespaces, what is broken alone; wherry-net and wherry-api killed; two stacks", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl", "openssl", "python3")) return;
  await using wherry = await startWherry({ test: t });
  const folder = join(dirname(wherry.dataDir), "gateway");
  cpSync(join(import.meta.dirname, "gateway"), folder, { recursive: true });
  chmodSync(join(folder, "get"), 0o755);
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  await runTranscript(join(import.meta.dirname, "gateway.transcript"), { cwd: folder, env: { ...wherry.env, WHERRY_DATA_DIR: wherry.dataDir }, variables: { WHERRY: `${process.execPath} ${entry}` }, ...(process.env["STEPS"] && { onStep }) });

  const address = readFileSync(join(folder, "address"), "utf8");
  const status = async (host: string, path: string, at = address) => {
    const agent = new Agent();
    const answer = await ask(agent, at, 8080, host, path);
    agent.destroy();
    return answer.status;
  };
  const shop = { address, port: 8080, host: "shop.example.com", path: "/rest" };

  await t.test("wherry-net killed -9: no connection is refused", async (t) => {
    const clients = 4;
    const rounds = 2;
    await using load = await gatewayLoad({ ...shop, clients });
    for (let round = 0; round < rounds; round++) {
      const [old] = wherry.processes().net;
      process.kill(old!, "SIGKILL");
      await until("a new worker that answers", async () => wherry.processes().net[0] !== old && (await status("shop.example.com", "/rest")) === 200, deadlineMs);
      const { ok } = load.result;
      await until("the load goes on", () => load.result.ok > ok + 20, deadlineMs);
    }
    const { ok, failures } = await load.stop();
    t.diagnostic(`${ok} served, ${failures.length} cut in flight: ${failures.join("; ")}`);
    assert.deepEqual(failures.filter((failure) => !/^\w+ ECONNRESET/.test(failure)), []);
    assert.ok(failures.length <= clients * rounds, "only what was in flight through a killed worker is cut");
  });

  await t.test("wherry-api killed -9: no request is lost, and changes work afterwards", async (t) => {
    await using load = await gatewayLoad({ ...shop, clients: 4, sockets: { host: "shop.example.com", count: 4, everyMs: 50 } });
    await wherry.client.create(gatewayResources.httpRoutes, "default", route("before", "before.example.com", "/"));
    const old = wherry.processes().api;
    process.kill(old!, "SIGKILL");
    await until("a new API that answers", async () => wherry.processes().api !== old && Boolean(await wherry.client.get(gatewayResources.httpRoutes, "default", "before")), deadlineMs);
    await wherry.client.create(gatewayResources.httpRoutes, "default", route("after", "after.example.com", "/"));
    await until("routes of before and after", async () => (await status("before.example.com", "/")) === 200 && (await status("after.example.com", "/")) === 200, deadlineMs);
    await wherry.client.delete(gatewayResources.httpRoutes, "default", "before");
    await until("a route that was deleted", async () => (await status("before.example.com", "/")) === 404, deadlineMs);
    const { ok, failures, lost, pings } = await load.stop();
    t.diagnostic(`${ok} served, ${pings} pings`);
    assert.deepEqual({ failures, lost }, { failures: [], lost: [] });
    assert.ok(ok > 100 && pings > 4, `${ok} requests, ${pings} pings`);
  });

  await t.test("another stack's Gateway of the same name has an address of its own", async (t) => {
    await using other = await startWherry({ test: t });
    const { stderr, code } = await other.kubectl("apply", "-f", join(folder, "gateway.yaml"));
    assert.equal(code, 0, stderr);
    let second: string | undefined;
    await until("the second Gateway's address", async () => {
      const gateway = await other.client.get<Gateway>(gatewayResources.gateways, "default", "edge");
      second = gateway.status?.addresses?.[0]?.value;
      return gateway.status?.listeners?.find(({ name }) => name === "http")?.conditions.some(({ type, status }) => type === "Programmed" && status === "True") ?? false;
    }, deadlineMs);
    assert.match(second!, /^127\.99\./);
    assert.notEqual(second, address);
    assert.equal(await status("shop.example.com", "/rest", second), 404, "it knows no routes of the first");
    assert.equal(await status("shop.example.com", "/rest"), 200);
  });
});
