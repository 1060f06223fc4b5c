import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startWherry } from "../harness.ts";
import { find, needs } from "../needs.ts";
import { applyFolders } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

const run = promisify(execFile);
const own = join(import.meta.dirname, "network");

/** A documentation address (RFC 5737): nobody's, so that only this test's network can have it. */
const outsideIP = "198.51.100.7";
const isInOwnNetwork = process.env["WHERRY_TEST_NETWORK"] === "own";

/** Somewhere outside for pods to go must exist, and nothing real may be dialled: a network of this test's own. */
async function inOwnNetwork(): Promise<void> {
  const setUp = `ip link set lo up && ip route add local ${outsideIP}/32 dev lo && exec "$0" "$@"`;
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn("unshare", ["--net", "sh", "-c", setUp, process.execPath, "--test", "--test-reporter=tap", import.meta.filename], { env: { ...env, WHERRY_TEST_NETWORK: "own" }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(code, 0, output);
  assert.match(output, /^# skipped 0$/m, output);
}

async function buildCaller(folder: string): Promise<void> {
  const cache = join(import.meta.dirname, "..", "..", ".cache", "go-build");
  const settings = { CGO_ENABLED: "0", GO111MODULE: "off", GOTOOLCHAIN: "local", GOPROXY: "off", GOFLAGS: "", GOCACHE: cache, HOME: folder };
  await run(find("go")!, ["build", "-trimpath", "-o", "caller", "main.go"], { cwd: folder, env: { PATH: process.env["PATH"], ...settings } });
}

test("the pod network: names, balancing, every type of Service, the API and the way out", { timeout: 300_000 }, async (t) => {
  if (!needs(t, "kubectl", "python3", "redis-server", "go", "curl", "unshare", "ip")) return;
  if (!isInOwnNetwork && process.getuid?.() === 0) return inOwnNetwork();
  await using wherry = await startWherry({ test: t, isolation: "isolated" });
  const folder = join(dirname(wherry.dataDir), "network");
  cpSync(own, folder, { recursive: true });
  await buildCaller(join(folder, "caller"));
  await applyFolders(wherry, [], [join(folder, "caller")]);
  writeFileSync(join(folder, "crowd.yaml"), crowd);
  await using machine = await listen("0.0.0.0", 0);
  const options = { cwd: folder, env: wherry.env, variables: { OUTSIDE: outsideIP, MACHINE: String(machine.port) }, onStep };
  await runTranscript(join(import.meta.dirname, "network.transcript"), options);
  if (isInOwnNetwork) {
    await using server = await listen(outsideIP, 80);
    await using database = await listen(outsideIP, 5433);
    await runTranscript(join(import.meta.dirname, "egress.transcript"), options);
    assert.deepEqual([server.reached, database.reached], [1, 1]);
  }
  assert.equal(machine.reached, 0, "a listener of the machine is never reached");
});

const onStep = process.env["STEPS"] ? (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`) : () => {};

const addresses = Array.from({ length: 60 }, (_, i) => `- addresses: [10.244.200.${i + 1}]`).join("\n");
const crowd = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: crowd, labels: {kubernetes.io/service-name: crowd}}
addressType: IPv4
ports: [{port: 80}]
endpoints:
${addresses}
`;

async function listen(host: string, port: number): Promise<{ port: number; reached: number } & AsyncDisposable> {
  const server = createServer((socket) => {
    result.reached++;
    socket.end("from outside");
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  const result = { port: (server.address() as { port: number }).port, reached: 0, [Symbol.asyncDispose]: async () => void server.close() };
  return result;
}
