import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { loadavg, release } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inOwnNetwork, type Peer, type Peers, startPeers } from "./gateway-peers.ts";
import { cpuSeconds, median, print } from "./measure.ts";

/**
 * What does a request through the gateway cost? Ours beside nginx, HAProxy, Caddy and a plain node:http proxy, all inside one
 * network namespace that is made for it, with the upstream behind a veth as a pod is; what each does for a request is said in
 * `gateway-peers.ts`. Rounds alternate; a ratio is the median of each round's own, since machines have slow minutes: read it, not
 * the microseconds. `--quick`: fewer rounds, loads and peers, two minutes. `--workers=2`: with two.
 *
 * BENCH_LOADS="small,1m", BENCH_PEERS="nginx,Wherry", BENCH_ROUNDS and BENCH_SECONDS of a round choose; BENCH_BEFORE names a folder with
 * another state of the project, measured in turn with this one; BENCH_ROUTES gives Wherry so many other routes to
 * hold.
 */
const browser = ["User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate, br, zstd", "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes", "Referer: http://shop.example/products/list?page=3&sort=price", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: same-origin", "Upgrade-Insecure-Requests: 1", "Priority: u=0, i"];

interface Load {
  key: string;
  name: string;
  path: string;
  connections: number;
  headers?: string[];
  script?: string;
  tls?: boolean;
}
const loads: Load[] = [
  { key: "small", name: "GET 14 B, 64 connections", path: "/", connections: 64 },
  { key: "browser", name: "the same with a browser's head", path: "/", connections: 64, headers: browser },
  { key: "many", name: "GET 14 B, 1,000", path: "/", connections: 1000 },
  { key: "post", name: "POST 1 KB, 64", path: "/", connections: 64, script: 'wrk.method = "POST"; wrk.body = string.rep("x", 1024)' },
  { key: "100k", name: "GET 100 KB, 16", path: "/files/100k", connections: 16 },
  { key: "1m", name: "GET 1 MB, 8", path: "/files/1m", connections: 8 },
  { key: "short", name: "GET 14 B, Connection: close, 32", path: "/", connections: 32, headers: ["Connection: close"] },
  { key: "tls", name: "TLS: GET 14 B, 64", path: "/", connections: 64, tls: true },
  { key: "tls-100k", name: "TLS: GET 100 KB, 16", path: "/files/100k", connections: 16, tls: true },
  { key: "handshake", name: "TLS: GET 14 B, Connection: close, 16: a handshake each", path: "/", connections: 16, headers: ["Connection: close"], tls: true },
];
const quickLoads = ["small", "post", "100k", "short", "tls", "handshake"];

export interface BenchOptions {
  quick?: boolean;
  workers?: number;
}

export async function run({ quick = false, workers = 1 }: BenchOptions = {}): Promise<void> {
  const flags = [...(quick ? ["--quick"] : []), ...(workers > 1 ? [`--workers=${workers}`] : [])];
  if (!(await inOwnNetwork("gateway", flags))) {
    if (quick) process.env["ROUTES"] ??= "5000";
    const routes = await import("./routes.ts");
    process.stdout.write("\nChanged routes:\n");
    return routes.run();
  }
  await using started = await startPeers({ workers, quick, routes: Number(process.env["BENCH_ROUTES"] ?? 0) });
  const wanted = process.env["BENCH_PEERS"]?.split(",");
  const peers = started.peers.filter(({ name }) => !wanted || wanted.some((part) => name.startsWith(part) && !(part === "nginx" && name.includes("buffered"))));
  const rounds = Number(process.env["BENCH_ROUNDS"] ?? (quick ? 3 : 7));
  const seconds = Number(process.env["BENCH_SECONDS"] ?? (quick ? 0.5 : 1));
  process.stdout.write(`Node ${process.versions.node}, OpenSSL ${process.versions.openssl}, Linux ${release()}, ${processor()}; ${rounds} rounds of ${seconds} s, ${workers} worker${workers > 1 ? "s" : ""} each; load average ${load()}\n`);
  await costs(started, peers, rounds, seconds, quick);
  await latencies(started, peers, rounds, quick);
  process.stdout.write(`load average at the end ${load()}\n`);
}

const load = (): string => loadavg().map((value) => value.toFixed(1)).join(" ");
const processor = (): string => /model name\s*: (.*)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "";
const residentMb = (pids: readonly number[]): number => pids.reduce((sum, pid) => sum + Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024, 0);
const range = (values: readonly number[], digits = 2): string => `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;

interface Cost {
  cpuUs: number;
  perSecond: number;
}

/** As much as the clients can ask, one request after another on each connection. */
async function costs(started: Peers, peers: readonly Peer[], rounds: number, seconds: number, quick: boolean): Promise<void> {
  const wanted = process.env["BENCH_LOADS"]?.split(",") ?? (quick ? quickLoads : undefined);
  const rows: string[][] = [];
  let warm = Math.ceil((quick ? 1.5 : 6) / seconds);
  for (const load of loads.filter(({ key }) => !wanted || wanted.includes(key))) {
    const all = peers.map(() => [] as Cost[]);
    // Of the first load, until the machine code is made, which takes V8 some seconds on a busy machine.
    for (let round = -warm; round < rounds; round++) {
      for (let turn = 0; turn < peers.length; turn++) {
        const index = (turn + Math.max(round, 0)) % peers.length;
        const cost = await costOf(started, load, peers[index]!, seconds);
        if (round >= 0) all[index]!.push(cost);
      }
    }
    warm = 1;
    for (const [index, { name, pids }] of peers.entries()) {
      const own = all[index]!;
      const ratio = own.map((cost, round) => cost.cpuUs / all[0]![round]!.cpuUs);
      rows.push([index === 0 ? load.name : "", name, median(own.map(({ cpuUs }) => cpuUs)).toFixed(1), index === 0 ? "1" : range(ratio), Math.round(median(own.map(({ perSecond }) => perSecond))).toString(), residentMb(pids()).toFixed(0)]);
    }
    if (process.env["BENCH_LIVE"]) print(["load", "gateway", "µs", "ratio", "req/s", "MB"], rows.splice(0));
  }
  print(["load", "gateway", "µs CPU each", `to ${peers[0]!.name}`, "req/s", "MB"], rows);
}

async function costOf({ folder, wrk, loadCommand, env }: Peers, load: Load, peer: Peer, seconds: number): Promise<Cost> {
  const script = join(folder, `${load.key}.lua`);
  if (load.script) writeFileSync(script, load.script);
  const url = load.tls ? `https://127.0.0.1:${peer.tlsPort}${load.path}` : `http://127.0.0.1:${peer.port}${load.path}`;
  const before = cpuSeconds(peer.pids());
  // wrk knows whole seconds only: SIGINT ends it with its report.
  const args = ["-t1", `-c${load.connections}`, "-d60s", "--latency", ...(load.headers ?? []).flatMap((header) => ["-H", header]), ...(load.script ? ["-s", script] : []), url];
  const [file, list] = loadCommand(wrk, args);
  const running = promisify(execFile)(file, list, { env });
  const timer = setTimeout(() => running.child.kill("SIGINT"), seconds * 1000);
  const { stdout } = await running.finally(() => clearTimeout(timer));
  const used = cpuSeconds(peer.pids()) - before;
  const count = Number(/(\d+) requests in/.exec(stdout)![1]);
  // Nobody has come to run within the round: that says something of the machine alone.
  if (count === 0) return costOf({ folder, wrk, loadCommand, env } as Peers, load, peer, seconds * 2);
  if (/Non-2xx|Socket errors/.test(stdout)) process.stdout.write(`${peer.name}, ${load.name}: ${/.*(?:Non-2xx|Socket errors).*/.exec(stdout)![0].trim()}\n`);
  return { cpuUs: (used / count) * 1e6, perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]) };
}

interface Latency {
  count: number;
  errors: number;
  p50: number;
  p99: number;
}

/** At 70 % of what the slower of the first two can do, the same for all; whoever cannot do that much gets 70 % of its own. */
async function latencies(started: Peers, peers: readonly Peer[], rounds: number, quick: boolean): Promise<void> {
  const connections = 64;
  const seconds = Number(process.env["BENCH_SECONDS"] ?? (quick ? 0.5 : 1)) * 2;
  const own: number[] = [];
  const perSecond = async (port: number) => (await costOf(started, loads[0]!, { name: "", port, tlsPort: 0, pids: () => [] }, quick ? 0.5 : 1)).perSecond;
  for (const { port } of peers) own.push(median([await perSecond(port), await perSecond(port), await perSecond(port)]));
  const rate = Math.floor(0.7 * Math.min(own[0]!, own[1]!));
  const rates = own.map((most) => (0.8 * most < rate ? Math.floor(0.7 * most) : rate));
  const all = peers.map(() => [] as Latency[]);
  for (let round = -1; round < rounds; round++) {
    for (let turn = 0; turn < peers.length; turn++) {
      const index = (turn + Math.max(round, 0)) % peers.length;
      const [file, args] = started.loadCommand(process.execPath, [join(import.meta.dirname, "gateway-rate.ts"), "127.0.0.1", String(peers[index]!.port), "/", String(rates[index]), String(connections), String(seconds)]);
      const { stdout } = await promisify(execFile)(file, args);
      if (round >= 0) all[index]!.push(JSON.parse(stdout) as Latency);
    }
  }
  const rows = peers.map(({ name }, index) => {
    const of = all[index]!;
    const to = (field: "p50" | "p99") => (index === 0 ? "1" : rates[index] === rate ? range(of.map((one, round) => one[field] / all[0]![round]![field])) : "at its own 70 %");
    return [name, String(rates[index]), range(of.map(({ p50 }) => p50)), to("p50"), range(of.map(({ p99 }) => p99)), to("p99"), String(of.reduce((sum, { errors }) => sum + errors, 0))];
  });
  process.stdout.write(`\nAt a constant rate, ${connections} connections, ${rounds} rounds of ${seconds} s: latency from when each request was due, ms\n`);
  print(["gateway", "req/s", "p50", `to ${peers[0]!.name}`, "p99", `to ${peers[0]!.name}`, "errors"], rows);
}
