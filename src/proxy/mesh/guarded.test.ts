import assert from "node:assert/strict";
import { test } from "node:test";
import type { Guard } from "../../api/guard.ts";
import type { PodSandbox } from "../../node/sandbox/sandbox.ts";
import { containerSpec, execIn, said, SandboxHarness } from "../../node/sandbox/testing.ts";
import { eventually, port, snapshot, startSupervisor } from "../testing/network.ts";
import { guardedPods } from "./guarded-pods.ts";

/** Real pods, told apart by addresses that none can choose; skipped where namespaces are not allowed. */
const harness = await SandboxHarness.start().catch(() => undefined);
if (harness) test.after(() => harness[Symbol.asyncDispose]());
const skip = harness ? false : "this machine allows no namespaces";

/** Servers at 8080, and at ports where a pod's own connections have theirs: one that a Service names, and two that none does, the last of which no routing rule can name. */
const serving = ["node", "-e", `const { createServer } = require("http"); let open = 0; for (const port of [8080, 40000, 45000, 65535]) createServer((_, response) => response.end("web")).listen(port, "0.0.0.0", () => ++open === 4 && console.log("ready"))`];
/** What the kernel must have, to tell what begins a connection. */
const unnamed = harness?.sandbox.findings.find(({ id }) => id === "guarded-ports")?.enforced ? [45_000, 65_535] : [];
/** What an address answers, or why it does not. */
const ask = (host: string, number: number) => ["node", "-e", `require("http").get({ host: "${host}", port: ${number}, agent: false }, (r) => { let text = ""; r.on("data", (d) => text += d).on("end", () => console.log(r.statusCode, text)) }).on("error", (e) => console.log(e.code))`];

test("a guarded pod is reached through its Service alone, by whoever its policy lets in; the node and the pod's own calls go on", { skip, timeout: 120_000 }, async () => {
  const { sandbox } = harness!;
  await using net = await startSupervisor({ network: sandbox.network });
  let told: Promise<void> = Promise.resolve();
  net.onGuarded!((pods) => void (told = sandbox.guard!(pods)));
  const [server, friend, stranger] = [await harness!.pod(), await harness!.pod(), await harness!.pod()];
  const identify = (pod: PodSandbox, name: string) => net.setPod!(pod.ip, { namespace: "shop", name, serviceAccount: name, labels: { app: name } });
  identify(server, "web");
  identify(friend, "friend");
  identify(stranger, "stranger");
  const web = await server.startContainer(containerSpec(serving));
  const [friendly, strange] = [await friend.startContainer(containerSpec(serving)), await stranger.startContainer(containerSpec(serving))];
  await Promise.all([web, friendly, strange].map(({ stdout }) => said(stdout, "ready")));
  net.publish(snapshot(1, { name: "web", namespace: "shop", clusterIPs: ["10.96.0.70"], ports: [port(80, [{ ip: server.ip, port: 8080 }], { appProtocol: "http" }), port(81, [{ ip: server.ip, port: 40_000 }], { appProtocol: "http" })] }));
  const asked = async (from: typeof web, host: string, number: number) => (await execIn(from, ask(host, number))).stdout.trim();
  await eventually(async () => (await asked(strange, "10.96.0.70", 80)) === "200 web", 30_000);
  // As long as nothing guards it.
  for (const number of [8080, 40_000, 45_000, 65_535]) assert.equal(await asked(strange, server.ip, number), "200 web", `${number} without a policy`);

  const guard: Guard = { id: "istio:AuthorizationPolicy/shop/web", createdAt: 1, namespace: "shop", labels: { app: "web" }, authorisation: { name: "shop/web", action: "ALLOW", rules: [{ from: [{ principals: { any: ["cluster.local/ns/shop/sa/friend"] } }] }] } };
  net.publishTraffic({ revision: 1, put: { guards: [guard] }, remove: {} });
  await Promise.all([told, net.settled!()]);
  assert.equal(await asked(friendly, "10.96.0.70", 80), "200 web");
  assert.equal(await asked(friendly, "10.96.0.70", 81), "200 web");
  assert.equal(await asked(strange, "10.96.0.70", 80), "403 RBAC: access denied");
  assert.equal(await asked(strange, "10.96.0.70", 81), "403 RBAC: access denied");
  for (const from of [friendly, strange]) {
    for (const number of [8080, 40_000, ...unnamed]) assert.equal(await asked(from, server.ip, number), "EHOSTUNREACH", `past its listener nobody is let in at ${number}, and is told so at once`);
  }
  const probe = await net.probe({ type: "http", scheme: "HTTP", path: "/", headers: [], ip: server.ip, port: 8080, timeoutMs: 5_000 });
  assert.deepEqual(probe, { success: true, output: "web" }, "the node's probes are nobody's call");
  assert.equal(await asked(web, friend.ip, 8080), "200 web", "what it calls itself answers it");
  assert.equal(await asked(web, server.ip, 8080), "200 web", "and so do its own programs");
  assert.equal(await asked(strange, friend.ip, 8080), "200 web", "whom nothing guards is not concerned");

  // A pod that is there later, with the same labels, is guarded before its first program runs.
  const late = await harness!.pod();
  identify(late, "web");
  const second = await late.startContainer(containerSpec(serving));
  await said(second.stdout, "ready");
  for (const number of [8080, ...unnamed]) assert.equal(await asked(strange, late.ip, number), "EHOSTUNREACH", `late, ${number}`);

  net.publishTraffic({ revision: 2, put: {}, remove: { guards: [guard.id] } });
  await Promise.all([told, net.settled!()]);
  assert.equal(await asked(strange, "10.96.0.70", 80), "200 web");
  for (const { ip } of [server, late]) for (const number of [8080, 45_000, 65_535]) assert.equal(await asked(strange, ip, number), "200 web", `${number} once nothing guards it`);
  await Promise.all([server, friend, stranger, late].map((pod) => pod.remove()));
});

test("who is kept from being dialled: whom a policy or tokens guard, not whom one only watches, tries or guards at a Service", () => {
  const pods = new Map([["10.244.0.2", { namespace: "shop", name: "web-1", serviceAccount: "web", labels: { app: "web" } }], ["10.244.0.3", { namespace: "shop", name: "db-0", serviceAccount: "db" }], ["10.244.0.4", { namespace: "bank", name: "web-1", serviceAccount: "web", labels: { app: "web" } }]]);
  const net = snapshot(1, { name: "web", clusterIPs: [], ports: [port(80, [{ ip: "10.244.0.2", port: 8080 }, { ip: "10.244.0.2", port: 40_000 }, { ip: "10.244.0.3", port: 41_000 }])] });
  const deny = { name: "shop/p", action: "DENY" as const, rules: [] };
  const cases: [guard: Omit<Guard, "id" | "createdAt">, guarded: string][] = [
    [{ namespace: "shop", labels: { app: "web" }, authorisation: deny }, "10.244.0.2:40000"],
    [{ namespace: "shop", authorisation: { ...deny, action: "ALLOW" } }, "10.244.0.2:40000 10.244.0.3:41000"],
    [{ labels: { app: "web" }, tokens: [{ issuer: "me" }] }, "10.244.0.2:40000 10.244.0.4:"],
    [{ authorisation: { ...deny, isDryRun: true } }, ""],
    [{ authorisation: { ...deny, action: "AUDIT" } }, ""],
    [{ services: ["shop/web"], authorisation: deny }, ""],
    [{ peer: { mode: "STRICT" } }, ""],
    [{ namespace: "lab", authorisation: deny }, ""],
  ];
  for (const [guard, guarded] of cases) assert.equal(guardedPods([{ id: "g", createdAt: 1, ...guard }], pods, net).map(({ ip, ports }) => `${ip}:${ports.join(",")}`).join(" "), guarded, JSON.stringify(guard));
});
