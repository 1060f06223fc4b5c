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
  const usage = (prefix: string) => Promise.resolve(prefix === "plan/default/keyed.prod/gold/" ? [{ id: `${prefix}getPets`, unit: "day" as const, key: "ann", startMs: 0, endMs: Date.UTC(2027, 0, 1), count: 5 }] : prefix === "policy/default/plans/" ? [{ id: `${prefix}global/0`, unit: "month" as const, key: "alice", startMs: 0, endMs: Date.UTC(2027, 0, 1), count: 17 }] : []);
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
    const asked = { namespace: "default", to: option("to"), from: option("from"), add: option("add"), remove: option("remove"), plan: option("plan"), path: option("path"), words };
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
  assert.equal(await say("keys pets prod"), "refused: the stage has no plans, and no SecurityPolicy in namespace default asks for API keys of HTTPRoute pets.prod: see docs/reference/api-product.md");
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
  await until("it is told", async () => (await say("usage pets prod")) === "KEY COUNT LIMIT UNIT UNTIL POLICY\nalice 17 1000 month 2027-01-01T00:00:00Z plans");

  // Keys of usage plans: what a Secret has is what is served, a moment later.
  const keyed = { openapi: "3.1.0", info: { title: "Keyed", version: "1" }, components: { securitySchemes: { key: { type: "apiKey", in: "header", name: "x-api-key" } } }, paths: { "/pets": { get: { operationId: "getPets", security: [{ key: [] }] } } } };
  const plans = (unit: string) => [{ name: "gold", secretRef: { name: "gold" }, operations: [{ operation: "getPets", quota: { requests: 10, unit } }] }, { name: "free", secretRef: { name: "free" }, throttle: { requestsPerSecond: 1 } }];
  const create = (unit: string) => client.create(apiResource, "default", { metadata: { name: "keyed" }, spec: { document: keyed, stages: [{ name: "prod", hostnames: ["keyed.example.com"], ...common, plans: plans(unit) }] } });
  await assert.rejects(create("Decade"), /Unsupported value: "Decade"/);
  await create("Day");
  await until("a Secret that is not there is told", async () => (await say("list")).includes("\n\ndefault/keyed prod: Dropped Rule: get-pets: stages[].plans: gold: secretRef names Secret default/gold, which does not exist"));
  await client.create(resources.secrets, "default", { metadata: { name: "gold" }, data: { ann: Buffer.from("key-of-ann").toString("base64") } });
  assert.equal(await say("keys keyed prod"), "refused: Secret default/free, which plan free names, does not exist: kubectl create secret generic free -n default");
  await client.create(resources.secrets, "default", { metadata: { name: "free" } });
  const known = () => traffic.snapshot().routes.flatMap((route) => (route.id === "HTTPRoute/default/keyed.prod" && route.type === "http" ? route.rules.flatMap(({ filters }) => filters.flatMap((filter) => (filter.type === "apiKey" ? filter.keys.map(({ client: one, plan }) => `${one} ${plan}`) : []))) : []));
  await until("keys are served", () => known().join() === "ann gold");
  assert.equal(await say("keys keyed prod --add bob"), "refused: stage prod has several plans: say --plan gold or --plan free");
  assert.equal(await say("keys keyed prod --add ann --plan free"), "refused: client ann has a key in Secret gold already; --remove it first");
  assert.match(await say("keys keyed prod --add bob --plan free"), /^[\w-]{32}$/);
  assert.equal(await say("keys keyed prod"), "CLIENT PLAN SECRET\nann gold default/gold\nbob free default/free");
  await until("so is another", () => known().join() === "ann gold,bob free");
  assert.equal(await say("keys keyed prod --remove ann --plan free"), "refused: client ann has no key of keyed prod in plan free");
  assert.equal(await say("keys keyed prod --remove ann"), "the key of ann is taken out of Secret gold");
  await until("and not the one that is gone", () => known().join() === "bob free");
  await until("what a plan counted is told", async () => (await say("usage keyed prod")) === "KEY COUNT LIMIT UNIT UNTIL POLICY\nann 5 10 day 2027-01-01T00:00:00Z plan gold for getPets");
  await client.delete(apiResource, "default", "keyed");
  await until("nobody keeps it", async () => !(await say("list")).includes("keyed"));
  // Nobody collects here what belonged to it.
  await client.delete(resources.controllerRevisions, "default", "keyed.1");

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
  const { items } = await client.list(resources.controllerRevisions, { namespace: "default", labelSelector: `${apiLabel}=pets` });
  assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), ["pets.1", "pets.2"]);
  assert.equal(emptied.length, emptiedBefore, "nobody asked for more");
  await gateways.stop();
});

/** As above, with what goes wrong: who is told, and that it is told once. */
test("an API's problems are told once; rivals, documents of ConfigMaps, those that are too large, and two keepers at once", { timeout: 120_000 }, async () => {
  await using server = await startApi();
  const { client } = server;
  const start = () => startGateways({ client, clock: systemClock, log: silentLog, publish: () => {} });
  const gateways = start();
  await gateways.definitions;
  const common = { parentRefs: [{ name: "edge" }], backendRef: { name: "pets", port: 80 } };
  const document = (version: string, ...paths: string[]) => ({ openapi: "3.1.0", info: { title: "Pets", version }, paths: Object.fromEntries(paths.map((path) => [path, { get: {} }])) });
  await client.create(resources.services, "default", { metadata: { name: "pets" }, spec: { ports: [{ port: 80 }] } });
  await client.create(gatewayResources.gateways, "default", { metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] } });
  const get = (name: string) => client.get<ApiObject>(apiResource, "default", name);
  const patch = (name: string, spec: object) => client.patch<ApiObject>(apiResource, "default", name, { spec }, { type: "merge" });
  const events = async (name: string) => (await client.list(resources.events, { namespace: "default" })).items.filter((event) => (event["regarding"] ?? event["involvedObject"]).name === name).map((event) => `${event["reason"]} ${event["note"] ?? event["message"]} ${event["series"]?.count ?? event["count"] ?? 1}`).sort();
  const settled = async (name: string, generation: number | undefined) => until(`${name} is looked at`, async () => (await get(name)).status?.conditions?.[0]?.observedGeneration === generation);
  const messageOf = async (name: string, stage = 0) => (await get(name)).status?.stages?.[stage]?.message;
  const made = (name: string) => client.list(resources.controllerRevisions, { namespace: "default", labelSelector: `${apiLabel}=${name}` }).then(({ items }) => items.sort((a, b) => a["revision"] - b["revision"]));

  // What is wrong is told by an Event, and not again because something else was looked at.
  await client.create(apiResource, "default", { metadata: { name: "pets" }, spec: { document: document("1", "/pets", "/more"), stages: [{ name: "prod", hostnames: ["api.example.com"], ...common, operations: [{ operation: "nothing" }] }] } });
  const said = "deployment 1 has no operation nothing: what the stage says of it is for nothing";
  await until("it is said", async () => (await messageOf("pets")) === said);
  const told = () => events("pets").then((all) => all.filter((event) => event.includes("nothing")));
  await until("it is told", async () => (await told()).length > 0);
  for (const revisionHistoryLimit of [9, 8, 7]) await settled("pets", (await patch("pets", { revisionHistoryLimit })).metadata.generation);
  assert.deepEqual(await told(), [`NotHonoured stage prod: ${said} 1`]);
  await patch("pets", { stages: [{ name: "prod", hostnames: ["api.example.com"], ...common }] });
  await until("nothing is wrong", async () => (await messageOf("pets")) === undefined);

  // Another API at the same addresses: the route that is older answers what both have.
  const cats = (hostname: string) => ({ document: document("1", "/pets", "/cats"), stages: [{ name: "main", hostnames: [hostname], ...common }] });
  await client.create(apiResource, "default", { metadata: { name: "zoo" }, spec: cats("api.example.com") });
  const rival = "stage prod of API default/pets has the same addresses, and is older: it answers GET /pets";
  await until("the rival is named", async () => (await messageOf("zoo")) === rival);
  assert.equal(await messageOf("pets"), undefined);
  const replace = (value: object) => client.patch(apiResource, "default", "pets", [{ op: "replace", path: "/spec/document", value }], { type: "json" });
  await replace(document("2", "/dogs"));
  await until("it is none any more", async () => (await messageOf("zoo")) === undefined);
  await replace(document("3", "/pets"));
  await until("it is one again", async () => (await messageOf("zoo")) === rival);
  await patch("zoo", cats("cats.example.com"));
  await until("it is elsewhere", async () => (await messageOf("zoo")) === undefined);

  // A ConfigMap's document: not there, there, another one, none, too large.
  const condition = async () => (await get("filed")).status?.conditions?.[0]?.message;
  await client.create(apiResource, "default", { metadata: { name: "filed" }, spec: { documentFrom: { configMapKeyRef: { name: "filed", key: "openapi.yaml" } }, revisionHistoryLimit: 1, stages: [{ name: "old", deployment: 1, hostnames: ["old.example.com"], ...common }, { name: "new", hostnames: ["new.example.com"], ...common }] } });
  await until("it is missed", async () => (await condition()) === "ConfigMap filed does not exist; nothing is deployed yet");
  await client.create(resources.configMaps, "default", { metadata: { name: "filed" }, data: { "openapi.yaml": JSON.stringify(document("1", "/a")) } });
  const write = (text: string) => client.patch(resources.configMaps, "default", "filed", { data: { "openapi.yaml": text } }, { type: "merge" });
  const newest = async () => (await get("filed")).status?.deployments?.[0]?.version;
  for (const version of ["1", "2", "3", "4"]) {
    await write(JSON.stringify(document(version, "/a")));
    await until(`deployment ${version}`, async () => (await newest()) === version && (await condition()) === "the document is accepted");
  }
  // The newest, the one that is live, and as many others as the limit says.
  await until("older ones are gone", async () => (await made("filed")).length === 3);
  assert.deepEqual((await made("filed")).map((revision) => revision["revision"]), [1, 3, 4]);
  await write(`text: &a "${"x".repeat(100_000)}"\nopenapi: 3.1.0\ninfo: {title: t, version: "5"}\npaths: {/a: {get: {}}}\nx-many: [${Array.from({ length: 20 }, () => "*a").join(", ")}]\n`);
  await until("it is too large", async () => /^it cannot be deployed: .*too large.*; what was deployed before stays live$/.test((await condition()) ?? ""));
  assert.deepEqual([await newest(), (await made("filed")).length], ["4", 3]);

  // Another keeper of the same, as after a restart that overlaps: each document is deployed once.
  const second = start();
  await second.definitions;
  for (const version of ["6", "7", "8"]) {
    await write(JSON.stringify(document(version, "/a")));
    await until(`deployment ${version}`, async () => (await newest()) === version);
  }
  await until("older ones are gone", async () => (await made("filed")).length === 3);
  assert.deepEqual((await made("filed")).map((revision) => [revision["revision"], revision["data"].document.info.version]), [[1, "1"], [6, "7"], [7, "8"]]);
  await Promise.all([gateways.stop(), second.stop()]);
});

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const began = performance.now(); !(await holds()); ) {
    assert.ok(performance.now() - began < deadlineMs, `${what}: not within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
