import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { envoyArgs, envoyConf, envoyVersion } from "./envoy.ts";
import { family } from "./measure.ts";

/**
 * The gateways that are compared, each with the same work: requests on to one upstream over kept connections, X-Forwarded-*,
 * X-Request-Id where it has one, timeouts, a bound on bodies and on connections per client, counters, and a line a request into a
 * file. Programs are looked for in .cache/gateway-peers and .cache/policy-peers
 * (`tools/gateway-peers.sh` and `tools/policy-peers.sh` put them there) and in PATH.
 */
export interface Peer {
  name: string;
  port: number;
  /** The same with TLS. */
  tlsPort: number;
  /** Whose processor time and memory count. */
  pids(): number[];
}

export interface Peers extends AsyncDisposable {
  folder: string;
  peers: Peer[];
  wrk: string;
  /** Where the upstream listens, itself. */
  upstream: { address: string; port: number };
  /** Runs beside the gateways, on the processor that they have not. */
  loadCommand(command: string, args: readonly string[]): [file: string, args: string[]];
  env: NodeJS.ProcessEnv;
}

const root = join(import.meta.dirname, "..", ".cache", "gateway-peers");
export const policyPeers = join(import.meta.dirname, "..", ".cache", "policy-peers");
const libraries = join(root, "usr/lib/x86_64-linux-gnu");
export const env = { ...process.env, LD_LIBRARY_PATH: [libraries, process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(delimiter) };
const gatewayIp = "10.244.7.1";
const podIp = "10.244.7.2";
const upstreamPort = 8080;
const firstPort = 18_091;
const tlsOffset = 100;

export function program(name: string): string | undefined {
  const folders = [...["usr/sbin", "usr/bin"].map((folder) => join(root, folder)), join(policyPeers, "envoy/_bin"), ...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}

/** True: this process is in a network of its own already. Otherwise `bench/main.ts` is run again in one, to its end. */
export async function inOwnNetwork(name: string, args: readonly string[]): Promise<boolean> {
  if (process.env["BENCH_NETWORK"] === "own") {
    execFileSync(program("ip")!, ["link", "set", "lo", "up"]);
    return true;
  }
  const rights = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
  const child = spawn("unshare", [...rights, "--net", process.execPath, join(import.meta.dirname, "main.ts"), name, ...args], { stdio: "inherit", env: { ...process.env, BENCH_NETWORK: "own" } });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`unshare --net: ${code}`);
  return false;
}

export interface Ground extends Peers {
  nginx: string;
  nginxVersion: string;
  errors: string;
  start: Start;
  /** The gateway has one processor, whoever loads and answers it another; several workers share both with them. */
  forGateways: string;
  conf(name: string, text: string): string;
}

/** A folder, the upstream, and how programs are started beside it; all of it ends with it. */
export async function startGround(workers: number): Promise<Ground> {
  const wrk = program("wrk");
  const nginx = program("nginx");
  if (!wrk || !nginx) throw new Error("needs wrk and nginx: tools/gateway-peers.sh fetches them on Debian");
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  const children: ChildProcess[] = [];
  const errors = join(folder, "errors");
  const several = availableParallelism() > 1;
  const pinned = (cpus: string, command: string, args: readonly string[]): [string, string[]] => (several && program("taskset") ? ["taskset", ["-c", cpus, command, ...args]] : [command, [...args]]);
  const ground: Ground = {
    folder,
    peers: [],
    wrk,
    nginx,
    nginxVersion: versionOf(nginx, ["-v"], /nginx\/[\d.]+/),
    errors,
    forGateways: workers > 1 ? "0,1" : "1",
    upstream: { address: podIp, port: upstreamPort },
    loadCommand: (command, args) => pinned("0", command, args),
    env,
    start(cpus, command, args, more = {}) {
      const [file, list] = pinned(cpus, command, args);
      const child = spawn(file, list, { env: { ...env, HOME: folder, ...more }, stdio: ["ignore", openSync(join(folder, "out"), "a"), openSync(errors, "a")] });
      children.push(child);
      return child;
    },
    conf(name, text) {
      const file = join(folder, name);
      writeFileSync(file, text);
      return file;
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill("SIGTERM");
      await Promise.all(children.map((child) => (child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined)));
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await startUpstream(folder, nginx, ground.start);
    await untilOpen(upstreamPort, podIp, "the upstream", errors);
    return ground;
  } catch (error) {
    await ground[Symbol.asyncDispose]();
    throw error;
  }
}

export async function startPeers({ workers, quick, routes }: { workers: number; quick: boolean; routes: number }): Promise<Peers> {
  const result = await startGround(workers);
  const { folder, nginx, nginxVersion: version, errors, start, forGateways, conf } = result;
  try {
    const certificate = makeCertificate(folder);
    let port = firstPort;
    const add = (name: string, begin: (port: number) => ChildProcess, pids = family): void => {
      const child = begin(port);
      result.peers.push({ name, port, tlsPort: port + tlsOffset, pids: () => pids(child.pid!) });
      port++;
    };
    const nginxWith = (name: string, log: string) => (at: number) => start(forGateways, nginx, ["-c", conf(`${name}.conf`, nginxConf({ folder, name, port: at, workers, log, certificate })), "-e", join(folder, `${name}.errors`)]);
    add(version, nginxWith("nginx", `${folder}/nginx.log`));
    const ours = join(import.meta.dirname, "gateway-process.ts");
    // Whatever else `wherry` does is done in its other processes: what carries requests is below this one.
    add("Wherry", (at) => start(forGateways, process.execPath, [ours, "wherry", String(at), String(at + tlsOffset), podIp, String(upstreamPort), join(folder, "wherry.log"), certificate, String(workers), String(routes)]), (pid) => family(pid).slice(1));
    // Another state of the project, in turn with this one: what has a change brought?
    const before = process.env["BENCH_BEFORE"];
    if (before) add("Wherry before", (at) => start(forGateways, process.execPath, [join(before, "bench/gateway-process.ts"), "wherry", String(at), String(at + tlsOffset), podIp, String(upstreamPort), join(folder, "before.log"), certificate, String(workers), String(routes)]), (pid) => family(pid).slice(1));
    if (!quick) add(`${version}, its log buffered`, nginxWith("buffered", `${folder}/buffered.log combined buffer=64k flush=1s`));
    const haproxy = program("haproxy");
    if (haproxy) add(versionOf(haproxy, ["-v"], /HAProxy version [\d.]+/).replace(" version", ""), (at) => start(forGateways, haproxy, ["-db", "-f", conf("haproxy.cfg", haproxyConf({ port: at, workers, certificate }))]));
    const caddy = quick ? undefined : program("caddy");
    if (caddy) add(`Caddy ${versionOf(caddy, ["version"], /[\d.]+/)}`, (at) => start(forGateways, caddy, ["run", "--config", conf("Caddyfile", caddyConf({ folder, port: at, certificate })), "--adapter", "caddyfile"], { GOMAXPROCS: String(workers) }));
    const envoy = quick ? undefined : program("envoy");
    if (envoy) add(envoyVersion(envoy), (at) => start(forGateways, envoy, envoyArgs(conf("envoy.json", envoyConf({ folder, pods: [{ ip: podIp, port: upstreamPort }], listeners: [{ port: at, isLogged: true }, { port: at + tlsOffset, isLogged: true, certificate }] })), workers)));
    for (const [name, found] of [["HAProxy", haproxy], ["Caddy", caddy ?? (quick ? "left out" : undefined)], ["Envoy", envoy ?? (quick ? "left out" : undefined)]] as const) if (!found) process.stdout.write(`${name} is not here and not measured\n`);
    add(`node:http ${process.versions.node}`, (at) => start(forGateways, process.execPath, [ours, "node", String(at), String(at + tlsOffset), podIp, String(upstreamPort), join(folder, "node.log"), certificate]));
    for (const peer of result.peers) for (const at of [peer.port, peer.tlsPort]) await untilOpen(at, "127.0.0.1", `${peer.name}: ${at}`, errors);
    return result;
  } catch (error) {
    await result[Symbol.asyncDispose]();
    throw error;
  }
}

export type Start = (cpus: string, command: string, args: readonly string[], more?: Record<string, string>) => ChildProcess;

/** nginx in a network of its own behind a veth, as a pod is. */
async function startUpstream(folder: string, nginx: string, start: Start): Promise<void> {
  const ip = program("ip")!;
  const holder = start("0", "unshare", ["--net", "sleep", "7200"]);
  const outside = readlinkSync("/proc/self/ns/net");
  for (let i = 0; readlinkSync(`/proc/${holder.pid}/ns/net`) === outside; i++) {
    if (i === 500) throw new Error("unshare made no network");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const inPod = ["-t", String(holder.pid), "--net"];
  execFileSync(ip, ["link", "add", "pod", "type", "veth", "peer", "eth0", "netns", String(holder.pid)]);
  execFileSync(ip, ["address", "add", `${gatewayIp}/30`, "dev", "pod"]);
  execFileSync(ip, ["link", "set", "pod", "up"]);
  for (const args of [["link", "set", "lo", "up"], ["address", "add", `${podIp}/30`, "dev", "eth0"], ["link", "set", "eth0", "up"]]) execFileSync("nsenter", [...inPod, ip, ...args]);
  mkdirSync(join(folder, "files"));
  for (const [name, bytes] of [["100k", 100 * 1024], ["1m", 1024 * 1024]] as const) writeFileSync(join(folder, "files", name), Buffer.alloc(bytes, "x"));
  const file = join(folder, "upstream.conf");
  writeFileSync(file, `${common(folder, "upstream", 1)} http { ${temporary(folder)} access_log off; keepalive_requests 100000000; keepalive_timeout 600; server { listen ${podIp}:${upstreamPort} backlog=4096; listen ${podIp}:${upstreamPort + 1} backlog=4096; location / { return 200 "hello, world!\\n"; } location /files/ { root ${folder}; } } }`);
  start("0", "nsenter", [...inPod, nginx, "-c", file, "-e", join(folder, "upstream.errors")]);
}

function makeCertificate(folder: string): string {
  const file = join(folder, "tls");
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example,IP:127.0.0.1", "-keyout", `${file}.key`, "-out", `${file}.crt`], { stdio: "ignore" });
  writeFileSync(`${file}.pem`, readFileSync(`${file}.crt`, "utf8") + readFileSync(`${file}.key`, "utf8"));
  return file;
}

export const temporary = (folder: string): string => ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
export const common = (folder: string, name: string, workers: number): string => `${process.getuid?.() === 0 ? "user root;" : ""} daemon off; worker_processes ${workers}; pid ${folder}/${name}.pid; error_log ${folder}/${name}.errors; events { worker_connections 8192; }`;

function nginxConf({ folder, name, port, workers, log, certificate }: { folder: string; name: string; port: number; workers: number; log: string; certificate: string }): string {
  const shared = workers > 1 ? " reuseport" : "";
  return `${common(folder, name, workers)} http { ${temporary(folder)} access_log ${log}; keepalive_requests 100000000; keepalive_timeout 75;
    client_header_timeout 10; client_body_timeout 30; send_timeout 30; client_max_body_size 64m; limit_conn_zone $binary_remote_addr zone=client:1m; limit_conn client 8192;
    upstream web { server ${podIp}:${upstreamPort}; keepalive 1024; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${port} backlog=1024${shared}; listen 127.0.0.1:${port + tlsOffset} ssl backlog=1024${shared}; ssl_certificate ${certificate}.crt; ssl_certificate_key ${certificate}.key; ssl_protocols TLSv1.2 TLSv1.3;
    location /status { stub_status; }
    location / { proxy_pass http://web; proxy_http_version 1.1; proxy_connect_timeout 3; proxy_read_timeout 60; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Request-Id $request_id; } } }`;
}

const haproxyConf = ({ port, workers, certificate }: { port: number; workers: number; certificate: string }): string => `global
  nbthread ${workers}
  maxconn 8000
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout http-request 10s
  timeout http-keep-alive 75s
  timeout client 60s
  timeout server 60s
  timeout connect 3s
  http-reuse always
frontend f
  bind 127.0.0.1:${port} backlog 1024
  bind 127.0.0.1:${port + tlsOffset} backlog 1024 ssl crt ${certificate}.pem
  stick-table type ip size 10k expire 10m store conn_cur
  tcp-request connection track-sc0 src
  tcp-request connection reject if { sc0_conn_cur gt 7000 }
  unique-id-format %{+X}o%rt%pid%Ts
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  default_backend b
backend b
  server s ${podIp}:${upstreamPort}
`;

const caddyConf = ({ folder, port, certificate }: { folder: string; port: number; certificate: string }): string => `{
  admin off
  auto_https off
  servers {
    metrics
    timeouts {
      read_header 10s
      idle 75s
    }
    max_header_size 64KB
  }
}
(proxy) {
  bind 127.0.0.1
  log {
    output file ${folder}/caddy.log
  }
  request_body {
    max_size 64MB
  }
  reverse_proxy ${podIp}:${upstreamPort} {
    transport http {
      dial_timeout 3s
      keepalive_idle_conns_per_host 1024
    }
  }
}
http://:${port} {
  import proxy
}
https://:${port + tlsOffset} {
  tls ${certificate}.crt ${certificate}.key
  import proxy
}
`;

export function versionOf(file: string, args: string[], pattern: RegExp): string {
  const { stdout, stderr } = spawnSync(file, args, { encoding: "utf8", env });
  return pattern.exec(stdout + stderr)?.[0] ?? file;
}

export async function untilOpen(port: number, address: string, who: string, errors: string): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    const socket = connect(port, address);
    const open = await new Promise<boolean>((resolve) => socket.once("connect", () => resolve(true)).once("error", () => resolve(false)));
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${who} does not listen: ${readFileSync(errors, "utf8").slice(0, 2000)}`);
}
