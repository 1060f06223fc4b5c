import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { until } from "./gateway-stack.ts";

const examples = join(dirname(dirname(import.meta.dirname)), "examples");
const virtualServices = { group: "networking.istio.io", version: "v1", resource: "virtualservices" };
const destinationRules = { group: "networking.istio.io", version: "v1", resource: "destinationrules" };
const patienceMs = 20_000;

/** Answers with its version. */
const program = `require("node:http").createServer((request, response) => response.end(process.env.VERSION)).listen(8080)`;
/** Prints how many of N requests over one connection each version answered: {"v1":90,"v2":10}. */
const counting = `
const { Agent, get } = require("node:http");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const ask = (headers) => new Promise((resolve) => get({ agent, host: "go-app", headers }, (response) => {
  let text = "";
  response.on("data", (chunk) => (text += chunk)).on("end", () => resolve(response.statusCode === 200 ? text : String(response.statusCode)));
}).on("error", (error) => resolve(error.code)));
(async () => {
  const counts = {};
  for (let i = 0; i < Number(process.argv[1]); i++) {
    const answer = await ask(JSON.parse(process.argv[2] ?? "{}"));
    counts[answer] = (counts[answer] ?? 0) + 1;
  }
  console.log(JSON.stringify(counts));
  agent.destroy();
})();`;

function deployment(version: string, replicas: number): object {
  const labels = { app: "go-app", version };
  return {
    metadata: { name: `go-app-${version}` },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "go-app", image: "node:26", command: ["node", "-e", program], env: [{ name: "VERSION", value: version }], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }] } },
    },
  };
}

async function count(wherry: TestWherry, requests: number, headers: Record<string, string> = {}): Promise<Record<string, number>> {
  const { stdout, stderr } = await wherry.kubectl("exec", "client", "--", "node", "-e", counting, String(requests), JSON.stringify(headers));
  assert.notEqual(stdout, "", stderr);
  return JSON.parse(stdout) as Record<string, number>;
}

test("seed 004: Istio's canary as printed, exact over a cycle; weights, matches and subsets change, and nothing is lost", { timeout: 240_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  const { client } = wherry;
  for (const [version, replicas] of [["v1", 2], ["v2", 1]] as const) await client.create(resources.deployments, "default", deployment(version, replicas));
  await client.create(resources.services, "default", { metadata: { name: "go-app" }, spec: { selector: { app: "go-app" }, ports: [{ port: 80, targetPort: 8080 }] } });
  await client.create(resources.pods, "default", { metadata: { name: "client" }, spec: { containers: [{ name: "client", image: "node:26", command: ["node", "-e", "setInterval(() => {}, 1e6)"] }] } });
  for (const name of ["deployment/go-app-v1", "deployment/go-app-v2"]) assert.equal((await wherry.kubectl("rollout", "status", name, "--timeout=60s")).code, 0);
  assert.equal((await wherry.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")).code, 0);

  const manifest = join(examples, "go-app/k8s/canary.yaml");
  const applied = await wherry.kubectl("apply", "-f", manifest);
  assert.equal(applied.stdout, "virtualservice.networking.istio.io/go-app created\ndestinationrule.networking.istio.io/go-app created\n", applied.stderr);
  const conditions = async (kind: typeof virtualServices) => {
    const { status } = await client.get<KubeObject>(kind, "default", "go-app");
    return Object.fromEntries((status?.conditions ?? []).map(({ type, status: value }: { type: string; status: string }) => [type, value]));
  };
  for (const kind of [virtualServices, destinationRules]) await until("the status", async () => JSON.stringify(await conditions(kind)) === JSON.stringify({ Reconciled: "True", PassedAnalysis: "True", Honoured: "True" }), patienceMs);
  // The engine is told over another way than the status.
  await until("the routes are served", async () => (await count(wherry, 10))["v2"] === 1, patienceMs);
  assert.deepEqual(await count(wherry, 100), { v1: 90, v2: 10 });

  await client.patch(virtualServices, "default", "go-app", [{ op: "replace", path: "/spec/http/0/route/0/weight", value: 50 }, { op: "replace", path: "/spec/http/0/route/1/weight", value: 50 }], { type: "json" });
  await until("half and half", async () => (await count(wherry, 10))["v2"] === 5, patienceMs);
  assert.deepEqual(await count(wherry, 100), { v1: 50, v2: 50 });

  await t.test("who asks for it gets the new version, and the rest the old one", async () => {
    await client.patch(virtualServices, "default", "go-app", { spec: { http: [{ match: [{ headers: { "x-preview": { exact: "yes" } } }], route: [{ destination: { host: "go-app", subset: "v2" } }] }, { route: [{ destination: { host: "go-app", subset: "v1" } }] }] } }, { type: "merge" });
    await until("all to v1", async () => (await count(wherry, 10))["v1"] === 10, patienceMs);
    assert.deepEqual(await count(wherry, 20, { "x-preview": "yes" }), { v2: 20 });
  });

  await t.test("a pod that is given another label changes its subset", async () => {
    const { stdout } = await wherry.kubectl("get", "pods", "-l", "version=v2", "-o", "name");
    await wherry.kubectl("label", stdout.trim(), "version=v3", "--overwrite");
    await client.patch(destinationRules, "default", "go-app", { spec: { subsets: [{ name: "v1", labels: { version: "v3" } }, { name: "v2", labels: { version: "v2" } }] } }, { type: "merge" });
    await until("the pod that says v2 of itself is all of subset v1", async () => (await count(wherry, 10))["v2"] === 10, patienceMs);
  });

  await t.test("without them, a connection goes to one endpoint, as before", async () => {
    await client.patch(virtualServices, "default", "go-app", { spec: { http: [{ directResponse: { status: 418 } }] } }, { type: "merge" });
    await until("the routes' own answer", async () => (await count(wherry, 1))["418"] === 1, patienceMs);
    await wherry.kubectl("delete", "-f", manifest);
    await until("an endpoint's answer", async () => Object.keys(await count(wherry, 12)).every((answer) => /^v[12]$/.test(answer)), patienceMs);
  });
});
