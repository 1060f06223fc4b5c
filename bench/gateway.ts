import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { cpuSeconds, family, median, print, pssMb } from "./measure.ts";

/**
 * What does a request through the gateway cost? CPU of the gateway per request, beside nginx, HAProxy, Caddy and a plain
 * node:http proxy; all with one worker, kept connections to the same upstream, X-Forwarded-For and an access log into a file,
 * except node:http, which has neither limits nor log. Rounds alternate; the ratio is the median of each round's own, since machines
 * have slow minutes: read it, not the microseconds.
 *
 * Peers and wrk are looked for in .cache/gateway-peers (`tools/gateway-peers.sh` puts them there) and in PATH. BENCH_LOADS="small,1m"
 * and BENCH_ROUNDS choose; BENCH_ROUTES gives Wherry so many other routes to hold.
 */
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 7);
/** Rounds that are not counted: of the first load, until the machine code is made, which takes V8 some seconds on a busy machine; of each further one. */
const warmUps = [6, 1] as const;
const root = join(import.meta.dirname, "..", ".cache", "gateway-peers");
const libraries = join(root, "usr/lib/x86_64-linux-gnu");
const env = { ...process.env, LD_LIBRARY_PATH: [libraries, process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(delimiter) };
const browser = ["User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate, br, zstd", "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes", "Referer: http://shop.example/products/list?page=3&sort=price", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: same-origin", "Upgrade-Insecure-Requests: 1", "Priority: u=0, i"];

interface Load {
  key: string;
  name: string;
  path: string;
  connections: number;
  headers?: string[];
  script?: string;
}
const loads: Load[] = [
  { key: "small", name: "GET 14 B, 64 connections", path: "/", connections: 64 },
  { key: "browser", name: "the same with a browser's head", path: "/", connections: 64, headers: browser },
  { key: "post", name: "POST 1 KB, 64", path: "/", connections: 64, script: 'wrk.method = "POST"; wrk.body = string.rep("x", 1024)' },
  { key: "100k", name: "GET 100 KB, 16", path: "/files/100k", connections: 16 },
  { key: "1m", name: "GET 1 MB, 8", path: "/files/1m", connections: 8 },
  { key: "many", name: "GET 14 B, 1,000", path: "/", connections: 1000 },
  { key: "short", name: "GET 14 B, Connection: close, 32", path: "/", connections: 32, headers: ["Connection: close"] },
];

interface Peer {
  name: string;
  port: number;
  child: ChildProcess;
  pids(): number[];
}

function program(name: string): string | undefined {
  const folders = [...["usr/sbin", "usr/bin"].map((folder) => join(root, folder)), ...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}
/** The gateway has one processor, whoever loads and answers it another. */
const pinned = (cpu: number, command: string, args: readonly string[]): [string, string[]] => (availableParallelism() > 1 && program("taskset") ? ["taskset", ["-c", String(cpu), command, ...args]] : [command, [...args]]);

export async function run(): Promise<void> {
  const wrk = program("wrk");
  const nginx = program("nginx");
  if (!wrk || !nginx) return void process.stdout.write("needs wrk and nginx: tools/gateway-peers.sh fetches them on Debian\n");
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  const children: ChildProcess[] = [];
  const start = (cpu: number, command: string, args: readonly string[], more: Record<string, string> = {}): ChildProcess => {
    const [file, list] = pinned(cpu, command, args);
    const child = spawn(file, list, { env: { ...env, HOME: folder, ...more }, stdio: ["ignore", openSync(join(folder, "out"), "a"), openSync(join(folder, "errors"), "a")] });
    children.push(child);
    return child;
  };
  try {
    const peers = await startPeers(folder, nginx, start);
    await measure(folder, wrk, peers);
  } finally {
    for (const child of children) child.kill("SIGTERM");
    await Promise.all(children.map((child) => (child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined)));
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startPeers(folder: string, nginx: string, start: (cpu: number, command: string, args: readonly string[], more?: Record<string, string>) => ChildProcess): Promise<Peer[]> {
  const [upstream, first] = [18_090, 18_091];
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  const user = process.getuid?.() === 0 ? "user root;" : "";
  mkdirSync(join(folder, "files"));
  for (const [name, bytes] of [["100k", 100 * 1024], ["1m", 1024 * 1024]] as const) writeFileSync(join(folder, "files", name), Buffer.alloc(bytes, "x"));
  const common = (name: string) => `${user} daemon off; worker_processes 1; pid ${folder}/${name}.pid; error_log ${folder}/${name}.errors; events { worker_connections 8192; }`;
  writeFileSync(join(folder, "upstream.conf"), `${common("upstream")} http { ${temporary} access_log off; keepalive_requests 100000000; keepalive_timeout 600; server { listen 127.0.0.1:${upstream} backlog=4096; location / { return 200 "hello, world!\\n"; } location /files/ { root ${folder}; } } }`);
  start(0, nginx, ["-c", join(folder, "upstream.conf"), "-e", join(folder, "upstream.errors")]);
  const peers: Peer[] = [];
  const peer = (name: string, child: ChildProcess) => peers.push({ name, port: first + peers.length, child, pids: () => family(child.pid!) });
  const port = () => first + peers.length;
  writeFileSync(
    join(folder, "nginx.conf"),
    `${common("nginx")} http { ${temporary} access_log ${folder}/nginx.log; keepalive_requests 100000000; upstream web { server 127.0.0.1:${upstream}; keepalive 1024; keepalive_requests 100000000; }
     server { listen 127.0.0.1:${port()} backlog=1024; location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Request-Id $request_id; } } }`,
  );
  peer(versionOf(nginx, ["-v"], /nginx\/[\d.]+/), start(1, nginx, ["-c", join(folder, "nginx.conf"), "-e", join(folder, "nginx.errors")]));
  const process_ = join(import.meta.dirname, "gateway-process.ts");
  peer("Wherry", start(1, process.execPath, [process_, "wherry", String(port()), String(upstream), join(folder, "wherry.log"), process.env["BENCH_ROUTES"] ?? "0"]));
  const haproxy = program("haproxy");
  if (haproxy) {
    writeFileSync(join(folder, "haproxy.cfg"), `global\n  nbthread 1\n  maxconn 8000\n  log stdout format raw local0\ndefaults\n  mode http\n  log global\n  option httplog\n  option forwardfor\n  timeout client 60s\n  timeout server 60s\n  timeout connect 3s\n  http-reuse always\nfrontend f\n  bind 127.0.0.1:${port()} backlog 1024\n  unique-id-format %{+X}o%rt%pid%Ts\n  unique-id-header X-Request-Id\n  http-request set-header X-Forwarded-Proto http\n  default_backend b\nbackend b\n  server s 127.0.0.1:${upstream}\n`);
    peer(versionOf(haproxy, ["-v"], /HAProxy version [\d.]+/), start(1, haproxy, ["-db", "-f", join(folder, "haproxy.cfg")]));
  }
  const caddy = program("caddy");
  if (caddy) {
    writeFileSync(join(folder, "Caddyfile"), `{\n  admin off\n  auto_https off\n}\nhttp://:${port()} {\n  bind 127.0.0.1\n  log {\n    output file ${folder}/caddy.log\n  }\n  reverse_proxy 127.0.0.1:${upstream} {\n    transport http {\n      keepalive_idle_conns_per_host 1024\n    }\n  }\n}\n`);
    peer(`Caddy ${versionOf(caddy, ["version"], /[\d.]+/)}`, start(1, caddy, ["run", "--config", join(folder, "Caddyfile"), "--adapter", "caddyfile"], { GOMAXPROCS: "1" }));
  }
  for (const [name, found] of [["HAProxy", haproxy], ["Caddy", caddy]]) if (!found) process.stdout.write(`${name} is not here and not measured\n`);
  peer(`node:http ${process.versions.node}`, start(1, process.execPath, [process_, "node", String(port()), String(upstream)]));
  for (const { port: at } of peers) await untilOpen(at, join(folder, "errors"));
  return peers;
}

const versionOf = (file: string, args: string[], pattern: RegExp): string => {
  const { stdout, stderr } = spawnSync(file, args, { encoding: "utf8", env });
  return pattern.exec(stdout + stderr)?.[0] ?? file;
};

async function untilOpen(port: number, errors: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const socket = connect(port, "127.0.0.1");
    const open = await new Promise<boolean>((resolve) => socket.once("connect", () => resolve(true)).once("error", () => resolve(false)));
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`nobody listens on ${port}: ${readFileSync(errors, "utf8").slice(0, 2000)}`);
}

interface Cost {
  cpuUs: number;
  perSecond: number;
  p50: number;
  p99: number;
}

async function measure(folder: string, wrk: string, peers: readonly Peer[]): Promise<void> {
  const wanted = process.env["BENCH_LOADS"]?.split(",");
  const rows: string[][] = [];
  for (const load of loads.filter(({ key }) => !wanted || wanted.includes(key))) {
    const costs = peers.map(() => [] as Cost[]);
    for (let round = rows.length === 0 ? -warmUps[0] : -warmUps[1]; round < rounds; round++) {
      for (let turn = 0; turn < peers.length; turn++) {
        const index = (turn + Math.max(round, 0)) % peers.length;
        const cost = await once_(folder, wrk, load, peers[index]!);
        if (round >= 0) costs[index]!.push(cost);
      }
    }
    for (const [index, { name, pids }] of peers.entries()) {
      const own = costs[index]!;
      const ratio = (field: keyof Cost) => median(own.map((cost, round) => cost[field] / costs[0]![round]![field])).toFixed(2);
      const middle = (field: keyof Cost) => median(own.map((cost) => cost[field]));
      rows.push([index === 0 ? load.name : "", name, middle("cpuUs").toFixed(1), ratio("cpuUs"), Math.round(middle("perSecond")).toString(), middle("p50").toFixed(1), middle("p99").toFixed(1), ratio("p99"), pssMb(pids()).toFixed(0)]);
    }
  }
  print(["load", "gateway", "µs CPU each", `ratio to ${peers[0]!.name}`, "req/s", "p50 ms", "p99 ms", "ratio", "MB"], rows);
}

async function once_(folder: string, wrk: string, load: Load, peer: Peer): Promise<Cost> {
  const script = join(folder, `${load.key}.lua`);
  if (load.script) writeFileSync(script, load.script);
  const before = cpuSeconds(peer.pids());
  const args = ["-t1", `-c${load.connections}`, "-d1s", "--latency", ...(load.headers ?? []).flatMap((header) => ["-H", header]), ...(load.script ? ["-s", script] : []), `http://127.0.0.1:${peer.port}${load.path}`];
  const [file, list] = pinned(0, wrk, args);
  const { stdout } = await promisify(execFile)(file, list, { env });
  const used = cpuSeconds(peer.pids()) - before;
  const count = Number(/(\d+) requests in/.exec(stdout)![1]);
  if (/Non-2xx|Socket errors/.test(stdout)) process.stdout.write(`${peer.name}, ${load.name}: ${/.*(?:Non-2xx|Socket errors).*/.exec(stdout)![0].trim()}\n`);
  const percentile = (name: string): number => {
    const [, value, unit] = new RegExp(`${name}%\\s+([\\d.]+)(us|ms|s)`).exec(stdout)!;
    return Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit as "us" | "ms" | "s"];
  };
  return { cpuUs: (used / count) * 1e6, perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]), p50: percentile("50"), p99: percentile("99") };
}
