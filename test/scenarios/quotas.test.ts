import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { apiResource } from "../../src/api/product/kinds.ts";
import { envoyResources } from "../../src/api/envoy/kinds.ts";
import type { GroupVersionResource, KubeObject } from "../../src/api/meta.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
import { startWherry } from "../../src/wherry.ts";

/** Each user of a shop may ask so often. */
const limit = 150;
const waitMs = 90_000;

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Of this file when it runs as the process that is killed. */
async function wherry(dataDir: string): Promise<void> {
  const isNew = !existsSync(join(dataDir, "store.db"));
  const stack = await startWherry({ dataDir, private: true, netWorkers: 2 });
  const gateways = resource("gateways");
  if (isNew) {
    // The kinds are served a moment after the API is.
    for (const [where, object] of objects) await eventually(() => stack.client.create(where, "default", object), waitMs);
  }
  let seen: unknown;
  const found = await eventually(async () => {
    const [gateway, policy] = [await stack.client.get<Conditioned>(gateways, "default", "edge"), await stack.client.get<Conditioned>(envoyResources.backendTrafficPolicies, "default", "month")];
    seen = [gateway.status, policy.status];
    const isServed = gateway.status?.conditions?.some(({ type, status }) => type === "Programmed" && status === "True");
    const isAccepted = policy.status?.ancestors?.some(({ conditions }) => conditions.some(({ type, status }) => type === "Accepted" && status === "True"));
    return isServed && isAccepted ? gateway.status!.addresses![0]!.value : undefined;
  }, waitMs).catch((error: unknown) => {
    throw new Error(`not served: ${JSON.stringify(seen)}`, { cause: error });
  });
  process.on("message", () => void process.send!(stack.processes()));
  process.send!({ address: found });
}

interface Conditioned extends KubeObject {
  status?: { conditions?: Condition[]; addresses?: { value: string }[]; ancestors?: { conditions: Condition[] }[] };
}
type Condition = { type: string; status: string };

function resource(name: string): GroupVersionResource {
  return { group: "gateway.networking.k8s.io", version: "v1", resource: name };
}
const inGatewayApi = { apiVersion: "gateway.networking.k8s.io/v1" };
/** Of a usage plan. */
const apiHost = "api.example.com";
const keyOf = (user: string): string => `key-of-${user}`;
/** What passes is redirected, so that nobody has to be there to answer. */
const objects: [GroupVersionResource, object][] = [
  [resource("gateways"), { ...inGatewayApi, kind: "Gateway", metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 8080, protocol: "HTTP" }] } }],
  [
    resource("httproutes"),
    { ...inGatewayApi, kind: "HTTPRoute", metadata: { name: "shop" }, spec: { parentRefs: [{ name: "edge" }], rules: [{ filters: [{ type: "RequestRedirect", requestRedirect: { hostname: "shop.example.com", statusCode: 302 } }] }] } },
  ],
  [{ group: "", version: "v1", resource: "secrets" }, { apiVersion: "v1", kind: "Secret", metadata: { name: "gold" }, data: Object.fromEntries(["ann", "bob"].map((user) => [user, Buffer.from(keyOf(user)).toString("base64")])) }],
  [
    apiResource,
    {
      metadata: { name: "orders" },
      spec: {
        document: {
          openapi: "3.0.1",
          info: { title: "Orders", version: "1" },
          components: { securitySchemes: { key: { type: "apiKey", in: "header", name: "x-api-key" } } },
          paths: { "/": { get: { security: [{ key: [] }], "x-amazon-apigateway-integration": { type: "mock", requestTemplates: { "application/json": '{"statusCode": 302}' }, responses: { default: { statusCode: "302" } } } } } },
        },
        stages: [{ name: "live", parentRefs: [{ name: "edge" }], hostnames: [apiHost], plans: [{ name: "gold", secretRef: { name: "gold" }, quota: { requests: limit, unit: "Year" } }] }],
      },
    },
  ],
  [
    envoyResources.backendTrafficPolicies,
    {
      apiVersion: "gateway.envoyproxy.io/v1alpha1",
      kind: "BackendTrafficPolicy",
      metadata: { name: "month" },
      spec: {
        targetRefs: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "shop" }],
        rateLimit: { global: { rules: [{ clientSelectors: [{ headers: [{ name: "x-user", type: "Distinct" }] }], limit: { requests: limit, unit: "Year" } }] } },
      },
    },
  ],
];

async function start(t: TestContext, dataDir: string) {
  const child: ChildProcess = fork(import.meta.filename, ["wherry", dataDir], { stdio: ["ignore", "inherit", "inherit", "ipc"], env: { ...process.env, NODE_TEST_CONTEXT: undefined } });
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  t.after(kill);
  const [message] = (await Promise.race([once(child, "message"), once(child, "exit").then(([code]) => assert.fail(`it ended with ${code}`))])) as [{ address: string }];
  return {
    address: message.address,
    kill,
    processes: async () => {
      child.send("?");
      return (await once(child, "message"))[0] as { api: number; net: number[] };
    },
  };
}

/** Undefined: nobody answered, or nobody who knows the route yet; neither counts anything. */
function request(host: string, user: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve) => {
    get({ host, port: 8080, agent: false, headers: { "x-user": user, ...headers } }, (response) => resolve([302, 429].includes(response.resume().statusCode!) ? response.statusCode : undefined)).on("error", () => resolve(undefined));
  });
}

if (process.argv[2] === "wherry") await wherry(process.argv[3]!);
else {
  const skip = process.env["WHERRY_CONFORMANCE"] ? false : "takes half a minute: WHERRY_CONFORMANCE=1 runs it";
  test("a quota is exact to the request while a worker, the API and all of Wherry are killed", { timeout: 300_000, skip }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "wherry-quotas-"));
    chmodSync(folder, 0o711);
    const dataDir = join(folder, "data");
    let stack = await start(t, dataDir);
    t.after(() => t.passed && rmSync(folder, { recursive: true, force: true }));
    const answers = new Map<string, number>();
    /** So many of each, taking turns, each on a connection of its own. */
    const ask = async (times: number) => {
      for (let i = 0; i < times; i++) for (const user of ["ann", "bob"]) {
        count(answers, `${user} ${await eventually(() => request(stack.address, user, {}), waitMs)}`);
        count(answers, `key of ${user} ${await eventually(() => request(stack.address, user, { host: apiHost, "x-api-key": keyOf(user) }), waitMs)}`);
      }
    };
    await ask(40);
    const processes = await stack.processes();
    assert.equal(processes.net.length, 2);
    process.kill(processes.net[0]!, "SIGKILL");
    await ask(20);
    process.kill(processes.api, "SIGKILL");
    await ask(20);
    await stack.kill();
    stack = await start(t, dataDir);
    await ask(100);
    assert.deepEqual(Object.fromEntries(answers), Object.fromEntries(["ann", "bob"].flatMap((user) => [user, `key of ${user}`]).flatMap((who) => [[`${who} 302`, limit], [`${who} 429`, 180 - limit]])));
  });
}
