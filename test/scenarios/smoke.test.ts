import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { CommandLine, everybodyMayRead, isUp, nobody } from "./command-line.ts";
import { applyFolders, directUrl, examples, freePort } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const shop = join(examples, "shop");
const isConformance = process.env["WHERRY_CONFORMANCE"] === "1";
const isRoot = process.getuid?.() === 0;

test("plain mode: the shop is Ready, takes an order, an exec and a roll-out", { timeout: 300_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl")) return;
  await using wherry = await startWherry({ test: t, isolation: "plain", hostPathRoots: [shop] });
  assert.equal(wherry.mode, "plain");
  await applyFolders(wherry, [shop]);
  await runTranscript(join(import.meta.dirname, "smoke-shop.transcript"), { cwd: shop, env: wherry.env, variables: { GATEWAY: directUrl(wherry, "ecommerce", "gateway"), EXEC: isRoot ? "id" : "kill -0 1 || true" } });
});

for (const mode of isConformance ? ["isolated", "plain"] : ["isolated"]) {
  test(`an ordinary user: the same in ${mode} mode, by the command line`, { timeout: 300_000 }, async (t) => {
    if (!needs(t, "kubectl", "curl", "setpriv")) return;
    if (!isRoot) return t.skip("this run is an ordinary user's already");
    if (!everybodyMayRead(import.meta.dirname)) return t.skip("the checkout lies in a folder that only root may enter");
    await using desk = new CommandLine(t, { uid: nobody });
    const up = desk.start("up", shop, "--isolation", mode, "--data-dir", "data", "--port", String(await freePort()));
    const output = await up.said(isUp);
    assert.match(output, new RegExp(`${mode} pods`));
    const gateway = /http:\/\/gateway\.ecommerce\.localhost:\d+/.exec(output)![0];
    // curl resolves names below localhost by itself.
    await runTranscript(join(import.meta.dirname, "smoke-shop.transcript"), { cwd: shop, env: desk.env, variables: { GATEWAY: gateway, EXEC: mode === "plain" ? "kill -0 1 || true" : "id" } });
    const began = performance.now();
    up.kill("SIGINT");
    assert.equal((await up.ended).code, 130);
    t.diagnostic(`Ctrl-C took ${(performance.now() - began).toFixed(0)} ms`);
    assert.ok(performance.now() - began < 5_000, "Ctrl-C takes under a second; here five are allowed");
  });
}

for (const minor of isConformance ? ["1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33"] : ["1.31", "1.32"]) {
  test(`kubectl ${minor}: apply, tables, logs, exec, port-forward, scale, roll-out`, { timeout: 120_000 }, async (t) => {
    if (!needs(t, `kubectl.${minor}`, "curl", "python3")) return;
    await using wherry = await startWherry({ test: t, kubectlMinor: minor });
    const folder = join(dirname(wherry.dataDir), "manifests");
    mkdirSync(folder);
    writeFileSync(join(folder, "web.yaml"), web);
    await runTranscript(join(import.meta.dirname, "smoke.transcript"), { cwd: folder, env: wherry.env, variables: { FORWARD_PORT: String(await freePort()) } });
  });
}

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: python:3
        command: [python3, -m, http.server, "8080"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`;
