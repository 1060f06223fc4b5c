/**
 * The official suite of Gateway API v1.6.1 against a stack of its own: `npm run conformance:gateway`, or one test with
 * `npm run conformance:gateway -- --run-test=HTTPRouteWeight`; the profiles of the mesh with `npm run conformance:mesh`. Other flags
 * of the suite pass through. The report is written to test/conformance/gateway/report.yaml (mesh-report.yaml) when the whole suite
 * ran.
 */
import { spawn } from "node:child_process";
import { createWriteStream, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GroupVersionResource } from "../../../src/api/meta.ts";
import { resources } from "../../../src/api/resources.ts";
import { createHttpClient } from "../../../src/api/http-client.ts";
import { socketPath } from "../../../src/base/socket-path.ts";
import { gatewayResources } from "../../../src/proxy/gateway/kinds.ts";
import { build } from "./build.ts";
import { gateway, mesh } from "./features.ts";
import { isPart, suiteArguments, writtenSummary } from "./report.ts";

const timeoutMinutes = 40;
const flags = process.argv.slice(2).filter((flag) => flag !== "--mesh");
const claim = process.argv.includes("--mesh") ? mesh : gateway;
const { suite, app } = build();
const root = join(import.meta.dirname, "..", "..", "..");
const folder = mkdtempSync(join(tmpdir(), "wherry-gateway-"));
const dataDir = join(folder, "data");
const logFile = join(folder, "suite.log");
const output = openSync(join(folder, "wherry.log"), "a");

const wherry = spawn(process.execPath, [join(root, "bin", "wherry.mjs"), "up", app, "--data-dir", dataDir, "--no-watch"], { stdio: ["ignore", output, output], env: { ...process.env, HOME: folder } });
const ended = new Promise<void>((resolve) => wherry.once("exit", () => resolve()));
const kubeconfig = join(dataDir, "kubeconfig");
const client = createHttpClient({ socketPath: socketPath(dataDir, "api.sock") });
const startMs = 60_000;
for (const until = performance.now() + startMs; !(await isReady()); ) {
  if (wherry.exitCode !== null || performance.now() > until) throw new Error(`the stack did not start; see ${folder}`);
  await new Promise((resolve) => setTimeout(resolve, 100));
}

/** The class comes last. */
async function isReady(): Promise<boolean> {
  const found = existsSync(kubeconfig) && (await client.get(gatewayResources.gatewayClasses, undefined, "wherry").catch(() => undefined));
  return Boolean(found && found["status"]?.conditions?.some(({ type, status }: { type: string; status: string }) => type === "Accepted" && status === "True"));
}

let code = 1;
try {
  if (claim === mesh) await preparePods();
  const began = Date.now();
  code = await run(suite, suiteArguments(claim, flags, timeoutMinutes));
  if (!isPart(flags)) {
    try {
      for (const line of writtenSummary(claim, began)) process.stdout.write(`${line}\n`);
    } catch (error) {
      process.stdout.write(`${(error as Error).message}\n`);
      code ||= 1;
    }
  }
} finally {
  wherry.kill("SIGTERM");
  await ended;
}
if (code === 0) rmSync(folder, { recursive: true });
else process.stdout.write(`\nlogs: ${folder}\n`);
process.exitCode = code;

/** The suite waits for pods in two namespaces that it makes only where Gateways are claimed as well. */
async function preparePods(): Promise<void> {
  for (const name of ["gateway-conformance-app-backend", "gateway-conformance-web-backend"]) {
    await client.create(resources.namespaces as GroupVersionResource, undefined, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    const template = { metadata: { labels: { app: "echo" } }, spec: { containers: [{ name: "echo", image: "registry.k8s.io/gateway-api/echo-advanced:v1.5.1" }] } };
    await client.create(resources.deployments as GroupVersionResource, name, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "echo", namespace: name }, spec: { selector: { matchLabels: { app: "echo" } }, template } } as never);
  }
}

/** A line for each test; the rest goes to the log. */
function run(program: string, args: string[]): Promise<number> {
  return new Promise((resolve) => {
    const log = createWriteStream(logFile);
    const child = spawn(program, args, { cwd: folder, env: { ...process.env, KUBECONFIG: kubeconfig, HOME: folder }, stdio: ["ignore", "pipe", "pipe"] });
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      log.write(chunk);
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop()!;
      for (const line of lines) if (/^ {4}--- (PASS|FAIL)|^(PASS|FAIL|panic:)/.test(line)) process.stdout.write(`${line.trim()}\n`);
    });
    child.stderr.on("data", (chunk: Buffer) => log.write(chunk));
    child.on("close", (status) => resolve(status ?? 1));
  });
}
