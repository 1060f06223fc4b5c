import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { test } from "node:test";
import type { EdgeBinding } from "../api/network.ts";
import type { Route, TrafficPatch } from "../api/traffic.ts";
import { ChallengeRoutes } from "./challenges.ts";
import { eventually, startSupervisor } from "./testing/network.ts";

const http = { id: "ingress/http", address: "127.0.0.1", port: 80, protocol: "HTTP" as const };
const redirect: Route = { type: "http", id: "Ingress/default/a.test", createdAt: 1, attachments: [{ listener: "ingress/http", hostnames: ["a.test"] }], rules: [{ name: "all", matches: [{ path: { type: "prefix", value: "/" } }], filters: [{ type: "redirect", scheme: "https", status: 308 }], backends: [] }] };

test("an answer is given before the host redirects, at each listener that serves the host, and no longer than it is needed", async () => {
  await using net = await startSupervisor();
  let bindings: EdgeBinding[] = [];
  const challenges = new ChallengeRoutes((patch) => net.publishTraffic(patch));
  net.onEdgeBindings((list) => challenges.bound((bindings = list)));
  const own = { id: "default/gw/http", address: "127.0.0.1", port: 8080, protocol: "HTTP" as const, hostname: "*.test" };
  const other = { ...own, id: "default/gw/other", port: 8081, hostname: "b.example.com" };
  const early = challenges.present({ host: "a.test", token: "early", text: "early.print" });
  assert.deepEqual(early.addresses(), [], "nobody listens yet");
  challenges.pass({ revision: 1, whole: true, scope: "ingress", put: { listeners: [http], routes: [redirect] }, remove: {} });
  challenges.pass({ revision: 1, whole: true, scope: "gateway", put: { listeners: [own, other] }, remove: {} });
  const portOf = (usual: number) => eventually(() => bindings.find((binding) => binding.port === usual)?.boundPort);
  const [ingress, gateway, elsewhere] = [(await portOf(80))!, (await portOf(8080))!, (await portOf(8081))!];
  assert.deepEqual(early.addresses().map(({ port }) => port).sort(), [ingress, gateway].sort());

  challenges.present({ host: "a.test", token: "late", text: "late.print" });
  for (const port of [ingress, gateway]) {
    for (const token of ["early", "late"]) await eventually(async () => (await ask(port, "a.test", `/.well-known/acme-challenge/${token}`)) === `200 ${token}.print`);
  }
  assert.equal(await ask(ingress, "a.test", "/.well-known/acme-challenge/unknown"), "308 ");
  assert.equal(await ask(ingress, "a.test", "/"), "308 ");
  assert.match(await ask(elsewhere, "b.example.com", "/.well-known/acme-challenge/late"), /^404/);
  early.remove();
  early.remove();
  await eventually(async () => (await ask(ingress, "a.test", "/.well-known/acme-challenge/early")) === "308 ");
  assert.equal(await ask(ingress, "a.test", "/.well-known/acme-challenge/late"), "200 late.print");
  // A process that starts anew says that there are none; routes of others stay.
  new ChallengeRoutes((patch) => net.publishTraffic(patch)).pass({ revision: 2, put: {}, remove: {} });
  await eventually(async () => (await ask(ingress, "a.test", "/.well-known/acme-challenge/late")) === "308 ");
});

test("what is published follows listeners that come and go", () => {
  const published: TrafficPatch[] = [];
  const challenges = new ChallengeRoutes((patch) => published.push(patch));
  const attached = () => published.flatMap(({ put }) => put.routes ?? []).at(-1)?.attachments.map(({ listener }) => listener);
  challenges.present({ host: "a.test", token: "t", text: "x" });
  assert.deepEqual(attached(), []);
  challenges.pass({ revision: 1, whole: true, scope: "ingress", put: { listeners: [http, { ...http, id: "ingress/https", protocol: "HTTPS" }] }, remove: {} });
  assert.deepEqual(attached(), ["ingress/http"]);
  challenges.pass({ revision: 1, whole: true, scope: "gateway", put: { listeners: [{ ...http, id: "default/gw/http" }] }, remove: {} });
  assert.deepEqual(attached(), ["ingress/http", "default/gw/http"]);
  const count = published.length;
  challenges.pass({ revision: 2, put: { routes: [redirect] }, remove: {} });
  assert.equal(published.length, count + 1, "what concerns no listener is passed on alone");
  challenges.pass({ revision: 3, whole: true, scope: "ingress", put: {}, remove: {} });
  assert.deepEqual(attached(), ["default/gw/http"]);
  challenges.pass({ revision: 4, put: {}, remove: { listeners: ["default/gw/http"] } });
  assert.deepEqual(attached(), []);
});

async function ask(port: number, host: string, path: string): Promise<string> {
  const asked = request({ host: "127.0.0.1", port, path, headers: { host }, agent: false }).end();
  const [answer] = await once(asked, "response");
  let text = "";
  for await (const chunk of answer) text += chunk;
  return `${answer.statusCode} ${text}`;
}
