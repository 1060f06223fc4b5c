import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg, release } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../tools/bundle-preload.mjs";
import { inOwnNetwork, program } from "./gateway-peers.ts";
import { cpuSeconds, median, print } from "./measure.ts";
import { startWays, type Way, type Ways } from "./mesh-ways.ts";

/**
 * What does the mesh cost a request, and what would a sidecar? The same two pods by five kinds of ways, in one network namespace
 * made for it: by their own address, with the preload, through a Service's listener (passed on unread, read as HTTP, with a
 * route, each request judged by an AuthorizationPolicy), and through nginx, HAProxy and Envoy as a sidecar would stand there. The pods,
 * wrk and what sends at a constant rate have one processor, the hop the other. Rounds alternate; ratios are medians of each
 * round's own: read them, not the microseconds. Under six minutes; `--quick`: under two.
 *
 * BENCH_LOADS="small,short" and BENCH_WAYS="http,nginx" choose, BENCH_ROUNDS and BENCH_SECONDS of a round; BENCH_PARTS="cpu,rate,node".
 * BENCH_BEFORE names a folder with another state of the project, measured in turn with this one.
 */
interface Load {
  key: string;
  name: string;
  path: string;
  connections: number;
  args?: string[];
  script?: string;
}
const loads: Load[] = [
  { key: "small", name: "GET 14 B, 64 kept connections", path: "/", connections: 64 },
  { key: "post", name: "POST 1 KB, 64", path: "/", connections: 64, script: 'wrk.method = "POST"; wrk.body = string.rep("x", 1024)' },
  { key: "100k", name: "GET 100 KB, 16", path: "/files/100k", connections: 16 },
  { key: "short", name: "GET 14 B, Connection: close, 32", path: "/", connections: 32, args: ["-H", "Connection: close"] },
];
const [listenerMark, preloadMark, preloadMarkMs] = [1.2, 1.05, 0.1];
/** Whose log is written is compared with whom logs too. */
const markedAgainst: Partial<Record<Way["key"], Way["key"]>> = { http: "nginx", judged: "nginx", route: "nginx-log" };

/** A second: more than any way can carry, so that all connections are always busy. */
const tooMany = 100_000;

const parts = process.env["BENCH_PARTS"]?.split(",") ?? ["cpu", "rate", "node"];

export async function run({ quick = false }: { quick?: boolean } = {}): Promise<void> {
  if (!(await inOwnNetwork("mesh", quick ? ["--quick"] : []))) return;
  await using started = await startWays();
  const wanted = process.env["BENCH_WAYS"]?.split(",");
  const ways = started.ways.filter(({ key }) => !wanted || wanted.includes(key));
  const rounds = Number(process.env["BENCH_ROUNDS"] ?? (quick ? 3 : 5));
  const seconds = Number(process.env["BENCH_SECONDS"] ?? (quick ? 0.25 : 0.6));
  process.stdout.write(`${ways.filter(({ key }) => key === "nginx" || key === "haproxy" || key === "envoy").map(({ name }) => name).join(", ")}, Node ${process.versions.node}, Linux ${release()}, ${/model name\s*: (.*)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? ""} × ${availableParallelism()}; ${new Date().toISOString().slice(0, 10)}; ${rounds} rounds of ${seconds} s; load average ${load()}\n\n`);
  if (parts.includes("cpu")) await costs(started, ways.filter(({ key }) => key !== "direct"), rounds, seconds, quick);
  if (parts.includes("rate")) await latencies(started, ways, rounds, seconds);
  if (parts.includes("node")) await ofProgram(started, rounds + 1, seconds);
  process.stdout.write(`\nload average at the end ${load()}\n`);
}

const load = (): string => loadavg().map((value) => value.toFixed(1)).join(" ");
const range = (values: readonly number[], digits = 2): string => `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;
const said = (isMet: boolean): string => (isMet ? "met" : "MISSED");

interface Cost {
  cpuUs: number;
  perSecond: number;
}

/** Processor time of the hop a request, when clients ask as much as they can. */
async function costs(started: Ways, ways: readonly Way[], rounds: number, seconds: number, quick: boolean): Promise<void> {
  const wanted = process.env["BENCH_LOADS"]?.split(",");
  // Until the machine code is made: V8 takes some seconds on a busy machine, and anew for what another load needs.
  let warm = Math.ceil((quick ? 1 : 4) / seconds);
  for (const load of loads.filter(({ key }) => !wanted || wanted.includes(key))) {
    const all = new Map(ways.map(({ key }) => [key, [] as Cost[]]));
    for (let round = -warm; round < rounds; round++) {
      for (let turn = 0; turn < ways.length; turn++) {
        const way = ways[(turn + Math.max(round, 0)) % ways.length]!;
        const cost = await costOf(started, load, way, seconds);
        if (round >= 0) all.get(way.key)!.push(cost);
      }
    }
    warm = Math.ceil((quick ? 0.5 : 1.5) / seconds);
    const rows: string[][] = [];
    for (const { key, name } of ways) {
      const own = all.get(key)!;
      const ratios = (to: Way["key"]): number[] | undefined => all.get(to) && own.map((cost, round) => cost.cpuUs / all.get(to)![round]!.cpuUs);
      const to = (other: Way["key"]): string => (other === key ? "1" : (ratios(other) ? range(ratios(other)!) : ""));
      const against = markedAgainst[key];
      const marked = against && ratios(against);
      rows.push([name, median(own.map(({ cpuUs }) => cpuUs)).toFixed(1), to("nginx"), to("nginx-log"), Math.round(median(own.map(({ perSecond }) => perSecond))).toString(), marked ? `≤ ${listenerMark}× ${against === "nginx" ? "nginx" : "nginx, logging"}: ${said(median(marked) <= listenerMark)}` : ""]);
    }
    process.stdout.write(`Processor time of the hop a request: ${load.name}\n`);
    print(["way", "µs", "to nginx", "to nginx, logging", "req/s", "mark"], rows);
    process.stdout.write("\n");
  }
}

async function costOf(started: Ways, load: Load, way: Way, seconds: number): Promise<Cost> {
  const { folder, wrk, loadCommand, env } = started.ground;
  const script = join(folder, `${load.key}.lua`);
  if (load.script) writeFileSync(script, load.script);
  const pids = way.pids();
  const before = cpuSeconds(pids);
  // wrk knows whole seconds only: SIGINT ends it with its report.
  const [file, list] = loadCommand(wrk, ["-t1", `-c${load.connections}`, "-d60s", ...(load.args ?? []), ...(load.script ? ["-s", script] : []), `http://${way.ip}:${way.port}${load.path}`]);
  const running = promisify(execFile)(file, list, { env });
  const timer = setTimeout(() => running.child.kill("SIGINT"), seconds * 1000);
  const { stdout } = await running.finally(() => clearTimeout(timer));
  const used = cpuSeconds(pids) - before;
  const count = Number(/(\d+) requests in/.exec(stdout)![1]);
  // Nobody has come to run within the round: that says something of the machine alone.
  if (count === 0) return costOf(started, load, way, seconds * 2);
  if (/Non-2xx|Socket errors/.test(stdout)) process.stdout.write(`${way.name}, ${load.name}: ${/.*(?:Non-2xx|Socket errors).*/.exec(stdout)![0].trim()}\n`);
  return { cpuUs: (used / count) * 1e6, perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]) };
}

interface Latency {
  count: number;
  errors: number;
  p50: number;
  p99: number;
  perSecond: number;
}

/** At 70 % of what the slowest of all ways can do, asked by the same program; the same for all. */
async function latencies(started: Ways, ways: readonly Way[], rounds: number, seconds: number): Promise<void> {
  const connections = 64;
  const asked = async ({ ip, port }: Way, rate: number): Promise<Latency> => {
    const [file, args] = started.ground.loadCommand(process.execPath, [join(import.meta.dirname, "gateway-rate.ts"), ip, String(port), "/", String(rate), String(connections), String(seconds)]);
    return JSON.parse((await promisify(execFile)(file, args)).stdout) as Latency;
  };
  const most: number[] = [];
  for (const way of ways) most.push((await asked(way, tooMany)).perSecond);
  const rate = Math.floor(0.7 * Math.min(...most));
  const all = ways.map(() => [] as Latency[]);
  for (let round = -1; round < rounds; round++) {
    for (let turn = 0; turn < ways.length; turn++) {
      const index = (turn + Math.max(round, 0)) % ways.length;
      const way = ways[index]!;
      const latency = await asked(way, rate);
      if (round >= 0) all[index]!.push(latency);
    }
  }
  const first = ways.findIndex(({ key }) => key === "nginx");
  const rows = ways.map(({ name }, index) => {
    const of = all[index]!;
    const more = (field: "p50" | "p99") => (first < 0 || first === index ? "" : range(of.map((one, round) => one[field] - all[first]![round]![field])));
    return [name, range(of.map(({ p50 }) => p50)), more("p50"), range(of.map(({ p99 }) => p99)), more("p99"), String(of.reduce((sum, { errors }) => sum + errors, 0))];
  });
  process.stdout.write(`At a constant rate, ${rate} requests a second on ${connections} connections, GET 14 B: latency from when each request was due, ms\n`);
  print(["way", "p50", "more than nginx", "p99", "more than nginx", "errors"], rows);
}

interface Asked {
  clients?: number;
  rate?: number;
}

/** What a Node program pays for its own calls, and how long it waits. The program has the hops' processor. */
async function ofProgram(started: Ways, rounds: number, seconds: number): Promise<void> {
  const preload = (await bundlePreload()) as string;
  const way = (key: Way["key"]): Way => started.ways.find((one) => one.key === key)!;
  const url = ({ ip, port }: Way): string => `http://${ip}:${port}/`;
  const start = async (isMeshed: boolean): Promise<ChildProcess> => {
    const command = [process.execPath, ...(isMeshed ? ["--require", preload] : []), join(import.meta.dirname, "mesh-client.cjs")];
    const taskset = availableParallelism() > 1 ? program("taskset") : undefined;
    const [file, ...args] = taskset ? [taskset, "-c", "1", ...command] : command;
    const child = spawn(file!, args, { stdio: ["ignore", "inherit", "inherit", "ipc"], env: { PATH: process.env["PATH"], ...(isMeshed && { WHERRY_MESH: JSON.stringify(started.mesh) }) } });
    await once(child, "message");
    return child;
  };
  const callers = [
    { name: "direct", child: await start(false), url: url(way("direct")) },
    // The Service that a program without a preload would reach by its listener.
    { name: "preload", child: await start(true), url: url(way("http")) },
    { name: "listener, HTTP", child: await start(false), url: url(way("http")) },
    { name: way("nginx").name, child: await start(false), url: url(way("nginx")) },
  ];
  const ask = async (index: number, how: Asked): Promise<{ took: number[]; cpuMicros: number }> => {
    const { child, url } = callers[index]!;
    child.send({ url, ms: seconds * 1000, ...how });
    const [answer] = (await once(child, "message")) as [{ took: number[]; cpuMicros: number }];
    return { took: answer.took.sort((a, b) => a - b), cpuMicros: answer.cpuMicros };
  };
  const rows: string[][] = [];
  let slowest = Infinity;
  for (const { name, how } of [{ name: "1 at a time", how: (): Asked => ({ clients: 1 }) }, { name: "32 at a time", how: (): Asked => ({ clients: 32 }) }, { name: "", how: (): Asked => ({ rate: Math.floor(0.7 * slowest) }) }]) {
    const all = callers.map(() => [] as { cpu: number; p50: number; p99: number }[]);
    // The first rounds warm the machine code up.
    for (let round = -2; round < rounds; round++) {
      for (let turn = 0; turn < callers.length; turn++) {
        const index = (turn + Math.max(round, 0)) % callers.length;
        const { took, cpuMicros } = await ask(index, how());
        if (round < 0) continue;
        all[index]!.push({ cpu: cpuMicros / took.length, p50: took[Math.floor(took.length * 0.5)]!, p99: took[Math.floor(took.length * 0.99)]! });
        if (name === "32 at a time") slowest = Math.min(slowest, took.length / seconds);
      }
    }
    for (const [index, caller] of callers.entries()) {
      const of = all[index]!;
      const ratio = of.map(({ cpu }, round) => cpu / all[0]![round]!.cpu);
      const later = of.map(({ p99 }, round) => p99 - all[0]![round]!.p99);
      const mark = caller.name !== "preload" ? "" : `≤ ${preloadMark}×: ${said(median(ratio) <= preloadMark)}; ≤ ${preloadMarkMs} ms: ${said(median(later) <= preloadMarkMs)}`;
      rows.push([index > 0 ? "" : name || `${how().rate} a second`, caller.name, median(of.map(({ cpu }) => cpu)).toFixed(1), index === 0 ? "1" : range(ratio, 3), median(of.map(({ p50 }) => p50)).toFixed(3), median(of.map(({ p99 }) => p99)).toFixed(3), index === 0 ? "" : range(later, 3), mark]);
    }
  }
  process.stdout.write("\nA Node program's own processor time a request, and what it waits, ms\n");
  print(["requests", "way", "µs", "to direct", "p50", "p99", "p99 more than direct", "mark"], rows);
  for (const { child } of callers) child.disconnect();
}
