import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { accessSync, chownSync, constants, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { entry } from "../../src/wherry.ts";
import { startWherry } from "../harness.ts";
import { find, kubectl, needs } from "../needs.ts";
import { applyFolders, directUrl, examples, freePort } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const shop = join(examples, "shop");
const isRoot = process.getuid?.() === 0;
const nobody = 65534;

test("plain mode: the shop is Ready, takes an order, an exec and a roll-out", { timeout: 300_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl")) return;
  await using wherry = await startWherry({ test: t, isolation: "plain", hostPathRoots: [shop] });
  assert.equal(wherry.mode, "plain");
  await applyFolders(wherry, [shop]);
  await runTranscript(join(import.meta.dirname, "smoke-shop.transcript"), { cwd: shop, env: wherry.env, variables: { GATEWAY: directUrl(wherry, "ecommerce", "gateway"), EXEC: isRoot ? "id" : "kill -0 1 || true" } });
});

test("an ordinary user: the same in isolated mode, by the command line", { timeout: 300_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl", "setpriv")) return;
  if (!isRoot) return t.skip("this run is an ordinary user's already");
  if (!everybodyMayRead(import.meta.dirname)) return t.skip("the checkout lies in a folder that only root may enter");
  const folder = mkdtempSync(join(tmpdir(), "wherry-user-"));
  chownSync(folder, nobody, nobody);
  const dataDir = join(folder, "data");
  const child = spawn("setpriv", [`--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups", process.execPath, entry, "up", shop, "--data-dir", dataDir, "--port", String(await freePort())], {
    env: { PATH: process.env["PATH"] ?? "", HOME: folder, KUBECONFIG: join(folder, "own"), WHERRY_COMPILE_CACHE: join(folder, "cache") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  try {
    const output = await said(child, /Press Ctrl-C/);
    assert.match(output, /isolated pods/);
    const gateway = /http:\/\/gateway\.ecommerce\.localhost:\d+/.exec(output)![0];
    const bin = join(folder, "bin");
    mkdirSync(bin);
    symlinkSync((kubectl("1.33") ?? find("kubectl"))!, join(bin, "kubectl"));
    mkdirSync(join(folder, "home"));
    // curl resolves names below localhost by itself.
    await runTranscript(join(import.meta.dirname, "smoke-shop.transcript"), { cwd: shop, env: { KUBECONFIG: join(dataDir, "kubeconfig"), HOME: join(folder, "home"), PATH: `${bin}:${process.env["PATH"] ?? ""}` }, variables: { GATEWAY: gateway, EXEC: "id" } });
  } finally {
    const began = performance.now();
    child.kill("SIGINT");
    await ended;
    t.diagnostic(`Ctrl-C took ${(performance.now() - began).toFixed(0)} ms`);
    assert.ok(performance.now() - began < 5_000, "Ctrl-C takes under a second; here five are allowed");
    if (!t.error) rmSync(folder, { recursive: true, force: true });
  }
});

for (const minor of process.env["WHERRY_CONFORMANCE"] === "1" ? ["1.28", "1.29", "1.30", "1.31", "1.32", "1.33"] : ["1.31", "1.32"]) {
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

function everybodyMayRead(path: string): boolean {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) if ((statSync(folder).mode & 0o005) !== 0o005) return false;
  accessSync(find("node") ?? process.execPath, constants.X_OK);
  return true;
}

function said(child: ReturnType<typeof spawn>, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const take = (chunk: Buffer) => {
      text += chunk.toString();
      if (pattern.test(text)) resolve(text);
    };
    child.stdout!.on("data", take);
    child.stderr!.on("data", take);
    child.on("close", () => reject(new Error(`ended before it said ${pattern}:\n${text}`)));
  });
}

