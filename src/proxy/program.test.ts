import assert from "node:assert/strict";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { privilegedPortOffset } from "./messages.ts";
import { workerProgram } from "./program.ts";
import { eventually, exchange, listen, nextAddress, port, snapshot, startSupervisor } from "./testing/network.ts";
import { endWorker, spawnWorker } from "./worker-process.ts";

const isRoot = process.getuid?.() === 0;
const enter = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];

for (const form of ["sources", "bundle"] as const) test(`a worker of another user starts from ${form === "sources" ? "sources" : "its one file"} and a Node that it may not read`, { skip: isRoot ? false : "only root changes users" }, async () => {
  const home = mkdtempSync(join(tmpdir(), "wherry-home-"));
  assert.equal(statSync(home).mode & 0o777, 0o700);
  const bundle = form === "bundle" ? join(home, "net.cjs") : undefined;
  if (bundle) await build({ entryPoints: [join(import.meta.dirname, "worker.ts")], outfile: bundle, bundle: true, platform: "node", format: "cjs" });
  else cpSync(dirname(import.meta.dirname), join(home, "src"), { recursive: true });
  symlinkSync(process.execPath, join(home, "node"));
  const program = workerProgram(enter, { bundle, sources: join(home, "src"), execPath: join(home, "node") });
  assert.ok(!program.file.startsWith(home) && program.nodeFd !== undefined);
  assert.match(program.file, form === "bundle" ? /\/wherry-net-[^/]+\/net\.cjs$/ : /\/wherry-net-[^/]+\/proxy\/worker\.ts$/);
  const { RE2JS } = createRequire(program.file)("re2js") as typeof import("re2js");
  assert.ok(RE2JS.matches("a+", "aa"), "regular expressions of routes run there");
  const child = spawnWorker(enter, program);
  const [message] = (await Promise.race([once(child, "message"), once(child, "exit")])) as [{ type?: string }];
  assert.equal(message.type, "net/started");
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
  assert.match(status, /^CapEff:\t0+$/m);
  await endWorker(child, AbortSignal.timeout(5_000));
  program.dispose();
  assert.equal(existsSync(program.file), false);
  assert.deepEqual(readdirSync(tmpdir()).filter((name) => program.file.includes(`/${name}/`)), []);
  rmSync(home, { recursive: true });
});

test("in plain mode root's workers are nobody in particular, and still serve port 80", { skip: isRoot ? false : "only root changes users" }, async () => {
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.end("pod"));
  const [pid] = net.pids();
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  assert.match(status, /^Uid:\t100000\t100000\t100000\t100000$/m);
  assert.match(status, /^CapPrm:\t0+$/m);
  assert.match(status, /^Groups:\s*$/m);
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(80, [{ ip: "127.0.0.1", port: pod.port }])] }));
  assert.equal(await eventually(() => exchange(ip, 80)), "pod");
  net.setReady("127.0.0.1", false);
  await eventually(() => exchange(ip, 80).then(() => false, (error: Error) => error.message === "ECONNREFUSED"));
  net.setReady("127.0.0.1", true);
  assert.equal(await eventually(() => exchange(ip, 80)), "pod");
});

test("without a change of user everything stays where it is", { skip: isRoot ? "root's workers change" : false }, () => {
  const program = workerProgram([]);
  assert.equal(program.file, join(import.meta.dirname, "worker.ts"));
  assert.equal(program.node, process.execPath);
  program.dispose();
  assert.ok(existsSync(program.file));
});

test("plain mode: a listener for the API at the cluster's address, bound by wherry itself", async () => {
  await using net = await startSupervisor();
  const handle = await net.listenInPodNetwork(net.network.apiServiceIP, 443);
  const server = createServer((socket) => socket.end("api")).listen(handle);
  await once(server, "listening");
  const { port: number } = server.address() as { port: number };
  assert.ok(number === 443 || number === 443 + privilegedPortOffset);
  assert.equal(await exchange(net.network.apiServiceIP, number), "api");
  server.close();
});
