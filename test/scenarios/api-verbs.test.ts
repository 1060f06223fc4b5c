import assert from "node:assert/strict";
import { test } from "node:test";
import { envoyResources } from "../../src/api/envoy/kinds.ts";
import { type ApiObject, apiLabel, apiResource, purgeAnnotation } from "../../src/api/product/kinds.ts";
import { resources } from "../../src/api/resources.ts";
import type { TrafficPatch } from "../../src/api/traffic.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { apiVerbs } from "../../src/cli/api/index.ts";
import { gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import { startGateways } from "../../src/proxy/gateway/start.ts";
import { TrafficState } from "../../src/proxy/traffic-state.ts";
import { startApi } from "../harness-api.ts";

const deadlineMs = 30_000;

/** What the gateway keeps of an API, and what people are told and may say: on a real API server, without a data plane. The whole, with one: api-product.test.ts. */
test("an API is deployed, promoted and rolled back; its routes and deployments follow it, whoever else changes them", { timeout: 120_000 }, async () => {
  await using server = await startApi();
  const { client } = server;
  const traffic = new TrafficState();
  const usage = (prefix: string) => Promise.resolve(prefix === "policy/default/plans/" ? [{ id: `${prefix}global/0`, unit: "month" as const, key: "alice", startMs: 0, endMs: Date.UTC(2027, 0, 1), count: 17 }] : []);
  const emptied: string[] = [];
  const gateways = startGateways({ client, clock: systemClock, log: silentLog, publish: (patch: TrafficPatch) => void traffic.apply(patch), usage, purge: (cache, prefix) => Promise.resolve(emptied.push(`${cache} ${prefix}`.trim()) && 3) });
  await gateways.definitions;
  await client.create(resources.services, "default", { metadata: { name: "pets" }, spec: { ports: [{ port: 80 }] } });
  await client.create(gatewayResources.gateways, "default", { metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] } });
  const document = (version: string, ...paths: string[]) => ({ openapi: "3.1.0", info: { title: "Pets", version }, paths: Object.fromEntries(paths.map((path) => [path, { get: {} }])) });
  const common = { parentRefs: [{ name: "edge" }], backendRef: { name: "pets", port: 80 } };
  const stages = [{ name: "dev", hostnames: ["dev.example.com"], ...common }, { name: "prod", hostnames: ["api.example.com"], deployment: 1, ...common }];
  await client.create(apiResource, "default", { metadata: { name: "pets" }, spec: { document: document("1", "/pets"), stages } });

  const say = (line: string): Promise<string> => {
    const [verb, ...words] = line.split(" ");
    const option = (name: string): string | undefined => {
      const at = words.indexOf(`--${name}`);
      return at < 0 ? undefined : words.splice(at, 2)[1];
    };
    const asked = { namespace: "default", to: option("to"), from: option("from"), add: option("add"), remove: option("remove"), path: option("path"), words };
    return apiVerbs.find(({ name }) => name === verb)!.run(client, asked).then((text) => text.trimEnd().replace(/ +/g, " "), (error: Error) => `refused: ${error.message}`);
  };
  const head = "NAMESPACE API STAGE LIVE NEWEST OPERATIONS WHERE";
  await until("it is served", async () => (await say("list")) === `${head}\ndefault pets dev 1 1 1 http://dev.example.com\ndefault pets prod 1 1 1 http://api.example.com`);
  assert.deepEqual(traffic.snapshot().routes.map(({ id }) => id).sort(), ["HTTPRoute/default/pets.dev", "HTTPRoute/default/pets.prod"]);

  // A second document is a second deployment, which prod has when it is promoted.
  await client.patch(apiResource, "default", "pets", { spec: { document: document("2", "/pets", "/orders") } }, { type: "merge" });
  await until("the second is live in dev", async () => (await say("list")) === `${head}\ndefault pets dev 2 2 2 http://dev.example.com\ndefault pets prod 1 2 1 http://api.example.com`);
  const rules = (stage: string) => traffic.snapshot().routes.flatMap((route) => (route.id === `HTTPRoute/default/pets.${stage}` && route.type === "http" ? route.rules.map(({ name }) => name) : [])).sort();
  assert.deepEqual([rules("dev"), rules("prod")], [["get-orders", "get-pets", "other-methods-orders", "other-methods-pets"], ["get-pets", "other-methods-pets"]]);
  assert.equal(await say("promote pets --from dev --to prod"), "pets prod: deployment 1 → 2");
  await until("prod has it", () => rules("prod").length === 4);
  assert.equal(await say("promote pets --to prod"), "pets prod: deployment 2 is live already");
  assert.equal(await say("promote pets --to dev"), "pets dev: stays with deployment 2, and follows the newest no longer");
  assert.equal(await say("rollback pets prod"), "pets prod: deployment 2 → 1");
  await until("prod has the first again", () => rules("prod").length === 2);
  assert.equal(await say("rollback pets prod"), "refused: API pets has no deployment before 1; it has 2, 1");
  assert.equal(await say("rollback pets prod --to 3"), "refused: API pets has no deployment 3; it has 2, 1");
  assert.equal(await say("rollback pets staging"), "refused: API pets has no stage staging; it has dev, prod");
  assert.equal(await say("promote cats --to prod"), "refused: there is no API cats in namespace default; wherry api list shows them");

  // Its data is nobody's to change, and its route is as the API says.
  const changed = client.patch(resources.controllerRevisions, "default", "pets.1", { data: { document: document("9") } }, { type: "merge" });
  await assert.rejects(changed, /field is immutable|may not be changed|Forbidden/i);
  await client.patch(gatewayResources.httpRoutes, "default", "pets.prod", { spec: { hostnames: ["other.example.com"] } }, { type: "merge" });
  await until("the route is as it was", async () => (await client.get(gatewayResources.httpRoutes, "default", "pets.prod"))["spec"].hostnames[0] === "api.example.com");

  // Keys are those of the Secrets that a policy for the stage's route names.
  assert.equal(await say("keys pets prod"), "refused: no SecurityPolicy in namespace default asks for API keys of HTTPRoute pets.prod: see docs/reference/api-product.md");
  await client.create(envoyResources.securityPolicies, "default", { metadata: { name: "keys" }, spec: { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "pets.prod" }], apiKeyAuth: { credentialRefs: [{ name: "pets-keys" }], extractFrom: [{ headers: ["x-api-key"] }] } } });
  assert.equal(await say("keys pets prod"), "refused: Secret default/pets-keys, which SecurityPolicy keys names, does not exist: kubectl create secret generic pets-keys -n default");
  await client.create(resources.secrets, "default", { metadata: { name: "pets-keys" } });
  const key = await say("keys pets prod --add alice");
  assert.match(key, /^[\w-]{32}$/);
  const secret = await client.get(resources.secrets, "default", "pets-keys");
  assert.equal(Buffer.from(secret["data"].alice, "base64").toString(), key);
  assert.equal(await say("keys pets prod"), "CLIENT SECRET\nalice default/pets-keys");
  assert.equal(await say("keys pets prod --add alice"), "refused: client alice has a key in Secret pets-keys already; --remove it first");
  assert.equal(await say("keys pets prod --remove bob"), "refused: client bob has no key of pets prod");
  assert.equal(await say("keys pets prod --remove alice"), "the key of alice is taken out of Secret pets-keys");
  assert.equal(await say("keys pets prod"), "nobody has a key of pets prod");

  assert.equal(await say("usage pets prod"), "no BackendTrafficPolicy with rateLimit.global is for pets prod, and no plan of it has a quota: nothing is counted");
  await client.create(envoyResources.backendTrafficPolicies, "default", { metadata: { name: "plans" }, spec: { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "pets.prod" }], rateLimit: { type: "Global", global: { rules: [{ limit: { requests: 1000, unit: "Month" } }] } } } });
  await until("it is told", async () => (await say("usage pets prod")) === "KEY COUNT UNIT UNTIL POLICY\nalice 17 month 2027-01-01T00:00:00Z plans");

  // Caches are emptied once for each value of the annotation, whoever writes it.
  assert.equal(await say("purge pets prod --path /pets"), "pets prod /pets: 3 answers are kept no longer, each worker's counted");
  assert.equal(await say("purge pets"), "pets: 6 answers are kept no longer, each worker's counted");
  assert.equal(await say("purge pets staging"), "refused: API pets has no stage staging; it has dev, prod");
  assert.equal(await say("purge pets --path /pets"), "refused: --path: say of which stage");
  assert.equal(await say("purge pets prod --path pets"), "refused: --path pets: must begin with '/', and have no blanks");
  assert.deepEqual(emptied.splice(0), ["api/default/pets.prod /pets", "api/default/pets.dev", "api/default/pets.prod"]);
  const annotate = (value: string) => client.patch(apiResource, "default", "pets", { metadata: { annotations: { [purgeAnnotation]: value } } }, { type: "merge" });
  const purge = async () => (await client.get<ApiObject>(apiResource, "default", "pets")).status?.purge;
  for (const [value, removed, message, done] of [
    ["2026-11-21T00:00:00Z dev", 3, undefined, ["api/default/pets.dev"]],
    ["2 staging", 0, "there is no stage staging", []],
    ["3 dev pets", 0, "pets: a path begins with '/'", []],
    ["4 dev /a /b", 0, "must be TOKEN, TOKEN STAGE, or TOKEN STAGE /PATH", []],
  ] as const) {
    await annotate(value);
    await until(value, async () => (await purge())?.requested === value);
    assert.deepEqual([(await purge())?.removed, (await purge())?.message, emptied.splice(0)], [removed, message, done]);
  }
  const both = await Promise.all([say("purge pets dev"), say("purge pets prod")]);
  assert.deepEqual(both, ["dev", "prod"].map((stage) => `pets ${stage}: 3 answers are kept no longer, each worker's counted`));
  assert.ok(["dev", "prod"].every((stage) => emptied.includes(`api/default/pets.${stage}`)));
  const emptiedBefore = emptied.length;

  // The document as clients see it: of the deployment that is live there, at the stage's address.
  const shown = JSON.parse(await say("document pets prod"));
  assert.deepEqual([shown.openapi, shown.info, shown.servers, Object.keys(shown.paths)], ["3.1.0", { title: "Pets", version: "1" }, [{ url: "http://api.example.com" }], ["/pets"]]);
  assert.equal(await say("document pets staging"), "refused: API pets has no stage staging; it has dev, prod");

  // A document that is none changes nothing but what is said of it.
  await client.patch(apiResource, "default", "pets", { spec: { document: { openapi: "2" } } }, { type: "merge" });
  const accepted = async () => (await client.get<ApiObject>(apiResource, "default", "pets")).status?.conditions?.find(({ type }) => type === "Accepted");
  await until("it is refused", async () => (await accepted())?.status === "False");
  assert.equal(rules("dev").length, 4);
  // A stage that is gone takes its route along; deployments are kept.
  await client.patch(apiResource, "default", "pets", { spec: { document: document("2", "/pets", "/orders"), stages: [stages[1]] } }, { type: "merge" });
  await until("its route is gone", () => rules("dev").length === 0);
  const { items } = await client.list(resources.controllerRevisions, { namespace: "default", labelSelector: apiLabel });
  assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), ["pets.1", "pets.2"]);
  assert.equal(emptied.length, emptiedBefore, "nobody asked for more");
  await gateways.stop();
});

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const began = performance.now(); !(await holds()); ) {
    assert.ok(performance.now() - began < deadlineMs, `${what}: not within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
