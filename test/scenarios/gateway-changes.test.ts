import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { connect } from "node:tls";
import { resources } from "../../src/api/resources.ts";
import type { Deployment } from "../../src/api/types.ts";
import { type Gateway, gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { gatewayLoad } from "./gateway-load.ts";

const changes = process.env["WHERRY_CONFORMANCE"] ? 1_000 : 100;
const socketCount = 20;

async function until(what: string, holds: () => Promise<boolean> | boolean, withinMs: number): Promise<void> {
  for (const began = performance.now(); !(await (async () => holds())().catch(() => false)); ) {
    assert.ok(performance.now() - began < withinMs, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const rule = (service: string, value: string) => ({ filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier: { set: [{ name: "x-change", value }] } }], backendRefs: [{ name: service, port: 80 }] });
const route = (name: string, hostname: string, rules: unknown[]) => ({ metadata: { name }, spec: { parentRefs: [{ name: "edge" }], hostnames: [hostname], rules } });

/** Each kind of change that a team makes all day; `n` grows. */
const kinds: readonly ((n: number) => { name: string; rules: unknown[] } | { gone: string } | { name: string; rules: unknown[]; fresh: true })[] = [
  (n) => ({ name: "shop", rules: [rule("echo", String(n))] }),
  (n) => ({ name: `extra-${n}`, rules: [rule("echo", String(n))], fresh: true }),
  (n) => ({ name: "sockets", rules: [rule("echo-v2", String(n))] }),
  (n) => ({ name: "shop", rules: [{ matches: [{ path: { value: "/rest" } }], ...rule("echo", String(n)) }, { backendRefs: [{ name: "echo", port: 80, weight: 1 }, { name: "echo-v2", port: 80, weight: n }] }] }),
  (n) => ({ gone: `extra-${n - 3}` }),
];

test(`${changes} changes of routes, more and fewer pods, a roll-out and a renewed certificate under load: no request and no WebSocket is lost`, { timeout: 400_000 }, async (t) => {
  if (!needs(t, "kubectl", "openssl")) return;
  await using wherry = await startWherry({ test: t });
  const folder = join(dirname(wherry.dataDir), "gateway");
  cpSync(join(import.meta.dirname, "gateway"), folder, { recursive: true });
  const newCertificate = (): { cert: string; data: Record<string, string> } => {
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=shop.example.com", "-keyout", "tls.key", "-out", "tls.crt"], { cwd: folder, stdio: "ignore" });
    const [cert, key] = ["tls.crt", "tls.key"].map((file) => readFileSync(join(folder, file)));
    return { cert: cert!.toString(), data: { "tls.crt": cert!.toString("base64"), "tls.key": key!.toString("base64") } };
  };
  const { client } = wherry;
  await client.create(resources.secrets, "default", { metadata: { name: "shop" }, type: "kubernetes.io/tls", data: newCertificate().data });
  await client.create(resources.configMaps, "default", { metadata: { name: "echo" }, data: { "echo.mjs": readFileSync(join(folder, "echo.mjs"), "utf8") } });
  const { stderr, code } = await wherry.kubectl("apply", "-f", join(folder, "gateway.yaml"), "-f", join(folder, "stack.yaml"));
  assert.equal(code, 0, stderr);
  await client.create(gatewayResources.httpRoutes, "default", route("shop", "shop.example.com", [rule("echo", "0")]));
  await client.create(gatewayResources.httpRoutes, "default", route("sockets", "sockets.example.com", [rule("echo-v2", "0")]));
  let address = "";
  await until("the Gateway is programmed", async () => {
    const { status } = await client.get<Gateway>(gatewayResources.gateways, "default", "edge");
    address = status?.addresses?.[0]?.value ?? "";
    return status?.listeners?.every(({ conditions }) => conditions.some(({ type, status }) => type === "Programmed" && status === "True")) ?? false;
  }, 20_000);
  const ready = async () => (await client.get<Deployment>(resources.deployments, "default", "echo")).status;
  await until("the pods are ready", async () => (await ready())?.readyReplicas === 2 && (await wherry.kubectl("get", "pod", "echo-v2", "-o", "jsonpath={.status.containerStatuses[0].ready}")).stdout === "true", 30_000);

  await using load = await gatewayLoad({ address, port: 8080, host: "shop.example.com", path: "/rest", clients: 6, secure: { serverName: "shop.example.com", port: 8443, clients: 2 }, sockets: { host: "sockets.example.com", count: socketCount, everyMs: 100 } });
  const began = performance.now();
  /** The rest of what happens, beside the routes' changes. */
  const events = (async () => {
    const scale = async (replicas: number) => {
      await client.patch(resources.deployments, "default", "echo", { spec: { replicas } });
      await until(`${replicas} replicas`, async () => (await ready())?.readyReplicas === replicas && (await ready())?.replicas === replicas, 30_000);
    };
    const roll = async (round: number) => {
      await client.patch(resources.deployments, "default", "echo", { spec: { template: { metadata: { annotations: { round: String(round) } } } } });
      await until("the roll-out", async () => {
        const { metadata, status, spec } = await client.get<Deployment>(resources.deployments, "default", "echo");
        return status?.observedGeneration === metadata.generation && status?.updatedReplicas === spec!.replicas && status?.replicas === spec!.replicas && status?.readyReplicas === spec!.replicas;
      }, 60_000);
    };
    const renew = async () => {
      const { cert, data } = newCertificate();
      await client.patch(resources.secrets, "default", "shop", { data });
      await until("the renewed certificate is shown", async () => (await shown(address)) === cert.trim(), 5_000);
    };
    for (let round = 0; round < Math.max(1, changes / 500); round++) {
      await scale(4);
      await renew();
      await scale(2);
      await roll(round);
    }
  })();
  events.catch(() => {});
  let slowestMs = 0;
  for (let n = 1; n <= changes; n++) {
    const change = kinds[n % kinds.length]!(n);
    const before = performance.now();
    if ("gone" in change) await client.delete(gatewayResources.httpRoutes, "default", change.gone);
    else if ("fresh" in change) await client.create(gatewayResources.httpRoutes, "default", route(change.name, `${change.name}.example.com`, change.rules));
    else await client.patch(gatewayResources.httpRoutes, "default", change.name, { spec: { rules: change.rules } }, { type: "merge" });
    slowestMs = Math.max(slowestMs, performance.now() - before);
    // Spread over what else happens, so that they meet each moment of it.
    await new Promise((resolve) => setTimeout(resolve, changes === 100 ? 40 : 30));
  }
  await events;
  const { ok, failures, lost, pings } = await load.stop();
  t.diagnostic(`${changes} changes in ${((performance.now() - began) / 1000).toFixed(1)} s (the slowest answer ${slowestMs.toFixed(0)} ms): ${ok} requests served, ${failures.length} failed; ${pings} pings over ${socketCount} WebSockets, ${lost.length} lost`);
  assert.deepEqual({ failures, lost }, { failures: [], lost: [] });
  assert.ok(ok > changes && pings > socketCount, `${ok} requests, ${pings} pings`);
});

/** The certificate that a new connection is shown, as PEM. */
function shown(address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port: 8443, servername: "shop.example.com", rejectUnauthorized: false }, () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      resolve(`-----BEGIN CERTIFICATE-----\n${raw.toString("base64").replace(/(.{64})(?!$)/g, "$1\n")}\n-----END CERTIFICATE-----`);
    });
    socket.on("error", reject);
  });
}
