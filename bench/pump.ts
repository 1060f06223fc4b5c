import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../src/base/log.ts";
import { createNetSupervisor } from "../src/proxy/supervisor.ts";
import { cpuSeconds, median, print } from "./measure.ts";

/**
 * What does one hop through a TCP Service cost? CPU of the hop's process per exchange, beside nginx's stream proxy
 * (where it is installed; BENCH_NGINX and BENCH_NGINX_STREAM_MODULE name another) and a Node program that only calls `pipe`.
 * Rounds alternate, and the ratio is the median of each round's own, since machines have slow minutes.
 */
const rounds = 7;
const roundMs = 600;
const message = Buffer.alloc(100, "x");
const bulkBytes = 64 * 1024 * 1024;

interface Hop {
  name: string;
  ip: string;
  port: number;
  pids: () => number[];
  stop(): Promise<void> | void;
}

/** First byte: "e" echoes, "b" sends much and ends. */
function program(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.once("data", (first: Buffer) => {
    if (first[0] === 0x62) {
      const chunk = Buffer.alloc(256 * 1024, "y");
      let left = bulkBytes;
      const send = () => {
        while (left > 0) {
          left -= chunk.length;
          if (!socket.write(chunk)) return void socket.once("drain", send);
        }
        socket.end();
      };
      send();
    } else {
      socket.write(first);
      socket.on("data", (data: Buffer) => socket.write(data)).on("end", () => socket.end());
    }
  });
}

const loads: { name: string; run(hop: Hop): Promise<number> }[] = [
  { name: "exchange of 100 bytes, 64 kept connections", run: (hop) => many(hop, 64, false) },
  { name: "connect, exchange, close; 32 at a time", run: (hop) => many(hop, 32, true) },
  {
    name: "64 MB through one connection",
    run: async (hop) => {
      const socket = connect(hop.port, hop.ip);
      socket.write("b");
      socket.resume();
      await once(socket, "end");
      return 1;
    },
  },
];

/** Exchanges for a while; the number of them. */
async function many(hop: Hop, clients: number, fresh: boolean): Promise<number> {
  const end = performance.now() + roundMs;
  let count = 0;
  await Promise.all(
    Array.from({ length: clients }, () => {
      return new Promise<void>((done, fail) => {
        const open = () => {
          const socket = connect({ port: hop.port, host: hop.ip, noDelay: true });
          socket.on("error", fail);
          socket.on("data", () => {
            count++;
            if (performance.now() >= end) {
              socket.destroy();
              done();
            } else if (fresh) {
              socket.end();
            } else {
              socket.write(message);
            }
          });
          if (fresh) socket.on("close", () => (performance.now() < end ? open() : done()));
          socket.write(message);
        };
        open();
      });
    }),
  );
  return count;
}

async function untilAnswers(ip: string, port: number): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const socket = connect(port, ip);
    const answered = await new Promise<boolean>((resolve) => {
      socket.once("error", () => resolve(false)).once("data", () => resolve(true));
      socket.write("e");
    });
    socket.destroy();
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`nobody answers at ${ip}:${port}`);
}

async function wherry(upstream: number): Promise<Hop> {
  const net = createNetSupervisor({ network: { mode: "plain", enter: [], gatewayIP: "127.0.0.1", dnsIP: "127.96.251.10", apiServiceIP: "127.96.251.1" }, workers: 1, log: silentLog, private: true });
  await net.start();
  const [ip, port] = ["127.96.251.80", 8071];
  net.publish({
    revision: 1,
    services: [{ namespace: "bench", name: "pod", type: "ClusterIP", clusterIPs: [ip], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port, endpoints: [{ ip: "127.0.0.1", port: upstream, ready: true, terminating: false }] }] }],
  });
  return { name: "Wherry", ip, port, pids: () => net.pids(), stop: () => net.stop(AbortSignal.timeout(2_000)) };
}

function nginx(upstream: number): Hop | undefined {
  const binary = process.env["BENCH_NGINX"] ?? "/usr/sbin/nginx";
  if (!existsSync(binary)) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  const module = process.env["BENCH_NGINX_STREAM_MODULE"] ?? "/usr/lib/nginx/modules/ngx_stream_module.so";
  const port = 8072;
  writeFileSync(
    join(folder, "nginx.conf"),
    `${existsSync(module) ? `load_module ${module};\n` : ""}${process.getuid?.() === 0 ? "user root;\n" : ""}daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;\nevents { worker_connections 4096; }\nstream { server { listen 127.0.0.1:${port} backlog=1024; proxy_pass 127.0.0.1:${upstream}; } }\n`,
  );
  const child = spawn(binary, ["-c", join(folder, "nginx.conf"), "-p", folder, "-e", `${folder}/error.log`], { stdio: ["ignore", "ignore", "inherit"] });
  const version = spawnSync(binary, ["-v"], { encoding: "utf8" }).stderr.replace("nginx version: ", "");
  return { name: version.trim() || "nginx", ip: "127.0.0.1", port, pids: () => [child.pid!, ...childrenOf(child.pid!)], stop: () => end(child, folder) };
}

function piping(upstream: number): Hop {
  const port = 8073;
  const code = `require("net").createServer({ allowHalfOpen: true, noDelay: true }, (a) => { const b = require("net").connect({ port: ${upstream}, host: "127.0.0.1", allowHalfOpen: true, noDelay: true }); a.on("error", () => b.destroy()); b.on("error", () => a.destroy()); a.pipe(b).pipe(a) }).listen({ port: ${port}, host: "127.0.0.1", backlog: 1024 })`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "ignore", "inherit"] });
  return { name: "Node's pipe()", ip: "127.0.0.1", port, pids: () => [child.pid!], stop: () => end(child) };
}

const childrenOf = (pid: number): number[] => execFileSync("cat", [`/proc/${pid}/task/${pid}/children`], { encoding: "utf8" }).trim().split(" ").filter(Boolean).map(Number);

async function end(child: ChildProcess, folder?: string): Promise<void> {
  child.kill("SIGTERM");
  await once(child, "exit");
  if (folder) rmSync(folder, { recursive: true, force: true });
}

export async function run(): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, program).listen({ port: 0, host: "127.0.0.1", backlog: 1024 });
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const hops = [nginx(port), await wherry(port), piping(port)].filter((hop) => hop !== undefined);
  if (hops.length < 3) process.stdout.write("nginx is not installed; Wherry is compared with Node's pipe() alone\n");
  for (const hop of hops) await untilAnswers(hop.ip, hop.port);
  const rows: string[][] = [];
  for (const load of loads) {
    const costs = hops.map(() => [] as number[]);
    for (let round = -1; round < rounds; round++) {
      for (const [index, hop] of hops.entries()) {
        const before = cpuSeconds(hop.pids());
        const count = await load.run(hop);
        // The first round warms the machine code up.
        if (round >= 0) costs[index]!.push(((cpuSeconds(hop.pids()) - before) / count) * 1e6);
      }
    }
    for (const [index, hop] of hops.entries()) {
      const ratio = median(costs[index]!.map((cost, round) => cost / costs[0]![round]!));
      rows.push([index === 0 ? load.name : "", hop.name, median(costs[index]!).toFixed(1), ratio.toFixed(2)]);
    }
  }
  print(["load", "hop", "µs CPU each", `ratio to ${hops[0]!.name}`], rows);
  for (const hop of hops) await hop.stop();
  server.close();
}
