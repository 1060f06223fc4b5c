/**
 * The public suite for HTTP caches against Wherry's gateway with the cache filter, beside nginx, HAProxy and Varnish where they are
 * here: `npm run conformance:cache`, `-- --only=Wherry`, or single tests with `-- --test=ID`. Each cache stands before the suite's own
 * origin. The report is written when every test ran; a test that Wherry fails for no reason in reasons.ts fails the run.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { common, env as peersEnv, program, temporary, versionOf } from "../../../bench/gateway-peers.ts";
import { silentLog } from "../../../src/base/log.ts";
import { createNetSupervisor } from "../../../src/proxy/supervisor.ts";
import { reasons } from "./reasons.ts";
import { faults, type Group, reportOf, type Results, type Score, scoreOf, unanswered } from "./score.ts";

const root = join(import.meta.dirname, "../../../.cache/cache-tests");
const suite = join(root, "suite");
const report = join(import.meta.dirname, "report.md");
const told = (flag: string) => process.argv.filter((arg) => arg.startsWith(`--${flag}=`)).map((arg) => arg.slice(flag.length + 3));
const [only, ids] = [told("only"), told("test")];

if (!existsSync(join(suite, "tests/index.mjs"))) {
  process.stderr.write("the suite is not here: tools/cache-tests.sh brings it\n");
  process.exit(2);
}
const { default: groups } = (await import(join(suite, "tests/index.mjs"))) as { default: Group[] };
const folder = mkdtempSync(join(tmpdir(), "wherry-cache-"));
/** What the peers say of themselves; shown when one does not start. */
const errors = openSync(join(folder, "errors"), "a");
const children: ChildProcess[] = [];
const ends: (() => Promise<unknown>)[] = [];

function start(command: string, args: string[], env: Record<string, string> = {}): void {
  const child = spawn(command, args, { cwd: suite, env: { ...peersEnv, ...env }, stdio: ["ignore", "ignore", errors] });
  children.push(child);
}
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
async function untilOpen(port: number, who: string, address = "127.0.0.1"): Promise<void> {
  for (const until = performance.now() + 30_000; performance.now() < until; ) {
    const socket = connect(port, address);
    const isOpen = await new Promise<boolean>((resolve) => socket.once("connect", () => resolve(true)).once("error", () => resolve(false)));
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${who} does not listen at ${port}: ${readFileSync(join(folder, "errors"), "utf8").slice(-2000)}`);
}

interface Cache {
  name: string;
  /** 127.0.0.1 unless said. */
  address?: string;
  begin(port: number, origin: number): Promise<void> | void;
}

const gatewayAddress = "127.96.7.3";
/** The gateway as `wherry up` has it, with one worker: what is kept is each worker's own. */
async function wherry(port: number, origin: number): Promise<void> {
  const network = { mode: "plain" as const, enter: [], gatewayIP: "127.0.0.1", dnsIP: "127.96.7.1", apiServiceIP: "127.96.7.2" };
  const supervisor = createNetSupervisor({ network, workers: 1, log: silentLog, private: true });
  await supervisor.start();
  ends.push(() => supervisor.stop(AbortSignal.timeout(2_000)));
  const endpoints = [{ ip: "127.0.0.1", port: origin, ready: true, terminating: false }];
  supervisor.publish({ revision: 1, services: [{ namespace: "suite", name: "origin", type: "ClusterIP", clusterIPs: [], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port: 80, endpoints }] }] });
  supervisor.publishTraffic({
    revision: 1,
    put: {
      listeners: [{ id: "suite/gateway/http", address: gatewayAddress, port, protocol: "HTTP" }],
      upstreams: [{ id: "suite/origin/80", namespace: "suite", service: "origin", port: 80, protocol: "http1" }],
      routes: [{ id: "HTTPRoute/suite/all", createdAt: 0, type: "http", attachments: [{ listener: "suite/gateway/http", hostnames: [""] }], rules: [{ name: "0", matches: [{ path: { type: "prefix", value: "/" } }], filters: [{ type: "cache" }], backends: [{ upstream: "suite/origin/80", weight: 1 }] }] }],
    },
    remove: {},
  });
}

/** As the suite's own containers configure them. */
function peers(): Cache[] {
  const found: Cache[] = [];
  const [nginx, haproxy] = [program("nginx"), program("haproxy")];
  const conf = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  if (nginx) found.push({ name: versionOf(nginx, ["-v"], /nginx\/[\d.]+/), begin: (port, origin) => start(nginx, ["-c", conf("nginx.conf", `${common(folder, "nginx", 1)} http { ${temporary(folder)} access_log off; proxy_cache_path ${folder}/nginx-cache levels=1:2 keys_zone=suite:8m max_size=1000m inactive=600m; server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${origin}; proxy_cache suite; proxy_cache_revalidate on; proxy_http_version 1.1; } } }`), "-e", join(folder, "nginx.errors")]) });
  if (haproxy) found.push({ name: versionOf(haproxy, ["-v"], /HAProxy version [\d.]+/).replace(" version", ""), begin: (port, origin) => start(haproxy, ["-q", "-db", "-f", conf("haproxy.cfg", `defaults\n  mode http\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\ncache suite\n  total-max-size 4\n  max-object-size 10000\n  max-age 240\n  process-vary on\n  max-secondary-entries 12\nfrontend fe\n  bind 127.0.0.1:${port}\n  filter cache suite\n  http-request cache-use suite\n  http-response cache-store suite\n  default_backend be\nbackend be\n  server s1 127.0.0.1:${origin}\n`)]) });
  const varnish = join(root, "usr/sbin/varnishd");
  const libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/varnish", "usr/lib/x86_64-linux-gnu/varnish"].map((path) => join(root, path)).join(":");
  const env = { LD_LIBRARY_PATH: libraries };
  if (existsSync(varnish)) found.push({ name: "Varnish 7.1", begin: (port, origin) => start(varnish, ["-F", "-n", join(folder, "varnish"), "-a", `127.0.0.1:${port}`, "-f", conf("suite.vcl", `vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "${origin}"; }\n`), "-p", "default_ttl=0", "-p", "default_grace=0", "-p", "default_keep=3600", "-s", "malloc,64M", "-j", "none"], env) });
  return found;
}

async function judge({ name, address = "127.0.0.1", begin }: Cache, origin: number): Promise<Score> {
  const port = await freePort();
  await begin(port, origin);
  await untilOpen(port, name, address);
  const run = async (wanted: readonly string[]): Promise<Results> => JSON.parse((await promisify(execFile)(process.execPath, ["--no-warnings", join(import.meta.dirname, "run.ts"), suite, `http://${address}:${port}`, ...wanted], { maxBuffer: 1 << 26 })).stdout.replace(/^[^{]*/, "")) as Results;
  const results = await run(ids);
  const again = unanswered(results);
  if (again.length > 0) Object.assign(results, await run(again));
  if (ids.length > 0) process.stdout.write(`${name}: ${JSON.stringify(results, null, 2)}\n`);
  return scoreOf(groups, results);
}

const origin = await freePort();
try {
  mkdirSync(join(folder, "varnish"));
  start(process.execPath, [join(suite, "test-engine/server/server.mjs")], { npm_config_protocol: "http", npm_config_port: String(origin), npm_config_pidfile: join(folder, "origin.pid") });
  await untilOpen(origin, "the suite's origin");
  const caches = [{ name: "Wherry", address: gatewayAddress, begin: wherry }, ...peers()].filter(({ name }) => only.length === 0 || only.some((part) => name.startsWith(part)));
  // Beside each other: most of a run is waiting for answers to grow old.
  const judged = await Promise.all(caches.map(async (cache) => ({ name: cache.name, score: await judge(cache, origin) })));
  for (const { name, score } of judged) process.stdout.write(`${name}: required ${score.passed.required} of ${score.total.required}, optimal ${score.passed.optimal} of ${score.total.optimal}, checks ${score.passed.check} of ${score.total.check}\n`);
  if (ids.length === 0 && judged[0]?.name === "Wherry") {
    const wrong = faults(judged[0].score, reasons);
    for (const line of wrong) process.stdout.write(`${line}\n`);
    if (only.length === 0) writeFileSync(report, reportOf(judged, reasons));
    process.exitCode = wrong.length > 0 ? 1 : 0;
  }
} finally {
  for (const child of children) child.kill("SIGTERM");
  await Promise.all([...children.map((child) => (child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined)), ...ends.map((end) => end())]);
  rmSync(folder, { recursive: true, force: true });
}
