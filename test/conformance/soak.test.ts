import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { envoyResources } from "../../src/api/envoy/kinds.ts";
import { type ApiObject, apiResource, purgeAnnotation } from "../../src/api/product/kinds.ts";
import { resources } from "../../src/api/resources.ts";
import { gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import { seededRandom } from "../../src/base/random.ts";
import { startWherry } from "../harness.ts";
import { pssMb } from "../../bench/measure.ts";

/**
 * Policies for minutes: tokens, quotas, a cache, validation and plans are asked by many clients, while a stage is promoted, rolled back
 * and purged, keys come and go, and a worker and the API are killed again and again. Nobody is answered otherwise than the policies say,
 * what was counted is what was answered, and nobody grows.
 *
 *   npm run soak               five minutes; WHERRY_SOAK=MINUTES for more or less, SEED=7 for another order
 */
const minutes = Number(process.env["WHERRY_SOAK"] ?? 0);
const skip = minutes > 0 ? false : "takes minutes: npm run soak";

const issuer = generateKeyPairSync("ec", { namedCurve: "P-256" });
const keys = JSON.stringify({ keys: [{ ...issuer.publicKey.export({ format: "jwk" }), kid: "first", alg: "ES256", use: "sig" }] });
const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
function tokenOf(sub: string, seconds: number): string {
  const signed = `${encoded({ alg: "ES256", kid: "first" })}.${encoded({ iss: "https://issuer.test", sub, exp: Math.floor(Date.now() / 1000) + seconds })}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: issuer.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

const program = readFileSync(join(import.meta.dirname, "doors", "pod.mjs")).toString("base64");
const gateway = { group: "gateway.networking.k8s.io", kind: "HTTPRoute" };
const [many, few] = [1_000_000_000, 500];
const requestBody = { required: true, content: { "application/json": { schema: { type: "object", required: ["item"], properties: { item: { type: "integer", minimum: 1 } } } } } };
const document = (version: string, more: object) => ({
  openapi: "3.1.0",
  info: { title: "Shop", version },
  components: { securitySchemes: { key: { type: "apiKey", in: "header", name: "x-api-key" } } },
  paths: {
    "/items/{id}": { get: { operationId: "getItem", parameters: [{ name: "id", in: "path", required: true, schema: { type: "integer" } }] } },
    "/orders": { post: { operationId: "addOrder", security: [{ key: [] }], requestBody } },
    "/checks": { post: { operationId: "check", requestBody } },
    ...more,
  },
});
const objects = (clients: readonly string[]): [typeof apiResource, object][] => [
  [resources.pods, { metadata: { name: "web", labels: { app: "web" } }, spec: { containers: [{ name: "pod", image: "node:26", command: ["node", "-e", `import("data:text/javascript;base64,${program}")`], env: [{ name: "POD", value: "web" }], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }], terminationGracePeriodSeconds: 1 } }],
  [resources.services, { metadata: { name: "web" }, spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] } }],
  [resources.secrets, { metadata: { name: "gold" }, data: Object.fromEntries(clients.map((client) => [client, Buffer.from(`key-of-${client}`).toString("base64")])) }],
  [gatewayResources.gateways, { metadata: { name: "soak" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 8080, protocol: "HTTP" }] } }],
  [gatewayResources.httpRoutes, { metadata: { name: "users" }, spec: { parentRefs: [{ name: "soak" }], hostnames: ["users.test"], rules: [{ backendRefs: [{ name: "web", port: 80 }] }] } }],
  [envoyResources.securityPolicies, { metadata: { name: "tokens" }, spec: { targetRefs: [{ ...gateway, name: "users" }], jwt: { providers: [{ name: "us", issuer: "https://issuer.test", localJWKS: { type: "Inline", inline: keys }, claimToHeaders: [{ claim: "sub", header: "x-user" }] }] } } }],
  [envoyResources.backendTrafficPolicies, { metadata: { name: "year" }, spec: { targetRefs: [{ ...gateway, name: "users" }], rateLimit: { type: "Global", global: { rules: [{ clientSelectors: [{ headers: [{ name: "x-user", type: "Distinct" }] }], limit: { requests: few, unit: "Year" } }] } } } }],
  [apiResource, { metadata: { name: "shop" }, spec: { document: document("1", {}), stages: [{ name: "prod", parentRefs: [{ name: "soak" }], hostnames: ["shop.test"], backendRef: { name: "web", port: 80 }, validation: "All", cache: { ttlSeconds: 60 }, plans: [{ name: "gold", secretRef: { name: "gold" }, quota: { requests: many, unit: "Year" } }] }] } }],
];

test("policies hold, count exactly and do not grow while everything around them changes", { skip, timeout: (minutes + 5) * 60_000 }, async (t) => {
  const random = seededRandom(Number(process.env["SEED"] ?? 1));
  await using wherry = await startWherry({ test: t, netWorkers: 2 });
  const { client } = wherry;
  const clients = Array.from({ length: 20 }, (_, i) => `client-${i}`);
  for (const [where, object] of objects(clients)) await until(`${JSON.stringify(object).slice(0, 60)} is taken`, () => client.create(where, "default", object).then(() => true));
  let address = "";
  await until("the Gateway is programmed", async () => (address = (await client.get(gatewayResources.gateways, "default", "soak"))["status"]?.addresses?.[0]?.value ?? "") !== "");
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const ask = (host: string, path: string, headers: Record<string, string>, body?: string): Promise<number | "lost"> =>
    new Promise((resolve) => {
      const asked = request({ host: address, port: 8080, path, method: body === undefined ? "GET" : "POST", agent, headers: { host, ...headers, ...(body !== undefined && { "content-type": "application/json", "content-length": String(body.length) }) } }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode!)).on("error", () => resolve("lost"));
      });
      asked.on("error", () => resolve("lost")).end(body);
    });
  await until("all is served", async () => (await ask("shop.test", "/items/1", {})) === 200 && (await ask("shop.test", "/orders", { "x-api-key": "none" }, "{}")) === 401 && (await ask("users.test", "/", {})) === 401);

  /** What was answered, by whom and what. */
  const counts = new Map<string, number>();
  const told: string[] = [];
  const note = (what: string, answer: number | "lost", expected: readonly number[]): void => {
    counts.set(`${what} ${answer}`, (counts.get(`${what} ${answer}`) ?? 0) + 1);
    if (answer !== "lost" && !expected.includes(answer) && told.push(`${what}: ${answer}`) > 20) throw new Error(told.join("\n"));
  };
  const got = (what: string, answer: number | "lost"): number => counts.get(`${what} ${answer}`) ?? 0;
  const tokens = clients.map((sub) => tokenOf(sub, 86_400));
  const late = tokenOf("client-0", -3_600);
  const endMs = performance.now() + minutes * 60_000;
  const isOver = (): boolean => performance.now() >= endMs || told.length > 0;
  async function load(): Promise<void> {
    for (let i = 0; !isOver(); i++) {
      const who = Math.floor(random.next() * clients.length);
      const key = { "x-api-key": `key-of-${clients[who]}` };
      switch (i % 8) {
        case 0:
          note(`token ${clients[who]}`, await ask("users.test", "/", { authorization: `Bearer ${tokens[who]}` }), [200, 429]);
          break;
        case 1:
          note("token late", await ask("users.test", "/", { authorization: `Bearer ${late}` }), [401]);
          break;
        case 2:
          note("token none", await ask("users.test", "/", { "x-user": "client-1" }), [401]);
          break;
        case 3:
          note(`key ${clients[who]}`, await ask("shop.test", "/orders", key, '{"item": 7}'), [200]);
          break;
        case 4:
          note("body wrong", await ask("shop.test", "/checks", {}, '{"item": 0}'), [400]);
          break;
        case 5:
          note("path wrong", await ask("shop.test", "/items/x", {}), [400]);
          break;
        default:
          note("item", await ask("shop.test", `/items/${Math.floor(random.next() * 2_000)}?q=${i % 50}`, {}), [200]);
      }
      await pause(1);
    }
  }
  /** One worker is never killed: of it growth is measured. */
  const survivor = wherry.processes().net[0]!;
  /** What a team does all day, and what happens to machines. */
  async function change(): Promise<void> {
    for (let i = 0; !isOver(); i++) {
      await pause(2_000);
      // The API may just have been killed.
      const put = (patch: object) => client.patch(apiResource, "default", "shop", patch, { type: "merge" }).catch(() => {});
      if (i % 10 === 3) await put({ spec: { document: document(String(i), { [`/more/${i}`]: { get: { operationId: `more${i}` } } }) } });
      else if (i % 10 === 5) await stage(1);
      else if (i % 10 === 7) await stage(0);
      else if (i % 10 === 9) await put({ metadata: { annotations: { [purgeAnnotation]: `${i} prod /items` } } });
      else if (i % 10 === 6) await client.patch(resources.secrets, "default", "gold", { data: { [`new-${i % 30}`]: Buffer.from(`new-key-${i}`).toString("base64") } }, { type: "merge" }).catch(() => {});
      else if (i % 10 === 1) {
        const victim = wherry.processes().net.find((pid) => pid !== survivor);
        if (victim !== undefined) process.kill(victim, "SIGKILL");
      } else if (i % 30 === 28) {
        const { api } = wherry.processes();
        if (api !== undefined) process.kill(api, "SIGKILL");
      }
    }
  }
  /** Back to the one before the newest, or on with the newest. Older ones are forgotten after a while. */
  async function stage(back: number): Promise<void> {
    const api = await client.get<ApiObject>(apiResource, "default", "shop").catch(() => undefined);
    const deployment = api?.status?.deployments?.[back]?.revision;
    if (!api || deployment === undefined) return;
    const [{ deployment: _, ...rest }] = api.spec.stages as unknown as [{ deployment?: number }];
    await client.patch(apiResource, "default", "shop", { spec: { stages: [back === 0 ? rest : { ...rest, deployment }] } }, { type: "merge" }).catch(() => {});
  }
  const sizes: { net: number; own: number }[] = [];
  async function measure(): Promise<void> {
    while (!isOver()) {
      await pause(Math.min(10_000, (minutes * 60_000) / 12));
      sizes.push({ net: pssMb([survivor]), own: pssMb([process.pid]) });
    }
  }
  await Promise.all([change(), measure(), ...Array.from({ length: 8 }, load)]);
  assert.deepEqual(told, [], "nobody is answered otherwise than the policies say");
  const sum = (what: string): string => `${what}: ${[...new Set([...counts.keys()].filter((name) => name.startsWith(what)).map((name) => name.split(" ").at(-1)!))].map((answer) => `${[...counts].reduce((all, [name, count]) => (name.startsWith(what) && name.endsWith(` ${answer}`) ? all + count : all), 0)} × ${answer}`).join(", ")}`;
  for (const what of ["token client", "token late", "token none", "key", "body wrong", "path wrong", "item"]) t.diagnostic(sum(what));

  // Whoever has not used all is let use it: exactly so many in all.
  await Promise.all(clients.map(async (name, i) => {
    for (let tries = 0; got(`token ${name}`, 429) === 0 && tries < few * 2; tries++) note(`token ${name}`, await ask("users.test", "/", { authorization: `Bearer ${tokens[i]}` }), [200, 429]);
    const [passed, lost] = [got(`token ${name}`, 200), got(`token ${name}`, "lost")];
    assert.ok(passed <= few && passed + lost >= few, `${name}: ${passed} let through and ${lost} lost of ${few}`);
  }));
  // And what a plan has counted is what was answered; what was lost may have been counted.
  let usage: { key: string; count: number }[] = [];
  const wrong = () => clients.filter((name) => {
    const count = usage.find(({ key }) => key === name)?.count ?? 0;
    return count < got(`key ${name}`, 200) || count > got(`key ${name}`, 200) + got(`key ${name}`, "lost");
  });
  await until("usage is told", async () => {
    usage = (await client.get<ApiObject>(apiResource, "default", "shop")).status?.stages?.[0]?.usage?.filter(({ plan }) => plan === "gold") ?? [];
    return wrong().length === 0;
  }).catch(() => assert.fail(`counted otherwise than answered: ${wrong().map((name) => `${name} ${usage.find(({ key }) => key === name)?.count}, ${got(`key ${name}`, 200)} answered and ${got(`key ${name}`, "lost")} lost`).join("; ")}`));

  const third = Math.floor(sizes.length / 3);
  const middle = (of: readonly number[]): number => of.toSorted((a, b) => a - b)[of.length >> 1]!;
  const [then, now] = [sizes.slice(third, 2 * third), sizes.slice(2 * third)];
  t.diagnostic(`the worker that lived: ${sizes.map(({ net }) => net.toFixed(0)).join(" ")} MB; wherry with its clients: ${sizes.map(({ own }) => own.toFixed(0)).join(" ")} MB`);
  for (const who of ["net", "own"] as const) assert.ok(middle(now.map((size) => size[who])) < middle(then.map((size) => size[who])) + 32, `${who} grows`);
  assert.equal(wherry.processes().net[0], survivor);
  agent.destroy();
});

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 60_000; !(await holds().catch(() => false)); ) {
    assert.ok(performance.now() < endMs, `${what}: not within a minute`);
    await pause(50);
  }
}
