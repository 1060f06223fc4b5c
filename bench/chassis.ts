import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, get } from "node:http";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo } from "node:net";
import { loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { cpuSeconds, median, print, spread } from "./measure.ts";

/**
 * What does a request cost on the chassis, with metrics, logs and traces on? Beside Fastify with pino, prom-client and OpenTelemetry,
 * and beside servers that do nothing of that. All answer the same JSON; those that log write into files of their own, those that
 * trace send to one collector, which throws it away. Rounds alternate; a ratio is the median of each round's own. Needs wrk of
 * `tools/gateway-peers.sh`, and the peers of `tools/chassis-peers.sh`. BENCH_ROUNDS chooses; `--quick`: three, and shorter.
 */
const root = dirname(import.meta.dirname);
const peersFolder = join(root, ".cache", "chassis-peers");
const wrk = join(root, ".cache", "gateway-peers", "usr", "bin", "wrk");

const libraries = globSync(join(root, ".cache/gateway-peers/usr/lib/*-linux-gnu"))[0] ?? "";

interface Peer {
  key: string;
  name: string;
}
const peers: Peer[] = [
  { key: "chassis", name: "wherry/chassis: metrics, logs, traces" },
  { key: "observed", name: "Fastify + pino + prom-client + OpenTelemetry (HTTP, pino)" },
  { key: "observed-routes", name: "the same with @fastify/otel: spans by route, as ours" },
  { key: "fastify", name: "Fastify, bare" },
  { key: "express", name: "Express, bare" },
  { key: "node", name: "node:http, bare" },
];

export async function run({ quick = false }: { quick?: boolean } = {}): Promise<void> {
  if (!existsSync(wrk) || !existsSync(join(peersFolder, "node_modules", "fastify"))) throw new Error("run tools/gateway-peers.sh and tools/chassis-peers.sh first");
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-chassis-"));
  let spans = 0;
  const collector = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => (spans += chunk.toString("latin1").split('"spanId"').length - 1));
    request.on("end", () => response.setHeader("content-type", "application/json").end("{}"));
  }).listen(0, "127.0.0.1");
  await once(collector, "listening");
  const started: { peer: Peer; child: ChildProcess; port: number }[] = [];
  try {
    const chassis = join(root, ".cache", "chassis-bench");
    buildChassis(chassis);
    const address = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
    const start = async (peer: Peer): Promise<{ child: ChildProcess; port: number; startMs: number }> => {
      const log = openSync(join(folder, `${peer.key}.log`), "a");
      const began = performance.now();
      const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, "chassis-process.ts"), peer.key, peersFolder, chassis, address], { stdio: ["ignore", log, "inherit", "ipc"], env: { PATH: process.env["PATH"], NODE_NO_WARNINGS: "1" } });
      const [port] = (await once(child, "message")) as [number];
      return { child, port, startMs: performance.now() - began };
    };
    process.stdout.write(`Node ${process.versions.node}; load average ${loadavg().map((value) => value.toFixed(1)).join(" ")}\n`);
    const rounds = Number(process.env["BENCH_ROUNDS"] ?? (quick ? 3 : 9));
    const startRatio = await starts(start, rounds);
    for (const peer of peers) started.push({ peer, ...(await start(peer)) });
    const { needs, answers } = await costs(started, rounds, quick ? 1 : 2);
    const mark = (what: string, value: number, isMet: boolean) => process.stdout.write(`${isMet ? "met   " : "MISSED"}  ${what}: ${value.toFixed(2)}\n`);
    mark("requests/s of the chassis ÷ those of Fastify + pino + prom-client + OpenTelemetry, ≥ 1.5", answers, answers >= 1.5);
    mark("CPU a request of the same ÷ that of the chassis, ≥ 1.5", 1 / needs, 1 / needs >= 1.5);
    mark("start on the chassis ÷ start of bare Fastify, ≤ 1.5", startRatio, startRatio <= 1.5);
    process.stdout.write(`spans received: ${spans}; load average at the end ${loadavg().map((value) => value.toFixed(1)).join(" ")}\n`);
  } finally {
    for (const { child } of started) child.kill("SIGKILL");
    collector.closeAllConnections();
    collector.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** From the spawn of the process until it listens; then one answer. Gives the chassis' median as a multiple of bare Fastify's. */
async function starts(start: (peer: Peer) => Promise<{ child: ChildProcess; port: number; startMs: number }>, rounds: number): Promise<number> {
  const compared = peers.filter(({ key }) => ["chassis", "observed-routes", "fastify", "node"].includes(key));
  const times = new Map<string, number[]>(compared.map(({ key }) => [key, []]));
  for (let round = -1; round < rounds; round++) {
    for (const peer of round % 2 === 0 ? compared : compared.toReversed()) {
      const { child, port, startMs } = await start(peer);
      await new Promise<void>((resolve, reject) => get({ host: "127.0.0.1", port, path: "/users/7", agent: false }, (response) => response.resume().on("end", resolve)).on("error", reject));
      child.kill("SIGKILL");
      await once(child, "exit");
      if (round >= 0) times.get(peer.key)!.push(startMs);
    }
  }
  const bare = times.get("fastify")!;
  const ratios = (key: string) => times.get(key)!.map((value, round) => value / bare[round]!);
  print(["start → listens", "ms", "× bare Fastify"], compared.map(({ key, name }) => [name, spread(times.get(key)!), spread(ratios(key), 2)]));
  return median(ratios("chassis"));
}


async function costs(started: readonly { peer: Peer; child: ChildProcess; port: number }[], rounds: number, seconds: number): Promise<{ needs: number; answers: number }> {
  const cpu = new Map<string, number[]>(started.map(({ peer }) => [peer.key, []]));
  const rate = new Map<string, number[]>(started.map(({ peer }) => [peer.key, []]));
  // The first rounds are for the compilers.
  for (let round = -2; round < rounds; round++) {
    for (const { peer, child, port } of round % 2 === 0 ? started : started.toReversed()) {
      const before = cpuSeconds([child.pid!]);
      const { stdout } = await promisify(execFile)(wrk, ["-t1", "-c64", "--timeout", "60s", `-d${seconds}s`, "-H", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", `http://127.0.0.1:${port}/users/7`], { env: { LD_LIBRARY_PATH: libraries } });
      const requests = Number(/(\d+) requests in/.exec(stdout)![1]);
      if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${peer.name}: ${stdout}`);
      if (round < 0) continue;
      cpu.get(peer.key)!.push(((cpuSeconds([child.pid!]) - before) / requests) * 1e6);
      rate.get(peer.key)!.push(Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]));
    }
  }
  const [ours, ourRate] = [cpu.get("chassis")!, rate.get("chassis")!];
  print(
    ["GET /users/:id, 64 connections", "CPU µs a request", "chassis needs × of it", "requests/s", "chassis answers × as many"],
    started.map(({ peer: { key, name } }) => [name, spread(cpu.get(key)!, 1), spread(ours.map((value, round) => value / cpu.get(key)![round]!), 2), spread(rate.get(key)!), spread(ourRate.map((value, round) => value / rate.get(key)![round]!), 2)]),
  );
  const beside = (of: Map<string, number[]>) => median(of.get("chassis")!.map((value, round) => value / of.get("observed")![round]!));
  return { needs: beside(cpu), answers: beside(rate) };
}

/** As the package has it: JavaScript, file by file. */
function buildChassis(to: string): void {
  rmSync(to, { recursive: true, force: true });
  const from = join(root, "src");
  for (const file of globSync("{chassis,base,policy,api}/**/*.ts", { cwd: from })) {
    if (file.endsWith(".test.ts")) continue;
    const target = join(to, file.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, stripTypeScriptTypes(readFileSync(join(from, file), "utf8")).replace(/(["'])(\.{1,2}\/[\w./-]+)\.ts\1/g, '"$2.js"'));
  }
  writeFileSync(join(to, "package.json"), '{"type":"module"}');
}
